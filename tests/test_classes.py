from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskpencil.classes import (
    MAX_CLASSES,
    MAX_YAML_BYTES,
    MAX_YAML_DEPTH,
    ClassSet,
    distinct_colors,
    read_classes,
    read_yaml,
    write_classes,
)
from maskpencil.errors import DataError, OutputError

words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)
colors = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def class_sets(draw: st.DrawFn) -> ClassSet:
    names = draw(st.lists(words, min_size=1, max_size=8, unique=True))
    palette = draw(st.just([]) | st.lists(colors, min_size=len(names), max_size=len(names)))
    return ClassSet(tuple(names), tuple(palette), draw(st.integers(len(names), 70_000) | st.just(-1)))


@settings(max_examples=25)
@given(classes=class_sets())
def test_what_is_written_is_read_again(classes: ClassSet, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "classes.yaml"
    write_classes(path, classes)
    assert read_classes(path) == classes
    assert ClassSet.from_dict(classes.to_dict()) == classes


def test_the_colors_are_an_array_in_the_order_of_the_names() -> None:
    classes = ClassSet(("road", "car"), ((1, 2, 3), (4, 5, 6)))
    assert len(classes) == 2
    assert classes.index("car") == 1
    np.testing.assert_array_equal(classes.colors, np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8))


def test_found_colors_differ_and_start_with_black() -> None:
    colors = distinct_colors(MAX_CLASSES)
    assert colors[0] == (0, 0, 0)
    assert len(set(colors)) == MAX_CLASSES
    assert distinct_colors(5) == colors[:5]
    first = np.array(colors[:12], dtype=float)
    distances = np.linalg.norm(first[:, None] - first[None], axis=-1)[~np.eye(12, dtype=bool)]
    assert distances.min() > 60


@pytest.mark.parametrize(
    ("names", "palette", "ignore_index", "message"),
    [
        ((), (), 255, "1 to 255 classes, but got 0"),
        (tuple(map(str, range(256))), (), 999, "but got 256"),
        (("road", "car", "road"), (), 255, "'road' occurs more than once"),
        (("road", "car"), ((0, 0, 0),), 255, r"as many colors as there are classes \(2\), but got 1"),
        (("road",), ((0, 0, 256),), 255, r"whole numbers from 0 to 255, but got \[0, 0, 256\]"),
        (("road",), ((0, 0),), 255, r"three whole numbers .* got \[0, 0\]"),
        (("road",), ((0, 0, 0.5),), 255, "whole numbers"),
        (("road", "car"), (), 1, "1 is the index of 'car'"),
    ],
)
def test_classes_that_cannot_be_are_refused(
    names: tuple[str, ...], palette: tuple[Any, ...], ignore_index: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ClassSet(names, palette, ignore_index)


def test_an_unknown_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(DataError, match="no class 'bus'; the classes are road, car"):
        ClassSet(("road", "car")).index("bus")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [road, car]", ("road", "car")),
        ("names: {0: road, 1: car}", ("road", "car")),
        ("names: {1: car, 0: road}", ("road", "car")),
        ("names: [1, 2.5]", ("1", "2.5")),
        ("names: [yes, no, on, off, true]", ("yes", "no", "on", "off", "true")),
        ("names: [010, 1_0, 1:30, 0x10, 1.50, 2020-01-01]", ("010", "1_0", "1:30", "0x10", "1.50", "2020-01-01")),
        ("names: {0: 007, 1: No}", ("007", "No")),
        ("\ufeffnames: [Straße, 車]\nignore_index: 11", ("Straße", "車")),
    ],
)
def test_class_names_are_read_in_several_forms(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / "classes.yaml").write_text(text, encoding="utf-8")
    assert read_classes(tmp_path / "classes.yaml").names == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds NoneType; expected 'names:"),
        ("- road\n- car", "holds list"),
        ("palette: []", "'names' must be a list of class names, but got None"),
        ("names: road", "must be a list"),
        ("names: [[road], [car]]", "must be a string or a number"),
        ("names: {1: road, 2: car}", "numbered from 0 without gaps"),
        ("names: {road: 0, car: 1}", "numbered from 0 without gaps"),
        ("names: {false: road, true: car}", "numbered from 0 without gaps"),
        ("names: {0: road, 0: car, 1: sky}", "line 1 has '0' for the second time; remove one of them"),
        ("names: [road]\nnames: [car]", "line 2 has 'names' for the second time"),
        ("names: [road, null]", "must be a string or a number, but got \\['road', None\\]"),
        ("names: [road]\nignore_index: true", "'ignore_index' must be a whole number, but got True"),
        ("names: [road]\npalette: red", "'palette' must be a list of"),
        ("names: [road]\npalette: [1, 2, 3]", "'palette' must be a list of"),
        ("names: [road]\nignore_index: void", "'ignore_index' must be a whole number, but got 'void'"),
        ("names: [road\n", "is not valid YAML"),
        ("names: [road, road]", "'road' occurs more than once"),
        (b"names: [\xff\xfe]", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_class_file_is_one_line_with_its_name(tmp_path: Path, text: str | bytes | None, message: str) -> None:
    path = tmp_path / "classes.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_classes(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_unwritable_class_file_is_an_error_of_this_package(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_classes(tmp_path / "file" / "classes.yaml", ClassSet(("road",)))


LAUGHS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a0: &a0 ha\n" + LAUGHS,
            "line 1 has an anchor or alias (& or *), which is not supported; write the value out",
        ),
        ("names:\n- *road", "line 2 has an anchor or alias"),
        ("names: !!python/object/apply:os.system [ls]", "line 1 has the tag 'tag:yaml.org,2002:python/object/apply:os"),
        ("names: [!!str 5]", "has the tag"),
        ("names: ! 5", "has the tag '!'"),
        ("[" * 50_000, f"line 1 is nested more than {MAX_YAML_DEPTH} levels deep"),
        ("".join(f"{'  ' * i}a:\n" for i in range(200)), f"is nested more than {MAX_YAML_DEPTH} levels deep"),
        ("#" * (MAX_YAML_BYTES + 1), "is larger than 64 KiB"),
        ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("a: 2001-99-99", "is not valid YAML (month must be in 1..12"),
        (f"a: {'9' * 5000}", "is not valid YAML"),
        ("a: 1" + ":59" * 300 + ".5", "is not valid YAML"),
        ("[a, b]: c\n{d: e}: f", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("%YAML 9.9\n---\na: 1", "is not valid YAML"),
    ],
)
def test_yaml_that_could_do_harm_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_that_begins_like_a_truth_value_is_text(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: false_color\ntitle: True-color images\ntrue_color: true\n")
    assert read_yaml(tmp_path / "data.yaml") == {
        "path": "false_color",
        "title": "True-color images",
        "true_color": True,
    }


def test_plain_yaml_is_read_down_to_the_last_level(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    depth = MAX_YAML_DEPTH - 1  # and the value in it
    path.write_text("[" * depth + "a & b *c" + "]" * depth)
    value = read_yaml(path)
    for _ in range(depth):
        (value,) = value
    assert value == "a & b *c"
    path.write_text("names: {0: road, 1: 'a & b'}\nnc: 2\nrate: 0.5\nempty:\nday: 2001-01-02\n")
    assert list(read_yaml(path)) == ["names", "nc", "rate", "empty", "day"]


def test_a_misspelled_class_is_answered_with_a_similar_name():
    classes = ClassSet(("road", "car", "pedestrian"))
    with pytest.raises(DataError, match=r"there is no class 'cra'; .* road, car, pedestrian; did you mean car\?"):
        classes.index("cra")
    with pytest.raises(DataError, match=r"did you mean car\?"):
        classes.index("CAR")
    with pytest.raises(DataError, match=r"the classes are road, car, pedestrian$"):
        classes.index("sky")
