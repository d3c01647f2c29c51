"""Define `Predictor`, the interface of `Segmenter` and its wrappers; `predict_each` runs a predictor on many images."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from importlib.metadata import version
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
"""The number of images that are decoded ahead of the network, unless batches need more images; further images would
only take memory."""

MAX_SEQUENTIAL = 3
"""The largest number of images that are predicted one by one, since preparing simultaneous predictions takes longer."""

T = TypeVar("T")
R = TypeVar("R")


class Predictor(Protocol):
    """The methods of `Segmenter` that inference and evaluation call; a class that has them can replace a `Segmenter`.

    `classes` and `predict_batch` are required. A class that inherits from this class may leave out the others:
    `predict_class`, `probabilities_batch` and `bands` then raise `ConfigError`, see `supports`; the rest have defaults.

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
        """The indices of the classes to name in legends, see `visualize.legend`."""
        return range(len(self.classes))

    @property
    def batch_size(self) -> int:
        """The number of images in a batch at which `predict_batch` is fastest."""
        return 1

    def side_by_side(self) -> AbstractContextManager[int]:
        """Return a context manager that yields how many simultaneous predictions are fastest, by default 1.

        See `Segmenter.side_by_side`.
        """
        return one_by_one()

    @abstractmethod
    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, see `Segmenter.predict_batch`."""

    def predict_class(
        self,
        images: Sequence[RGBImage],  # noqa: ARG002
        index: int,  # noqa: ARG002
        *,
        confidence: bool = False,  # noqa: ARG002
    ) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images and compute the probability of one class, see `Segmenter.predict_class`."""
        raise ConfigError(f"{type(self).__name__} does not compute the probability of one class; use a Segmenter")

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Floats:  # noqa: ARG002
        """Compute the probabilities (N, K, H, W) of images of one size, see `Segmenter.probabilities_batch`."""
        raise ConfigError(f"{type(self).__name__} does not compute the probabilities of all classes; use a Segmenter")

    def bands(self, image: Windows, wanted: Wanted, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:  # noqa: ARG002
        """Segment a large image in bands of whole rows, see `Segmenter.bands`."""
        raise ConfigError(f"{type(self).__name__} does not compute large images in bands of rows; use a Segmenter")

    def origin(self) -> dict[str, object] | None:
        """Return plain values that identify the model and the settings behind its results.

        If a later run has equal values, it can reuse the results of an interrupted run for the same image and the same
        arguments. None if the values are unknown.
        """
        return None


def supports(predictor: Predictor, method: Literal["predict_class", "probabilities_batch", "bands"]) -> bool:
    """Return whether a predictor implements an optional method of `Predictor`."""
    return getattr(type(predictor), method, None) not in (None, getattr(Predictor, method))


def batch_size(predictor: Predictor) -> int:
    """Return the number of images in a batch at which `predict_batch` is fastest.

    1 if the predictor does not define it.
    """
    return getattr(predictor, "batch_size", 1)


def side_by_side(predictor: Predictor) -> AbstractContextManager[int]:
    """Return a context manager that yields the number of simultaneous predictions at which a predictor is fastest.

    The number is 1 if the predictor does not define `side_by_side`.
    """
    prepare: SideBySide = getattr(predictor, "side_by_side", one_by_one)
    return prepare()


def model_digest(predictor: Predictor) -> str | None:
    """Return a digest of a predictor's model, settings and classes, and of the version of maskpencil.

    Return None if the predictor's `origin` is None.
    """
    origin = getattr(predictor, "origin", lambda: None)()
    if origin is None:
        return None
    facts = {"version": version("maskpencil"), "origin": origin, "classes": predictor.classes.to_dict()}
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def predict_each(
    predictor: Predictor,
    items: Sequence[T],
    read: Callable[[T], tuple[R, RGBImage | None]],
    call: Callable[[list[RGBImage]], Sequence[Any]],
    *,
    batch_pixels: int = 0,
    then: Callable[[R, Any], Any] | None = None,
) -> Generator[tuple[R, Any], None, None]:
    """Read items ahead of the network, run the network on their images and yield the results in order.

    A thread reads the items. Consecutive images of one size form batches. With more than `MAX_SEQUENTIAL` items,
    several batches go through the network in parallel. Close the generator, or exhaust it, to end the threads.

    Args:
        predictor: the predictor, which chooses the size of batches and the number of simultaneous calls.
        items: the items to read, such as paths or pairs.
        read: reads an item and returns a value to yield with the result, and the image (H, W, 3) uint8, or None for an
            item that does not go through the network.
        call: runs the network on images of one size and returns a result for each image, as `predictor.predict_batch`
            does.
        batch_pixels: a batch may have more images than `predictor.batch_size` if it has at most this many pixels.
            Larger batches of small images are faster, but in bf16 a few in a million pixels with almost equal scores
            may get another class than in a batch of one.
        then: computes what to yield from the value of an item and its result, in the thread that ran the network; by
            default the result itself.

    Yields:
        The value that `read` returned for each item, and the result of its image, or None if it has no image.
    """
    size = batch_size(predictor)

    def most(item: tuple[R, RGBImage | None]) -> int:
        return max(size, batch_pixels // (item[1].size // 3)) if item[1] is not None else size

    def run(group: list[tuple[R, RGBImage | None]]) -> list[tuple[R, Any]]:
        images = [image for _, image in group if image is not None]
        if not images:
            return [(value, None) for value, _ in group]
        results = zip([value for value, _ in group], call(images), strict=True)
        return [(value, then(value, result) if then else result) for value, result in results]

    with (
        side_by_side(predictor) if len(items) > MAX_SEQUENTIAL else one_by_one() as workers,
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
    """Return whether two items have images of the same size, which go through the network together."""
    (_, first), (_, second) = one, other
    return first is not None and second is not None and first.shape == second.shape
