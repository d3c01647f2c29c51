"""Decide what several masks of one image are: classes, objects, work of several people, or the same in other forms."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Layers, MaskSource, area_of
from maskpencil.data.layout.pairs import additions, pair_names
from maskpencil.data.masks.encoding import as_numbers, channels, is_flat
from maskpencil.errors import ImageError
from maskpencil.label_maps import read_mask_pixels

SAMPLE = 6
"""The number of images whose masks are compared."""

FEW_LEFT = 0.1
"""Up to this share of masks without an image may be left over by mistake; more are further masks of the images."""

RIVAL_SHARE = 0.8
"""A folder that has masks of at least this share of the images of another one is another candidate."""

FEW_VALUES, SOME_VALUES = 16, 64
EVEN, VERY_EVEN = 0.6, 0.85
"""A mask has at most `FEW_VALUES`, or `SOME_VALUES` and is even in most places, or is very even: compressed."""

ALIKE = 0.85
"""Masks that share this much of what is not their most frequent value are the same in every image."""

AGREE = 0.5
"""The least intersection over union of masks that several people drew of the same things."""

APART = 0.2
"""The largest share of an object that another one may cover."""

INSIDE = 0.95
"""A class whose area lies to this share in that of another one is a part of it, as a pupil of an eye."""

NUMBERING = re.compile("instance|panoptic|object")
"""In names of masks that number objects."""

CLASS_NUMBER = re.compile("(?:class|categor(?:y|ies)|cat|channel|label)[ _-]?n")
"""In names of masks, with N for numbers: masks numbered by class."""

GENERIC = frozenset(("mask", "masks", "label", "labels", "gt", "annotation", "annotations", "segmentation", "target"))
"""Words that name no class."""

Image = tuple[str, str]
"""The split and the name of an image."""

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """Masks of the same kind: the files of each image, of which it has several where each shows one object.

    `rule` describes how the masks are named, where not like the images.
    """

    name: str
    masks: Mapping[Image, tuple[Path, ...]]
    rule: str | None = None


@dataclass(frozen=True)
class Choice:
    """The masks to read, the names of their classes where files have one class each, and notes on the choice.

    `source` is the name of the chosen view, and `complaint` says why there is no choice.
    """

    masks: Mapping[Image, MaskSource] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    complaint: str = ""


def views_of(split: str, images: Collection[str], masks: Mapping[str, Path]) -> list[View]:
    """Sort masks by their folder and by what their names add to those of the images.

    Args:
        split: the split of the images.
        images: their names, which are paths without suffix.
        masks: the masks of these images by their names.
    """
    pairing = pair_names(images, masks)
    left = len(masks) - len(set(pairing.masks.values()))
    simple = View("", {(split, image): (masks[mask],) for image, mask in pairing.masks.items()}, pairing.rule)
    if left <= FEW_LEFT * len(pairing.masks):
        return [simple] if pairing.masks else []
    keyed = _by_key(images, masks)
    if sum(len(files) for of_key in keyed.values() for files in of_key.values()) <= len(pairing.masks):
        return [simple]
    families: dict[str, dict[str, dict[str, list[str]]]] = defaultdict(dict)
    for key, of_key in keyed.items():
        families[_without_numbers(key)][key] = of_key
    views = []
    for family, members in families.items():
        each = list(members.items())
        if len(each) > 1 and not CLASS_NUMBER.search(family.lower()):  # objects, or annotators
            files: dict[Image, tuple[Path, ...]] = {}
            for _, of_key in sorted(each, key=lambda entry: _natural(entry[0])):
                for image, names in of_key.items():
                    files[split, image] = (*files.get((split, image), ()), *(masks[name] for name in names))
            views.append(View(family, files, f"an image's masks are named {family}"))
            continue
        for key, of_key in each:
            found = {(split, image): tuple(masks[name] for name in sorted(names)) for image, names in of_key.items()}
            views.append(View(key, found, None if key == "IMAGE" else f"an image's mask is named {key}"))
    return views


def merged(views: Sequence[View]) -> list[View]:
    """Join the views of several splits that have one name."""
    by_name: dict[str, View] = {}
    for view in views:
        other = by_name.get(view.name)
        by_name[view.name] = View(view.name, {**other.masks, **view.masks}, view.rule or other.rule) if other else view
    return list(by_name.values())


def choose(views: Sequence[View], *, where: str, typed: Mapping[str, str] | None = None) -> Choice:
    """Choose the masks of images that have several, by what the files hold.

    - Views that look like photographs, or are the same in every image, hold no masks to learn.
    - Views that say the same in other numbers or colors are one; numbered objects of another view's classes are left
      out.
    - Black-and-white views that agree mostly are the work of several people, of whom the first is taken.
    - Other black-and-white views with names are classes.

    Args:
        views: the views, the most likely first.
        where: the folder, for messages.
        typed: what to type after --masks for a view, by its name; other views cannot be named by an option.
    """
    typed = typed or {}
    notes: list[str] = []
    views = [view for view in views if view.masks]
    if not views:
        return Choice()
    views = _without_strangers(views)
    samples = _Samples(views)
    whole: list[View] = []
    for view in views:
        single, complaint = _single(view, samples, where, notes)
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
    views = _without(views, _repeated(views, samples), "says the same in another form", notes)
    views = _without(views, _instances(views, samples), "numbers objects", notes)
    if len(views) == 1:
        return _chosen(views[0], notes)
    if all(samples.is_binary(view) for view in views):
        if _agree(views, samples):
            others = ", ".join(view.name for view in views[1:])
            note = f"{views[0].name} is read; {others}: other people's masks of the same images, left out"
            return _chosen(views[0], [*notes, note])
        names = _class_names([view.name for view in views])
        if names and _are_classes(views, samples):
            return _classes(views, names, samples, notes)
    return Choice(complaint=_ask(views, where, typed))


def _without_strangers(views: Sequence[View]) -> list[View]:
    """Join all views if no image is in two of them, as the folders of several sites."""
    every = {image: files for view in views for image, files in view.masks.items()}
    if len(views) < 2 or len(every) < sum(len(view.masks) for view in views):
        return list(views)
    rules = dict.fromkeys(view.rule for view in views if view.rule)
    return [View(views[0].name, every, "; ".join(rules) or None)]


def _by_key(images: Collection[str], masks: Mapping[str, Path]) -> dict[str, dict[str, list[str]]]:
    """Find the image of each mask: by key, the names of the masks of each image.

    A key is the name of a mask with IMAGE in place of the image's name, such as `hair/IMAGE`, `IMAGE_hair`,
    `IMAGE/hair`.
    """
    by_last: dict[str, list[str]] = defaultdict(list)
    for name in images:
        by_last[name.rpartition("/")[2]].append(name)
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    found_additions = additions(by_last, {mask.rpartition("/")[2] for mask in masks})
    longest: dict[str, tuple[str, str, str]] = {}
    for (before, after), pairs in found_additions.items():
        for last, mask in pairs.items():
            if mask not in longest or len(last) > len(longest[mask][0]):
                longest[mask] = last, before, after
    image: str | None
    for mask in masks:
        folder, _, last = mask.rpartition("/")
        holder = folder.rpartition("/")[2]
        if last in by_last:
            image, added, holder = _nearest(by_last[last], folder), "IMAGE", ""
        elif last in longest:
            own, before, after = longest[last]
            image, added, holder = _nearest(by_last[own], folder), f"{before}IMAGE{after}", ""
        elif holder in by_last:
            image, added = _nearest(by_last[holder], folder.rpartition("/")[0]), f"IMAGE/{last}"
        else:
            continue
        if image is not None:
            found[_difference(folder, image.rpartition("/")[0], holder) + added][image].append(mask)
    return {key: dict(of_key) for key, of_key in found.items()}


def _nearest(images: Sequence[str], folder: str) -> str | None:
    """Return the image of a folder that fits best, or the only one; None where several fit."""
    if len(images) == 1:
        return images[0]
    fitting = [image for image in images if folder.endswith(image.rpartition("/")[0])]
    return fitting[0] if len(fitting) == 1 else None


def _difference(folder: str, own: str, holder: str) -> str:
    """Return the part of a mask's folder that the image's folder, or a folder named like the image, do not explain."""
    rest = [part for part in folder.split("/") if part]
    if holder:
        rest.pop()
    for part in reversed([part for part in own.split("/") if part]):
        if not rest or rest[-1] != part:
            break
        rest.pop()
    return "".join(f"{part}/" for part in rest)


def _without_numbers(key: str) -> str:
    """Return a key with N in place of numbers, and of names that nobody reads, such as digests."""
    plain = re.sub(r"[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f-]{27}", "N", key)
    return re.sub(r"\d+", "N", plain)


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


class _Samples:
    """The pixels of the masks of some images that have several."""

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
        """Return the values of a mask as numbers (H, W); None where it cannot be read."""
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
        """Return the area (H, W) of a black-and-white mask."""
        self.numbers(path)
        return self._areas[path]

    def of(self, view: View) -> dict[Image, Numbers]:
        """Return the values of a view's masks by image."""
        files = ((image, view.masks[image][0]) for image in self.images if image in view.masks)
        return {image: numbers for image, path in files if (numbers := self.numbers(path)) is not None}

    def areas(self, view: View) -> dict[Image, npt.NDArray[np.bool_]]:
        """Return the areas of a black-and-white view by image; those of an image's objects are joined."""
        joined: dict[Image, npt.NDArray[np.bool_]] = {}
        for image in self.images:
            for path in view.masks.get(image, ()):
                area = self.area(path)
                if area is not None and (image not in joined or joined[image].shape == area.shape):
                    joined[image] = joined[image] | area if image in joined else area
        return joined

    def looks_like_masks(self, view: View) -> bool:
        """Return whether a view has few values, or even areas."""
        masks = list(self.of(view).values())
        if not masks:
            return True
        values = float(np.median([len(np.unique(numbers)) for numbers in masks]))
        even = float(np.mean([is_flat(numbers).mean() if min(numbers.shape) > 2 else 0.0 for numbers in masks]))
        return values <= FEW_VALUES or (values <= SOME_VALUES and even >= EVEN) or even >= VERY_EVEN

    def is_binary(self, view: View) -> bool:
        """Return whether each mask has two values, or where it is compressed nearly only dark and light ones."""
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
        """Return whether the masks of at least three images are nearly the same."""
        masks = list(self.of(view).values())
        if len(masks) < 3 or len({numbers.shape for numbers in masks}) > 1:
            return False
        values, counts = np.unique(np.stack(masks), return_counts=True)
        usual = values[counts.argmax()]
        shares = []
        for one, other in combinations(masks, 2):
            either = (one != usual) | (other != usual)
            shares.append(float((one == other)[either].mean()) if either.any() else 1.0)
        return min(shares) >= ALIKE


def _single(view: View, samples: _Samples, where: str, notes: list[str]) -> tuple[View, str]:
    """Find out what the several files of one image in a view are: its objects, or the work of several people.

    Returns the view, with one file of each image where people drew them, and a complaint where it is unclear.
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
    if agreements and float(np.median(agreements)) >= AGREE:
        notes.append(f"several people's masks of each image: the first is read, such as {example[0].name}")
        return View(view.name, {image: files[:1] for image, files in view.masks.items()}, view.rule), ""
    if not covers or float(np.median(covers)) <= APART:
        notes.append(f"each mask file shows one object ({example[0].name}, ...): those of an image are joined")
        return view, ""
    return view, f"{named} that overlap only in part: neither objects nor the same by several people{unclear}"


def _chosen(view: View, notes: Sequence[str]) -> Choice:
    several = any(len(files) > 1 for files in view.masks.values())
    rule = (view.rule,) if view.rule else ()
    if not several:
        return Choice({image: files[0] for image, files in view.masks.items()}, (), (*rule, *notes), view.name)
    masks = {image: Layers(image[1], tuple((path, 1) for path in files)) for image, files in view.masks.items()}
    return Choice(masks, ("foreground",), (*rule, *notes), view.name)


def _without(views: Sequence[View], dropped: Sequence[View], reason: str, notes: list[str]) -> list[View]:
    """Leave views out, unless none would be left."""
    kept = [view for view in views if view not in dropped]
    if not kept or not dropped:
        return list(views)
    notes.extend(f"{view.name} is left out: it {reason}" for view in dropped)
    return kept


def _function(one: Mapping[Image, Numbers], other: Mapping[Image, Numbers], *, over_all: bool) -> bool:
    """Return whether each value of one view always has the same value in the other, in each image or over all."""
    together: dict[int, int] = {}
    common = [image for image in one if image in other and one[image].shape == other[image].shape]
    for image in common:
        couples = np.unique(np.stack([one[image].ravel(), other[image].ravel()]), axis=1).T.tolist()
        own = together if over_all else {}
        for value, meaning in couples:
            if own.setdefault(value, meaning) != meaning:
                return False
    return bool(common)


def _repeated(views: Sequence[View], samples: _Samples) -> list[View]:
    """Return the views that say what another one says; those in gray or with a mask's name come first."""
    ranked = sorted(views, key=lambda view: (_is_colored(samples.of(view)), len(view.name)))
    repeated: list[View] = []
    for place, view in enumerate(ranked):
        for better in ranked[:place]:
            one, other = samples.of(better), samples.of(view)
            if better not in repeated and _function(one, other, over_all=True) and _function(other, one, over_all=True):
                repeated.append(view)
                break
    return repeated


def say_the_same(views: Sequence[View]) -> bool:
    """Return whether two views say the same in other numbers or colors; blank files say nothing."""
    samples = _Samples(views)
    one, other = map(samples.of, views)
    values = {value for numbers in one.values() for value in np.unique(numbers).tolist()}
    if len(values) < 2 or len(values) > SOME_VALUES:
        return False
    return _function(one, other, over_all=True) and _function(other, one, over_all=True)


def _is_colored(masks: Mapping[Image, Numbers]) -> bool:
    return any(bool((numbers >> 16 != numbers & 255).any()) for numbers in masks.values())


def _instances(views: Sequence[View], samples: _Samples) -> list[View]:
    """Return the views that number the objects of another view's classes.

    Each of their values lies in one class. Either some class has several of them, and their values differ from image to
    image or they are named for objects; or their values alone differ from image to image.
    """
    found = []
    for fine in views:
        for coarse in views:
            one, other = samples.of(fine), samples.of(coarse)
            if fine is coarse or not _function(one, other, over_all=False):
                continue
            divides = not _function(other, one, over_all=False)
            varies = _varies(one) and not _varies(other)
            if varies or (
                divides and (NUMBERING.search(fine.name.lower()) or not _function(one, other, over_all=True))
            ):
                found.append(fine)
                break
    return found


def _varies(masks: Mapping[Image, Numbers]) -> bool:
    """Return whether the values of masks differ from image to image, as numbers of objects do."""
    values = [set(np.unique(numbers).tolist()) for numbers in masks.values()]
    return len(values) > 1 and len(set.union(*values)) > 1.5 * max(map(len, values))


def _overlaps(views: Sequence[View], samples: _Samples) -> list[tuple[list[float], list[float], list[float]]]:
    """Return for each two views, by image: intersection over union, and the share of either in the other."""
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
        union and float(np.median(union)) >= AGREE and not _is_nested(first, second)
        for union, first, second in overlaps
    )


def _are_classes(views: Sequence[View], samples: _Samples) -> bool:
    return all(
        not union or float(np.median(union)) < AGREE or _is_nested(first, second)
        for union, first, second in _overlaps(views, samples)
    )


def _is_nested(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether one area lies inside the other, and fills only a part of it, in every image."""
    inner, outer = (first, second) if min(first) > min(second) else (second, first)
    return min(inner) >= INSIDE and max(outer) < INSIDE


def _class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return what distinguishes the names of views; empty where that are no words."""
    parts = [re.split(r"[/_\-. ]+", name.replace("IMAGE", "/")) for name in names]
    shared = set.intersection(*(set(words) for words in parts))
    found = tuple("_".join(word for word in words if word and word not in shared) for words in parts)
    is_word = all(re.search(r"[^\W\d_]", name) and name.lower() not in GENERIC for name in found)
    return found if is_word and len({name.lower() for name in found}) == len(found) else ()


def _classes(views: Sequence[View], names: Sequence[str], samples: _Samples, notes: Sequence[str]) -> Choice:
    """Join views with a class each; the smaller of two classes lies on top."""
    order = sorted(range(len(views)), key=lambda index: names[index].lower())
    number = {index: place for place, index in enumerate(order, start=1)}
    sizes = [float(np.mean([area.mean() for area in samples.areas(view).values()] or [0.0])) for view in views]
    layers: dict[Image, list[tuple[Path, int]]] = defaultdict(list)
    for index in sorted(range(len(views)), key=lambda index: -sizes[index]):
        for image, files in views[index].masks.items():
            layers[image] += [(path, number[index]) for path in files]
    told = ", ".join(f"{names[index]} ({views[index].name})" for index in order[:6]) + (
        ", ..." if len(order) > 6 else ""
    )
    note = f"each class has its own mask files: {told}; where they overlap, the smaller class counts"
    masks = {image: Layers(image[1], tuple(files)) for image, files in layers.items()}
    return Choice(masks, tuple(names[index] for index in order), (*notes, note))


def _ask(views: Sequence[View], where: str, typed: Mapping[str, str]) -> str:
    names = [view.name for view in views]
    options = [typed[name] for name in names if name in typed]
    remedy = (
        f"say which to read: {' or '.join(f'--masks {option}' for option in options)}"
        if options
        else "keep the files of one kind, and move the others out of the folder"
    )
    return f"{where}: {' and '.join(names)} hold different masks of the same images; {remedy}"
