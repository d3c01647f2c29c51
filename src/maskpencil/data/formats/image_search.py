"""Find the images that an annotation file names, even if they were moved or renamed."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from maskpencil.data.layout import IMAGE_FOLDERS, Found, files_below, find_image
from maskpencil.data.layout.search import look_like_masks
from maskpencil.data.layout.splits import split_in
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.plain_text import worded

UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
"""The prefix that Label Studio adds to the names of uploaded files to make them unique."""

OF_MASKS = re.compile(r"(?:^|[^a-z])(?:masks?|labels|annotations|panoptic|pixelmaps|segmentationclass)(?![a-z])")
"""Matches the names of mask folders; their files are not images, even if they have the names of images."""


@dataclass
class ImageSearch:
    """A search for the images that annotation files name.

    A folder with the name of a mask folder, such as labels, is searched only if it is one of the `folders` of `find`,
    or is part of an image's path in the annotations.

    Attributes:
        root: the data folder.
        given: the folder of the images that the user gave, which is searched instead of `root`; None if not given.
        masks: files that are masks and never found as images.
        renamed: the images that were found under other names than in the annotations, as texts for a warning.
        files: all image files in the searched folder, except `masks`.
    """

    root: Path
    given: Path | None = None
    masks: frozenset[Path] = frozenset()
    renamed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = [path for path in files_below(self.place, IMAGE_SUFFIXES) if path not in self.masks]
        self._by_key: tuple[dict[str, list[Path]], ...] = tuple({} for _ in KEYS)
        for path in self.files:
            for key, paths in zip(KEYS, self._by_key, strict=True):
                paths.setdefault(key(path.name), []).append(path)

    @property
    def place(self) -> Path:
        """The searched folder: `given`, or `root` if the user gave no folder."""
        return self.given or self.root

    def find(
        self, name: str, folders: Sequence[Path], *, source: Path, split: str = "", but: Path | None = None
    ) -> Path | None:
        """Find the image that the annotation file `source` calls `name`.

        The image is searched for in `folders`, and then in all folders except folders of masks and of other splits. In
        this second search its name may differ in case, in the suffix, in quoted characters (%20) or by the prefix of
        Label Studio's uploads.

        Return None if the image is missing, or if several images match equally well in the second search.

        Args:
            name: the name or path in the annotation file; of a path, the longest end that exists in a folder is used.
            folders: the folders to search first; if the user gave a folder (`given`), it replaces them.
            source: the annotation file.
            split: the split of the annotation file, "" if it is unknown.
            but: an image that the caller uses if the result is None. If `but` is set, the second search finds only an
                image with exactly the file name in `name`; if `name` leads out of `root`, the result is `but`.

        Raises:
            DataError: `name` leads out of `root` by "..", no image has this name, and neither `given` nor `but` is set.
        """
        name = without_query(name)
        where = [self.given] if self.given else folders
        try:
            found = find_image(self.place, where, name, source=source)
            found = None if found in self.masks else found
        except DataError:
            other = but or self.alike(name, split)
            if other is None and self.given is None:
                raise
            return other
        return found or self.alike(name, split, sure=but is not None)

    def list_others(self, found: Found, used: Collection[Path], files: Iterable[Path] | None = None) -> None:
        """Add the images that are not `used` to `found.images_alone`, the images without a mask.

        Two kinds of folders are left out, with a note: a folder in which every file has the name of a used image, since
        these files are masks or overlays; and a folder of images whose masks are in a folder beside it, together with
        the folder of masks.

        Args:
            found: the pairs, to which images and notes are added.
            used: the images of the pairs.
            files: the image files to examine; if None, all `files` of the search.
        """
        known, stems = {*used}, {path.stem for path in used}
        by_folder: dict[Path, list[Path]] = {}
        for path in self.files if files is None else files:
            if path not in known:
                by_folder.setdefault(path.parent, []).append(path)
        of_used = {path.parent for path in used}
        repeating = [
            folder
            for folder, paths in by_folder.items()
            if folder not in of_used and self._repeats(folder, paths, stems)
        ]
        found.rules += [f"{self._shown(folder)} left out: its files are named as the images" for folder in repeating]
        rest = {folder: paths for folder, paths in by_folder.items() if folder not in repeating}
        with_masks = {
            folder: masks for folder in rest if self._is_of_images(folder) and (masks := _masks_of(folder, by_folder))
        }
        for folder, masks in with_masks.items():
            what = f"{{n}} {{image|images}} in {self._shown(folder)} left out: {{its|their}} masks are in"
            found.rules.append(f"{worded(what, len(rest[folder]))} {self._shown(masks)}, not in the annotations")
        for folder, paths in rest.items():
            if folder not in with_masks and folder not in with_masks.values():
                found.images_alone += paths

    def _repeats(self, folder: Path, paths: Iterable[Path], stems: Collection[str]) -> bool:
        """Return whether all files in a folder have the names of used images and are masks or overlays of these images.

        Args:
            folder: the folder.
            paths: the image files in the folder.
            stems: the names of the used images without suffix.
        """
        parts = folder.relative_to(self.place).parts
        is_of_masks = any(OF_MASKS.search(part.lower()) for part in parts)
        may_be = parts and (is_of_masks or not self._is_of_images(folder))
        return bool(may_be) and all(path.stem in stems for path in paths)

    def _is_of_images(self, folder: Path) -> bool:
        """Return whether a folder is named after a split, such as train, or as a folder of images, such as images."""
        return folder != self.place and bool(split_in(folder.name) or folder.name.lower() in IMAGE_FOLDERS)

    def _shown(self, folder: Path) -> str:
        return f"{folder.relative_to(self.place).as_posix()}/"

    def warn(self, found: Found) -> None:
        """Add a warning to `found` about the images that were found under other names."""
        found.warn(
            "images-renamed",
            self.renamed,
            "{n} {image has|images have} other names than in the annotations",
            "make sure that they are the same images",
        )

    def alike(self, name: str, split: str = "", *, sure: bool = False) -> Path | None:
        """Find the image whose path matches `name` best, anywhere in the searched folder.

        Return None if no image matches, or if several images match equally well.

        Args:
            name: the name or path in the annotations.
            split: the split of the image, "" if it is unknown; images of other splits do not match.
            sure: True if the file names must be equal, False if they may differ as `KEYS` allow.
        """
        best = self.candidates(name, split, sure=sure)
        if len(best) != 1:
            return None
        if best[0].name != PureWindowsPath(name).name:
            self.renamed.append(f"{best[0]}: {name}")
        return best[0]

    def candidates(self, name: str, split: str = "", *, sure: bool = False) -> list[Path]:
        """Return the images whose paths match `name` best, several if they match equally well; [] if none matches.

        The images with the most similar file name are compared: the result are the images whose paths share the most
        folders with `name`.

        Args:
            name: the name or path in the annotations.
            split: the split of the image, "" if it is unknown; images of other splits do not match.
            sure: True if the file names must be equal, False if they may differ as `KEYS` allow.
        """
        parts = PureWindowsPath(unquote(without_query(name))).parts
        if not parts or "\0" in name:
            return []
        for key, paths in zip(KEYS[: 1 if sure else None], self._by_key, strict=False):
            alike = [path for path in paths.get(key(parts[-1]), []) if self._may_be(path, split)]
            shared = {path: _shared(path.parts[:-1], parts[:-1]) for path in alike}
            if alike:
                return [path for path in alike if shared[path] == max(shared.values())]
        return []

    def _may_be(self, path: Path, split: str) -> bool:
        """Return whether a file is not in a mask folder and not in a folder of another split than `split`."""
        folders = path.relative_to(self.place).parts[:-1]
        if any(OF_MASKS.search(folder.lower()) for folder in folders):
            return False
        return not split or {split_in(folder) for folder in folders} <= {"", split}


def _masks_of(folder: Path, by_folder: Mapping[Path, Sequence[Path]]) -> Path | None:
    """Return the folder beside `folder` that has a mask for each of its images; None if there is no such folder.

    Args:
        folder: a folder of images.
        by_folder: the image files of all folders, by folder.
    """
    images = sorted(by_folder[folder])
    stems = {path.stem for path in images}
    for other, files in by_folder.items():
        named = {path.stem: path for path in files}
        is_beside = other.parent == folder.parent and other != folder and stems <= named.keys()
        if is_beside and look_like_masks([named[path.stem] for path in images], images):
            return other
    return None


def without_query(name: str) -> str:
    """Remove the query, such as `?alt=media`, from a web address; return any other name unchanged."""
    return name.partition("?")[0] if "://" in name else name


def _same(name: str) -> str:
    return name


def _spaced(name: str) -> str:
    """Return a file name with "_" in place of spaces, as in Label Studio, and without the prefix of uploads."""
    return UPLOAD_PREFIX.sub("", name.replace(" ", "_"), count=1)


def _lower(name: str) -> str:
    return name.lower()


def _stem(name: str) -> str:
    """Return a file name as `_spaced` returns it, but in lower case and without the suffix of an image."""
    path = PureWindowsPath(_spaced(name).lower())
    return path.stem if path.suffix in IMAGE_SUFFIXES else path.name


KEYS = (_same, _lower, _spaced, _stem)
"""Functions for comparing file names, the strictest first: names match if a function returns the same text for both."""


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the equal parts at the ends of two paths, without regard to case: 2 for a/b/c and x/B/c."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a.lower() != b.lower()), min(len(one), len(other)))
