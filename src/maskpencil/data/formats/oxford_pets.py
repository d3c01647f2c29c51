"""Read the Oxford-IIIT Pet data set: `images/Abyssinian_1.jpg` and its trimap `annotations/trimaps/Abyssinian_1.png`.

Source: Parkhi et al., "Cats and Dogs", CVPR 2012; https://www.robots.ox.ac.uk/~vgg/data/pets/ and the README in
annotations.tar.gz: 1 is the pet, 2 the background, 3 the border between them, which is not classified
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

    Otherwise, or if a trimap holds a 0, return None. The images in `annotations/trainval.txt` are used for training,
    except one in five, which is used for validation; the images in `test.txt` are used for the test. Without both
    lists, one in five of all images is used for validation.

    Raises:
        DataError: no image has its trimap, or a list cannot be read.
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
    """Return whether the values in the first trimaps begin with 1, as published; in some copies they begin with 0."""
    for path in masks[:PEEKED]:
        with suppress(ImageError):  # reported when all masks are read
            if not read_mask_pixels(path).values.all():
                return False
    return True


def _add_listed(found: Found, split: str, path: Path, images: dict[str, Path], masks: dict[str, Path]) -> None:
    """Add the pairs of a list file with lines "NAME CLASS SPECIES BREED", and report names without image or mask."""
    absent = []
    for _, line in read_lines(path, "lines such as 'Abyssinian_100 1 1 1'"):
        name = line.split()[0]
        if name in images and name in masks:
            found.add(split, Pair(name, images[name], masks[name]))
        elif not line.startswith("#"):
            absent.append(name)
    what = f"{{n}} {{name|names}} in {path.name} without an image or a trimap left out"
    found.warn("listed-without-files", absent, what, "unpack images.tar.gz and annotations.tar.gz again")
