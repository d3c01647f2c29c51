import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskpencil.errors import DataError, ModelError
from maskpencil.regular_files import (
    MAX_JSON_BYTES,
    entries_of,
    number,
    one_of,
    parse_json,
    read_json,
    text,
    whole,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc é日", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_come_back_as_they_were_written(value):
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 32 levels deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested more than 32 levels deep"),
        (b'{"a": 1, "b": 2, "a": 3}', "the name 'a' occurs more than once"),
        (b"[NaN]", "it holds NaN; expected finite numbers only"),
        (b"[-Infinity]", "it holds -Infinity; expected finite numbers only"),
        (b"1e999", "too large or too long"),
        (b"9" * 10_000, "a number has 10000 digits"),
        (b'"\\ud800"', "an unpaired surrogate"),
        (b'{"a\\u0000": 1}', "holds a NUL"),
        (b"\xff\xfe[\0]\0", "is not UTF-8 at byte 0"),
        (b"", "Expecting value"),
        (b"[1", "Expecting"),
    ],
)
def test_ambiguous_or_excessive_json_is_refused(content, expected):
    with pytest.raises(ValueError, match=expected):
        parse_json(content)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**30)  # takes no room on the disk
    with pytest.raises(
        ModelError, match=rf"large\.json: cannot be read \(it is larger than {MAX_JSON_BYTES >> 10} KiB\)"
    ):
        read_json(tmp_path / "large.json", error=ModelError, remedy="write it again")


def test_a_pipe_a_device_a_folder_and_a_circle_of_links_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, expected in (
        ("pipe", "a pipe"),
        ("zero", "device"),
        ("circle", "link"),
        (".", "a folder"),
        ("no", "No such"),
    ):
        with pytest.raises(DataError, match=rf"cannot be read \(.*{expected}.*\); correct it$"):
            read_json(tmp_path / name, error=DataError, remedy="correct it")


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda value: whole(value, "x", 1, 5), 6),
        (lambda value: whole(value, "x", 1, 5), True),
        (lambda value: whole(value, "x", 1, 5), 2.0),
        (lambda value: number(value, "x", 0, 1), "0.5"),
        (lambda value: one_of(value, "x", (8, 16)), 8.0),
        (lambda value: one_of(value, "x", (True, False)), 1),
        (lambda value: text(value, "x", 3), "four"),
        (lambda value: text(value, "x", 3), ""),
        (lambda value: entries_of(value, "x", {"a": lambda value, _: value}), []),
        (lambda value: entries_of(value, "x", {"a": lambda value, _: value}), {}),
        (lambda value: entries_of(value, "x", {"a": lambda value, _: value}), {"a": 1, "b": 2}),
    ],
)
def test_a_value_of_another_kind_or_out_of_range_is_refused(check, value):
    with pytest.raises(ValueError, match=r"^x"):
        check(value)
