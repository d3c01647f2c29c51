"""Turn the labels of annotation files into classes, including undrawn and ignored pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES, ClassSet
from maskpencil.data.class_files import find_own_class_file
from maskpencil.errors import DataError

BACKGROUND_LABELS = ("background", "_background_", "__background__")
IGNORE_LABELS = ("__ignore__", "_ignore_")
"""labelme's labels for ignored pixels; the writers of this package use the first."""


@dataclass(frozen=True)
class Labels:
    """The classes of a set of labels: `index_of[label]`, and the class of undrawn pixels."""

    classes: ClassSet
    index_of: Mapping[str, int]
    background: int


def classes_of_labels(root: Path, labels: Sequence[str]) -> Labels:
    """Number the labels of a folder's annotations, in the given order.

    A class file in `root` sets another order; undrawn pixels are then its background class, or ignored where it has
    none. Without a class file "background" is class 0, and the labels follow.

    Raises:
        DataError: a label that the class file does not name.
    """
    named = list(dict.fromkeys(label for label in labels if label not in IGNORE_LABELS))
    index_of = dict.fromkeys(IGNORE_LABELS, IGNORE_INDEX)
    given = find_own_class_file(root)
    if given is None:
        others = [label for label in named if label.lower() not in BACKGROUND_LABELS]
        classes = ClassSet(("background", *others))
        index_of |= {label: 0 for label in named if label not in others}
        index_of |= {label: index for index, label in enumerate(others, start=1)}
        return Labels(classes, index_of, 0)
    names = given.classes.names
    background = next((i for i, name in enumerate(names) if name.lower() in BACKGROUND_LABELS), IGNORE_INDEX)
    index_of |= {name: index for index, name in enumerate(names)}
    for label in named:
        if label not in index_of:
            if label.lower() not in BACKGROUND_LABELS or background == IGNORE_INDEX:
                raise DataError(
                    f"{given.path}: does not name {label!r}, which the annotations use; it names "
                    f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}; add it"
                )
            index_of[label] = background
    return Labels(given.classes, index_of, background)


def undrawn_class(folder: Path) -> int:
    """Return the class, or `IGNORE_INDEX`, that readers assign to undrawn pixels in a folder with a class file."""
    return classes_of_labels(folder, ()).background


def with_ignore_label(classes: ClassSet) -> ClassSet:
    """Return the classes and, after them, the label of ignored pixels.

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
