"""`Entry`: an object in a JSON file of annotations, whose fields are checked as they are taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Points
from maskpencil.data.formats.annotation_entries import FARTHEST, checked_numbers, checked_points, shown
from maskpencil.errors import DataError


@dataclass(frozen=True)
class Entry:
    """The fields of a JSON object; `place` is where in the file `path` it stands, such as "task 12", or ""."""

    path: Path
    place: str
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path, place: str, value: object) -> Self:
        """Take `value`, the content of that place, for an object.

        Raises:
            DataError: it is none.
        """
        if not isinstance(value, dict):
            raise DataError(f"{path}: {place or 'the content'} is {shown(value)}; expected an object with fields")
        return cls(path, place, value)

    def __contains__(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(key) is not None

    def __str__(self) -> str:
        return f"{self.path}: {self.place}" if self.place else str(self.path)

    def wrong(self, key: str, expected: str) -> DataError:
        """The error that tells what the field is, and what it should have been."""
        found = shown(self.fields[key]) if key in self.fields else "missing"
        return DataError(f"{self}: {key!r} is {found}; expected {expected}")

    def inside(self, key: str) -> Self:
        """The object in a field.

        Raises:
            DataError: it is missing or no object.
        """
        value = self.fields.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "an object with fields")
        return type(self)(self.path, self._below(key), value)

    def entries(self, key: str, what: str) -> list[Self]:
        """The objects in the list of a field, placed as "`what` 1" and so on.

        Raises:
            DataError: it is missing, no list, or holds something else.
        """
        value = self.fields.get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return [type(self).of(self.path, self._below(f"{what} {n}"), entry) for n, entry in enumerate(value, start=1)]

    def text(self, key: str) -> str:
        """A text that is not empty.

        Raises:
            DataError: it is missing or something else.
        """
        value = self.fields.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "a text")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number of at most `FARTHEST`; where the field is missing or null, `default`, if there is one.

        Raises:
            DataError: it is missing or something else.
        """
        value = self.fields.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:  # NaN is not
            raise self.wrong(key, "a number")
        return float(value)

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number, else as `number`.

        Raises:
            DataError: it is missing or something else.
        """
        value = self.number(key, default)
        if value != int(value):
            raise self.wrong(key, "a whole number")
        return int(value)

    def numbers(self, key: str) -> npt.NDArray[np.float32]:
        """Numbers, (n,).

        Raises:
            DataError: the field is missing or something else, see `checked_numbers`.
        """
        return checked_numbers(self.fields.get(key), str(self))

    def points(self, key: str) -> Points:
        """The corners of a polygon, at least 3, given as [[x, y], ...] or as [x, y, x, y, ...].

        Raises:
            DataError: the field is missing or something else.
        """
        value = self.fields.get(key)
        pairs = isinstance(value, list) and any(isinstance(point, list) for point in value)
        numbers = checked_points(value, str(self)).ravel() if pairs else self.numbers(key)
        if len(numbers) < 6 or len(numbers) % 2:
            raise self.wrong(key, "at least 3 points, two numbers each")
        return numbers.reshape(-1, 2)

    def _below(self, place: str) -> str:
        return f"{self.place}: {place}" if self.place else place
