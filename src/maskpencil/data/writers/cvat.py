"""CVAT's "Segmentation mask 1.1", as its importer takes it when the folder is packed into a ZIP file.

    labelmap.txt, ImageSets/Segmentation/{default,train,...}.txt, JPEGImages/NAME.EXT
    SegmentationClass/NAME.png    the class of each pixel, in the colors of labelmap.txt
    SegmentationObject/NAME.png   what is an object of its own, in Pascal VOC's colors

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-smask and, for what the importer needs, the sources
of Datumaro's VOC extractor: every color in a mask must be in labelmap.txt, palettes are not looked at, lists may have
no "_" in their names, and where SegmentationObject/ has no image each color becomes a mask, that of ignored pixels
too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.formats.voc import MASKS
from maskpencil.data.writers.base import AddImage, LabeledImage
from maskpencil.data.writers.voc import VocForm
from maskpencil.images import write_image
from maskpencil.known_classes import voc_color
from maskpencil.label_maps import IGNORE_COLOR

BACKGROUND = "background"
"""CVAT's name for what belongs to no label."""


@contextmanager
def write_cvat(root: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write masks as color images; the pixels of a class are one object an image, but for background and ignored.

    Images without a split are CVAT's subset "default". All lie in one folder, see `voc.write_voc`. Colors that
    repeat are replaced, see `palettes.told_apart`.

    Raises:
        DataError: a class name that labelmap.txt cannot hold.
        OutputError: a file cannot be written.
    """
    form = VocForm(root, classes)
    class_colors = np.zeros((256, 3), dtype=np.uint8)
    class_colors[: len(classes)] = form.classes.colors
    class_colors[IGNORE_INDEX] = IGNORE_COLOR
    object_colors = np.zeros((256, 3), dtype=np.uint8)  # black is no object
    for index, name in enumerate(classes.names):
        if name != BACKGROUND:
            object_colors[index] = voc_color(index + 1)

    def add(image: LabeledImage) -> None:
        name = form.add(image)
        write_image(root / MASKS / f"{name}.png", class_colors[image.label_map])
        write_image(root / "SegmentationObject" / f"{name}.png", object_colors[image.label_map])

    yield add
    form.finish({split or "default": names for split, names in form.names.items()})
