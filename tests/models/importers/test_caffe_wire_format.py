from mmap import mmap

import pytest

from maskpencil.models.importers.caffe import (
    FLOATS,
    INTEGER,
    INTEGERS,
    MESSAGE,
    STRING,
    FormatError,
    append_bytes,
    read_fields,
    read_integer,
    read_integers,
    read_text,
)

KNOWN = {1: ("a", INTEGER), 2: ("b", STRING), 3: ("c", MESSAGE), 4: ("d", INTEGERS), 5: ("e", FLOATS)}


def mapped(content):
    memory = mmap(-1, len(content))
    memory.write(content)
    return memory


def values(content, known=KNOWN):
    return [(name, content[value.start : value.stop]) for name, value in fields(content, known)]


def fields(content, known=KNOWN):
    return list(read_fields(mapped(content), range(len(content)), known))


def message_of(content):
    with pytest.raises(FormatError) as caught:
        fields(content)
    return str(caught.value)


# what is read: the first four are the examples of protobuf's own description


def test_an_integer_is_read_from_its_low_bits_on():
    content = b"\x08\x96\x01"
    ((name, value),) = fields(content)
    assert name == "a"
    assert read_integer(mapped(content), value) == 150


def test_a_text_is_read():
    content = b"\x12\x07testing"
    ((name, value),) = fields(content)
    assert name == "b"
    assert read_text(mapped(content), value) == "testing"


def test_a_message_within_is_a_range_of_its_own_to_read():
    content = b"\x1a\x03\x08\x96\x01"
    ((name, inner),) = fields(content)
    assert name == "c"
    ((name, value),) = read_fields(mapped(content), inner, KNOWN)
    assert (name, read_integer(mapped(content), value)) == ("a", 150)


def test_packed_integers_and_single_ones_are_read_alike():
    packed, single = b"\x22\x06\x03\x8e\x02\x9e\xa7\x05", b"\x20\x03\x20\x8e\x02\x20\x9e\xa7\x05"
    for content in (packed, single):
        read = [number for _, value in fields(content) for number in read_integers(mapped(content), value)]
        assert read == [3, 270, 86942]


def test_packed_floats_and_single_ones_are_copied_alike():
    packed, single = b"\x2a\x08\0\0\x80\x3f\0\0\0\x40", b"\x2d\0\0\x80\x3f\x2d\0\0\0\x40"
    for content in (packed, single):
        numbers = bytearray(b"before")
        for _, value in fields(content):
            append_bytes(numbers, mapped(content), value)
        assert numbers == b"before\0\0\x80\x3f\0\0\0\x40"


def test_the_largest_integer_has_ten_bytes():
    content = b"\x08" + b"\xff" * 9 + b"\x01"
    ((_, value),) = fields(content)
    assert read_integer(mapped(content), value) == 2**64 - 1


def test_other_fields_are_skipped_whatever_their_wire_type():
    others = [b"\x48\x96\x01", b"\x49" + b"\xff" * 8, b"\x4a\x03\xff\xff\xff", b"\x4d" + b"\xff" * 4]
    largest = b"\xf8\xff\xff\xff\x0f\x01"  # field number 2**29 - 1
    for other in (*others, largest):
        assert values(other + b"\x08\x07" + other) == [("a", b"\x07")]


def test_text_that_is_not_utf_8_is_escaped():
    content = b"\x12\x03a\xcb\xf0"
    ((_, value),) = fields(content)
    assert read_text(mapped(content), value) == "a\\xcb\\xf0"


# what is refused


@pytest.mark.parametrize("wire_type", [3, 4, 6, 7])
def test_groups_and_unknown_wire_types_are_refused(wire_type):
    assert message_of(bytes([9 << 3 | wire_type])) == f"the field at byte 0 has the unsupported wire type {wire_type}"


@pytest.mark.parametrize(("tag", "number"), [(b"\x02", 0), (b"\x82\x80\x80\x80\x10", 2**29)])
def test_impossible_field_numbers_are_refused(tag, number):
    assert message_of(b"\x08\x01" + tag + b"\0") == f"the field at byte 2 has the impossible number {number}"


def test_a_known_field_of_another_wire_type_is_refused():
    assert message_of(b"\x08\x01\x10\x01") == "the field 'b' at byte 2 has the unexpected wire type 0"
    assert message_of(b"\x29" + b"\0" * 8) == "the field 'e' at byte 0 has the unexpected wire type 1"


@pytest.mark.parametrize(
    "content", [b"\x12\x02a", b"\x4d\0\0\0", b"\x49" + b"\0" * 7, b"\x12\xff\xff\xff\xff\xff\x7fa"]
)
def test_a_value_beyond_the_end_is_refused(content):
    assert message_of(content).startswith("the field at byte 0 reaches to byte ")
    assert message_of(content).endswith(f", but its message ends at {len(content)}")


@pytest.mark.parametrize("integer", [b"\x80", b"\xff" * 9, b"\x80" * 10 + b"\x01"], ids=len)
@pytest.mark.parametrize("before", [b"", b"\x48", b"\x12"], ids=["tag", "value", "length"])
def test_integers_that_do_not_end_are_refused(before, integer):
    expected = f"an integer at byte {len(before)} is longer than 10 bytes, or than its message"
    assert message_of(before + integer) == expected


def test_an_integer_that_does_not_end_among_packed_ones_is_refused():
    content = b"\x22\x02\x03\x8e\x02"  # the length leaves out the last byte
    memory = mapped(content)
    _, value = next(read_fields(memory, range(len(content)), KNOWN))
    with pytest.raises(FormatError, match="an integer at byte 3 is longer than 10 bytes"):
        list(read_integers(memory, value))
