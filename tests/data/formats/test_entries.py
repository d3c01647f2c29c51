import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskpencil.data.formats.annotations import (
    FARTHEST,
    Entry,
    are_images_and_masks,
    checked_numbers,
    checked_points,
    checked_size,
    mentions,
)
from maskpencil.data.layout import files_below
from maskpencil.errors import DataError


def test_sizes_are_whole_numbers_of_not_too_many_pixels() -> None:
    assert checked_size(32, 48.0, "a") == (32, 48)
    for height, width in ((True, 48), (32, 0), (32, float("inf")), (None, 48), ("32", 48), (32.5, 48)):
        with pytest.raises(DataError, match=r"^a: has the height .* expected whole numbers of pixels"):
            checked_size(height, width, "a")
    with pytest.raises(DataError, match=r"^a: is 1000000 x 1000000 pixels; at most 134 million"):
        checked_size(10**6, 10**6, "a")


def test_numbers_are_finite_and_near_the_image_wherever_the_strange_one_stands() -> None:
    assert checked_numbers([], "a").tolist() == []
    assert checked_points([[1, 2.5], [-3, FARTHEST]], "a").tolist() == [[1, 2.5], [-3, FARTHEST]]
    for strange in (float("nan"), float("inf"), -float("inf"), FARTHEST + 1, 10**400, -1e300):
        for place in range(3):
            values = [1.5, 2]
            values.insert(place, strange)
            with pytest.raises(DataError, match=r"^a: has a point at "):
                checked_numbers(values, "a")
    for values in (None, "12", [True], [None], [[1]], [np.float32(1)]):
        with pytest.raises(DataError, match=r"^a: has the points .* expected a list of numbers"):
            checked_numbers(values, "a")


def test_a_file_mentions_keys_in_any_order_but_not_as_parts_of_words(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"shapes": 1, "imagePath": 2}')
    assert mentions(path, ("imagePath", "shapes"))
    assert not mentions(path, ("image", "shapes"))
    path.write_text("")
    assert not mentions(path, ("shapes",))
    assert not mentions(tmp_path / "nowhere.json", ("shapes",))
    assert not mentions(tmp_path, ("shapes",))


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("b/2.JSON", "a.json", ".a.json", ".hidden/1.json", "b/.json", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(files_below(tmp_path, {".json"})) == [tmp_path / "a.json", tmp_path / "b" / "2.JSON"]
    assert list(files_below(tmp_path / "nowhere", {".json"})) == []


def test_folders_called_after_images_and_after_masks_are_both_needed(tmp_path: Path) -> None:
    images, masks = tmp_path / "Images" / "train" / "1.png", tmp_path / "train" / "masks" / "1.png"
    assert are_images_and_masks(tmp_path, [images, masks])
    assert not are_images_and_masks(tmp_path, [images, images])
    assert not are_images_and_masks(tmp_path, [masks])


FILE = Path("tasks.json")


def test_fields_are_given_as_what_they_are_asked_for() -> None:
    entry = Entry.of(
        FILE, "", {"a": [{"n": 3.0, "t": " x "}], "p": [[0, 1], [2, 3], [4, 5.5]], "q": [0, 1, 2, 3, 4, 5]}
    )
    (inner,) = entry.entries("a", "item")
    assert str(inner) == "tasks.json: item 1"
    assert (inner.whole("n"), inner.text("t")) == (3, " x ")
    assert Entry.of(FILE, "", {"t": " "}).text("t", blank=True) == " "
    assert (inner.number("z", 7), inner.whole("z", 8)) == (7, 8)
    assert entry.points("p").tolist() == [[0, 1], [2, 3], [4, 5.5]]
    assert entry.points("q").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert "a" in entry
    assert "b" not in entry
    assert "c" not in Entry.of(FILE, "", {"c": None})


@pytest.mark.parametrize(
    ("take", "value", "message"),
    [
        ("text", 5, "'key' is 5; expected a text"),
        ("text", "  ", "expected a text"),
        ("number", "5", "'key' is '5'; expected a number"),
        ("number", True, "'key' is True; expected a number"),
        ("number", math.nan, "'key' is nan; expected a number"),
        ("number", -math.inf, "'key' is -inf; expected a number"),
        ("number", 10**400, "expected a number"),
        ("whole", 0.5, "'key' is 0.5; expected a whole number"),
        ("inside", [], "'key' is []; expected an object"),
        ("numbers", [1, "2"], "expected a list of numbers"),
        ("points", [1, 2, 3, 4], "expected at least 3 points"),
        ("points", [1, 2, 3, 4, 5, 6, 7], "expected at least 3 points"),
        ("points", [[1, 2], [3, 4]], "expected at least 3 points"),
        ("points", [[1, 2], 3, 4, 5, 6], "expected a list of [x, y]"),
        ("points", None, "expected a list of numbers"),
    ],
)
def test_other_things_are_an_error_that_names_file_place_and_field(take: str, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"tasks\.json: task 3: .*{re.escape(message)}"):
        getattr(Entry.of(FILE, "task 3", {"key": value}), take)("key")


def test_a_list_holds_objects_alone() -> None:
    with pytest.raises(DataError, match=r"tasks\.json: task 3: item 2 is 'x'; expected an object"):
        Entry.of(FILE, "task 3", {"key": [{}, "x"]}).entries("key", "item")
    with pytest.raises(DataError, match=r"tasks\.json: task 3: 'key' is missing; expected a list"):
        Entry.of(FILE, "task 3", {}).entries("key", "item")
    with pytest.raises(DataError, match=r"tasks\.json: the content is \[\]; expected an object"):
        Entry.of(FILE, "", [])
