"""Read networks of other projects as models with classes and preprocessing."""

from pathlib import Path
from typing import TYPE_CHECKING

from maskpencil.classes import ClassSet
from maskpencil.errors import ModelError
from maskpencil.known_classes import VOC
from maskpencil.model_folder import ModelParts
from maskpencil.preprocessing import Preprocessing

if TYPE_CHECKING:
    from maskpencil.models.build import Network

PREFIX = "torchvision/"
"""The prefix of the names of torchvision's networks, which come with the weights that it publishes."""


def published_model(name: str) -> ModelParts:
    """Load torchvision/fcn_resnet50 or torchvision/fcn_resnet101, trained on COCO with Pascal VOC's classes.

    Raises:
        ConfigError: there is no such network.
        ModelError: the weights cannot be downloaded or read.
    """
    from maskpencil.models.importers.torchvision_fcn import torchvision_fcn

    return _parts(torchvision_fcn(name.removeprefix(PREFIX)), None, name)


def import_model(
    path: str | Path, *, classes: ClassSet | None = None, at_once_scales: bool | None = None
) -> ModelParts:
    """Read a network of the FCN authors or of torchvision from a weights file.

    Args:
        path: a Caffe file (.caffemodel) or a state dict (.safetensors, .pth or .pt).
        classes: the network's classes in their order; by default Pascal VOC's for 21 classes, else class_0, class_1...
        at_once_scales: whether an FCN-8s was trained "at once", see `FCNConfig`. None means True if the file holds
            scale_pool4 or scale_pool3, else False. Files of PyTorch ports hold neither: give True for an at-once FCN-8s
            from such a file.

    Raises:
        ModelError: the file cannot be read, holds another network, or its tensors or the number of classes do not fit.
    """
    from maskpencil.models.backbones.weights import listed, read_tensors, refuse_non_finite
    from maskpencil.models.importers.caffe import read_caffemodel
    from maskpencil.models.importers.published import is_published, load_published
    from maskpencil.models.importers.torchvision_fcn import is_torchvision_fcn, load_torchvision_fcn

    path = Path(path)
    tensors = read_caffemodel(path) if path.suffix == ".caffemodel" else read_tensors(path)
    refuse_non_finite(tensors, source=str(path))
    network: Network
    if is_torchvision_fcn(tensors):
        network = load_torchvision_fcn(tensors, source=str(path))
    elif is_published(tensors):
        network = load_published(tensors, source=str(path), at_once_scales=at_once_scales)
    else:
        raise ModelError(
            f"{path}: is not a known segmentation network (it holds {listed(tensors)}); expected one of the authors' "
            "FCNs or torchvision's fcn_resnet50 or fcn_resnet101; for a classifier's weights, use train --weights"
        )
    return _parts(network, classes, str(path))


def _parts(model: "Network", classes: ClassSet | None, source: str) -> ModelParts:
    from maskpencil.models.fcn import FCN
    from maskpencil.models.importers.torchvision_fcn import IMAGE_SIZE

    count = model.config.num_classes
    if classes is None:
        classes = VOC if count == len(VOC) else ClassSet(tuple(f"class_{index}" for index in range(count)))
    if len(classes) != count:
        raise ModelError(f"{source}: has {count} classes, but {len(classes)} are named; name all of them, in order")
    trunk, image_size = (model.backbone, None) if isinstance(model, FCN) else (model, IMAGE_SIZE)
    preprocessing = Preprocessing(trunk.mean, trunk.std, image_size, trunk.channel_order)
    return ModelParts(model, classes, preprocessing, {"imported from": source})
