"""Collect the entries of annotation files that cannot be drawn, so that one message names all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from maskpencil.data.faults import fault
from maskpencil.data.layout import Found, Layout, layout_of
from maskpencil.errors import DataError

NOT_UNDERSTOOD = "annotations-not-understood"
"""The `kind` of the fault that lists entries that cannot be understood; their images are left out."""

WITHOUT_AREA = "annotations-without-area"
CLIPPED = "annotations-outside"

FIXED = "maskpencil check DATA --fix OUT writes the data without {}"


@dataclass
class Problems:
    """The entries of annotation files that are left out or cut off, collected to report them together.

    Attributes:
        errors: an error for each entry that cannot be understood. Such an entry may show an object, so its image is
            left out as well.
        without_area: the file and place of each shape without an area, such as a polygon of 2 points. The shape
            covers no pixel, so its image is kept.
        clipped: the file and place of each shape that extends a little beyond its image; the shape is cut off at the
            edge of the image.
    """

    errors: list[DataError] = field(default_factory=list)
    without_area: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect a `DataError` raised in the block, instead of raising it."""
        try:
            yield
        except DataError as error:
            self.errors.append(error)

    def refuse(self) -> None:
        """Raise one error for all collected errors; do nothing if there are none.

        Raises:
            DataError: an entry could not be understood.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise DataError(self._not_understood(Found()).faults[0].line.removeprefix("error: "))

    def layout(self, root: Path, found: Found, *, use_lists: bool = True) -> Layout:
        """Assign the pairs to splits by `layout.layout_of`, and report the collected entries as faults of the layout.

        Raises:
            DataError: there are no pairs, or a list names a missing file. If there are collected `errors`, they are
                raised instead.
        """
        self._not_understood(found)
        found.warn(
            WITHOUT_AREA,
            self.without_area,
            "{n} {shape|shapes} without an area left out",
            f"draw the shapes again if they should cover something; {FIXED.format('them')}",
        )
        found.warn(
            CLIPPED,
            self.clipped,
            "{n} {shape extends beyond its|shapes extend beyond their} image and {is|are} cut off at its edge",
            f"look at the overlays; {FIXED.format('the parts outside')}",
        )
        try:
            return layout_of(root, found, use_lists=use_lists)
        except DataError:
            self.refuse()
            raise

    def _not_understood(self, found: Found) -> Found:
        parted = [_parted(error) for error in self.errors]
        remedies = {remedy for _, remedy in parted}
        remedy = remedies.pop() if len(remedies) == 1 else ""
        found.faults += fault(
            NOT_UNDERSTOOD,
            "error",
            [what for what, _ in parted],
            "{n} {annotation|annotations} cannot be understood",
            f"{remedy or 'correct them or export them again'}; {FIXED.format('their images')}",
        )
        return found


def _parted(error: DataError) -> tuple[str, str]:
    """Split an error message at its last "; " into the problem and the remedy; the remedy is "" if it is missing."""
    what, _, remedy = str(error).rpartition("; ")
    return (str(error), "") if not what or remedy.startswith("expected") else (what, remedy)
