from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.base import LabeledImage
from maskpencil.data.formats.yolo import write_yolo
from maskpencil.errors import DataError

CLASSES = ClassSet(("sky", "background", "box", "ball"), ((1, 2, 3), (0, 0, 0), (210, 70, 50), (50, 80, 220)))
LabelMaps = dict[tuple[str, str], npt.NDArray[np.uint8]]


def write(folder: Path, label_maps: LabelMaps, classes: ClassSet = CLASSES) -> Path:
    """Write an image for each (split, name) to `folder / "yolo"`."""
    with write_yolo(folder / "yolo", classes) as add:
        for number, ((split, name), label_map) in enumerate(label_maps.items()):
            image = folder / f"{number}.png"
            Image.fromarray(np.full((*label_map.shape, 3), number, dtype=np.uint8)).save(image)
            add(LabeledImage(split, name, image, label_map))
    return folder / "yolo"


def read(root: Path) -> LabelMaps:
    folder = open_folder(root)
    folder.check_images()
    return {(split, pair.name): folder.read_pair(pair)[1] for split, pairs in folder.splits.items() for pair in pairs}


def assert_same(found: LabelMaps, expected: LabelMaps) -> None:
    assert set(found) == set(expected)
    for key, label_map in expected.items():
        np.testing.assert_array_equal(found[key], label_map)


def ring_and_dot() -> npt.NDArray[np.uint8]:
    """A box with a hole, in which lies a ball with a hole: (32, 48)."""
    label_map = np.ones((32, 48), dtype=np.uint8)
    label_map[3:29, 5:41] = 2
    label_map[6:20, 9:30] = 1
    label_map[8:18, 12:28] = 3
    label_map[12, 15:20] = 0
    label_map[22:25, 7:12] = 0
    return label_map


def test_the_files_are_as_ultralytics_wants_them(tmp_path: Path) -> None:
    root = write(tmp_path, {("train", "town/a.b"): ring_and_dot(), ("val", "c"): np.ones((9, 9), dtype=np.uint8)})
    assert yaml.safe_load((root / "data.yaml").read_text()) == {
        "train": "images/train",
        "val": "images/val",
        "names": {0: "sky", 1: "box", 2: "ball"},
    }
    assert (root / "images/train/town/a.b.png").read_bytes() == (tmp_path / "0.png").read_bytes()
    assert (root / "labels/val/c.txt").read_text() == ""
    lines = (root / "labels/train/town/a.b.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == [0, 0, 1, 2]
    for line in lines:
        shares = list(map(float, line.split()[1:]))
        assert len(shares) >= 8
        assert len(shares) % 2 == 0
        assert min(shares) >= 0
        assert max(shares) <= 1
    assert lines[1].split()[1:] == [
        f"{v:.6g}" for x, y in [(15, 12), (20, 12), (20, 13), (15, 13)] for v in (x / 48, y / 32)
    ]


def test_classes_order_and_colors_and_label_maps_come_back(tmp_path: Path) -> None:
    other = np.random.default_rng(0).integers(0, 4, (17, 23), dtype=np.uint8)
    label_maps = {("train", "town/a.b"): ring_and_dot(), ("val", "c"): other, ("test", "images/c"): other.T}
    root = write(tmp_path, label_maps)
    assert open_folder(root).classes == CLASSES
    assert_same(read(root), label_maps)


def test_without_splits_the_same_images_come_back(tmp_path: Path) -> None:
    label_maps = {("", name): np.roll(ring_and_dot(), shift) for shift, name in enumerate("abcde")}
    root = write(tmp_path, label_maps)
    assert yaml.safe_load((root / "data.yaml").read_text())["train"] == "images"
    found = {name: label_map for (_, name), label_map in read(root).items()}
    assert_same({("", name): label_map for name, label_map in found.items()}, label_maps)


label_maps = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from((0, 1, 2, 3)))


@pytest.mark.slow
@settings(max_examples=50)  # of four label maps: most of the time goes to recognizing the folder
@given(st.lists(label_maps, min_size=4, max_size=4))
def test_any_label_map_without_ignored_pixels_comes_back_exactly(drawn: list[npt.NDArray[np.uint8]]) -> None:
    with TemporaryDirectory() as folder:
        names = [("train", "one"), ("train", "two"), ("val", "three"), ("val", "four")]
        expected = dict(zip(names, drawn, strict=True))
        assert_same(read(write(Path(folder), expected)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2, 65_535), (9_973, 7), (1, 2_000_003)])
def test_the_digits_suffice_for_the_largest_images(tmp_path: Path, size: tuple[int, int]) -> None:
    label_map = np.random.default_rng(1).integers(0, 4, size, dtype=np.uint8)
    wide = np.repeat(label_map[:, : max(1, size[1] // 500)], 500, axis=1)[:, : size[1]] if size[1] > 500 else label_map
    wide = np.pad(wide, ((0, 0), (0, size[1] - wide.shape[1])), mode="edge")
    wide[:, -3:] = (2, 3, 2)
    expected = {("train", "a"): wide, ("val", "b"): np.ones((4, 4), dtype=np.uint8)}
    assert_same(read(write(tmp_path, expected)), expected)


def test_as_ultralytics_draws_it_the_label_map_differs_at_borders_alone(tmp_path: Path) -> None:
    label_map = np.kron(ring_and_dot(), np.ones((3, 3), dtype=np.uint8))
    height, width = label_map.shape
    root = write(tmp_path, {("train", "a"): label_map, ("val", "b"): label_map})
    drawn = np.ones_like(label_map)
    for line in (root / "labels/train/a.txt").read_text().splitlines():
        number, *shares = line.split()
        points = (np.array(shares, dtype=np.float32).reshape(-1, 2) * (width, height)).astype(np.int32)
        cv2.fillPoly(drawn, [points], (0, 2, 3)[int(number)])
    borders = cv2.dilate(label_map, np.ones((3, 3))) != cv2.erode(label_map, np.ones((3, 3)))
    assert (drawn == label_map)[~borders].all()
    assert (drawn == label_map).mean() > 0.9


def test_ignored_pixels_become_background(tmp_path: Path) -> None:
    label_map = ring_and_dot()
    label_map[4:7, 4:20] = IGNORE_INDEX
    root = write(tmp_path, {("train", "a"): label_map, ("val", "b"): label_map})
    label_map[label_map == IGNORE_INDEX] = CLASSES.index("background")
    np.testing.assert_array_equal(read(root)["train", "a"], label_map)


def test_where_no_class_is_the_background_ignored_pixels_come_back(tmp_path: Path) -> None:
    label_map = ring_and_dot()
    label_map[4:7, 4:20] = IGNORE_INDEX
    expected = {("train", "a"): label_map, ("val", "b"): label_map}
    root = write(tmp_path, expected, ClassSet(("sky", "ground", "box", "ball")))
    assert yaml.safe_load((root / "data.yaml").read_text())["names"] == {0: "sky", 1: "ground", 2: "box", 3: "ball"}
    assert_same(read(root), expected)


def test_a_background_alone_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="the only class is 'background', the background, which YOLO cannot store"),
        write_yolo(tmp_path / "yolo", ClassSet(("background",))),
    ):
        raise AssertionError
