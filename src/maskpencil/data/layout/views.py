"""Find all masks of each image, and group them by their folders and by their names."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskpencil.data.layout.pairs import additions, pair_names

FEW_LEFT = 0.1
"""If at most this share of the masks matches no image by name, these masks are left over; a larger share counts as
additional masks of the images."""

CLASS_NUMBER = re.compile("(?:class|categor(?:y|ies)|cat|channel|label)[ _-]?n")
"""Words in the names of masks that are numbered by class, with n in place of the number."""

DIGEST = re.compile("[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f-]{27}", re.IGNORECASE)
"""Names without meaning, such as digests, in which letters and digits carry no information."""

Image = tuple[str, str]
"""The split and the name of an image."""


@dataclass(frozen=True)
class View:
    """One set of masks of the images, such as the files of one folder, of one class or of one annotator.

    An image may have several files in a view, such as one for each object. `rule` describes the names of the masks, if
    they differ from the names of the images.
    """

    name: str
    masks: Mapping[Image, tuple[Path, ...]]
    rule: str | None = None


def views_of(split: str, images: Collection[str], masks: Mapping[str, Path]) -> list[View]:
    """Group masks by folder and by the text that their names add to the names of the images, such as `_mask`.

    Args:
        split: the split of the images.
        images: the names of the images, which are paths without suffix.
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


def merged(views: Sequence[View], root: Path) -> list[View]:
    """Join the views of several splits that have the same name.

    If they have different rules, each rule is preceded by the folder of its masks, relative to `root`.
    """
    by_name: dict[str, list[View]] = defaultdict(list)
    for view in views:
        by_name[view.name].append(view)
    joined = []
    for name, same in by_name.items():
        rules: dict[str | None, list[View]] = defaultdict(list)
        for view in same:
            rules[view.rule].append(view)
        stated = [f"{_folder(of_rule, root)}: {rule}" for rule, of_rule in rules.items() if rule]
        rule = next(iter(rules)) if len(rules) == 1 else "; ".join(stated)
        joined.append(View(name, {image: files for view in same for image, files in view.masks.items()}, rule))
    return joined


def _folder(views: Sequence[View], root: Path) -> str:
    """Return the folders of the masks of views, relative to `root`."""
    folders = []
    for view in views:
        parents = {str(path.parent) for files in view.masks.values() for path in files}
        folder = Path(os.path.commonpath(parents))
        folders.append(f"{(folder.relative_to(root) if folder.is_relative_to(root) else folder).as_posix()}/")
    return ", ".join(dict.fromkeys(folders))


def _by_key(images: Collection[str], masks: Mapping[str, Path]) -> dict[str, dict[str, list[str]]]:
    """Find the image of each mask, and return key -> {image: masks}.

    A key is the name of a mask with IMAGE in place of the name of its image, such as `hair/IMAGE`, `IMAGE_hair`,
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
        elif last in longest and (holder not in by_last or (holder == longest[last][0] and not DIGEST.fullmatch(last))):
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
    """Choose the image of a mask in `folder` from images with the same file name; return None if it is unclear.

    Of several images, choose the one whose folder is the end of the path `folder`, if there is only one such image: for
    the folder `hair/a` the image `a/1`, not `b/1`.
    """
    if len(images) == 1:
        return images[0]
    fitting = [image for image in images if folder.endswith(image.rpartition("/")[0])]
    return fitting[0] if len(fitting) == 1 else None


def _difference(folder: str, own: str, holder: str) -> str:
    """Return the folder of a mask without the end that it shares with the folder of its image.

    The mask `hair/a/1` belongs to the image `a/1`: of the folders `hair/a` and `a`, `hair/` is left.

    Args:
        folder: the folder of the mask.
        own: the folder of the image.
        holder: the last part of `folder` if it is the name of the image, else "". It is removed first: the mask
            `a/1/hair` belongs to the image `a/1`, `holder` is `1`, and "" is left.
    """
    rest = [part for part in folder.split("/") if part]
    if holder:
        rest.pop()
    for part in reversed([part for part in own.split("/") if part]):
        if not rest or rest[-1] != part:
            break
        rest.pop()
    return "".join(f"{part}/" for part in rest)


def _without_numbers(key: str) -> str:
    """Return a key with N in place of numbers and of meaningless names such as hashes."""
    plain = DIGEST.sub("N", key)
    return re.sub(r"\d+", "N", plain)


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]
