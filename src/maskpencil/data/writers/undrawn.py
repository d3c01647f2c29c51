"""Which pixels the formats of shapes leave undrawn, and the label of those that are ignored."""

from pathlib import Path

from maskpencil.classes import MAX_CLASSES, ClassSet
from maskpencil.data.formats.annotations import IGNORE_LABELS, classes_of_labels
from maskpencil.errors import DataError


def undrawn_class(folder: Path) -> int:
    """The class, or `IGNORE_INDEX`, that readers take undrawn pixels for in a folder with a class file."""
    return classes_of_labels(folder, ()).background


def with_ignore_label(classes: ClassSet) -> ClassSet:
    """The classes, and after them the label of ignored pixels as one more.

    Raises:
        DataError: there is no room for it, or a class has its name.
    """
    ignore = IGNORE_LABELS[0]
    if len(classes) == MAX_CLASSES or ignore in classes.names:
        problem = f"a class is called {ignore!r}" if ignore in classes.names else f"there are {len(classes)} classes"
        raise DataError(
            f"{problem}, which leaves no label for ignored pixels; expected at most {MAX_CLASSES - 1} classes of other "
            "names; write another format, or rename or merge classes"
        )
    return ClassSet((*classes.names, ignore))
