"""`Predictor`: the interface of `Segmenter` and its wrappers; `predict_each`: the path of image files through it."""

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage
from maskpencil.pipeline import SideBySide, equal_groups, in_parallel, one_by_one, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.runtimes.base import Maps, Wanted
from maskpencil.runtimes.tiling import Windows
from maskpencil.runtimes.upsampling import Floats

QUEUE_DEPTH = 2
"""The least number of images that are decoded ahead of the network; more would only fill memory."""

FEW = 3
"""Up to this number images are predicted one by one: preparing for more would take longer."""

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P")


class Predictor(Protocol):
    """Define the interface of `Segmenter` that inference and evaluation use, for wrappers and stand-ins.

    `classes` and `predict_batch` are required. A wrapper that inherits from this class may leave out the other methods,
    which then raise `ConfigError`; see `supports`.

    Example:
        >>> class Brightness(mp.Predictor):
        ...     classes = mp.ClassSet(("dark", "bright"))
        ...
        ...     def predict_batch(self, images, *, confidence=False, entropy=False):
        ...         maps = [(image.mean(axis=2) > 127).astype(np.uint8) for image in images]
        ...         return [mp.Prediction(image, map, None, self.classes) for image, map in zip(images, maps)]
        >>> mp.predict(Brightness(), "photos/", out="bright").images
        3
    """

    @property
    def classes(self) -> ClassSet:
        """The classes of the label maps."""

    @property
    def legend(self) -> Sequence[int]:
        """The class indices that overlays can show, see `visualize.legend`."""
        return range(len(self.classes))

    @property
    def batch_size(self) -> int:
        """The fastest number of images of one size for `predict_batch`."""
        return 1

    def side_by_side(self) -> AbstractContextManager[int]:
        """Prepare for simultaneous predictions, see `Segmenter.side_by_side`; here there is one after the other."""
        return one_by_one()

    @abstractmethod
    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, see `Segmenter.predict_batch`."""

    def predict_class(self, images: Sequence[RGBImage], index: int) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:  # noqa: ARG002
        """Segment images and compute the probability of one class, see `Segmenter.predict_class`."""
        raise ConfigError(f"{type(self).__name__} does not compute the probability of one class; use a Segmenter")

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Floats:  # noqa: ARG002
        """Compute the probabilities (N, K, H, W) of images of one size, see `Segmenter.probabilities_batch`."""
        raise ConfigError(f"{type(self).__name__} does not compute the probabilities of all classes; use a Segmenter")

    def bands(self, image: Windows, wanted: Wanted, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:  # noqa: ARG002
        """Segment an image band by band, see `Segmenter.bands`."""
        raise ConfigError(f"{type(self).__name__} does not compute images band by band; use a Segmenter")

    def origin(self) -> dict[str, object] | None:
        """Return everything that determines the maps of `bands`, as plain values; None where it is unknown."""
        return None


def supports(predictor: Predictor, method: Literal["predict_class", "probabilities_batch", "bands"]) -> bool:
    """Return whether a predictor has an optional method of `Predictor`."""
    return getattr(type(predictor), method, None) not in (None, getattr(Predictor, method))


def batch_size(predictor: Predictor) -> int:
    """Return the fastest number of images for `predict_batch`; 1 where the predictor does not say."""
    return getattr(predictor, "batch_size", 1)


def side_by_side(predictor: Predictor) -> AbstractContextManager[int]:
    """Prepare a predictor for simultaneous predictions; one after the other where it does not say how many."""
    prepare: SideBySide = getattr(predictor, "side_by_side", one_by_one)
    return prepare()


def predict_each(
    predictor: Predictor,
    items: Sequence[T],
    read: Callable[[T], tuple[R, RGBImage | None]],
    call: Callable[[list[RGBImage]], Sequence[P]],
    *,
    batch_pixels: int = 0,
) -> Generator[tuple[R, P | None], None, None]:
    """Read items ahead of the network, run it on them and yield the results in order: the path of every image file.

    A thread reads. Consecutive images of one size are batched, and more than `FEW` items go through the network side by
    side; how large the batches are and how many run at once, the predictor says. Close the generator, or exhaust it, to
    end the threads.

    Args:
        predictor: decides on batches and simultaneous calls, see `Predictor`.
        items: what is read, such as paths or pairs.
        read: reads an item and gives what is yielded with the result, and the image (H, W, 3) uint8; None for an item
            that does not go through the network.
        call: runs the network on images of one size and gives a result for each, such as `predictor.predict_batch`.
        batch_pixels: also batch small images, up to this number of pixels. That is faster where they are many, but in
            bf16 a pixel in some millions may get the other class of a near tie than alone.

    Yields:
        What `read` gave of each item, with the result of its image, or None without an image.
    """
    size = batch_size(predictor)

    def most(item: tuple[R, RGBImage | None]) -> int:
        return max(size, batch_pixels // (item[1].size // 3)) if item[1] is not None else size

    def run(group: list[tuple[R, RGBImage | None]]) -> list[tuple[R, P | None]]:
        images = [image for _, image in group if image is not None]
        if not images:
            return [(value, None) for value, _ in group]
        return [(value, result) for (value, _), result in zip(group, call(images), strict=True)]

    with (
        side_by_side(predictor) if len(items) > FEW else one_by_one() as workers,
        closing(read_ahead(map(read, items), depth=max(QUEUE_DEPTH, size), step="reading images")) as ahead,
        closing(
            in_parallel(
                run,
                equal_groups(ahead, size=most, alike=_same_size),
                workers=workers,
                step="running the network on images",
            )
        ) as done,
    ):
        for group in done:
            yield from group


def _same_size(one: tuple[Any, RGBImage | None], other: tuple[Any, RGBImage | None]) -> bool:
    """Return whether two items are images that go through the network together."""
    (_, first), (_, second) = one, other
    return first is not None and second is not None and first.shape == second.shape
