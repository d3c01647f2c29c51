"""Find the pretrained weights of a backbone: a file, an installed package, the libraries' caches, a download."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from maskpencil.errors import ModelError
from maskpencil.models.backbones.downloads import (
    PublishedWeights,
    is_imagenet_tag,
    timm_weights,
    torch_cache,
    torchvision_weights,
)
from maskpencil.models.backbones.origin import Origin
from maskpencil.models.backbones.packages import SMALLEST, package_of
from maskpencil.models.backbones.weights import AUTO, IMAGENET, NONE, UNREADABLE, read_tensors, reason_of


@dataclass(frozen=True)
class FoundWeights:
    """A file of pretrained weights on this machine.

    Args:
        file: the path of the file.
        origin: where the weights come from.
        published: whether the backbone's own library, torchvision or timm, published the file.
    """

    file: Path
    origin: Origin
    published: bool = False


def find_weights(name: str, library: str, weights: str | Path) -> FoundWeights:
    """Find the pretrained weights of a backbone.

    Args:
        name: the backbone's name in its library.
        library: torchvision or timm.
        weights: the path of a file; or "auto" for weights from an installed package, the library's cache or a
            download, tried in this order; or "imagenet" for the same, but only weights that were trained on ImageNet
            alone.

    Raises:
        ModelError: there are no such weights, or they cannot be downloaded.
    """
    if weights not in (AUTO, IMAGENET):
        return FoundWeights(Path(weights), Origin(f"the file {Path(weights).name}"))
    package = package_of(name, imagenet=weights == IMAGENET)
    if package and (file := package.installed_file()):
        return FoundWeights(file, package.origin())
    published = torchvision_weights(name) if library == "torchvision" else timm_weights(name)
    if weights == IMAGENET and not published.is_imagenet:
        raise ModelError(
            f"the tag of {published.title} does not say that it was trained on ImageNet alone, as --weights {IMAGENET} "
            f"requires; give --weights {AUTO}{_other_tag(name)}"
        )
    if file := published.cached():
        return FoundWeights(file, published.origin, published=True)
    try:
        return FoundWeights(published.download(), published.origin, published=True)
    except UNREADABLE as error:
        here = f"install them with '{package.command}'" if package else _remedy_of_another_backbone()
        raise ModelError(
            f"there are no pretrained weights for {name} on this machine, and they cannot be downloaded "
            f"({reason_of(error)}); {here}; or download the weights from {published.page} and pass them with "
            f"--weights FILE; or start untrained with --weights {NONE}"
        ) from error


def published_tensors(name: str, *, otherwise: str) -> dict[str, Tensor]:
    """Load the best weights that torchvision publishes for its network `name`, from its cache or by download.

    `otherwise` is the end of the error message "save URL as FILE, or ...": what the user can do instead.

    Raises:
        ModelError: the weights cannot be downloaded or read.
    """
    published: PublishedWeights = torchvision_weights(name)
    try:
        file = published.cached() or published.download()
    except UNREADABLE as error:
        raise ModelError(
            f"the published weights of {name} cannot be loaded ({reason_of(error)}); save {published.address} as "
            f"{torch_cache(published.address)}, or {otherwise}"
        ) from error
    return read_tensors(file)


def _other_tag(model: str) -> str:
    """Return ", or --backbone NAME" with a name of the model whose weights are of ImageNet alone, else ""."""
    import timm

    names = timm.list_pretrained(f"{model.partition('.')[0]}.*")
    name = next((name for name in names if is_imagenet_tag(name.partition(".")[2])), None)
    return f", or --backbone {name}" if name else ""


def _remedy_of_another_backbone() -> str:
    install = "" if SMALLEST.installed_file() else f"'{SMALLEST.command}' and "
    return f"choose a backbone whose weights come as a package, with {install}--backbone {SMALLEST.backbone}"
