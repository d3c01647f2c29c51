"""Read SageMaker Ground Truth: a manifest with one line per image, and masks in the colors that the lines state.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html, "Semantic segmentation job output"
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskpencil.classes import ClassSet, Color
from maskpencil.data.formats.annotations import Entry, are_images_and_masks
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import color_of, files_in_format
from maskpencil.data.formats.image_search import ImageSearch
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import Found, Pair
from maskpencil.data.masks.encoding import MaskEncoding, color_number
from maskpencil.errors import DataError
from maskpencil.regular_files import read_lines, without_conflicts

HEAD = 2**13
SOURCE, METADATA, COLORS = "source-ref", "-metadata", "internal-color-map"

EXPORT = "copy images and masks there from S3, such as by 'aws s3 sync'"


def recognize(root: Path) -> Recognized | None:
    """Read `root` if files below it are output manifests of Ground Truth; otherwise return None.

    Images and masks are searched for below `root` by the last parts of their S3 addresses; the addresses are never
    opened. Images whose labeling failed are left out.

    Raises:
        DataError: a line is not in the format of semantic segmentation, has masks of several jobs, or gives a color
            another name than an earlier line, or no image has a mask.
    """
    files = files_in_format(root, {".manifest", ".jsonl", ".json"}, _is_manifest)
    if not files:
        return None
    search, problems, found = ImageSearch(root), Problems(), Found()
    if are_images_and_masks(root, search.files):
        return None
    names: dict[Color, tuple[int, str]] = {}
    paired: set[Path] = set()
    failed: list[str] = []
    for path in files:
        for number, line in read_lines(path, "one JSON object per line"):
            with problems.collected():
                entry = Entry.of(path, f"line {number}", _json(path, number, line))
                if _failed(entry):
                    failed.append(str(entry))
                    continue
                job = _job(entry)
                image, mask = (_find(search, entry.text(key), path) for key in (SOURCE, job))
                _add_names(entry.inside(job + METADATA).inside(COLORS), names)
                if image and mask:
                    found.add("", Pair(image.relative_to(root).with_suffix("").as_posix(), image, mask))
                    paired |= {image, mask}
                elif image is None:
                    found.masks_alone.append(Path(entry.text(SOURCE)))
                else:
                    found.images_alone.append(image)
                    paired.add(image)
    if not found:
        problems.refuse()
        raise DataError(f"{files[0]}: names images and masks, but no image with its mask is below {root}; {EXPORT}")
    what = "{n} lines of images whose labeling failed left out"
    found.warn("annotations-left-out", failed, what, "label them again in Ground Truth")
    search.list_others(found, paired)
    return Recognized("SageMaker Ground Truth", problems.layout(root, found), _encoding(files[0], names))


def _is_manifest(path: Path) -> bool:
    """Return whether the beginning of a file has the keys of an output manifest; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return f'"{SOURCE}"'.encode() in head and METADATA.encode() in head


def _json(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=without_conflicts)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number} is not valid JSON ({error}); download the manifest again") from error


def _job(entry: Entry) -> str:
    """Return the name of the labeling job that made the mask of a line; the field with this name is the mask's address.

    A line may list several jobs. The job of the mask is the job whose metadata hold the colors of classes.

    Raises:
        DataError: no job of the line has a mask, or several jobs have masks.
    """
    jobs = [key.removesuffix(METADATA) for key, value in entry.fields.items() if key.endswith(METADATA) and value]
    colored = [job for job in jobs if isinstance(m := entry.fields[job + METADATA], dict) and COLORS in m]
    if len(colored) == 1:
        return colored[0]
    if colored:
        raise DataError(f"{entry}: has masks of several jobs ({', '.join(colored)}); remove all but one from the file")
    kinds = [str(m.get("type")) for job in jobs if isinstance(m := entry.fields[job + METADATA], dict)]
    raise DataError(
        f"{entry}: comes from a job of type {', '.join(kinds) or 'unknown'}; such jobs have no masks; use the manifest "
        "of a semantic segmentation job"
    )


def _find(search: ImageSearch, address: str, source: Path) -> Path | None:
    """Find the file with the S3 address `address` in the manifest `source`; return None if the file is missing.

    The names of masks contain a time, such as 21:52:49. Since Windows does not allow colons in file names, a name with
    "_" in place of each colon is accepted too.
    """
    found = search.find(address, [search.root], source=source)
    return found or search.find(address.replace(":", "_"), [search.root], source=source)


def _failed(entry: Entry) -> bool:
    """Return whether the labeling job failed for the image of a line, which therefore has no mask."""
    metadata = [value for key, value in entry.fields.items() if key.endswith(METADATA) and isinstance(value, dict)]
    return any("failure-reason" in each for each in metadata) and not any(COLORS in each for each in metadata)


def _add_names(colors: Entry, names: dict[Color, tuple[int, str]]) -> None:
    """Add the classes of a line's color map to `names`, which maps a color to (number of the class, name).

    Raises:
        DataError: an entry has no name or no color, or its color already has another name.
    """
    for key in colors.fields:
        entry = colors.inside(key)
        name, color = entry.text("class-name"), color_of(entry.fields.get("hex-color"))
        if color is None:
            raise entry.wrong("hex-color", "a color such as #2ca02c")
        known = names.setdefault(color, (int(key) if key.isdecimal() else len(names), name))
        if known[1] != name:
            raise DataError(
                f"{entry}: gives {name!r} the color {color}, which {known[1]!r} has in other lines; export again"
            )


def _encoding(path: Path, names: Mapping[Color, tuple[int, str]]) -> MaskEncoding:
    """Return the encoding of the masks: the classes in the order of their numbers; a class may have several colors.

    Raises:
        DataError: the names are not valid classes, see `ClassSet`; the message begins with `path`.
    """
    ordered = dict.fromkeys(name for _, name in sorted(names.values()))
    first = {name: color for color, (_, name) in reversed(list(names.items()))}
    try:
        classes = ClassSet(tuple(ordered), tuple(first[name] for name in ordered))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    codes = {color_number(color): classes.names.index(name) for color, (_, name) in names.items()}
    return MaskEncoding("color", classes, codes=codes)
