"""Protobuf's wire format, read without protobuf, as far as files of declared messages need it.

A message is a row of fields, each with a number and a value; its declaration says what the numbers mean, and fields
that it does not name are skipped. Values are given as the range of their places in the mapped file: nothing is copied,
nothing holds on to the file, and packed numbers look like those that have a field each.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator, Mapping
from mmap import mmap

# a field is its tag, which is the varint number << 3 | wire type, and then its value
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types; the other two are groups, long out of use
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_WIRE_TYPE_BITS, _WIRE_TYPE = 3, 0b111
_LAST_FIELD_NUMBER = 2**29 - 1
# a byte of a varint has 7 bits of it, the low ones first, up to 64; the bit above says that another byte follows
_PAYLOAD = 0b0111_1111
_SHIFTS = range(0, 64, 7)

MAX_FIELDS = 2**22
"""Of one message: Caffe's nets have hundreds, and a blob whose numbers have a field each may be that large."""

STRING = MESSAGE = (_LENGTH,)
INTEGER = (_VARINT,)
# repeated numbers may be packed into one field, or come as a field each
INTEGERS, FLOATS, DOUBLES = (_LENGTH, _VARINT), (_LENGTH, _FIXED32), (_LENGTH, _FIXED64)

Fields = Mapping[int, tuple[str, tuple[int, ...]]]
"""The fields of a message: number -> name, and the wire types it may have."""


class FormatError(Exception):
    """A file has not the expected format: what was found, and the remedy. Readers turn it into a `ModelError`."""

    def __init__(self, found: str, remedy: str = "if it was one, copy or download it again") -> None:
        super().__init__(found)
        self.remedy = remedy


def read_fields(content: mmap, message: range, known: Fields) -> Iterator[tuple[str, range]]:
    """Go through the known fields of a message: the name and the value of each.

    Raises:
        FormatError: the bytes are no message, or a known field has another wire type.
    """
    position, count = message.start, 0
    while position < message.stop:
        start, count = position, count + 1
        if count > MAX_FIELDS:
            raise FormatError(f"a message has more than {MAX_FIELDS} fields")
        tag, position = _varint(content, position, message.stop)
        number, wire_type = tag >> _WIRE_TYPE_BITS, tag & _WIRE_TYPE
        if not 1 <= number <= _LAST_FIELD_NUMBER:
            raise FormatError(f"a field of the impossible number {number} at byte {start}")
        if wire_type == _VARINT:
            length = _varint(content, position, message.stop)[1] - position
        elif wire_type == _LENGTH:
            length, position = _varint(content, position, message.stop)
        elif wire_type in _FIXED_BYTES:
            length = _FIXED_BYTES[wire_type]
        else:
            raise FormatError(f"a field of the unsupported wire type {wire_type} at byte {start}")
        value = range(position, position + length)
        position = value.stop
        if position > message.stop:
            raise FormatError(
                f"a field at byte {start} reaches to byte {position}, but its message ends at {message.stop}"
            )
        if number in known:
            name, wire_types = known[number]
            if wire_type not in wire_types:
                raise FormatError(f"the field {name!r} at byte {start} has the wire type {wire_type}")
            yield name, value


def read_integer(content: mmap, value: range) -> int:
    """The integer of an INTEGER field; negative ones, which nothing here may be, come as 2**64 more."""
    return _varint(content, value.start, value.stop)[0]


def read_integers(content: mmap, value: range) -> Iterator[int]:
    """The integers of an INTEGERS field, packed or alone."""
    position = value.start
    while position < value.stop:
        number, position = _varint(content, position, value.stop)
        yield number


def read_text(content: mmap, value: range) -> str:
    """The text of a STRING field. Writers of old did not check it: what is not UTF-8 is no damage, and is escaped."""
    return content[value.start : value.stop].decode("utf-8", errors="backslashreplace")


def append_bytes(numbers: bytearray, content: mmap, value: range) -> None:
    """Copy a FLOATS or DOUBLES field, packed or alone, to the end of `numbers`: as bytes, the low one first."""
    with memoryview(content) as whole, whole[value.start : value.stop] as part:  # slices of a mmap would be copies
        numbers += part


def _varint(content: mmap, position: int, end: int) -> tuple[int, int]:
    """The variable-length integer at a place before `end`, and the place after it."""
    value, start = 0, position
    for shift in _SHIFTS:
        if position == end:
            break
        byte = content[position]
        position += 1
        value |= (byte & _PAYLOAD) << shift
        if byte <= _PAYLOAD:
            return value, position
    raise FormatError(f"an integer at byte {start} does not end within {len(_SHIFTS)} bytes or its message")
