import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.ground_truth import recognize
from maskpencil.errors import DataError

SIZE = (16, 24)
IMAGE = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
COLORS = np.array([(255, 255, 255), (0x2C, 0xA0, 0x2C), (0x1F, 0x77, 0xB4)], dtype=np.uint8)
NAMES = ("BACKGROUND", "car", "road")
HEX = ("#ffffff", "#2ca02c", "#1f77b4")
BUCKET = "s3://bucket/job"


def label_map(seed: int) -> npt.NDArray[np.uint8]:
    found = np.zeros(SIZE, dtype=np.uint8)
    found[2:9, 2 + seed : 10] = 1
    found[9:, 12:] = 2
    return found


def color_map(*numbers: int, **changed: str) -> dict[str, Any]:
    return {str(n): {"class-name": NAMES[n], "hex-color": HEX[n], "confidence": 0.1, **changed} for n in numbers}


def line(name: str, job: str = "street", colors: Any = None, **more: Any) -> str:
    mask = f"{BUCKET}/annotations/consolidated-annotation/output/{name}_2024-03-09.png"
    metadata = {"internal-color-map": colors or color_map(0, 1, 2), "type": "groundtruth/semantic-segmentation"}
    return json.dumps(
        {"source-ref": f"{BUCKET}/images/{name}.jpg", f"{job}-ref": mask, f"{job}-ref-metadata": metadata, **more}
    )


@pytest.fixture
def open_with(save_files):
    def open_job(*lines: str, name: str = "output.manifest", **files: Any) -> DataFolder:
        images = {f"images/{image}.jpg": IMAGE for image in "ab"}
        place = "annotations/consolidated-annotation/output"
        masks = {f"{place}/{image}_2024-03-09.png": COLORS[label_map(number)] for number, image in enumerate("ab")}
        folder = open_folder(save_files({**images, **masks, name: "\n".join(lines), **files}))
        folder.check_images()
        return folder

    return open_job


@pytest.mark.parametrize("name", ["output.manifest", "manifests/output/output.manifest", "lines.jsonl"])
def test_masks_have_the_names_of_their_colors(open_with, name: str) -> None:
    folder = open_with(line("a"), line("b", colors=color_map(0, 2)), name=name)
    assert folder.classes.names == NAMES
    assert folder.classes.palette == tuple(map(tuple, COLORS.tolist()))
    maps = {pair.image.stem: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    for number, image in enumerate("ab"):
        np.testing.assert_array_equal(maps[image], label_map(number))


def test_files_without_a_partner_are_named(open_with) -> None:
    notes = open_with(line("a"), line("b"), line("gone"), **{"images/alone.jpg": IMAGE}).notes
    assert left_out(notes, "images without a mask") == ["alone.jpg"]
    assert left_out(notes, "masks without an image") == ["gone.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line("a")[:-2], r"line 1 is not valid JSON"),
        (line("a", colors=color_map(1, **{"hex-color": "green"})), r"1: 'hex-color' is 'green'; expected a color"),
        (line("a", colors=color_map(1, **{"class-name": ""})), r"'class-name' is ''; expected a text"),
        (line("a", colors=color_map(1, **{"class-name": "cat"})), r"gives 'car' the color .* which 'cat' has in other"),
        (
            line("a", other="", **{"new-ref": "x", "new-ref-metadata": {"internal-color-map": {}}}),
            r"has masks of several jobs \(street-ref, new-ref\); remove all but one",
        ),
        (
            json.dumps({"source-ref": "s3://x/a.jpg", "boxes": {}, "boxes-metadata": {"type": "groundtruth/boxes"}}),
            r"comes from a job of type groundtruth/boxes; such jobs have no masks; use the manifest of a semantic",
        ),
    ],
)
def test_a_line_that_cannot_be_is_an_error_that_names_it(open_with, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"output\.manifest: line [12].*{message}|{message}"):
        open_with(text, line("b"))


def test_a_manifest_without_its_files_says_what_to_do(save_files) -> None:
    with pytest.raises(
        DataError, match=r"names images and masks, but no image with its mask is below .*; copy images and masks"
    ):
        open_folder(save_files({"output.manifest": line("a")}))


def test_a_color_without_a_name_is_an_error(open_with) -> None:
    with pytest.raises(DataError, match=r"a_2024-03-09\.png: holds the color \(31, 119, 180\)"):
        open_with(line("a", colors=color_map(0, 1)), line("b", colors=color_map(0, 1)))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    root = save_files({"input.manifest": '{"source-ref": "s3://x/a.jpg"}', "a.json": ""})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
