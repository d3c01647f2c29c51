"""Other projects' networks as models of this one: with classes and preprocessing."""

from pathlib import Path
from typing import TYPE_CHECKING

from maskpencil.classes import ClassSet
from maskpencil.errors import ModelError
from maskpencil.known_classes import VOC
from maskpencil.model_folder import ModelParts
from maskpencil.preprocessing import Preprocessing

if TYPE_CHECKING:
    from maskpencil.models.architectures import Network

PREFIX = "torchvision/"
"""Names that begin so are torchvision's networks, with the weights that it publishes."""


def published_model(name: str) -> ModelParts:
    """torchvision/fcn_resnet50 or torchvision/fcn_resnet101, trained on COCO with Pascal VOC's classes.

    Raises:
        ConfigError: there is no such network.
        ModelError: the weights cannot be had.
    """
    from maskpencil.models.foreign.torchvision_fcn import torchvision_fcn

    return _parts(torchvision_fcn(name.removeprefix(PREFIX)), None, name)


def import_model(
    path: str | Path, *, classes: ClassSet | None = None, at_once_scales: bool | None = None
) -> ModelParts:
    """A network that another project wrote: see `load_foreign` for the files.

    Without `classes`, 21 are taken for Pascal VOC's, others are numbered.

    Raises:
        ModelError: the file cannot be read, is of another network, or does not fit; or the classes are too many or few.
    """
    from maskpencil.models.foreign.recognize import load_foreign

    return _parts(load_foreign(path, at_once_scales=at_once_scales), classes, str(path))


def _parts(model: "Network", classes: ClassSet | None, source: str) -> ModelParts:
    from maskpencil.models.fcn import FCN
    from maskpencil.models.foreign.torchvision_fcn import IMAGE_SIZE

    count = model.config.num_classes
    if classes is None:
        classes = VOC if count == len(VOC) else ClassSet(tuple(f"class_{index}" for index in range(count)))
    if len(classes) != count:
        raise ModelError(f"{source}: has {count} classes, but {len(classes)} are named; name every one, in its order")
    trunk, image_size = (model.backbone, None) if isinstance(model, FCN) else (model, IMAGE_SIZE)
    preprocessing = Preprocessing(trunk.mean, trunk.std, image_size, trunk.channel_order)
    return ModelParts(model, classes, preprocessing, {"imported from": source})
