"""Find faults of images: duplicates, near-duplicates, blank images and outliers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.data.check.inspect import PairFacts
from maskpencil.data.copies import find_copies
from maskpencil.data.faults import Fault, Severity, fault
from maskpencil.data.layout.pairs import Pair
from maskpencil.data.layout.splits import split_of_file


def check_copies(splits: Mapping[str, Sequence[Pair]], root: Path) -> list[Fault]:
    """Return a fault for each split with byte-for-byte copies of training images, under any name.

    Files are read only if other files have the same size. The fault names the files relative to `root`.
    """
    found = []
    train = splits.get("train", ())
    groups = find_copies(pair.image for pairs in (train, *splits.values()) for pair in pairs)
    first = {image: group[0] for group in groups for image in group}
    for split, pairs in splits.items():
        if split != "train" and (copies := _copies(pairs, train, first)):
            share = f"{len(copies)} of {len(pairs)}"
            found += fault(
                "copies-of-train",
                "warning",
                [
                    f"{_in_split(root, pair.image, split)} = {_in_split(root, other.image, 'train')}"
                    for pair, other in copies
                ],
                f"images of {split} that are also in train, so the network is scored on training images: {share}",
                "maskpencil check DATA --fix CLEAN writes a copy of the data without them",
            )
    return found


def leaves_train(copies: int, train: int) -> bool:
    """Return whether images that are both in train and in another split are to be removed from train.

    This leaves the validation and test images unchanged. The result is False if this would remove more than half of
    train; the images are then to be removed from the other splits.

    Args:
        copies: the number of images of train that are also in another split.
        train: the number of images of train.
    """
    return 2 * copies <= train


def _copies(pairs: Sequence[Pair], train: Sequence[Pair], first: Mapping[Path, Path]) -> list[tuple[Pair, Pair]]:
    """Return pairs whose image is also in train, each together with the pair of train that has the same image.

    `first` maps each image that has copies to the first of them.
    """
    by_first: dict[Path, list[Pair]] = defaultdict(list)
    for pair in train:
        by_first[first.get(pair.image, pair.image)].append(pair)
    sought = ((pair, by_first.get(first.get(pair.image, pair.image), [])) for pair in pairs)
    return [
        (pair, next((other for other in same if other.name == pair.name), same[0])) for pair, same in sought if same
    ]


def _in_split(root: Path, image: Path, split: str) -> str:
    """Return the path of an image relative to `root`, with its split in front if no folder of the path names it."""
    shown = _relative(root, image)
    return shown if split_of_file(root, image, by_name=False) == split else f"{split}: {shown}"


def _relative(root: Path, image: Path) -> str:
    return str(image.relative_to(root) if image.is_relative_to(root) else image)


MAX_NEAR_DIFFERENCE = 4.0
"""The largest root mean square difference, in gray levels, between the thumbnails of near-duplicates."""

MAX_NEAR_CONTRAST_SHARE = 0.15
"""The largest root mean square difference as a share of the contrast, so that two images of low contrast do not
match."""

MIN_CONTRAST = 2.0
"""The smallest contrast in gray levels; an image with less contrast counts as blank."""

MIN_OUTLIER_DEVIATIONS = 8.0
"""An image whose brightness or contrast is this many standard deviations from the median is an outlier."""

MIN_MENTIONED_SHARE = 0.5
"""A split is named in the message if at least this share of its images is also in train."""

MIN_IMAGES_FOR_OUTLIERS = 20
"""The smallest number of images among which outliers are searched for."""

_AT_ONCE = 512


def check_images(seen: Sequence[PairFacts], root: Path) -> list[Fault]:
    """Return the faults of the images that could be read: duplicates, near-duplicates, blank images and outliers.

    Duplicates and outliers are named by their paths relative to `root`.
    """
    views = [view for view in seen if view.image.thumbnail is not None]
    groups = _same_bytes(views)
    copies = {index for group in groups for index in group[1:]}
    return [
        *_duplicates(views, groups, root),
        *_near_duplicates(views, copies, root),
        *_blank(views),
        *_outliers(views, root),
    ]


def superfluous_copies(seen: Sequence[PairFacts]) -> set[int]:
    """Return `id(entry)` for each entry of `seen` to leave out, since another entry has the same image, byte for byte.

    Of all entries with the same image, one stays: an entry outside train, if there is one, so that scores stay
    comparable and training does not include scored images. If this would remove more than half of train, an entry in
    train stays instead.
    """
    leave, groups = set(), _same_bytes(seen)
    from_train = _leave_train(seen, groups)
    for group in groups:
        kept = min(group, key=lambda index: ((seen[index].split == "train") == from_train, index))
        leave |= {id(seen[index]) for index in group if index != kept}
    return leave


def _same_bytes(views: Sequence[PairFacts]) -> list[list[int]]:
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for index, view in enumerate(views):
        if view.image.digest:
            by_digest[view.image.digest].append(index)
    return [group for group in by_digest.values() if len(group) > 1]


def _leave_train(views: Sequence[PairFacts], groups: Sequence[Sequence[int]]) -> bool:
    """Return whether images in several splits are removed from train, not from val or test, see `leaves_train`.

    Each of `groups` lists the indices of all `views` that show the same image.
    """
    shared = [group for group in groups if len({views[index].split for index in group}) > 1]
    copies = sum(views[index].split == "train" for group in shared for index in group)
    return leaves_train(copies, sum(view.split == "train" for view in views))


def _duplicates(views: Sequence[PairFacts], groups: Sequence[Sequence[int]], root: Path) -> list[Fault]:
    within: dict[str, bool] = {}  # whether the masks differ, by the text
    across: dict[str, bool] = {}
    for group in groups:
        copies = [views[index] for index in group]
        in_several_splits = len({view.split for view in copies}) > 1
        names = [
            _in_split(root, v.pair.image, v.split) if in_several_splits else _relative(root, v.pair.image)
            for v in copies
        ]
        differ = len({(view.mask.facts.size, view.mask.facts.digest) for view in copies if view.mask.facts}) > 1
        (across if in_several_splits else within)[" = ".join(names)] = differ
    where = "train" if _leave_train(views, groups) else "the other splits (train would lose most of its images)"
    return [
        *_of_copies(
            "duplicates-across-splits",
            "error",
            across,
            "images in several splits, so the network is scored on training images: {n}" + _shares_of(views, groups),
            f"remove them from {where}, as --fix does",
        ),
        *_of_copies(
            "duplicates",
            "warning",
            within,
            "images that occur more than once: {n}",
            "keep one copy of each image, as --fix does",
        ),
    ]


def _of_copies(kind: str, severity: Severity, copies: Mapping[str, bool], what: str, remedy: str) -> list[Fault]:
    """Return a list with a fault of images that occur more than once, or [] if there are none.

    `copies` maps each text, which names all copies of one image, to whether the masks of these copies differ. Texts of
    copies with different masks come first in the fault.
    """
    if differing := sum(copies.values()):
        what += f"{f', {differing}' if len(copies) > 1 else ''} with different masks"
        remedy += "; where the masks differ, first remove the wrong mask and its image"
    mark = ": different masks" if differing < len(copies) else ""
    differing_first = [f"{text}{mark}" for text, differ in copies.items() if differ]
    return fault(kind, severity, differing_first + [text for text in copies if not copies[text]], what, remedy)


def _shares_of(views: Sequence[PairFacts], groups: Sequence[Sequence[int]]) -> str:
    """Return how many images of other splits are also in train: ", among them 3 of the 5 images of val", or "".

    A split with a share below `MIN_MENTIONED_SHARE` is not mentioned. Each of `groups` lists the indices of all `views`
    that show the same image.
    """
    parts = []
    for split in dict.fromkeys(view.split for view in views):
        shared = sum(
            views[index].split == split
            for group in groups
            if any(views[other].split == "train" for other in group)
            for index in group
        )
        every = sum(view.split == split for view in views)
        if split != "train" and shared >= MIN_MENTIONED_SHARE * every:
            parts.append(f"{f'all {every}' if shared == every else f'{shared} of the {every}'} images of {split}")
    return f", among them {' and '.join(parts)}" if parts else ""


def _near_duplicates(views: Sequence[PairFacts], copies: set[int], root: Path) -> list[Fault]:
    places = [i for i, view in enumerate(views) if i not in copies and view.image.contrast > MIN_CONTRAST]
    across: list[str] = []
    within: list[str] = []
    for one, other in _near_pairs([views[i] for i in places]):
        first, second = views[places[one]], views[places[other]]
        if first.split == second.split:
            within.append(f"{_relative(root, first.pair.image)} ~ {_relative(root, second.pair.image)}")
        else:
            across.append(" ~ ".join(_in_split(root, view.pair.image, view.split) for view in (first, second)))
    return [
        *fault(
            "near-duplicates-across-splits",
            "warning",
            across,
            "images almost identical to an image in another split, such as frames of one video: {n}",
            "keep images of one video, place or patient in the same split; otherwise scores are too high",
        ),
        *fault(
            "near-duplicates",
            "note",
            within,
            "images almost identical to another image: {n}",
            "copies add nothing to training; frames of a video are fine",
        ),
    ]


def _near_pairs(views: Sequence[PairFacts]) -> list[tuple[int, int]]:
    """Return the pairs of near-duplicates, as indices of `views`.

    Each image is paired with at most one of the images that are not brighter: the most similar near-duplicate in
    another split, or, if there is none, the most similar near-duplicate in the same split. Only images of almost the
    same brightness are compared, since images of different brightness cannot be near-duplicates.
    """
    if len(views) < 2:
        return []
    thumbnails = np.stack([view.image.thumbnail for view in views if view.image.thumbnail is not None])
    brightness = thumbnails.mean(axis=1)
    order = np.argsort(brightness, kind="stable")
    brightness, splits = brightness[order], np.array([view.split for view in views])[order]
    points = thumbnails[order].astype(np.float32) - 128  # (n, 256), centered for precision
    squares = np.einsum("ij,ij->i", points, points)
    limits = np.minimum(MAX_NEAR_DIFFERENCE, MAX_NEAR_CONTRAST_SHARE * points.std(axis=1)) ** 2 * points.shape[1]
    pairs = []
    for start in range(0, len(points), _AT_ONCE):
        first, end = (
            np.searchsorted(brightness, brightness[start] - MAX_NEAR_DIFFERENCE),
            min(start + _AT_ONCE, len(points)),
        )
        rows, others = np.arange(start, end), np.arange(first, end)
        distances = squares[rows, None] + squares[others] - 2 * points[rows] @ points[others].T  # (rows, others)
        near = (distances <= np.minimum(limits[rows, None], limits[others])) & (others < rows[:, None])
        for row in np.flatnonzero(near.any(axis=1)):
            found = np.flatnonzero(near[row])
            elsewhere = found[splits[others[found]] != splits[rows[row]]]  # leaks between splits come first
            found = elsewhere if len(elsewhere) else found
            nearest = others[found[distances[row, found].argmin()]]
            one, other = int(order[nearest]), int(order[rows[row]])
            pairs.append((min(one, other), max(one, other)))
    return sorted(pairs)


def _blank(views: Sequence[PairFacts]) -> list[Fault]:
    blank = [view for view in views if view.image.contrast < MIN_CONTRAST]
    return [
        *fault(
            "blank-images",
            "warning",
            [view.pair.image for view in blank if not view.image.levels],
            "blank images, of the same brightness everywhere: {n}",
            "replace or remove them",
        ),
        *fault(
            "blank-as-read",
            "warning",
            [view.pair.image for view in blank if view.image.levels],
            "images that have the same brightness everywhere after their numbers are mapped to 0 to 255: {n}",
            "give them a scale by which their numbers fill 0 to 10000: gdal_edit.py -scale FACTOR FILE.tif; or replace "
            "or remove the images that are blank",
        ),
    ]


def _outliers(views: Sequence[PairFacts], root: Path) -> list[Fault]:
    if len(views) < MIN_IMAGES_FOR_OUTLIERS:
        return []
    outliers = [False] * len(views)
    for values in ([v.image.brightness for v in views], [v.image.contrast for v in views]):
        outliers = [a or b for a, b in zip(outliers, _outlier_indices(np.array(values)), strict=True)]
    return fault(
        "unlike-the-rest",
        "note",
        [
            f"{_relative(root, view.pair.image)}: brightness {view.image.brightness:.0f}, "
            f"contrast {view.image.contrast:.0f}"
            for view, is_outlier in zip(views, outliers, strict=True)
            if is_outlier and view.image.contrast >= MIN_CONTRAST
        ],
        "images with a brightness or contrast far from that of most images: {n}",
        "check whether they belong to the data set",
    )


def _outlier_indices(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    distances = np.abs(values - np.median(values))
    spread = max(2.0, 1.4826 * float(np.median(distances)))  # the standard deviation, if the values are normal
    return distances > MIN_OUTLIER_DEVIATIONS * spread
