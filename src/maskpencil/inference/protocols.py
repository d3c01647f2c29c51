"""What inference needs of a segmenter, so that others may stand in for it, and it runs without torch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage
from maskpencil.prediction import Prediction

SideBySide: TypeAlias = Callable[[], AbstractContextManager[int]]
"""As `Segmenter.side_by_side`: says, for a while, how many predictions made at once are done fastest."""


def one_by_one() -> AbstractContextManager[int]:
    """No two predictions at once."""
    return nullcontext(1)


class PredictsImages(Protocol):
    """The part of `Segmenter` that inference needs."""

    @property
    def classes(self) -> ClassSet:
        """What the label maps' indices mean."""

    @property
    def legend(self) -> Sequence[int]:
        """The indices that overlays can show, as `visualize.legend` takes them."""

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each."""
