import math
import re
from pathlib import Path
from typing import Any

import pytest

from maskpencil.data.formats.entry import Entry
from maskpencil.errors import DataError

FILE = Path("tasks.json")


def test_fields_are_given_as_what_they_are_asked_for() -> None:
    entry = Entry.of(
        FILE, "", {"a": [{"n": 3.0, "t": " x "}], "p": [[0, 1], [2, 3], [4, 5.5]], "q": [0, 1, 2, 3, 4, 5]}
    )
    (inner,) = entry.entries("a", "item")
    assert str(inner) == "tasks.json: item 1"
    assert (inner.whole("n"), inner.text("t")) == (3, " x ")
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
