"""Read every image and mask once, in several processes, and take the measurements for the checks."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.data.drawing import Drawing, MaskSource, Polygon, mask_pixels
from maskpencil.data.layout.pairs import Pair
from maskpencil.data.masks.encoding import MaskFacts, as_numbers, channels, facts_of
from maskpencil.errors import ImageError
from maskpencil.images import Header, read_header, read_pixels

THUMBNAIL = 16
"""The side, in pixels, of the small gray copy that is kept of each image."""

MAX_SPECK_AREA = 6
"""The largest area of a speck, in pixels."""

MAX_PAIRS_WITHOUT_PROCESSES = 200
"""The largest number of pairs that the current process reads alone, since starting other processes takes longer."""

MAX_SHORT_SHARE = 0.25
"""The largest share of a mask's pixels in runs of at most `MAX_SPECK_AREA` pixels at which specks are counted.

A greater share is due to noise or compression, not to specks.
"""

FEW_SHORT = 10_000

MAX_STEP_WIDTH = 2
"""The largest width, in pixels, of the steps that smoothing leaves between two classes."""

MAX_THIN_LENGTH = 8
"""The largest length, in pixels, of a thin run, see `MaskView.thin_shares`."""

CHUNK = 16

Runs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class ImageFacts:
    """Measurements of an image, or the `error` if it could not be read.

    `digest` is the hash of the file's bytes, `thumbnail` (256,) the uint8 gray levels of a copy of 16 x 16 pixels.
    `brightness` and `contrast` are the mean and the standard deviation of the image's gray levels, 0-255. `pages` is
    the number of images in the file; `bands` and `levels` describe how the file was read, see `images.Pixels`.
    """

    header: Header | None = None
    digest: bytes = b""
    thumbnail: npt.NDArray[np.uint8] | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    pages: int = 1
    bands: str = ""
    levels: str = ""
    error: str = ""


@dataclass(frozen=True)
class MaskView:
    """Measurements of a mask, or the `error` if it could not be read.

    A run is a sequence of equal pixels in a row.

    Attributes:
        facts: the counts of the mask's values.
        header: the header of the mask's file; None if the mask is not a single file, such as a drawing of polygons.
        specks: the number of regions of at most `MAX_SPECK_AREA` pixels, by value; {} if they are not counted, as in a
            drawing of polygons.
        steps: the share, 0..1, of runs that look like a smoothed border: one or two pixels long, with a value between
            the values to their left and right. Runs at the ends of a row are not counted.
        thin_shares: for each value, the share, 0..1, of its runs that are thin: at most `MAX_THIN_LENGTH` pixels long
            and with different values to their left and right.
        error: the reason why the mask could not be read.
    """

    facts: MaskFacts | None = None
    header: Header | None = None
    specks: Mapping[int, int] = field(default_factory=dict)
    steps: float = 0.0
    thin_shares: Mapping[int, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class PairFacts:
    """Measurements of a pair of image and mask."""

    split: str
    pair: Pair
    image: ImageFacts
    mask: MaskView


def inspect_pairs(
    pairs: Sequence[tuple[str, Pair]],
    *,
    processes: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> list[PairFacts]:
    """Read every image and mask once, and return their measurements in the order of `pairs`.

    Memory grows by a few kilobytes per pair, or by a few tens of kilobytes if the compression of masks is lossy.

    Args:
        pairs: the pairs, each as (split, pair).
        processes: the number of processes that read files. If there are at most `MAX_PAIRS_WITHOUT_PROCESSES` pairs,
            the current process reads all of them instead.
        report: called after each pair with the numbers of pairs (done, total).
    """
    seen = []
    for facts in _inspected(pairs, processes):
        seen.append(facts)
        if report:
            report(len(seen), len(pairs))
    return seen


def _inspected(pairs: Sequence[tuple[str, Pair]], processes: int) -> Iterator[PairFacts]:
    if processes == 1 or len(pairs) <= MAX_PAIRS_WITHOUT_PROCESSES:
        yield from map(inspect_pair, pairs)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of this process's threads
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(inspect_pair, pairs, chunksize=CHUNK)


def inspect_pair(entry: tuple[str, Pair]) -> PairFacts:
    """Read and measure the image and the mask of `entry`, which is (split, pair)."""
    split, pair = entry
    return PairFacts(split, pair, _measure_image(pair.image), _measure_mask(pair.mask))


def _measure_image(path: Path) -> ImageFacts:
    try:
        header, pixels = read_header(path), read_pixels(path)
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except (ImageError, OSError) as error:
        return ImageFacts(error=_without_path(error, path))
    gray = Image.fromarray(pixels.rgb).convert("L")
    thumbnail = np.asarray(gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), dtype=np.uint8).ravel()
    levels, counts = np.arange(256), np.array(gray.histogram(), dtype=np.float64)
    brightness = float(levels @ counts / counts.sum())
    contrast = float(np.sqrt((levels - brightness) ** 2 @ counts / counts.sum()))
    seen = pixels.pages, pixels.bands, pixels.levels
    return ImageFacts(header, digest, thumbnail, brightness, contrast, *seen)


def _measure_mask(mask: MaskSource) -> MaskView:
    try:
        header = read_header(mask) if isinstance(mask, Path) else None
        pixels = mask_pixels(mask)
    except ImageError as error:
        return MaskView(error=_without_path(error, mask))
    if pixels.alpha is not None:  # its meaning is known only when all masks are read
        return MaskView(facts_of(mask, pixels), header)
    numbers = as_numbers(pixels.values, None) if pixels.values.ndim == 3 else pixels.values
    runs = _runs(numbers)
    steps, thin_shares = _borders(numbers, runs, colored=pixels.values.ndim == 3)
    specks = {} if _has_only_polygons(mask) else _specks(numbers, runs)
    return MaskView(facts_of(mask, pixels), header, specks, steps, thin_shares)


def _has_only_polygons(mask: MaskSource) -> bool:
    """Return whether a mask is drawn from polygons alone, between which narrow gaps are normal and cannot be erased."""
    return isinstance(mask, Drawing) and all(isinstance(shape, Polygon) for shape in mask.shapes)


def _runs(numbers: npt.NDArray[np.integer]) -> Runs:
    """Find the runs of equal pixels in the rows of `numbers` (H, W).

    Return two arrays (runs,): the flat index of each run's first pixel, and the length of each run.
    """
    starts = np.ones(numbers.shape, dtype=bool)
    np.not_equal(numbers[:, 1:], numbers[:, :-1], out=starts[:, 1:])
    firsts = np.flatnonzero(starts)
    return firsts, np.diff(firsts, append=numbers.size)


def _specks(numbers: npt.NDArray[np.integer], runs: Runs) -> dict[int, int]:
    """Return, for each mask value, how many of its regions have at most `MAX_SPECK_AREA` pixels.

    Pixels are connected by sides and corners, so that a thin diagonal line such as a crack is one region. Each pixel in
    a run of at most `MAX_SPECK_AREA` pixels first gets a unique label. Then, `MAX_SPECK_AREA` times, each such pixel
    takes the smallest label among its neighbors of the same value. After that, all pixels of a small region share a
    label that no other pixel has.

    Return {} without counting if the share of pixels in such runs is greater than `MAX_SHORT_SHARE`, and their number
    is greater than `FEW_SHORT`.
    """
    values, (firsts, lengths) = numbers.ravel(), runs
    firsts, lengths = firsts[lengths <= MAX_SPECK_AREA], lengths[lengths <= MAX_SPECK_AREA]
    if lengths.sum() > max(MAX_SHORT_SHARE * numbers.size, FEW_SHORT):
        return {}
    places = np.repeat(firsts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    labels = np.full(values.size, -1, dtype=np.int32)  # pixels of longer runs get the lowest label, which spreads
    labels[places] = np.arange(len(places))
    neighbors = _around(places, numbers.shape)
    neighbors = np.where(values.take(neighbors) == values.take(places), neighbors, places)  # take: twice as fast as []
    own = labels[places]
    for _ in range(MAX_SPECK_AREA):
        own = np.minimum(own, labels.take(neighbors).min(axis=0, initial=len(places)))
        labels[places] = own
    leaks = (labels.take(neighbors) != own).any(axis=0)
    sizes = np.bincount(own[own >= 0], minlength=len(places))
    sizes[own[leaks & (own >= 0)]] = 0
    heads = np.flatnonzero((sizes > 0) & (sizes <= MAX_SPECK_AREA))  # a region has the number of its first pixel
    found, counts = np.unique(values[places[heads]], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _around(places: npt.NDArray[np.int64], size: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the flat indices (8, N) of the neighbors of the pixels at the flat indices `places` (N,).

    A neighbor outside the image of `size` (height, width) is replaced by another neighbor or by the pixel itself.
    """
    height, width = size
    column = places % width
    left, right = np.where(column > 0, places - 1, places), np.where(column < width - 1, places + 1, places)
    up, down = np.where(places >= width, -width, 0), np.where(places < (height - 1) * width, width, 0)
    return np.stack([left, right, places + up, left + up, right + up, places + down, left + down, right + down])


def _borders(numbers: npt.NDArray[np.integer], runs: Runs, *, colored: bool) -> tuple[float, dict[int, float]]:
    """Return `MaskView.steps` and `MaskView.thin_shares` of a mask of `numbers` (H, W) with the given `runs`.

    `colored` is whether the numbers are colors 0xRRGGBB.
    """
    firsts, lengths = runs
    values = numbers.ravel()[firsts]
    # runs with a neighbor on both sides in their row
    inner = np.flatnonzero((firsts % numbers.shape[1] > 0) & ((firsts + lengths) % numbers.shape[1] > 0))
    if not len(inner):
        return 0.0, {}
    left, middle, right = (_levels(values[inner + offset], colored=colored) for offset in (-1, 0, 1))
    between = (
        (lengths[inner] <= MAX_STEP_WIDTH) & (np.minimum(left, right) < middle) & (middle < np.maximum(left, right))
    )
    thin_shares = np.zeros(len(values), dtype=bool)
    thin_shares[inner] = (lengths[inner] <= MAX_THIN_LENGTH) & (values[inner - 1] != values[inner + 1])
    found, indices = np.unique(values, return_inverse=True)
    shares = np.bincount(indices, thin_shares) / np.bincount(indices)
    return float(between.sum() / (len(inner) + 1)), dict(zip(found.tolist(), shares.tolist(), strict=True))


def _levels(values: npt.NDArray[np.integer], *, colored: bool) -> npt.NDArray[np.integer]:
    """Return gray levels: the values themselves, or for colors 0xRRGGBB the sum of their channels."""
    return np.asarray(sum(channels(values))) if colored else values


def _without_path(error: Exception, path: MaskSource) -> str:
    return str(error).removeprefix(f"{path}: ")
