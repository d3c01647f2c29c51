"""Find labels that may be wrong: regions whose label is rare for the predicted class, and whole masks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.label_maps import LabelMap
from maskpencil.metrics.boundary import boundary_pixels
from maskpencil.metrics.calibration import BINS
from maskpencil.metrics.counting import histogram
from maskpencil.plain_text import counted, csv_cell

Box = tuple[int, int, int, int]
Counts = npt.NDArray[np.int64]

BORDER = 3
"""Pixels at most this number of pixels from a boundary of the label are left out: no boundary is drawn exactly."""

MIN_AREA = 30
"""The smallest area of a suspected region, in searched pixels, see `MAX_PIXELS`."""

RARE = 0.02
"""A region is suspect if at most this share of the pixels predicted like it, in other images, has its label."""

PRIOR = 20
"""The number of pixels added to the count of each class and confidence bin, one of them with the label. So no label
counts as rare if the network hardly ever predicts the class with this confidence."""

MAX_PIXELS = 2**18
"""Of larger images only every second, third, ... row and column is searched: at most about this number of pixels."""

MAX_PER_IMAGE = 8
"""The largest number of suspected regions reported for one image."""

MAX_KEPT = 50
"""The largest number of regions of an image, the largest in area, that are kept until all images are added."""

NEIGHBORS = 10
"""This number of frames before and after a frame do not count as other images, since they show the same scene."""

MIN_IMAGES = 10
"""With fewer images no whole mask is suspected, since the usual agreement is not known."""

DEVIATIONS = 6.0
"""A mask is suspect if its agreement is below the median, or its gain by a shift above the median, by more than this
number of standard deviations."""

LEAST_DEVIATION, LEAST_GAIN_DEVIATION = 0.02, 0.005
"""Smaller standard deviations of the agreement, and of the gain by a shift, are raised to these values."""

MIN_GAIN = 0.03
"""A mask is suspected to be shifted only if a shift raises the agreement near boundaries, 0..1, by more than this."""

STEPS = 4
"""Shifts of up to this number of steps are tried: up, down, left and right."""

STEP_SHARE = 1 / 300
"""The length of a step, as a share of the image's diagonal."""

SAMPLES = 1000
"""The largest number of pixels near boundaries at which shifts are compared."""

_NO_PAIR = 2**16 - 1
"""The value of pixels outside of all regions. Pairs of label and prediction have smaller numbers."""

OTHER_IMAGE, SHIFTED, REGION = "other image", "shifted", "region"


@dataclass(frozen=True)
class Suspect:
    """A suspected label error: a region that may have the wrong label, or a whole mask.

    Attributes:
        image: the index of the image in the order in which images were added.
        kind: `REGION` for a region; `OTHER_IMAGE` or `SHIFTED` for a whole mask.
        label: the class of the label; None for a whole mask.
        would_be: the class that the network predicts; None for a whole mask.
        box: (x0, y0, x1, y1) in pixels of the image; x1 and y1 are not in the box.
        score: how strongly the prediction contradicts the label, see `LabelErrors`.
        remark: the evidence in words.
        shift: (down, right) in pixels, by which a shifted mask should be moved; (0, 0) for other suspects.
    """

    image: int
    kind: str
    label: int | None
    would_be: int | None
    box: Box
    score: float
    remark: str
    shift: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Region:
    image: int
    label: int
    would_be: int
    box: Box
    bins: Counts
    """(BINS,): the number of searched pixels in each bin of confidence."""
    step: int
    """The distance in pixels between searched rows, and between searched columns."""


@dataclass(frozen=True)
class _Mask:
    size: tuple[int, int]
    """(H, W) of the mask in pixels."""
    agreement: float
    """The share, 0..1, of the pixels that are predicted as their label; NaN if all pixels are ignored."""
    gain: float
    """The agreement near boundaries, 0..1, with the best shift minus the agreement without a shift."""
    shift: tuple[int, int]
    """The best shift (down, right) of the label in pixels."""
    is_bounded: bool
    """Whether the best shift is smaller than the largest shift that was tried, in both directions."""


class LabelErrors:
    """Collect the predictions for the images of a data set, one image after the other, and rank suspected label errors.

    A region is a set of connected pixels with the same label and the same prediction, farther than `BORDER` from the
    boundaries of the label. Its score is the mean of -log q over its pixels, times the square root of its area. To
    compute q, take the pixels of all other images that are predicted as the same class, with a confidence in the same
    bin: q is the share of them that has the label of the region. So a label is suspect if it is rare for the
    prediction, not if the network often confuses the two classes. Neighboring frames of a video do not count as other
    images, since they often repeat a label error.

    Each mask as a whole is compared with all other masks. It is suspected to be that of another image (`OTHER_IMAGE`)
    if its agreement with the prediction is far below the median, and to be shifted (`SHIFTED`) if a shift raises its
    agreement near boundaries far more than usual. The score is the agreement below the median, or gained by the shift,
    in percentage points.

    Ideas: Northcutt et al., "Confident Learning", JAIR 2021, for the counts of label and prediction; Rottmann, Reese,
    "Automated Detection of Label Errors in Semantic Segmentation Datasets", WACV 2023, for ranking connected regions.
    """

    def __init__(self, num_classes: int) -> None:
        self._counts = np.zeros((num_classes, num_classes, BINS), np.int64)
        """(K, K, BINS): the number of pixels by label, prediction and bin of confidence."""
        self._own: list[tuple[Counts, Counts]] = []
        """The counts of each image: the indices in the flattened array whose counts are not 0, and these counts."""
        self._regions: list[_Region] = []
        self._masks: list[_Mask] = []

    def add(self, target: LabelMap, prediction: LabelMap, confidence: npt.NDArray[np.floating]) -> None:
        """Add the next image.

        Args:
            target: (H, W) class indices, 255 where ignored.
            prediction: (H, W) class indices.
            confidence: (H, W) the confidence of the prediction, 0..1.
        """
        import cv2  # slow to import

        image, num_classes = len(self._masks), len(self._counts)
        size, step = target.shape, math.ceil(math.sqrt(target.size / MAX_PIXELS))
        if step > 1:
            target, prediction = (np.ascontiguousarray(each[::step, ::step]) for each in (target, prediction))
            confidence = confidence[::step, ::step]
        edge = boundary_pixels(target)
        near = cv2.dilate(edge.view(np.uint8), np.ones((2 * BORDER + 1, 2 * BORDER + 1), np.uint8)).view(bool)
        labeled = target != IGNORE_INDEX
        bins = np.minimum(confidence * np.float32(BINS), BINS - 1).astype(np.uint8)
        pairs = target.astype(np.uint16) * np.uint16(num_classes) + prediction
        inner = labeled & ~near
        codes = pairs[inner].astype(np.int64) * BINS + bins[inner]
        counts = np.bincount(codes, minlength=self._counts.size)
        present = np.flatnonzero(counts)
        self._own.append((present, counts[present]))
        counts = counts.reshape(self._counts.shape)
        self._counts += counts
        wrong = labeled & (target != prediction)
        pairs[~(wrong & inner)] = _NO_PAIR
        self._regions += _regions(image, pairs, bins, counts, step)
        total = np.count_nonzero(labeled)
        agreement = 1 - np.count_nonzero(wrong) / total if total else float("nan")
        gain, (down, right), is_bounded = _best_shift(target, prediction, near)
        self._masks.append(_Mask(size, agreement, gain, (down * step, right * step), is_bounded))

    def merge(self, other: "LabelErrors") -> None:
        """Add the images of `other`, numbered after the images added so far."""
        self._counts += other._counts
        self._own += other._own
        self._regions += [replace(region, image=region.image + len(self._masks)) for region in other._regions]
        self._masks += other._masks

    def ranked(self, neighbors: Sequence[Sequence[int]] = ()) -> list[Suspect]:
        """Return all suspects: first whole masks, then regions, each sorted by descending score.

        Args:
            neighbors: for each image, its own index and the indices of the images that show the same scene, which do
                not count as other images; by default only the index of the image.
        """
        found, image, others, predicted = [], -1, self._counts, self._counts[0]
        for region in self._regions:  # ordered by their images
            if region.image != image:
                image = region.image
                others = self._counts_without(neighbors[image] if neighbors else (image,))
                predicted = others.sum(axis=0)
            area = int(region.bins.sum())
            same = others[region.label, region.would_be]
            surprise = -np.log((same + 1) / (predicted[region.would_be] + PRIOR))
            mean = float(region.bins @ surprise) / area
            if mean >= -math.log(RARE):
                score = mean * math.sqrt(area)
                remark = (
                    f"{area * region.step**2:,} pixels; in other images {math.exp(-mean):.1%} of the pixels predicted "
                    "like these have this label"
                )
                found.append(Suspect(region.image, REGION, region.label, region.would_be, region.box, score, remark))
        found.sort(key=lambda suspect: (-suspect.score, suspect.image, suspect.box))
        kept, seen = [], [0] * len(self._masks)
        for suspect in found:
            seen[suspect.image] += 1
            if seen[suspect.image] <= MAX_PER_IMAGE:
                kept.append(suspect)
        return [*self._whole_masks(), *kept]

    def _counts_without(self, images: Sequence[int]) -> Counts:
        """Return the counts (K, K, BINS) summed over all images except `images`."""
        counts = self._counts.copy()
        for image in images:
            places, numbers = self._own[image]
            counts.ravel()[places] -= numbers
        return counts

    def _whole_masks(self) -> list[Suspect]:
        if len(self._masks) < MIN_IMAGES:
            return []
        usual, deviation = _usual([mask.agreement for mask in self._masks], LEAST_DEVIATION)
        usual_gain, gain_deviation = _usual([mask.gain for mask in self._masks], LEAST_GAIN_DEVIATION)
        found = []
        for image, mask in enumerate(self._masks):
            box = (0, 0, mask.size[1], mask.size[0])
            if mask.agreement < usual - DEVIATIONS * deviation:
                remark = f"{mask.agreement:.0%} of its pixels agree with the prediction, usual is {usual:.0%}"
                found.append(Suspect(image, OTHER_IMAGE, None, None, box, 100 * (usual - mask.agreement), remark))
            elif mask.is_bounded and mask.gain > max(MIN_GAIN, usual_gain + DEVIATIONS * gain_deviation):
                remark = (
                    f"moved {_way(*mask.shift)}, {mask.gain:.1%} more of its pixels along boundaries would agree with "
                    "the prediction"
                )
                found.append(Suspect(image, SHIFTED, None, None, box, 100 * mask.gain, remark, mask.shift))
        return sorted(found, key=lambda suspect: (-suspect.score, suspect.image))


def _regions(
    image: int, pairs: npt.NDArray[np.uint16], bins: npt.NDArray[np.uint8], counts: Counts, step: int
) -> list[_Region]:
    """Find the connected regions whose pixels all have the same label and the same prediction.

    Args:
        image: the index of the image.
        pairs: (H, W) label times K plus prediction, `_NO_PAIR` outside of all regions.
        bins: (H, W) the bin of the confidence.
        counts: (K, K, BINS) the number of pixels of the image by label, prediction and bin of confidence.
        step: the distance in pixels between searched rows, and between searched columns.

    Returns:
        At most `MAX_KEPT` regions, the largest first.
    """
    import cv2  # slow to import

    found = []
    areas = counts.sum(axis=2)
    np.fill_diagonal(areas, 0)
    for number in np.flatnonzero(areas.ravel() >= MIN_AREA).tolist():
        mask = (pairs == number).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        window = slice(top, top + height), slice(left, left + width)
        count, ids = cv2.connectedComponents(mask[window], connectivity=8)
        label, would_be = divmod(number, len(counts))
        for region in np.flatnonzero(histogram(ids, count)[1:] >= MIN_AREA) + 1:
            inside = ids == region
            x, y, w, h = cv2.boundingRect(inside.view(np.uint8))
            within = histogram(bins[window], BINS, inside)
            box = (left + x) * step, (top + y) * step, (left + x + w) * step, (top + y + h) * step
            found.append(_Region(image, label, would_be, box, within, step))
    return sorted(found, key=lambda region: -int(region.bins.sum()))[:MAX_KEPT]


def _best_shift(
    target: LabelMap, prediction: LabelMap, near: npt.NDArray[np.bool_]
) -> tuple[float, tuple[int, int], bool]:
    """Find the shift of the target that agrees best with the prediction near boundaries.

    Args:
        target: (H, W) class indices, 255 where ignored.
        prediction: (H, W) class indices.
        near: (H, W) whether a pixel is near a boundary of the target; at most `SAMPLES` of these pixels are compared.

    Returns:
        gain: the agreement, 0..1, with the best shift minus the agreement without a shift.
        shift: (down, right) the best shift in rows and columns of the arrays; (0, 0) without boundaries.
        is_bounded: whether the best shift is smaller than the largest shift that was tried.
    """
    step = max(1, round(math.hypot(*target.shape) * STEP_SHARE))
    reach = STEPS * step
    inner = near[reach:-reach, reach:-reach]
    rows, columns = np.nonzero(inner)
    if not len(rows):
        return 0.0, (0, 0), True
    chosen = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).astype(np.int64)
    width, labels = target.shape[1], target.ravel()
    places = (rows[chosen] + reach) * width + columns[chosen] + reach
    predicted, fits = prediction.ravel()[places], dict[tuple[int, int], float]()

    def fit(down: int, right: int) -> float:
        if (down, right) not in fits:
            moved = labels[places - (down * width + right) * step]  # the label shifted down and to the right
            labeled = int(np.count_nonzero(moved != IGNORE_INDEX))
            fits[down, right] = int(np.count_nonzero(moved == predicted)) / max(1, labeled)
        return fits[down, right]

    coarse = range(-STEPS, STEPS + 1, 2)
    best = max(((down, right) for down in coarse for right in coarse), key=lambda shift: fit(*shift))
    if best != (0, 0):
        around = ((best[0] + down, best[1] + right) for down in (-1, 0, 1) for right in (-1, 0, 1))
        best = max((shift for shift in around if max(map(abs, shift)) <= STEPS), key=lambda shift: fit(*shift))
    return fit(*best) - fit(0, 0), (best[0] * step, best[1] * step), max(map(abs, best)) < STEPS


def _way(down: int, right: int) -> str:
    """Describe a shift in words, for example "4 pixels left and 2 pixels up"."""
    parts = [(right, "right" if right > 0 else "left"), (down, "down" if down > 0 else "up")]
    return " and ".join(f"{counted(abs(pixels), 'pixel')} {way}" for pixels, way in parts if pixels)


def _usual(values: Sequence[float], least: float) -> tuple[float, float]:
    """Return the median and a robust standard deviation of the values that are not NaN.

    The standard deviation is estimated by the median absolute deviation, and is at least `least`.
    """
    known = np.array([value for value in values if not math.isnan(value)] or [0.0])
    median = float(np.median(known))
    return median, max(least, 1.4826 * float(np.median(np.abs(known - median))))


HEADER = ("file", "kind", "class", "would be", "x0", "y0", "x1", "y1", "score", "remark")


def csv_rows(suspects: Iterable[Suspect], files: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Return the rows of label_errors.csv: the header row, then a row for each suspect.

    Args:
        suspects: the suspects, in the order of the rows.
        files: the file names of all images.
        names: the names of all classes.
    """
    rows = [list(HEADER)]
    for each in suspects:
        classes = ("" if k is None else csv_cell(names[k]) for k in (each.label, each.would_be))
        place = map(str, each.box)
        rows.append([csv_cell(files[each.image]), each.kind, *classes, *place, f"{each.score:.2f}", each.remark])
    return rows
