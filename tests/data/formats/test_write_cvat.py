from pathlib import Path

import numpy as np
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.data.formats.base import LabeledImage
from maskpencil.data.formats.cvat import write_cvat

LABEL_MAP = np.array([[0, 1, 2, 255]] * 3, dtype=np.uint8)


def write(root: Path, classes: ClassSet, *splits: str) -> None:
    source = root.parent / "source.png"
    Image.fromarray(np.zeros((3, 4, 3), dtype=np.uint8)).save(source)
    with write_cvat(root, classes) as add:
        for split in splits:
            add(LabeledImage(split, f"{split}1", source, LABEL_MAP))


def row(path: Path) -> list[list[int]]:
    image = Image.open(path)
    assert image.mode == "RGB"  # Datumaro would read a palette's numbers as gray levels
    return np.array(image)[0].tolist()


def test_the_masks_show_classes_and_objects_in_the_colors_that_the_importer_expects(tmp_path: Path) -> None:
    classes = ClassSet(("background", "street", "car"), ((0, 0, 0), (9, 64, 128), (0, 0, 142)))
    write(tmp_path / "out", classes, "")
    out = tmp_path / "out"
    assert row(out / "SegmentationClass" / "1.png") == [[0, 0, 0], [9, 64, 128], [0, 0, 142], [224, 224, 192]]
    # the second and third object; black is none, so that background and ignored pixels become no masks
    assert row(out / "SegmentationObject" / "1.png") == [[0, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 0]]
    assert (out / "labelmap.txt").read_text().splitlines()[1:] == [
        "background:0,0,0::",
        "street:9,64,128::",
        "car:0,0,142::",
        "ignored:224,224,192::",
    ]
    assert (out / "ImageSets" / "Segmentation" / "default.txt").read_text() == "1\n"


def test_a_first_class_that_is_not_background_is_an_object(tmp_path: Path) -> None:
    classes = ClassSet(("sky", "street", "car"), ((0, 0, 0), (0, 0, 0), (224, 224, 192)))
    write(tmp_path / "out", classes, "train", "val")
    out = tmp_path / "out"
    assert row(out / "SegmentationObject" / "train1.png")[0] == [128, 0, 0]
    shown = row(out / "SegmentationClass" / "val1.png")
    assert len({tuple(color) for color in shown}) == 4
    assert [shown[0], shown[3]] == [[0, 0, 0], [224, 224, 192]]
    lists = {path.name: path.read_text() for path in (out / "ImageSets" / "Segmentation").iterdir()}
    assert lists == {"train.txt": "train1\n", "val.txt": "val1\n"}
