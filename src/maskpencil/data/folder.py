"""Open a folder of images and masks, and infer splits, classes and encoding without a configuration file."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import ClassFile, find_class_file, find_own_class_file
from maskpencil.data.drawing import Drawing, MaskSource
from maskpencil.data.faults import Fault
from maskpencil.data.formats import Recognized, recognize_annotations, recognize_masks
from maskpencil.data.layout import ANYWHERE, Layout, Pair, Places, find_layout, report_broken_links, unusable_files
from maskpencil.data.layout.splits import split_in
from maskpencil.data.masks.discovery import Discovery, discover_encoding
from maskpencil.data.masks.encoding import MaskEncoding, MaskFacts, check_values, count_classes, scan_masks
from maskpencil.data.masks.known import choose_encoding
from maskpencil.data.masks.numbered import NumberedObjects, find_numbered_objects
from maskpencil.data.masks.transparency import choose_alpha
from maskpencil.data.nested import choice_of_data_sets, recognize_folder, refuse_collection, unused_folders
from maskpencil.data.packed import Unpacked, unpacked
from maskpencil.data.packed.stacks import find_lone_stack, split_stacks, unstack
from maskpencil.errors import DataError
from maskpencil.images import Remarks, RGBImage, read_image, read_pixels
from maskpencil.label_maps import LabelMap
from maskpencil.parsing import shown
from maskpencil.plain_text import counted

MAX_NAMED_FILES = 3
"""The largest number of files named in a note."""


@dataclass(frozen=True)
class DataFolder:
    """Pairs of images and masks in splits, and the encoding of the masks.

    `splits` maps the names of the existing splits (train, val, test) to their pairs. `facts` has the counts of the
    values of each mask. `notes` describes how the folder was read. `declared` is whether a class file or the format of
    the data set names the classes.
    """

    root: Path
    splits: Mapping[str, tuple[Pair, ...]]
    encoding: MaskEncoding
    facts: Mapping[MaskSource, MaskFacts]
    notes: tuple[str, ...]
    declared: bool = True

    @property
    def classes(self) -> ClassSet:
        """The classes of the masks."""
        return self.encoding.classes

    def pairs(self, split: str) -> tuple[Pair, ...]:
        """Return the pairs of one split.

        Raises:
            DataError: the folder has no such split.
        """
        if not isinstance(split, str) or not self.splits.get(split):
            raise DataError(f"{self.root}: has no {shown(split)} images; it has {', '.join(self.splits)}")
        return self.splits[split]

    def read_pair(self, pair: Pair) -> tuple[RGBImage, LabelMap]:
        """Read an image (H, W, 3) and its label map (H, W).

        Raises:
            ImageError: a file is not a readable image.
            DataError: their sizes differ, or a mask value has no class.
        """
        image, label_map = read_image(pair.image), self.read_label_map(pair)
        _compare_sizes(pair, image.shape[:2], label_map.shape)
        return image, label_map

    def read_label_map(self, pair: Pair) -> LabelMap:
        """Return the label map (H, W) of a pair, from memory if `open_folder` kept its pixels, or else from the file.

        Raises:
            ImageError: the file is no longer a readable image.
            DataError: a mask value has no class.
        """
        return self.encoding.decode(self.facts[pair.mask].read(), pair.mask)

    def spread(self, split: str, most: int) -> list[Pair]:
        """Return at most `most` pairs of a split, evenly spaced."""
        pairs = self.pairs(split)
        chosen = np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().astype(int)
        return [pairs[index] for index in chosen.tolist()]

    def class_counts(self, split: str) -> npt.NDArray[np.int64]:
        """Return the number of pixels of each class in each mask of a split, (masks, K)."""
        return np.stack([self._counts[pair.mask] for pair in self.pairs(split)])

    @cached_property
    def _counts(self) -> Mapping[MaskSource, npt.NDArray[np.int64]]:
        return dict(zip(self.facts, count_classes(list(self.facts.values()), self.encoding), strict=True))

    @property
    def sizes(self) -> dict[str, list[tuple[int, int]]]:
        """The (height, width) of the masks of each split; the images have the same sizes."""
        return {split: [self.facts[pair.mask].size for pair in pairs] for split, pairs in self.splits.items()}

    def check_images(
        self,
        report: Callable[[int, int], None] | None = None,
        *,
        tell: Callable[[str], None] = lambda _: None,
        use: Callable[[str, int, RGBImage], None] = lambda *_: None,
    ) -> None:
        """Decode every image once, to find damaged files before training.

        Args:
            report: called after each image with the numbers of images (done, total).
            tell: called with remarks on how files were read, such as that only the first of several pages was used.
            use: called from several threads as `use(split, index, image)` for each image (H, W, 3); `index` counts the
                pairs of the split from 0.

        Raises:
            ImageError: a file is not a readable image.
            DataError: an image and its mask differ in size.
        """
        pairs = [(split, number, pair) for split, pairs in self.splits.items() for number, pair in enumerate(pairs)]
        remarks = Remarks()

        def check(split: str, number: int, pair: Pair) -> tuple[tuple[str, ...], str]:
            pixels = read_pixels(pair.image)
            _compare_sizes(pair, pixels.rgb.shape[:2], self.facts[pair.mask].size)
            use(split, number, pixels.rgb)
            return pixels.remarks, pixels.levels

        with ThreadPoolExecutor(max_workers=4) as pool:  # decoding releases the global interpreter lock
            checked = pool.map(lambda entry: check(*entry), pairs)
            for done, ((_, _, pair), (texts, levels)) in enumerate(zip(pairs, checked, strict=True), start=1):
                remarks.add(pair.image.name, texts, levels)
                if report:
                    report(done, len(pairs))
        for line in (*remarks.lines, *(f"warning: {warning}" for warning in remarks.warnings)):
            tell(line)


@dataclass(frozen=True)
class FoundFolder:
    """A folder with its pairs, before its masks are read; `notes` describes how the pairs were found."""

    layout: Layout
    recognized: Recognized | None
    class_file: ClassFile | None
    notes: tuple[str, ...]

    def declares(self, classes: ClassSet) -> bool:
        """Return whether a class file or the format of the data set names `classes`; if not, the masks define them."""
        return bool(self.recognized or (self.class_file and self.class_file.classes.names == classes.names))

    @property
    def masks(self) -> list[MaskSource]:
        """The masks of all pairs, each mask once."""
        return list(dict.fromkeys(pair.mask for pairs in self.layout.splits.values() for pair in pairs))

    def numbered_objects(self, facts: Sequence[MaskFacts]) -> NumberedObjects | None:
        """Recognize masks whose values number the objects in each image instead of the classes.

        Return None for all other masks, and if a class file or the format of the data set names the classes.
        """
        if self.recognized or self.layout.classes or (self.class_file and _fits(self.class_file, facts)):
            return None
        return find_numbered_objects(facts, choose_alpha(facts, None)[0])

    def encoding(
        self, facts: Sequence[MaskFacts], classes: ClassSet | None = None
    ) -> tuple[MaskEncoding, tuple[str, ...]]:
        """Return the encoding of the masks, inferred from their contents, and notes on how it was found.

        `classes` are used if neither the format of the data set nor a class file names the classes. Values without a
        class are not reported here, but by `encoding.check_values`.

        Raises:
            DataError: the masks cannot be understood, or do not fit a class file.
        """
        given = self.class_file
        if self.recognized:
            discovery = choose_encoding(
                self.recognized.encodings,
                facts,
                published=self.recognized.published,
                given=given.classes if given else None,
            )
            encoding = _renamed(discovery.encoding, given) if given else discovery.encoding
            which = () if _are_alike(self.recognized) else (_count(encoding.classes),)
            drawn = all(isinstance(fact.path, Drawing) for fact in facts)
            kind = () if drawn else (f"masks are read as {encoding.kind}",)
            return encoding, (*which, *discovery.notes, *kind)
        if self.layout.classes:
            return _of_layers(self.layout.classes, given), ()
        on_given = []
        if given and not given.certain:
            fits = _fits(given, facts)
            known = f"{_count(given.classes)} from {given.path.name}"
            on_given = [known if fits else f"{known} left out: the masks hold other classes"]
            given = given if fits else None
        if given is None and classes is None and (objects := self.numbered_objects(facts)):
            raise DataError(objects.message)
        discovery = discover_encoding(facts, given.classes) if given else _infer_encoding(classes, facts)
        notes = [*on_given, *discovery.notes, f"masks are read as {discovery.encoding.kind}"]
        if not given:
            source = "the masks show" if classes is None else "using the given"
            notes.insert(0, f"no classes.yaml: {source} {_count(discovery.encoding.classes)}")
        return discovery.encoding, tuple(notes)


def find_folder(root: Path, *, places: Places = ANYWHERE) -> FoundFolder:
    """Find pairs, splits and the class file of a folder or an archive.

    Data sets in a format of `formats` are read as published; a classes.yaml in them changes the names and colors of
    their classes. Every other folder is read by the rules of `layout.find_layout`.

    Raises:
        DataError: the folder is missing, it has no pairs, or a list names a missing file.
        OutputError: files must be unpacked, and the cache cannot be written.
    """
    try:
        packed = unpacked(root)
        said: tuple[Fault, ...] = ()
        if places == ANYWHERE and (volume := find_lone_stack(packed.folder)):
            folder, more, warning = unstack(packed.folder, volume)
            packed, said = Unpacked(folder, (*packed.notes, *more)), (warning,)
        recognized = recognize_folder(packed.folder) if places == ANYWHERE else _with_images(packed.folder, places)
        layout = recognized.layout if recognized else _find_layout(packed.folder, places)
        unusable = unusable_files(packed.folder)
        said += tuple(report_broken_links(packed.folder, unusable.broken_links))
        layout, stacked = split_stacks(replace(layout, faults=(*layout.faults, *said)))
        given = find_own_class_file(layout.root) if recognized else _class_file(layout)
        recognized = recognized or (recognize_masks(layout) if given is None else None)
    except PermissionError as error:
        raise DataError(
            f"{error.filename or root}: cannot be read (permission denied); check its permissions"
        ) from error
    notes = [*packed.notes, *layout.notes, *stacked]
    if special := unusable.special:
        shown = ", ".join(map(str, special[:MAX_NAMED_FILES])) + (", ..." if len(special) > MAX_NAMED_FILES else "")
        notes.append(f"{len(special)} named pipes, devices or sockets left out ({shown})")
    if recognized:
        classes = given.classes if given else recognized.encoding.classes
        which = f": {_count(classes)}" if _are_alike(recognized) else ""
        notes.insert(len(packed.notes), f"read as {recognized.name}{which}")
    if given and given.certain:
        notes.append(f"{counted(len(given.classes), 'class')} from {given.path.name}")
    return FoundFolder(layout, recognized, given, tuple(notes))


def _find_layout(root: Path, places: Places) -> Layout:
    """Find the pairs of a folder that has no format of `formats`.

    Raises:
        DataError: there are no pairs, or there are several data sets; the message names the data sets in subfolders, if
            there are any.
    """
    if places != ANYWHERE:
        return find_layout(root, places)
    refuse_collection(root)
    try:
        layout = find_layout(root)
    except DataError as error:
        if message := choice_of_data_sets(root):
            raise DataError(message) from error
        raise
    return replace(layout, notes=(*layout.notes, *unused_folders(layout)))


def _class_file(layout: Layout) -> ClassFile | None:
    """Return the class file in the data folder, or else in a folder inside it that contains all images and masks.

    Of several such folders, the deepest folder with a class file counts. If there is none, return the class file of the
    splits, see `_class_file_of_splits`, or None.
    """
    files = {path for pairs in layout.splits.values() for p in pairs for path in (p.image, p.mask)}
    paths = {path.parent for path in files if isinstance(path, Path) and path.is_relative_to(layout.root)}
    common = Path(os.path.commonpath(paths)) if paths else layout.root
    inside = [f for f in (common, *common.parents) if f.is_relative_to(layout.root) and f != layout.root]
    given = next((given for folder in (layout.root, *inside) if (given := find_class_file(folder))), None)
    return given or _class_file_of_splits(layout)


def _class_file_of_splits(layout: Layout) -> ClassFile | None:
    """Return the class file of a split's folder, if the class files of all splits name the same classes; else None."""
    folders = [path for path in sorted(layout.root.iterdir()) if split_in(path.name) in layout.splits and path.is_dir()]
    given = [find_class_file(folder) for folder in folders]
    same = given and all(each and given[0] and each.classes == given[0].classes for each in given)
    return given[0] if same else None


def open_folder(
    root: str | Path,
    *,
    classes: ClassSet | None = None,
    places: Places = ANYWHERE,
    report: Callable[[int, int], None] | None = None,
) -> DataFolder:
    """Find pairs, splits, classes and mask encoding of a folder, see `find_folder`; every mask file is read once.

    Args:
        root: the folder or archive.
        classes: the classes to use if neither the format of the data set nor a class file names the classes.
        places: the locations of images, masks and splits, if they cannot be found automatically.
        report: called after each mask with the numbers of masks (done, total).

    Raises:
        DataError: the folder is missing, it has no pairs, a list names a missing file, annotations cannot be
            understood, or mask values have no class.
        ImageError: a mask is not a readable image.
        OutputError: files must be unpacked, and the cache cannot be written.
    """
    found = find_folder(Path(root), places=places)
    _refuse_errors(found.layout)
    masks = found.masks
    facts = scan_masks(masks, report and (lambda done: report(done, len(masks))))
    encoding, notes = found.encoding(facts, classes)
    facts = [fact.seen(encoding.alpha) for fact in facts]
    check_values(facts, encoding)
    return DataFolder(
        root=found.layout.root,
        splits=found.layout.splits,
        encoding=encoding,
        facts={fact.path: fact for fact in facts},
        notes=(*found.notes, *notes, *(fault.line for fault in found.layout.faults)),
        declared=found.declares(encoding.classes),
    )


def _of_layers(names: Sequence[str], given: ClassFile | None) -> MaskEncoding:
    """Return the encoding of masks with one file per class: 0 is the background, 1 the first of the `names`, and so on.

    The class file `given` may set another order; if it names no background, pixels that are white in no mask file are
    ignored.
    """
    own = ClassSet(("background", *names))
    if given is None or (len(names) == 1 and len(given.classes) == len(own)):  # files of objects have no class names
        return MaskEncoding("index", given.classes if given else own)
    numbers = {name.lower(): index for index, name in enumerate(given.classes.names)}
    unknown = [name for name in names if name.lower() not in numbers]
    if unknown:
        raise DataError(
            f"{given.path}: names only {_few(given.classes.names)}, but {', '.join(unknown[:6])} also have mask files; "
            f"add {', '.join(unknown[:6])}, or move their mask files away"
        )
    codes = {index: numbers.get(name.lower(), IGNORE_INDEX) for index, name in enumerate(own.names)}
    return MaskEncoding("index", given.classes, codes)


def _with_images(root: Path, places: Places) -> Recognized | None:
    """Read annotations in `root` for the images in the folder `places.images`.

    Return None unless `places` names an existing folder of images, no masks and no split file, and there are
    annotations.
    """
    if not places.images or places.masks or places.split_file:
        return None
    folder = next((folder for folder in (places.images, root / places.images) if folder.is_dir()), None)
    return recognize_annotations(root, folder) if folder else None


def _refuse_errors(layout: Layout) -> None:
    for each in layout.faults:
        if each.severity == "error":
            one = f"{each.files[0]}; {each.remedy}" if each.count == 1 else each.line.removeprefix("error: ")
            raise DataError(one)


def _infer_encoding(classes: ClassSet | None, facts: Sequence[MaskFacts]) -> Discovery:
    """Infer the encoding from the masks alone; if its classes are not named like `classes`, infer it with `classes`.

    If the masks are of the kind `color`, always infer it with `classes`. If `classes` is None, the masks alone decide.
    """
    if classes is None:
        return discover_encoding(facts, None)
    with suppress(DataError):
        shown = discover_encoding(facts, None)
        alike = shown.encoding.classes.names == classes.names  # names contain levels and numbers
        if alike and shown.encoding.kind != "color":
            return shown
    return discover_encoding(facts, classes)


def _fits(given: ClassFile, facts: Sequence[MaskFacts]) -> bool:
    """Return whether every value of the masks has a class in the class file `given`."""
    with suppress(DataError):
        encoding = discover_encoding(facts, given.classes).encoding
        return encoding.nearest or encoding.covers(facts)
    return False


def _compare_sizes(pair: Pair, image: Sequence[int], mask: Sequence[int]) -> None:
    if tuple(image) != tuple(mask):
        raise DataError(
            f"{pair.mask}: is {mask[1]} x {mask[0]} pixels, but its image {pair.image.name} is {image[1]} x "
            f"{image[0]}; save the mask at that size (nearest neighbor) or remove the pair; maskpencil check DATA "
            "--fix CLEAN writes a copy in which such masks are scaled, and pairs of unequal aspect ratio left out"
        )


def _renamed(encoding: MaskEncoding, given: ClassFile) -> MaskEncoding:
    classes = given.classes
    if len(classes) != len(encoding.classes):
        raise DataError(
            f"{given.path}: names {_count(classes)}, but the masks hold {_count(encoding.classes)}; name as many "
            "classes, in the same order, or remove the file"
        )
    return replace(encoding, classes=classes)


def _are_alike(recognized: Recognized) -> bool:
    """Return whether all possible encodings of a recognized data set have the same classes."""
    return all(each.classes == recognized.encoding.classes for each in recognized.others)


def _count(classes: ClassSet) -> str:
    return f"{counted(len(classes), 'class')} ({_few(classes.names)})"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
