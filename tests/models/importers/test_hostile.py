"""Hostile weights of other projects are refused with one error, before much memory is allocated."""

import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from maskpencil.errors import ModelError
from maskpencil.imported import import_model
from maskpencil.models.backbones.weights import read_tensors
from maskpencil.models.importers import caffe
from maskpencil.models.importers.published import load_published
from maskpencil.models.importers.torchvision_fcn import load_torchvision_fcn


@pytest.fixture
def sound(tmp_path):
    torch.save({"a": torch.ones(4, 3), "b": torch.zeros(2)}, tmp_path / "sound.pth")
    return tmp_path / "sound.pth"


def repacked(path, change, packing=zipfile.ZIP_STORED):
    """Write the parts of a file of torch.save anew, each changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name, content))


def test_compressed_entries_are_refused(sound):
    repacked(sound, lambda name, content: bytes(2**24) if name.endswith("data/0") else content, zipfile.ZIP_DEFLATED)
    with pytest.raises(
        ModelError,
        match=r"sound\.pth: cannot be read as weights \(its entries are compressed and would expand to 16 MiB\)",
    ):
        read_tensors(sound)


def test_numbers_that_are_declared_but_missing_are_refused(sound):
    def claim(name, content):
        twelve, many = b"K\x0ct", b"J" + struct.pack("<i", 10**8) + b"t"  # as pickle writes the count of numbers
        return content.replace(twelve, many) if name.endswith("data.pkl") else content

    repacked(sound, claim)
    with pytest.raises(ModelError, match=r"sound\.pth: cannot be read as weights"):
        read_tensors(sound)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(1).expand(10**6, 10**6),
        torch.eye(3).to_sparse(),
        torch.empty(10**6, 10**6, device="meta"),
    ],
    ids=["one number for all", "sparse", "without numbers"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_do_not_store_all_numbers_are_refused(tmp_path, tensor):
    torch.save({"a": tensor}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"net\.pth: (holds a, whose numbers|cannot be read as weights)"):
        read_tensors(tmp_path / "net.pth")


def test_a_name_that_takes_forever_to_print_is_reported_by_its_type(tmp_path):
    name = ()
    for _ in range(12):
        name = (name, name)
    torch.save({name: torch.ones(1)}, tmp_path / "net.pth", pickle_module=pickle)
    with pytest.raises(ModelError, match=r"net\.pth: (holds tuple, which are not tensors|cannot be read)"):
        read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize("shape", [(), (0, 5, 1, 1), (256, 5, 1, 1), (10**5, 0, 1, 1), (21,)])
def test_a_number_of_classes_that_no_label_map_can_hold_is_refused(shape):
    scores = torch.empty(shape)
    published = {"score_fr.weight": scores, "upscore.weight": torch.empty(10**5, 10**5, 0, 0), "conv1.weight": scores}
    message = r"net: score_fr\.weight has the shape \(.*expected \(K, C, 1, 1\) for K classes, 1 to 255"
    with pytest.raises(ModelError, match=message):
        load_published(published, source="net")
    with pytest.raises(ModelError, match=r"net: classifier\.4\.weight has the shape"):
        load_torchvision_fcn({"classifier.4.weight": scores}, source="net")


@pytest.mark.parametrize("scale", [torch.empty(0), torch.ones(3), torch.tensor(float("nan"))])
def test_scales_that_are_not_the_released_ones_are_refused(scale):
    tensors = {
        "score_fr.weight": torch.zeros(2, 4, 1, 1),
        "upscore.weight": torch.zeros(2, 2, 64, 64),
        "conv1.weight": torch.zeros(1),
        "scale_pool4.weight": scale,
    }
    with pytest.raises(ModelError, match=r"net: scale_pool4\.weight is .*; expected 0\.01, as in the released"):
        load_published(tensors, source="net")


def test_import_refuses_weights_that_are_not_finite(tmp_path):
    save_file({"classifier.4.weight": torch.full((21, 512, 1, 1), float("nan"))}, tmp_path / "net.safetensors")
    with pytest.raises(ModelError, match=r"classifier\.4\.weight holds values that are not finite"):
        import_model(tmp_path / "net.safetensors")


def test_very_long_names_are_cut_in_the_error(tmp_path):
    save_file({"n" * 10**6: torch.zeros(1)}, tmp_path / "net.safetensors")
    with pytest.raises(ModelError) as error:
        import_model(tmp_path / "net.safetensors")
    assert len(str(error.value)) < 1000


def test_a_message_of_too_many_fields_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(caffe, "MAX_FIELDS", 1000)
    (tmp_path / "net.caffemodel").write_bytes(b"\x18\x00" * 2000)
    with pytest.raises(ModelError, match="a message has more than 1000 fields"):
        import_model(tmp_path / "net.caffemodel")
