"""Label maps that are hard to draw, and sets of classes with and without a background."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import IGNORE_INDEX, ClassSet

BACKGROUND_FIRST = ClassSet(("background", "tree", "car"), ((9, 9, 9), (1, 2, 3), (200, 0, 0)))
BACKGROUND_LAST = ClassSet(("tree", "car", "_background_"))
NO_BACKGROUND = ClassSet(("tree", "car", "road"), ignore_index=7)

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
label_maps = sizes.flatmap(lambda size: arrays(np.uint8, size, elements=st.sampled_from([0, 0, 1, 2, IGNORE_INDEX])))
class_sets = st.sampled_from([BACKGROUND_FIRST, BACKGROUND_LAST, NO_BACKGROUND])


def drawn(*rows: str) -> npt.NDArray[np.uint8]:
    """A label map from letters: a point is class 0, a # class 1, an o class 2, a blank nothing."""
    return np.array([[{".": 0, "#": 1, "o": 2, " ": IGNORE_INDEX}[c] for c in row] for row in rows], dtype=np.uint8)


NESTED = drawn("#######", "#.....#", "#.ooo.#", "#.o o.#", "#.ooo.#", "#.....#", "#######")
CORNERS = drawn("#o#o#", "o#o#o", "#o .o", "o#.##", "#o#o#")
