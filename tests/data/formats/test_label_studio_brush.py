import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.data.folder import open_folder
from maskpencil.data.layout import Places
from maskpencil.errors import DataError, ImageError

SIZE = (32, 48)
IMAGE = np.full((*SIZE, 3), 50, dtype=np.uint8)


def mask(top: int, bottom: int) -> npt.NDArray[np.uint8]:
    pixels = np.zeros(SIZE, dtype=np.uint8)
    pixels[top:bottom] = 255
    return pixels


MASKS = {
    "task-7-annotation-3-by-1-tag-road-0.png": mask(10, 32),
    "task-7-annotation-3-by-1-tag-car-0.png": mask(12, 15),
    "task-7-annotation-3-by-1-tag-car-1.png": mask(0, 2),
    "task-7-annotation-2-by-1-tag-tree-0.png": mask(0, 32),
    "task-8-annotation-9-by-me@x.org-tag-road-0.png": mask(30, 32),
}
NAMES = {7: "/data/upload/1/0a1b2c3d-a.png", 8: "b.png", 9: "c.png"}


def tasks(**more: Any) -> str:
    return json.dumps([{"id": n, "data": {"image": name}, **more} for n, name in NAMES.items()])


@pytest.mark.parametrize("more", [{}, {"annotations": []}, {"annotations": [{"id": 1, "result": []}]}, {"drafts": []}])
def test_masks_belong_to_the_images_of_their_tasks(more: dict[str, Any], save_files) -> None:
    images = {f"images/{name}.png": IMAGE for name in "abc"}
    root = save_files({"tasks.json": tasks(**more), **images, **MASKS})
    folder = open_folder(root)
    maps = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    assert folder.classes.names == ("background", "car", "road")
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[10:] = 2
    expected[12:15] = expected[:2] = 1
    np.testing.assert_array_equal(maps["a"], expected)
    np.testing.assert_array_equal(maps["b"] == 2, mask(30, 32) > 0)
    assert "1 image has several annotations, the newest is used" in folder.notes
    assert left_out(folder.notes, "images without a mask") == ["c.png"]


def test_images_may_lie_elsewhere_and_masks_of_unknown_tasks_are_named(save_files) -> None:
    save_files({f"../photos/{name}.png": IMAGE for name in "ab"})
    root = save_files({"tasks.json": tasks(), **MASKS, "task-1-annotation-1-by-1-tag-road-0.png": mask(0, 1)})
    with pytest.raises(DataError, match=r"has masks of 3 tasks, but none of their images is below .* --images FOLDER"):
        open_folder(root)
    folder = open_folder(root, places=Places(images=root.parent / "photos"))
    assert len(folder.facts) == 2
    assert left_out(folder.notes, "masks without an image") == ["task-1-annotation-1-by-1-tag-road-0.png"]


def test_without_tasks_or_of_another_size_they_are_refused(save_files) -> None:
    root = save_files({**MASKS, "a.png": IMAGE, "b.png": IMAGE})
    with pytest.raises(DataError, match=r"is one of 5 PNG masks of Label Studio, .* export the project as JSON"):
        open_folder(root)
    name = next(iter(MASKS))
    save_files({"tasks.json": tasks(), name: np.zeros((9, 9), dtype=np.uint8)})
    with pytest.raises(
        ImageError, match=r"tag-road-0\.png: is 9 x 9 pixels, but its image is 48 x 32; expected equal sizes"
    ):
        open_folder(Path(root))
