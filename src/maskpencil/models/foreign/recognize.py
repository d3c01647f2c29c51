"""From a file of another project to a network."""

from pathlib import Path

from maskpencil.errors import ModelError
from maskpencil.models.backbones.weights import listed, read_tensors, refuse_non_finite
from maskpencil.models.fcn import FCN
from maskpencil.models.foreign.caffemodel import read_caffemodel
from maskpencil.models.foreign.published import is_published, load_published
from maskpencil.models.foreign.torchvision_fcn import TorchvisionFCN, is_torchvision_fcn, load_torchvision_fcn


def load_foreign(path: str | Path, *, at_once_scales: bool | None = None) -> FCN | TorchvisionFCN:
    """Make the network whose weights a file holds: one of the authors' nets, or one of torchvision's.

    The file is Caffe's (.caffemodel) or a state dict (.safetensors, .pth or .pt). `at_once_scales` says whether an
    FCN-8s is the one trained at once, where the file does not tell.

    Raises:
        ModelError: the file cannot be read, is of another network, or does not fit.
    """
    path = Path(path)
    tensors = read_caffemodel(path) if path.suffix == ".caffemodel" else read_tensors(path)
    refuse_non_finite(tensors, source=str(path))
    if is_torchvision_fcn(tensors):
        return load_torchvision_fcn(tensors, source=str(path))
    if is_published(tensors):
        return load_published(tensors, source=str(path), at_once_scales=at_once_scales)
    begins = listed(tensors)
    raise ModelError(
        f"{path}: is a network of another kind (it holds {begins}); expected one of the authors' FCNs or "
        "torchvision's fcn_resnet50 or fcn_resnet101; a classifier's weights go to train with --weights"
    )
