"""Use any timm model with features at strides 8, 16 and 32, and perhaps finer, as a backbone, by its timm name."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision import models

from maskpencil.errors import ConfigError, ModelError
from maskpencil.models.backbones.base import STRIDES, Backbone, BackboneOptions, Family
from maskpencil.models.backbones.checkpoints import ClassifierFile, read_classifier
from maskpencil.models.backbones.matching import Loaded, Match, match
from maskpencil.models.backbones.naming import efficientnet_pytorch_names
from maskpencil.models.backbones.sources import FoundWeights, find_weights
from maskpencil.models.backbones.torchvision_models import blank_classifier
from maskpencil.models.backbones.weights import NONE, UNREADABLE, load_strictly, reason_of
from maskpencil.models.surgery import RGB

PREFIX = "timm/"

# timm is imported inside functions: this takes seconds, and most runs do not need it

# arguments of timm that let a model take images of other sizes than the one it was trained at
_ANY_SIZE: tuple[dict[str, Any], ...] = ({}, {"strict_img_size": False})

_FAMILY_LETTERS = 6
"""The number of letters at the beginning of a network's name that timm and torchvision spell alike."""

_SETTINGS = ("eps", "stride", "padding", "dilation", "groups")
"""The attributes of convolutions and batch normalizations that, besides their tensors, determine what they compute."""

# observed errors of timm's models for unsupported sizes, arguments and uses
_REFUSALS = (AssertionError, AttributeError, RuntimeError, TypeError, ValueError)


class TimmModel(Backbone):
    """A timm network reduced to its features at the strides from `finest` to 32.

    Args:
        name: the network's timm name, with or without a tag for its weights.
        net: a network that timm created with `features_only` for exactly the strides from `finest` to 32.
        in_channels: the number of channels of the images that `net` takes.
        finest: the finest stride whose features are returned.
    """

    def __init__(self, name: str, net: nn.Module, *, in_channels: int, finest: int) -> None:
        info: Any = net.feature_info
        source: Any = net.pretrained_cfg
        super().__init__(
            name,
            channels=dict(zip(_strides(finest), info.channels(), strict=True)),
            finest=finest,
            mean=tuple(source["mean"]),
            std=tuple(source["std"]),
            in_channels=in_channels,
        )
        self.net = net
        self.first_convolutions = _first_convolutions(net, source.get("first_conv") or [])
        self.channels_last = getattr(net, "output_fmt", None) == "NHWC"

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        features = self.net(images)
        if self.channels_last:
            features = [f.permute(0, 3, 1, 2) for f in features]  # (N, H/s, W/s, C_s) -> (N, C_s, H/s, W/s)
        return dict(zip(self.channels, features, strict=True))


def create(name: str, options: BackboneOptions) -> TimmModel:
    """Create a backbone from a timm model, see `create_backbone`.

    Raises:
        ConfigError: the model lacks features at one of the strides from `options.stride` to 32, or does not work for
            every image size that is a multiple of 32.
        ModelError: the weights cannot be downloaded, or do not fit.
    """
    import timm

    model = name.removeprefix(PREFIX)
    finest = options.stride
    arguments = _arguments(model, finest)
    if not options.pretrained:
        net = timm.create_model(model, in_chans=options.in_channels, **arguments)
        return TimmModel(name, net, in_channels=options.in_channels, finest=finest)
    loaded = None
    found = find_weights(model, "timm", options.weights)
    if found.published:
        net = _of_published(model, found.file, arguments)
    else:
        net = timm.create_model(model, **arguments)
        loaded = _load_file(net, model, found)
    backbone = TimmModel(name, net, in_channels=RGB, finest=finest)
    backbone.origin = found.origin
    backbone.take_record(loaded)
    backbone.take_channels(options.in_channels, *backbone.first_convolutions)
    return backbone


def load_whole(model: str, weights: str | Path) -> tuple[nn.Module, Mapping[str, Any]]:
    """Create a timm model with its classifier, and return it with timm's configuration of it.

    Raises:
        ModelError: the weights cannot be downloaded, or do not fit.
    """
    import timm

    net: nn.Module
    if weights == NONE:
        net = timm.create_model(model)
    elif (found := find_weights(model, "timm", weights)).published:
        net = _of_published(model, found.file, {})
    else:
        net = timm.create_model(model)
        source, expected, own = str(found.file), f"timm's {model}", net.state_dict()
        names = efficientnet_pytorch_names(own)
        file = read_classifier(found.file)
        result = match(file.tensors, own, unused=(), namings=[names], source=source, expected=expected)
        load_strictly(net, result.tensors, unused=(), source=source, expected=expected)
    return net, cast(Any, net).pretrained_cfg


def blank(model: str) -> nn.Module:
    """Create an untrained timm model with its classifier; within `torch.device("meta")` its tensors have no values."""
    import timm

    return timm.create_model(model)


def categories(source: Mapping[str, Any]) -> list[str]:
    """Return the names of ImageNet's 1000 classes, synonyms separated by commas.

    Return [] if `source`, timm's configuration of a model, has another number of classes.
    """
    import timm.data

    info = cast(Any, timm.data).ImageNetInfo()
    if source.get("num_classes") != info.num_classes():
        return []
    return [info.index_to_description(index) for index in range(info.num_classes())]


def known_names() -> list[str]:
    """List the names of all timm models, including those that do not have the required features."""
    import timm

    return list(timm.list_models())


def is_known(name: str) -> bool:
    """Return whether timm has a model of this name, with or without the prefix `timm/` and a tag for its weights."""
    import timm

    model = name.removeprefix(PREFIX)
    return timm.is_model(model) and (model in timm.list_models(include_tags=True) or "." not in model)


@cache
def _arguments(model: str, finest: int) -> dict[str, Any]:
    """Return the arguments with which timm creates `model` for images of any size that is a multiple of 32.

    The arguments are found by running the model on the meta device, where tensors have shapes but no values.
    """
    arguments = {"features_only": True, "out_indices": _feature_indices(model, finest)}
    refusals = []
    for options in _ANY_SIZE:
        try:
            _try_out(model, arguments | options, finest)
        except _REFUSALS as error:
            refusals.append(error)
        else:
            return arguments | options
    raise ConfigError(
        f"the timm model {model!r} does not compute features at strides {_listed(finest)} for images of any size "
        f"({reason_of(refusals[0])}); choose another backbone, such as vgg16 or resnet50"
    ) from refusals[0]


def _strides(finest: int) -> tuple[int, ...]:
    return tuple(stride for stride in STRIDES if stride >= finest)


def _listed(finest: int) -> str:
    *others, last = map(str, _strides(finest))
    return f"{', '.join(others)} and {last}"


def _feature_indices(model: str, finest: int) -> tuple[int, ...]:
    import timm

    try:
        with torch.device("meta"):
            info: Any = timm.create_model(model, features_only=True).feature_info
    except _REFUSALS as error:
        raise ConfigError(
            f"the timm model {model!r} cannot return intermediate features ({reason_of(error)}); "
            "choose another backbone, such as vgg16 or resnet50"
        ) from error
    strides = [stage["reduction"] for stage in info.info]
    if not set(_strides(finest)) <= set(strides):
        raise ConfigError(
            f"the timm model {model!r} must have features at strides {_listed(finest)}, but its strides are "
            f"{', '.join(map(str, sorted(set(strides))))}; choose another backbone, such as vgg16 or resnet50"
        )
    return tuple(strides.index(stride) for stride in _strides(finest))


def _try_out(model: str, arguments: Mapping[str, Any], finest: int) -> None:
    import timm

    with torch.device("meta"), torch.no_grad():
        net = timm.create_model(model, **arguments)
        backbone = TimmModel(model, net, in_channels=RGB, finest=finest).eval()
        height, width = 32, 96  # the smallest size, and an odd number of cells
        for stride, features in backbone(torch.empty(1, RGB, height, width)).items():
            expected = (1, backbone.channels[stride], height // stride, width // stride)
            if features.shape != expected:
                raise ValueError(f"at stride {stride} their shape is {tuple(features.shape)} instead of {expected}")


def _of_published(model: str, file: Path, arguments: Mapping[str, Any]) -> nn.Module:
    """Create a timm network with timm's own weights file, which timm converts if an older version wrote the file."""
    import timm

    try:
        return timm.create_model(
            model, pretrained=True, pretrained_cfg_overlay={"file": str(file), "custom_load": False}, **arguments
        )
    except UNREADABLE as error:
        raise ModelError(
            f"{file}: cannot be read as timm's weights of {model} ({reason_of(error)}); remove it, so that it is "
            "downloaded again"
        ) from error


def _load_file(net: nn.Module, model: str, found: FoundWeights) -> Loaded:
    """Load weights into a features_only network of timm from a file that holds the whole classifier `model`."""
    import timm

    file = read_classifier(found.file)
    file.refuse_other_kinds("torch", source=found.file)
    with torch.device("meta"):
        classifier = timm.create_model(model)
    names = {_alike(name): name for name in classifier.state_dict()}
    renamed = {names[_inner(name, names)]: name for name in net.state_dict()}
    own = net.state_dict()
    # layers after the last feature, and constants that older versions of timm saved
    entries = dict.fromkeys(name for name, _ in (*classifier.named_parameters(), *classifier.named_buffers()))
    theirs = efficientnet_pytorch_names(classifier.state_dict())
    _refuse_other_padding(file, model, source=str(found.file))
    result = match(
        file.tensors,
        {name: own[renamed[name]] for name in classifier.state_dict() if name in renamed},
        unused=[name for name in entries if name not in renamed],
        namings=[theirs, renamed],
        source=str(found.file),
        expected=f"timm's {model}",
    )
    if result.by_order:
        _refuse_other_layers(result, net, renamed, model, source=str(found.file))
    tensors = {renamed[name]: tensor for name, tensor in result.tensors.items()}
    load_strictly(net, tensors, unused=[], source=str(found.file), expected=f"timm's {model}")
    return Loaded(found.origin, result, note=file.note)


def _refuse_other_padding(file: ClassifierFile, model: str, *, source: str) -> None:
    """Check that EfficientNet weights trained with TensorFlow's padding are not loaded into a model with torch's.

    Names and shapes agree, but padding and batch normalization differ, so that the features would be wrong.

    Raises:
        ModelError: the weights are from EfficientNet-PyTorch, which pads as TensorFlow does, but the model does not.
    """
    if model.startswith("efficientnet_") and any(name.endswith("_conv_stem.weight") for name in file.tensors):
        raise ModelError(
            f"{source}: is an EfficientNet by EfficientNet-PyTorch, which pads as TensorFlow does; pass --backbone "
            f"tf_{model.partition('.')[0]}"
        )


def _refuse_other_layers(result: Match, net: nn.Module, renamed: Mapping[str, str], model: str, *, source: str) -> None:
    """Check that torchvision's tensors are not loaded into a timm network whose layers pad or normalize in another way.

    Raises:
        ModelError: the file's names and shapes are those of a torchvision network, and one of that network's layers
            has other settings than timm's layer.
    """
    beginning = model.removeprefix("tf_")[:_FAMILY_LETTERS]
    theirs = {ours: name.removeprefix(result.prefix) for ours, name in result.names.items()}
    for name in models.list_models(module=models):
        if not name.startswith(beginning):
            continue
        other = blank_classifier(name)
        shapes = {place: tensor.shape for place, tensor in other.state_dict().items()}
        if any(shapes.get(place) != result.tensors[ours].shape for ours, place in theirs.items()):
            continue
        for ours, place in theirs.items():
            layers = (
                net.get_submodule(renamed[ours].rpartition(".")[0]),
                other.get_submodule(place.rpartition(".")[0]),
            )
            one, two = ([getattr(layer, setting, None) for setting in _SETTINGS] for layer in layers)
            if one != two:
                raise ModelError(
                    f"{source}: holds torchvision's {name}, and some of its layers, such as "
                    f"{place.rpartition('.')[0]}, have other settings than in timm's {model}; give weights from timm"
                )


def _first_convolutions(net: nn.Module, listed: str | list[str]) -> list[str]:
    """Return the names, in a `TimmModel`, of the convolutions that are applied to the image.

    `listed` are their names in the whole model, the entry `first_conv` of timm's configuration.
    """
    wanted = {_alike(name) for name in ([listed] if isinstance(listed, str) else listed)}
    convolutions = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    return [f"net.{name}" for name in convolutions if _inner(name, wanted) in wanted]


# features_only renames layers: stages.0 becomes stages_0 in most models, model.stages.0 or body.stages.0 in others


def _alike(name: str) -> str:
    return name.replace(".", "_")


def _inner(name: str, known: Mapping[str, str] | set[str]) -> str:
    """Convert a layer's name in a features_only network to its name in the whole model, with `_` for each dot.

    `known` are names of the whole model's layers in this form.
    """
    return _alike(name) if _alike(name) in known else _alike(name.partition(".")[2])


FAMILY = Family(
    "timm",
    (
        *("convnext_atto", "convnext_tiny", "convnextv2_tiny", "efficientnet_b0", "tf_efficientnetv2_s"),
        *("mobilenetv3_small_050", "mobilenetv3_large_100", "mobilenetv4_conv_small", "regnetx_002", "regnety_016"),
        *("resnet50d", "densenet121", "hrnet_w18", "swin_tiny_patch4_window7_224", "caformer_s18", "repvit_m1"),
    ),
    "timm",
    create,
)
