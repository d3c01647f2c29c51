"""Arrays are written as NumPy reads them, and only the expected ones are read."""

import io
import zipfile

import numpy as np
import pytest

from maskpencil import array_files
from maskpencil.array_files import largest_npz, npy_bytes, npz_bytes, read_npz

ARRAYS = {
    "label_map": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "probabilities": np.random.default_rng(0).random((2, 3, 4), np.float32),
}
FORMS = {"label_map": (np.uint8, (3, 4)), "probabilities": (np.float32, (2, 3, 4))}


def test_numpy_reads_what_is_written():
    with np.load(io.BytesIO(npz_bytes(ARRAYS)), allow_pickle=False) as found:
        assert list(found) == list(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
    turned = ARRAYS["probabilities"].transpose(2, 0, 1)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy_bytes(turned)), allow_pickle=False), turned)


def test_what_numpy_writes_is_read():
    for save in (np.savez, np.savez_compressed):
        content = io.BytesIO()
        save(content, **ARRAYS)
        found = read_npz(content.getvalue(), FORMS)
        assert all((found[name] == array).all() and found[name].dtype == array.dtype for name, array in ARRAYS.items())


def test_equal_arrays_are_equal_files():
    assert npz_bytes(ARRAYS) == npz_bytes(ARRAYS)


def test_the_largest_size_is_enough_for_arrays_that_cannot_be_compressed():
    random = np.random.default_rng(0)
    for size in ((1, 1), (100, 300)):
        arrays = {"label_map": random.integers(0, 255, size, np.uint8), "entropy": random.random(size, np.float32)}
        forms = {name: (array.dtype.type, array.shape) for name, array in arrays.items()}
        assert (
            len(npz_bytes(arrays)) <= largest_npz(forms) <= sum(each.nbytes for each in arrays.values()) * 1.1 + 20_000
        )


def renamed(content, name):
    return content.replace(b"label_map.npy", name.ljust(13, b"x"))


def saved(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def bomb():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("label_map.npy", npy_bytes(np.zeros(2**24, np.uint8)))
    return content.getvalue()


def with_header(text):
    header = text.encode().ljust(100) + b"\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("label_map.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(12))
    return content.getvalue()


WRONG = {
    "nothing": b"",
    "a page": b"<html>" * 100,
    "other names": saved(labels=ARRAYS["label_map"]),
    "more": saved(label_map=ARRAYS["label_map"], more=ARRAYS["label_map"]),
    "a path": renamed(saved(label_map=ARRAYS["label_map"]), b"/etc/passwd"),
    "shape": saved(label_map=ARRAYS["label_map"].T),
    "order": saved(label_map=np.asfortranarray(ARRAYS["label_map"])),
    "dtype": saved(label_map=ARRAYS["label_map"].astype(np.int8)),
    "objects": saved(label_map=np.array([[print]], dtype=object)),
    "records": saved(label_map=np.zeros((3, 4), [("a", "u1")])),
    "bomb": bomb(),
    "cut": saved(label_map=ARRAYS["label_map"])[:-30],
    "code": with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (__import__('os').getpid(), 4)}"),
    "large": with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 999999999)}"),
    "nested": with_header("(" * 90),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_refused(name):
    with pytest.raises(ValueError, match=r"."):
        read_npz(WRONG[name], {"label_map": FORMS["label_map"]})


def test_damaged_files_are_refused_or_read_and_nothing_else():
    whole, random = npz_bytes({"label_map": ARRAYS["label_map"]}), np.random.default_rng(0)
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        for place in random.integers(0, len(damaged), 2):
            damaged[place] = random.integers(256)
        try:
            assert read_npz(bytes(damaged), {"label_map": FORMS["label_map"]})["label_map"].shape == (3, 4)
        except ValueError:
            refused += 1
    assert refused > 100


def test_a_bomb_is_not_unpacked(monkeypatch):
    sizes = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: sizes.append(n) or read(self, n))
    with pytest.raises(ValueError, match=r"label_map\.npy is uint8 of the shape"):
        read_npz(bomb(), {"label_map": FORMS["label_map"]})
    assert max(sizes) <= 12 + array_files.HEADER_BYTES + 1
