"""Resuming a run after its data changed."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from maskpencil.classes import ClassSet, write_classes
from maskpencil.errors import DataError
from maskpencil.training.train import train

SETTINGS = {
    "weights": "none",
    "backbone": "test_resnet",
    "stride": 8,
    "crop_size": "32x32",
    "batch_size": 2,
    "epochs": 1,
    "device": "cpu",
    "quiet": True,
}
NAMES = ("ground", "box", "ball")
COLORS = ((60, 110, 60), (210, 70, 50), (50, 80, 220))


@pytest.fixture
def data(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "data")


@pytest.fixture
def run(data, tmp_path):
    return train(data, out=tmp_path / "run", **SETTINGS)


def resumed(run):
    """What resuming adds to the log."""
    before = (run.folder / "train.log").read_text()
    train(resume=run.folder, quiet=True)
    return (run.folder / "train.log").read_text().removeprefix(before)


def test_unchanged_data_are_resumed_without_a_message(run):
    log = resumed(run)
    assert "resumed after" in log
    assert "warning" not in log


def test_classes_in_another_order_are_refused_with_both_lists(run, data):
    write_classes(data / "classes.yaml", ClassSet(("ground", "ball", "box"), COLORS))
    with pytest.raises(
        DataError, match=r"has the classes ground, ball, box, but .* was started with ground, box, ball"
    ):
        train(resume=run.folder, quiet=True)
    write_classes(data / "classes.yaml", ClassSet(NAMES, COLORS))
    assert "warning" not in resumed(run), "put back as they were they are resumed"


def test_one_more_class_is_refused(run, data):
    write_classes(data / "classes.yaml", ClassSet((*NAMES, "cloud")))
    with pytest.raises(DataError, match=r"ground, box, ball, cloud, but"):
        train(resume=run.folder, quiet=True)


def test_colors_that_have_changed_places_are_refused_where_masks_are_colored(data, tmp_path):
    for mask in (data / "masks").rglob("*.png"):
        Image.fromarray(np.array(COLORS, np.uint8)[np.array(Image.open(mask))]).save(mask)
    run = train(data, out=tmp_path / "run", **SETTINGS)
    write_classes(data / "classes.yaml", ClassSet(NAMES, (COLORS[0], COLORS[2], COLORS[1])))
    with pytest.raises(DataError, match=r"#3250dc in the masks now stands for box, but stood for ball when the run"):
        train(resume=run.folder, quiet=True)


def test_other_colors_of_numbered_masks_are_no_change(run, data):
    write_classes(data / "classes.yaml", ClassSet(NAMES, ((1, 2, 3), (4, 5, 6), (7, 8, 9))))
    assert "warning" not in resumed(run)


def test_images_added_gone_and_changed_are_counted(run, data):
    for kind in ("images", "masks"):
        (data / kind / "train/0.png").unlink()
        for name in ("x", "y"):
            shutil.copy2(data / kind / "train/1.png", data / kind / f"train/{name}.png")
    mask = data / "masks/val/1.png"
    Image.fromarray(np.zeros_like(np.array(Image.open(mask)))).save(mask)
    assert (
        "warning: the data have changed since the run began (images: 2 added, 1 gone, 1 changed): training "
        "continues, but this is not an exact continuation"
    ) in resumed(run)


def test_a_mask_whose_pixels_changed_their_class_within_one_file_size_is_found(data, tmp_path):
    for mask in (data / "masks").rglob("*.png"):
        Image.fromarray(np.array(Image.open(mask))).save(mask.with_suffix(".bmp"))
        mask.unlink()
    run = train(data, out=tmp_path / "run", **SETTINGS)
    mask = data / "masks/train/2.bmp"
    before, values = mask.stat(), np.array(Image.open(mask))
    values[values == 1] = 2
    Image.fromarray(values).save(mask)
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert mask.stat().st_size == before.st_size
    assert "(images: 1 changed)" in resumed(run)


def test_an_image_in_another_split_is_reported_as_moved(run, data):
    for kind in ("images", "masks"):
        shutil.move(data / kind / "train/5.png", data / kind / "val/5.png")
    assert "(images: 1 moved to another split)" in resumed(run)


def test_files_of_another_date_are_reported_since_they_may_have_been_edited(run, data):
    for image in (data / "images/train").iterdir():
        os.utime(image, (1, 1))
    assert "the files of 6 images have another date, but the same size" in resumed(run)


def test_a_run_that_kept_no_fingerprint_is_resumed(run, data):
    (run.folder / "fingerprint.json").unlink()
    (data / "images/train/0.png").unlink()
    assert "resumed after" in resumed(run)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"classes": [], "codes": {}, "splits": {"train": {"0": 1}}}'])
def test_a_damaged_fingerprint_is_one_line_with_a_remedy_that_works(text, run):
    path = run.folder / "fingerprint.json"
    path.write_text(text)
    with pytest.raises(DataError, match="remove the file to resume without that check"):
        train(resume=run.folder, quiet=True)
    path.unlink()
    assert "resumed after" in resumed(run)
