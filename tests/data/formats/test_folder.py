import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskpencil.classes import ClassSet, read_classes
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import WRITERS
from maskpencil.data.formats.base import LabeledImage, with_distinct_colors, write_folder
from maskpencil.data.formats.cvat import write_cvat
from maskpencil.data.formats.voc import write_voc
from maskpencil.errors import DataError

SIZE = (6, 9)
WRITERS_HERE = {"folder": write_folder, "voc": write_voc, "cvat": write_cvat}

names = st.text("abcdefgh .-äß", min_size=1, max_size=6).filter(lambda name: name == name.strip())
some_colors = st.sampled_from([(0, 0, 0), (1, 1, 1), (128, 0, 0), (224, 224, 192), (255, 255, 255)])
colors = some_colors | st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[ClassSet, dict[tuple[str, str], tuple[str, np.ndarray]]]:
    """Classes, and label maps with some pixels ignored by split and name, with the suffixes of their images."""
    class_names = draw(st.lists(names | st.just("background"), min_size=1, max_size=6, unique=True))
    palette = draw(st.lists(colors, min_size=len(class_names), max_size=len(class_names)))
    classes = ClassSet(tuple(class_names), tuple(palette), draw(st.sampled_from([255, -1, 70])))
    values = st.sampled_from([*range(len(class_names)), 255])
    splits = draw(st.sampled_from([("",), ("train", "val"), ("train", "val", "test")]))
    images = {}
    for split in splits:
        found = draw(
            st.lists(st.sampled_from(["0", "1", "a b", "video/1", "v1.5"]), min_size=2, max_size=3, unique=True)
        )
        for name in found:
            suffix = draw(st.sampled_from([".png", ".jpg", ".JPG", ".bmp"]))
            drawn = draw(st.lists(values, min_size=SIZE[0] * SIZE[1], max_size=SIZE[0] * SIZE[1]))
            images[split, name] = suffix, np.array(drawn, dtype=np.uint8).reshape(SIZE)
    return classes, images


@pytest.mark.slow
@settings(max_examples=25)
@pytest.mark.parametrize("writer", WRITERS_HERE.values(), ids=WRITERS_HERE)
@given(data=data_sets())
def test_what_is_written_is_read_again_exactly(writer, data) -> None:
    classes, images = data
    with tempfile.TemporaryDirectory() as temporary:
        out, sources = Path(temporary, "out"), {}
        out.mkdir()
        with writer(out, classes) as add:
            for number, ((split, name), (suffix, label_map)) in enumerate(images.items()):
                source = Path(temporary, f"{number}{suffix}")
                Image.fromarray(np.full((*SIZE, 3), number, dtype=np.uint8)).save(source)
                sources[source.read_bytes() + suffix.encode()] = split, label_map
                add(LabeledImage(split, name, source, label_map))
        folder = open_folder(out)
        assert folder.classes.names == classes.names
        assert folder.classes.palette == with_distinct_colors(classes).palette
        pairs = [(split, pair) for split, pairs in folder.splits.items() for pair in pairs]
        assert len(pairs) == len(images)
        for split, pair in pairs:
            written, label_map = sources.pop(pair.image.read_bytes() + pair.image.suffix.encode())
            assert written in (split, "")
            np.testing.assert_array_equal(folder.read_pair(pair)[1], label_map)


def test_the_folder_is_in_the_form_of_this_package(tmp_path: Path) -> None:
    source = tmp_path / "source.JPG"
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(source)
    classes = ClassSet(("road", "car"), ((1, 2, 3), (4, 5, 6)), 11)
    label_map = np.array([[0, 1, 255] * 3] * 6, dtype=np.uint8)
    with write_folder(tmp_path / "out", classes) as add:
        add(LabeledImage("train", "video/1", source, label_map))
        add(LabeledImage("", "2", source, label_map))
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert files == [
        "classes.yaml",
        "images/2.JPG",
        "images/train/video/1.JPG",
        "masks/2.png",
        "masks/train/video/1.png",
    ]
    assert read_classes(tmp_path / "out" / "classes.yaml") == ClassSet(classes.names, classes.palette)
    mask = Image.open(tmp_path / "out" / "masks" / "2.png")
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.array(mask), label_map)
    assert mask.getpalette()[:6] == [1, 2, 3, 4, 5, 6]


def test_nothing_names_the_classes_before_all_is_written(tmp_path: Path) -> None:
    for name, writer in WRITERS_HERE.items():
        with pytest.raises(DataError, match="half way"), writer(tmp_path / name, ClassSet(("a", "b"))):
            raise DataError("half way")
        assert not list((tmp_path / name).rglob("*"))


def test_the_writers_are_registered() -> None:
    assert WRITERS_HERE.items() <= WRITERS.items()
