"""Decide what several masks of one image show.

They may show different classes, different objects, the work of several annotators, or the same mask in several forms.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Layers, MaskSource, area_of
from maskpencil.data.layout.views import Image, View
from maskpencil.data.masks.encoding import as_numbers, channels, is_flat
from maskpencil.errors import ImageError
from maskpencil.label_maps import read_mask_pixels

SAMPLE = 6
"""The largest number of images whose masks are compared."""

CANDIDATE_SHARE = 0.8
"""A folder is a candidate if it has masks for at least this share of the images that the best folder covers."""

FEW_VALUES, SOME_VALUES = 16, 64
MIN_EVENNESS, MIN_CERTAIN_EVENNESS = 0.6, 0.85
"""A file looks like a mask in one of three cases: it has at most `FEW_VALUES` values; it has at most `SOME_VALUES`
values, and an evenness (see `search.evenness`) of at least `MIN_EVENNESS`; or it has an evenness of at least
`MIN_CERTAIN_EVENNESS`, as compressed masks have."""

MIN_EQUAL_SHARE = 0.85
"""Two masks count as equal if they agree in this share of the pixels that do not have the most frequent value."""

MIN_AGREEMENT = 0.5
"""The smallest intersection over union of masks of the same objects by several annotators."""

MAX_OVERLAP = 0.2
"""The largest share of an object that another object may cover."""

MIN_INSIDE_SHARE = 0.95
"""A class with at least this share of its area inside another class is a part of that class, such as the pupil of an
eye."""

NUMBERING = re.compile("instance|panoptic|object")
"""Words in the names of masks that number objects."""

GENERIC = frozenset(("mask", "masks", "label", "labels", "gt", "annotation", "annotations", "segmentation", "target"))
"""Words in the names of masks that are not names of classes."""

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Choice:
    """The masks to read, the names of the classes if each file shows one class, and notes on the choice.

    `source` is the name of the chosen `View`, and `complaint` is the error message if no choice is possible.
    """

    masks: Mapping[Image, MaskSource] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    complaint: str = ""


def choose(views: Sequence[View], *, where: str, are_folders: bool = False) -> Choice:
    """Choose the masks to read by the contents of the files, if images have several masks.

    A view is one set of masks, such as a folder, see `View`.

    - Views that look like photographs, or are the same for every image, are left out.
    - Of views that differ only in their numbers or colors, one view is used; views that number the objects of another
      view's classes are left out.
    - Black-and-white views that mostly agree are by several annotators; the first view is used.
    - Other black-and-white views whose names are words are classes.

    Args:
        views: the views, the most likely first.
        where: the folder, for messages.
        are_folders: whether the name of a view is the name of a folder, which --masks can select.
    """
    notes: list[str] = []
    views = [view for view in views if view.masks]
    if not views:
        return Choice()
    views = _joined_if_disjoint(views)
    samples = _Samples(views)
    whole: list[View] = []
    for view in views:
        single, complaint = _with_one_file_per_image(view, samples, where, notes)
        if complaint:
            return Choice(complaint=complaint)
        whole.append(single)
    views = whole
    if len(views) == 1:
        return _chosen(views[0], notes)
    if not samples.readable:
        views = sorted(views, key=lambda view: (-len(view.masks), view.name))
        left = sum(len(view.masks) for view in views[1:])
        return _chosen(views[0], [*notes, f"{left} other masks of the same images are left out"])
    views = _without(views, [v for v in views if not samples.looks_like_masks(v)], "looks like photographs", notes)
    views = _without(views, [v for v in views if samples.is_constant(v)], "is nearly the same in every image", notes)
    views = _without(views, _duplicates(views, samples), "holds the same masks in another encoding", notes)
    views = _without(views, _instances(views, samples), "numbers objects", notes)
    if len(views) == 1:
        return _chosen(views[0], notes)
    if all(samples.is_binary(view) for view in views):
        if _agree(views, samples):
            others = ", ".join(view.name for view in views[1:])
            note = f"{views[0].name} is read; {others}: masks of the same images by other annotators, left out"
            return _chosen(views[0], [*notes, note])
        names = _class_names([view.name for view in views])
        if names and _are_classes(views, samples):
            return _classes(views, names, samples, notes)
    return Choice(complaint=_request_choice(views, where, are_folders=are_folders))


def _joined_if_disjoint(views: Sequence[View]) -> list[View]:
    """Join all views into one view if no image is in two of them, as when each hospital has its own folder of masks."""
    every = {image: files for view in views for image, files in view.masks.items()}
    if len(views) < 2 or len(every) < sum(len(view.masks) for view in views):
        return list(views)
    rules = dict.fromkeys(view.rule for view in views if view.rule)
    return [View(views[0].name, every, "; ".join(rules) or None)]


class _Samples:
    """The pixels of the masks of a sample of the images that have several masks."""

    def __init__(self, views: Sequence[View]) -> None:
        counts: dict[Image, int] = defaultdict(int)
        for view in views:
            for image, files in view.masks.items():
                counts[image] += len(files)
        most = sorted(counts, key=lambda image: (counts[image] < 2, image))
        several = [image for image in most if counts[image] > 1] or most
        step = max(1, len(several) // SAMPLE)
        self.images = several[::step][:SAMPLE]
        self._numbers: dict[Path, Numbers | None] = {}
        self._areas: dict[Path, npt.NDArray[np.bool_] | None] = {}
        self._views = views

    @property
    def readable(self) -> bool:
        """Whether any mask of the sample can be read."""
        return any(self.of(view) for view in self._views)

    def numbers(self, path: Path) -> Numbers | None:
        """Return the values of a mask as numbers (H, W); None if the file cannot be read."""
        if path not in self._numbers:
            try:
                pixels = read_mask_pixels(path)
            except ImageError:  # reported when all files are read
                self._numbers[path] = self._areas[path] = None
            else:
                self._numbers[path] = as_numbers(pixels.values, pixels.palette)
                self._areas[path] = area_of(pixels)
        return self._numbers[path]

    def area(self, path: Path) -> npt.NDArray[np.bool_] | None:
        """Return a boolean mask (H, W) of the white area of a black-and-white mask; None if the file cannot be read."""
        self.numbers(path)
        return self._areas[path]

    def of(self, view: View) -> dict[Image, Numbers]:
        """Return the values (H, W) of each image's first mask in a view, by image of the sample."""
        files = ((image, view.masks[image][0]) for image in self.images if image in view.masks)
        return {image: numbers for image, path in files if (numbers := self.numbers(path)) is not None}

    def areas(self, view: View) -> dict[Image, npt.NDArray[np.bool_]]:
        """Return for each image of the sample the white area (H, W) in the black-and-white masks of a view.

        If an image has several mask files, its area is the union of their areas.
        """
        joined: dict[Image, npt.NDArray[np.bool_]] = {}
        for image in self.images:
            for path in view.masks.get(image, ()):
                area = self.area(path)
                if area is not None and (image not in joined or joined[image].shape == area.shape):
                    joined[image] = joined[image] | area if image in joined else area
        return joined

    def looks_like_masks(self, view: View) -> bool:
        """Return whether the files of a view have few values or large areas of one value, see `MIN_EVENNESS`."""
        masks = list(self.of(view).values())
        if not masks:
            return True
        values = float(np.median([len(np.unique(numbers)) for numbers in masks]))
        even = float(np.mean([is_flat(numbers).mean() if min(numbers.shape) > 2 else 0.0 for numbers in masks]))
        return values <= FEW_VALUES or (values <= SOME_VALUES and even >= MIN_EVENNESS) or even >= MIN_CERTAIN_EVENNESS

    def is_binary(self, view: View) -> bool:
        """Return whether each mask of a view has at most two values.

        A compressed mask may have more values if nearly all its pixels are very dark or very light.
        """
        for path in (path for image in self.images for path in view.masks.get(image, ())):
            numbers = self.numbers(path)
            if numbers is None:
                continue
            values, counts = np.unique(numbers, return_counts=True)
            light = np.stack(channels(values)).max(axis=0)
            middle = (light > light.max() / 8) & (light < light.max() * 7 / 8)
            compressed = len(values) > FEW_VALUES // 2 and counts[middle].sum() < 0.05 * counts.sum()
            if len(values) > 2 and not compressed:
                return False
        return True

    def is_constant(self, view: View) -> bool:
        """Return whether a view has masks of three images or more that are all nearly the same."""
        masks = list(self.of(view).values())
        if len(masks) < 3 or len({numbers.shape for numbers in masks}) > 1:
            return False
        values, counts = np.unique(np.stack(masks), return_counts=True)
        usual = values[counts.argmax()]
        shares = []
        for one, other in combinations(masks, 2):
            either = (one != usual) | (other != usual)
            shares.append(float((one == other)[either].mean()) if either.any() else 1.0)
        return min(shares) >= MIN_EQUAL_SHARE


def _with_one_file_per_image(view: View, samples: _Samples, where: str, notes: list[str]) -> tuple[View, str]:
    """Return the view with the mask files to read, and an error message, which is "" if the files can be read.

    If the files of an image are by several annotators, the returned view has only the first file of each image. If each
    file shows another object, or no image has several files, `view` is returned unchanged. Otherwise the message says
    why the files of an image cannot be read together.

    Args:
        view: the view.
        samples: the pixels of a sample of the masks.
        where: the folder, for the message.
        notes: a list to which a note on the decision is added.
    """
    several = [image for image in samples.images if len(view.masks.get(image, ())) > 1]
    if not several:
        return view, ""
    example = view.masks[several[0]]
    named = f"{where}: {several[0][1]} has {len(example)} masks ({', '.join(path.name for path in example[:3])}"
    named += ", ...)" if len(example) > 3 else ")"
    unclear = "; keep one mask file for each image, and move the others out of the folder"
    if not samples.is_binary(view):
        return view, f"{named} of more than two values, which cannot be joined{unclear}"
    agreements, covers = [], []
    for image in several:
        areas = [area for path in view.masks[image][:SAMPLE] if (area := samples.area(path)) is not None]
        for one, other in combinations(areas, 2):
            if one.shape != other.shape or not one.any() or not other.any():
                continue
            common = int((one & other).sum())
            agreements.append(common / int((one | other).sum()))
            covers.append(common / min(int(one.sum()), int(other.sum())))
    if agreements and float(np.median(agreements)) >= MIN_AGREEMENT:
        notes.append(f"each image has masks by several annotators: the first is read, such as {example[0].name}")
        return View(view.name, {image: files[:1] for image, files in view.masks.items()}, view.rule), ""
    if not covers or float(np.median(covers)) <= MAX_OVERLAP:
        notes.append(f"each mask file shows one object ({example[0].name}, ...): the files of an image are joined")
        return view, ""
    return (
        view,
        f"{named} that overlap in part: neither separate objects nor the same objects by several annotators{unclear}",
    )


def _chosen(view: View, notes: Sequence[str]) -> Choice:
    several = any(len(files) > 1 for files in view.masks.values())
    rule = (view.rule,) if view.rule else ()
    if not several:
        return Choice({image: files[0] for image, files in view.masks.items()}, (), (*rule, *notes), view.name)
    masks = {image: Layers(image[1], tuple((path, 1) for path in files)) for image, files in view.masks.items()}
    return Choice(masks, ("foreground",), (*rule, *notes), view.name)


def _without(views: Sequence[View], dropped: Sequence[View], reason: str, notes: list[str]) -> list[View]:
    """Remove the views in `dropped`, and add a note with the reason for each; remove none if all would be removed."""
    kept = [view for view in views if view not in dropped]
    if not kept or not dropped:
        return list(views)
    notes.extend(f"{view.name} is left out: it {reason}" for view in dropped)
    return kept


def _determines(one: Mapping[Image, Numbers], other: Mapping[Image, Numbers], *, over_all: bool) -> bool:
    """Return whether the values of `one` determine those of `other`: pixels equal in `one` are equal in `other`.

    Only pixels of the same image are compared, or, with `over_all`, the pixels of all images.
    """
    together: dict[int, int] = {}
    common = [image for image in one if image in other and one[image].shape == other[image].shape]
    for image in common:
        couples = np.unique(np.stack([one[image].ravel(), other[image].ravel()]), axis=1).T.tolist()
        own = together if over_all else {}
        for value, meaning in couples:
            if own.setdefault(value, meaning) != meaning:
                return False
    return bool(common)


def _duplicates(views: Sequence[View], samples: _Samples) -> list[View]:
    """Return the views that differ from a better view at most in their numbers or colors.

    A gray view is better than a colored view; of two gray or two colored views, the shorter name is better.
    """
    ranked = sorted(views, key=lambda view: (_is_colored(samples.of(view)), len(view.name)))
    repeated: list[View] = []
    for place, view in enumerate(ranked):
        for better in ranked[:place]:
            one, other = samples.of(better), samples.of(view)
            if (
                better not in repeated
                and _determines(one, other, over_all=True)
                and _determines(other, one, over_all=True)
            ):
                repeated.append(view)
                break
    return repeated


def show_same_regions(views: Sequence[View]) -> bool:
    """Return whether two views show the same regions in different numbers or colors; False for blank files."""
    samples = _Samples(views)
    one, other = map(samples.of, views)
    values = {value for numbers in one.values() for value in np.unique(numbers).tolist()}
    if len(values) < 2 or len(values) > SOME_VALUES:
        return False
    return _determines(one, other, over_all=True) and _determines(other, one, over_all=True)


def _is_colored(masks: Mapping[Image, Numbers]) -> bool:
    return any(bool((numbers >> 16 != numbers & 255).any()) for numbers in masks.values())


def _instances(views: Sequence[View], samples: _Samples) -> list[View]:
    """Return the views whose values number single objects, while another view holds the classes of these objects.

    In each image, every value of such an object view lies within one class of the class view. In addition, one of
    these conditions holds:

    - The values of the object view differ from image to image, see `_varies`, but those of the class view do not.
    - In an image a class contains several values, and the object view is named after objects.
    - In an image a class contains several values, and a value lies in different classes in different images.
    """
    found = []
    for fine in views:
        for coarse in views:
            one, other = samples.of(fine), samples.of(coarse)
            if fine is coarse or not _determines(one, other, over_all=False):
                continue
            divides = not _determines(other, one, over_all=False)
            varies = _varies(one) and not _varies(other)
            if varies or (
                divides and (NUMBERING.search(fine.name.lower()) or not _determines(one, other, over_all=True))
            ):
                found.append(fine)
                break
    return found


def _varies(masks: Mapping[Image, Numbers]) -> bool:
    """Return whether the values of masks differ from image to image, as numbers that identify single objects do."""
    values = [set(np.unique(numbers).tolist()) for numbers in masks.values()]
    return len(values) > 1 and len(set.union(*values)) > 1.5 * max(map(len, values))


def _overlaps(views: Sequence[View], samples: _Samples) -> list[tuple[list[float], list[float], list[float]]]:
    """Measure how much each pair of views overlaps; return three lists for each pair.

    The lists have an entry for each image: the intersection over union, the share of the first view inside the
    second view, and the share of the second view inside the first view.
    """
    found = []
    for one, other in combinations(views, 2):
        areas, others = samples.areas(one), samples.areas(other)
        union, first, second = [], [], []
        for image in areas:
            if image in others and areas[image].shape == others[image].shape:
                a, b = areas[image], others[image]
                if a.any() and b.any():
                    common = int((a & b).sum())
                    union.append(common / int((a | b).sum()))
                    first.append(common / int(a.sum()))
                    second.append(common / int(b.sum()))
        found.append((union, first, second))
    return found


def _agree(views: Sequence[View], samples: _Samples) -> bool:
    overlaps = _overlaps(views, samples)
    return all(
        union and float(np.median(union)) >= MIN_AGREEMENT and not _is_nested(first, second)
        for union, first, second in overlaps
    )


def _are_classes(views: Sequence[View], samples: _Samples) -> bool:
    return all(
        not union or float(np.median(union)) < MIN_AGREEMENT or _is_nested(first, second)
        for union, first, second in _overlaps(views, samples)
    )


def _is_nested(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether one of two views lies inside the other view in every image, and fills only a part of it.

    `first` and `second` are the shares of the first and the second view inside the other view, see `_overlaps`.
    """
    inner, outer = (first, second) if min(first) > min(second) else (second, first)
    return min(inner) >= MIN_INSIDE_SHARE and max(outer) < MIN_INSIDE_SHARE


def _class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return for each of several mask folders the word by which its name differs from the others, as a class name.

    Return () if the names differ in anything but words.
    """
    parts = [re.split(r"[/_\-. ]+", name.replace("IMAGE", "/")) for name in names]
    shared = set.intersection(*(set(words) for words in parts))
    found = tuple("_".join(word for word in words if word and word not in shared) for words in parts)
    is_word = all(re.search(r"[^\W\d_]", name) and name.lower() not in GENERIC for name in found)
    return found if is_word and len({name.lower() for name in found}) == len(found) else ()


def _classes(views: Sequence[View], names: Sequence[str], samples: _Samples, notes: Sequence[str]) -> Choice:
    """Join views that each show one class; where two classes overlap, the smaller class lies on top."""
    order = sorted(range(len(views)), key=lambda index: names[index].lower())
    number = {index: place for place, index in enumerate(order, start=1)}
    sizes = [float(np.mean([area.mean() for area in samples.areas(view).values()] or [0.0])) for view in views]
    layers: dict[Image, list[tuple[Path, int]]] = defaultdict(list)
    for index in sorted(range(len(views)), key=lambda index: -sizes[index]):
        for image, files in views[index].masks.items():
            layers[image] += [(path, number[index]) for path in files]
    listed = ", ".join(f"{names[index]} ({views[index].name})" for index in order[:6]) + (
        ", ..." if len(order) > 6 else ""
    )
    note = f"each class has its own mask files: {listed}; where they overlap, the smaller class counts"
    masks = {image: Layers(image[1], tuple(files)) for image, files in layers.items()}
    return Choice(masks, tuple(names[index] for index in order), (*notes, note))


def _request_choice(views: Sequence[View], where: str, *, are_folders: bool) -> str:
    names = [view.name for view in views]
    remedy = (
        f"choose the masks to read: {' or '.join(f'--masks {name}' for name in names)}"
        if are_folders
        else "keep one set of masks, and move the others out of the folder"
    )
    return f"{where}: {' and '.join(names)} hold different masks of the same images; {remedy}"
