from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

RANDOM = np.random.default_rng(3)


def objects(count: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Squares side by side with these values on 0, (24, 96) or (24, 96, 3)."""
    image = np.zeros((24, 96, *values.shape[1:]), dtype=values.dtype)
    for number in range(count):
        image[4:20, 12 * number + 1 : 12 * number + 10] = values[number]
    return image


def save(root: Path, masks: list[npt.NDArray[Any]]) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, mask in enumerate(masks):
        photo = RANDOM.integers(0, 256, (*mask.shape[:2], 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def numbered(dtype: type, counts: tuple[int, ...] = (2, 5, 3, 7, 4, 6)) -> list[npt.NDArray[Any]]:
    return [objects(count, np.arange(1, 9, dtype=dtype)) for count in counts]


FORMS = {
    "numbers in 8 bits": numbered(np.uint8),
    "numbers in 16 bits": numbered(np.uint16),
    "an empty mask among them": [np.zeros((24, 96), np.uint8), *numbered(np.uint8)],
    "other numbers in each": [objects(4, RANDOM.integers(1, 60000, 8).astype(np.uint16)) for _ in range(6)],
    "other colors in each": [objects(5, RANDOM.integers(1, 256, (8, 3), dtype=np.uint8)) for _ in range(6)],
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_objects_are_refused_and_fixed_as_one_class(form: str, tmp_path: Path) -> None:
    root = save(tmp_path / "data", FORMS[form])
    with pytest.raises(DataError, match=r"numbers objects .*maskpencil check DATA --fix CLEAN writes"):
        open_folder(root)
    report = check(root)
    assert [fault.kind for fault in report.faults if fault.severity == "error"] == ["numbered-objects"]
    write_fixed(report, tmp_path / "clean")
    clean = open_folder(tmp_path / "clean")
    assert clean.classes.names == ("background", "object")
    for pair in (pair for pairs in clean.splits.values() for pair in pairs):
        mask = FORMS[form][int(pair.name)]
        expected = mask > 0 if mask.ndim == 2 else (mask > 0).any(axis=2)
        np.testing.assert_array_equal(clean.read_label_map(pair), expected)


def test_names_in_a_class_file_make_classes_of_numbers(tmp_path: Path) -> None:
    root = save(tmp_path / "data", numbered(np.uint8))
    (root / "classes.yaml").write_text(f"names: [{', '.join(f'c{i}' for i in range(8))}]")
    assert len(open_folder(root).classes) == 8


def test_segments_without_a_background_have_no_remedy_but_another_export(tmp_path: Path) -> None:
    masks = []
    for _ in range(6):
        mask = objects(5, RANDOM.integers(1, 256, (8, 3), dtype=np.uint8))
        mask[(mask == 0).all(axis=2)] = RANDOM.integers(1, 256, 3)
        masks.append(mask)
    root = save(tmp_path / "data", masks)
    with pytest.raises(DataError, match="export a mask of classes"):
        open_folder(root)
    assert check(root).encoding is None


def scattered(values: list[int]) -> npt.NDArray[np.uint8]:
    mask = np.zeros((24, 96), dtype=np.uint8)
    for number, value in enumerate(values):
        mask[2:10, 10 * number : 10 * number + 8] = mask[14:20, 80 - 10 * number : 88 - 10 * number] = value
    return mask


CLASSES = {
    "two regions a class": [scattered(list(range(1, 1 + count))) for count in (2, 5, 3, 4)],
    "gaps between the numbers": [
        objects(3, np.array(v, np.uint8)) for v in ([1, 2, 5], [2, 5, 1], [5, 1, 3], [1, 3, 2])
    ],
    "as many in each mask": [objects(4, np.array(v, np.uint8)) for v in ([1, 2, 3, 4], [4, 3, 2, 1], [2, 1, 4, 3])],
    "the last of them seldom absent": [objects(count, np.arange(1, 6, dtype=np.uint8)) for count in (5, 5, 4, 5, 5, 5)],
    "two of them": [objects(count, np.array([1, 2], np.uint8)) for count in (1, 2, 2, 1, 2)],
    "two masks": numbered(np.uint8, (3, 5)),
}


@pytest.mark.parametrize("form", CLASSES)
def test_classes_are_not_taken_for_objects(form: str, tmp_path: Path) -> None:
    folder = open_folder(save(tmp_path / "data", CLASSES[form]))
    assert folder.encoding.kind == "index"
