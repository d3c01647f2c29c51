"""Read the Oxford-IIIT Pet data set: `images/Abyssinian_1.jpg` and its trimap `annotations/trimaps/Abyssinian_1.png`.

A trimap is a mask of three values: 1 is the pet, 2 the background, and 3 the border between them, which has no class.

Sources: Parkhi et al., "Cats and Dogs", CVPR 2012; https://www.robots.ox.ac.uk/~vgg/data/pets/ and the README in
annotations.tar.gz
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, Pair, image_files, layout_of
from maskpencil.data.layout.splits import unlisted
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import ImageError
from maskpencil.label_maps import read_mask_pixels
from maskpencil.regular_files import read_lines

IMAGES, TRIMAPS = "images", "annotations/trimaps"
LISTS = {"train": "trainval.txt", "test": "test.txt"}
PEEKED = 3
NAME = re.compile(r"[A-Za-z_]+_\d+")

ENCODING = MaskEncoding(
    "index", ClassSet(("background", "pet"), ((0, 0, 0), (230, 140, 40))), codes={1: 1, 2: 0, 3: IGNORE_INDEX}
)


def recognize(root: Path) -> Recognized | None:
    """Read `root` if it holds `images/` and `annotations/trimaps/` with the file names of the data set.

    Otherwise return None, also if one of the first `PEEKED` trimaps holds the value 0. The images in
    `annotations/trainval.txt` become train and val, one in five of them val; the images in `annotations/test.txt`
    become test. Without these lists, one in five of all images becomes val.

    Raises:
        DataError: no image has a trimap, or a list cannot be read.
    """
    if not (root / IMAGES).is_dir() or not (root / TRIMAPS).is_dir():
        return None
    masks = image_files(root / TRIMAPS)
    if not masks or not all(NAME.fullmatch(name) for name in masks) or not _count_from_one(list(masks.values())):
        return None
    images = image_files(root / IMAGES)
    found = Found()
    notes = []
    for split, name in LISTS.items():
        path = root / "annotations" / name
        if path.is_file():
            _add_listed(found, split, path, images, masks)
            notes.append(f"{split} from {name}")
    if found:
        notes += unlisted((images.keys() & masks.keys()).difference(*found.splits.values()))
    else:
        found.match("", images, masks)
    notes.append("the border around each pet is ignored")
    layout = layout_of(root, found, use_lists=False)
    return Recognized("Oxford-IIIT Pets", replace(layout, notes=(*notes, *layout.notes)), ENCODING)


def _count_from_one(masks: Sequence[Path]) -> bool:
    """Return whether no pixel of the first `PEEKED` masks is 0; some copies of the data set count the values from 0."""
    for path in masks[:PEEKED]:
        with suppress(ImageError):  # raised again when all masks are read
            if not read_mask_pixels(path).values.all():
                return False
    return True


def _add_listed(found: Found, split: str, path: Path, images: dict[str, Path], masks: dict[str, Path]) -> None:
    """Add the pairs named by a list file of lines "NAME CLASS SPECIES BREED"; warn of names without image or mask."""
    absent = []
    for _, line in read_lines(path, "lines such as 'Abyssinian_100 1 1 1'"):
        name = line.split()[0]
        if name in images and name in masks:
            found.add(split, Pair(name, images[name], masks[name]))
        elif not line.startswith("#"):
            absent.append(name)
    what = f"{{n}} {{name|names}} in {path.name} without an image or a trimap left out"
    found.warn("listed-without-files", absent, what, "unpack images.tar.gz and annotations.tar.gz again")
