"""Read Label Studio's "Brush labels to PNG": a black and white mask for each label of a task, named after the task.

    task-12-annotation-30-by-1-tag-road-0.png

The names of the masks do not contain the name of the image. A JSON export of the same project beside the masks, with or
without annotations, names the image of each task.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskpencil.data.drawing import Drawing
from maskpencil.data.formats.annotations import Entry, classes_of_labels, mentions, read_json
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.label_studio import BRUSH_MASK, LIST, Images, image_name
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import Found, Pair, files_below
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError, ImageError
from maskpencil.images import read_header
from maskpencil.label_maps import LabelMap, read_mask_pixels
from maskpencil.plain_text import worded


@dataclass(frozen=True, eq=False)
class BrushMasks(Drawing):
    """The mask of an image, stored as several PNG files; `masks` are the files and the class index of each file.

    Where masks overlap, the smaller mask is on top.
    """

    masks: Sequence[tuple[Path, int]] = ()

    def draw(self) -> LabelMap:
        """Draw the masks, and return the label map, (H, W) uint8.

        Raises:
            ImageError: a mask cannot be read, or differs in size from the image.
        """
        label_map = np.full(self.size, self.background, dtype=np.uint8)
        drawn = []
        for path, class_index in self.masks:
            values = read_mask_pixels(path).values
            if values.shape != self.size:
                raise ImageError(
                    f"{path}: is {values.shape[1]} x {values.shape[0]} pixels, but its image is {self.size[1]} x "
                    f"{self.size[0]}; expected equal sizes; export the masks again"
                )
            drawn.append((values > 0, class_index))
        for mask, class_index in sorted(drawn, key=lambda each: -int(each[0].sum())):
            label_map[mask] = class_index
        return label_map


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if it holds masks with the file names of Label Studio's export; otherwise return None.

    The JSON files in `root` name the image of each task. Of several annotations of a task only the newest is read, the
    annotation with the highest number. The classes are in alphabetical order, after the background.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: no JSON file names the images of the tasks, or all images are missing.
    """
    named = [(path, BRUSH_MASK.fullmatch(path.name)) for path in sorted(files_below(root, {".png"}))]
    masks = [(path, match) for path, match in named if match]
    if not masks:
        return None
    names = _image_names(root)
    by_task: dict[int, dict[int, list[tuple[Path, str]]]] = defaultdict(lambda: defaultdict(list))
    for path, match in masks:
        by_task[int(match["task"])][int(match["annotation"])].append((path, match["label"]))
    if not names.keys() & by_task.keys():
        raise DataError(
            f"{masks[0][0]}: is one of {len(masks)} PNG masks of Label Studio, whose names contain the number of "
            "the task, but not the name of the image; export the project as JSON too, and put it beside the masks"
        )
    known, problems = Images(root, images), Problems()
    newest = {task: own[max(own)] for task, own in by_task.items()}
    labels = classes_of_labels(root, sorted({label for own in newest.values() for _, label in own}))
    found = Found()
    for task, own in newest.items():
        with problems.collected():
            entry = names.get(task)
            image = known.find(image_name(entry) or "", entry) if entry else None
            if image is None:
                found.masks_alone += [path for path, _ in own]
                continue
            parts = tuple((path, labels.index_of[label]) for path, label in own)
            size = read_header(image).shown_size
            drawing = BrushMasks(own[0][0], image.name, size, (), labels.background, parts)
            found.add("", Pair(known.short_name(image), image, drawing))
    used = {pair.image for pair in found.splits.get("", {}).values()}
    known.list_others(found, used)
    several = sum(len(own) > 1 for own in by_task.values())
    if several:
        found.rules.append(
            worded("{n} {image has|images have} several annotations, the newest {|of each }is used", several)
        )
    if not used:
        problems.refuse()
        raise DataError(
            f"{root}: has masks of {len(by_task)} tasks, but none of their images is below {known.place}; put them "
            "there, or say where they are: --images FOLDER"
        )
    return Recognized("Label Studio's masks", problems.layout(root, found), MaskEncoding("index", labels.classes))


def _image_names(root: Path) -> Mapping[int, Entry]:
    """Return the tasks in the JSON files in `root` by their ids; tasks that do not name an image are left out."""
    tasks: dict[int, Entry] = {}
    for path in sorted(root.glob("*.json")):
        if not (path.is_file() and LIST.match(path.read_bytes()[:64]) and mentions(path, ("id",))):
            continue
        content = read_json(path)
        entries = [Entry(path, f"task {n}", task) for n, task in enumerate(content, 1) if isinstance(task, dict)]
        tasks |= {
            task.whole("id"): task for task in entries if isinstance(task.fields.get("id"), int) and image_name(task)
        }
    return tasks
