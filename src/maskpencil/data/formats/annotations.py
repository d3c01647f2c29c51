"""What the readers of annotation files share: the classes of their labels, the images they name, JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.layout.named_files import find_image
from maskpencil.errors import DataError
from maskpencil.regular_files import refuse_special

__all__ = ["BACKGROUND_LABELS", "IGNORE_LABELS", "Labels", "classes_of_labels", "find_image", "read_json"]

BACKGROUND_LABELS = ("background", "_background_", "__background__")
IGNORE_LABELS = ("__ignore__", "_ignore_")
"""labelme's words for pixels that count nowhere; the writers of this package use the first."""

MAX_JSON_BYTES = 2**30


@dataclass(frozen=True)
class Labels:
    """The classes of a set of labels: `index_of[label]`, and what is where nothing was drawn."""

    classes: ClassSet
    index_of: Mapping[str, int]
    background: int


def classes_of_labels(root: Path, labels: Sequence[str]) -> Labels:
    """Number the labels of a folder's annotations, which come in the order that the classes shall have.

    A class file in `root` decides the order; what is where nothing was drawn is then its background class, or ignored
    where it has none. Without a class file "background" is class 0, and the labels follow.

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


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it cannot be read, is not JSON, is nested too deep or is larger than `MAX_JSON_BYTES`.
    """
    refuse_special(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: is larger than {MAX_JSON_BYTES >> 20} MiB; split it into several files")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected JSON") from error
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error}); export it again") from error
    except RecursionError as error:
        raise DataError(f"{path}: is nested too deep to be read; expected annotations") from error
