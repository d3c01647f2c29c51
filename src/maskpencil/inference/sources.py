"""Find sources (images, videos, streams and cameras) by paths, glob patterns, addresses and numbers."""

import glob
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS
from maskpencil.errors import ConfigError, DataError
from maskpencil.files import short_name
from maskpencil.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from maskpencil.model_folder import WEIGHTS
from maskpencil.parsing import read_path_text, shown
from maskpencil.regular_files import special_kind
from maskpencil.results import Results, find_results

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""The lower-case suffixes of video files."""

Kind = Literal["image", "video", "stream", "camera"]

IN_MEMORY = "image"
"""The stem of the first image in memory; further images get a number, such as image-2."""

_EXPECTED = "expected an image (.jpg, .png, ...) or a video (.mp4, .mov, ...)"


@dataclass(frozen=True)
class Source:
    """One image, video, stream or camera.

    Args:
        kind: image, video, stream or camera.
        address: the path of a file, the address of a stream, the number of a camera, or the stem of an image in memory.
        stem: the name of the results: the path below the folder or pattern by which the source was found, without
            suffix, with / between folders. The stems of all images differ, and so do the stems of all videos, streams
            and cameras; an image and a video may have the same stem.
        argument: the path, folder, pattern or address by which the source was found.
        image: the image in memory, an array or a Pillow image; None for all other sources.
    """

    kind: Kind
    address: str
    stem: str
    argument: str = ""
    image: Any = field(default=None, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """The path of an image file or video file; for an image in memory, its stem."""
        return Path(self.address)

    @property
    def is_file(self) -> bool:
        """Whether the source is a file: an image that is not in memory, or a video."""
        return self.kind in ("image", "video") and self.image is None

    @property
    def name(self) -> str:
        """The name in messages: a path, an address without user, password and query, or a text such as "camera 0"."""
        if self.kind == "camera":
            return f"camera {self.address}"
        return without_secrets(self.address) if self.kind == "stream" else self.address

    @property
    def is_live(self) -> bool:
        """Whether the source is a stream or a camera, which may have no end."""
        return self.kind in ("stream", "camera")


@dataclass(frozen=True)
class _Found:
    """A source that was found, before the stem of its results is chosen."""

    path: Path
    relative: Path  # below the folder or the fixed part of the pattern
    live: Source | None = None  # a stream or camera, which has no path
    image: Any = None  # in memory, without a path

    @property
    def kind(self) -> Kind:
        if self.live:
            return self.live.kind
        return "image" if self.image is not None or self.path.suffix.lower() in IMAGE_SUFFIXES else "video"

    @property
    def address(self) -> str:
        return self.live.address if self.live else str(self.path)

    @property
    def identity(self) -> object:
        if self.image is not None:
            return object()  # the same image in memory may be given twice
        return (self.live.kind, self.live.address) if self.live else self.path.resolve()


SourceArgument = Source | str | os.PathLike[str] | npt.NDArray[Any] | Image.Image
"""One argument of `predict`: the path of a file or folder, a glob pattern, an address, the number of a camera as text,
an image in memory, or a source that `find_sources` returned."""


def find_sources(
    arguments: SourceArgument | Sequence[SourceArgument],
    *,
    out: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Sequence[Source]:
    """Find the images and videos in files, folders and glob patterns, and the streams and cameras.

    A number, such as "0", is a camera, unless a file has this name. Addresses are streams, even addresses of video
    files. Folders are searched recursively, without hidden files, and sorted with numbers in numerical order (2 before
    10). A file, stream or camera that is given twice is used once. In the folder of a data set only the images are
    used; the masks, in a folder masks/ beside images/, are left out with a message to `tell`. Named pipes, devices and
    sockets are also left out with a message.

    Results of earlier runs in a folder or pattern are also left out: files that a `results.MARKER` records, and all
    files in run folders of training and in the default folders of commands, such as runs/predict. If a given folder
    contains only results that its own `results.MARKER` records, they are segmented, unless the folder is `out`.

    Images in memory are Pillow images and arrays, uint8 of shape (H, W, 3) or others that `Segmenter.predict` accepts;
    their results are named `image`, `image-2` and so on, in order. An array (N, H, W, 3) is N images.

    Args:
        arguments: one source or several; if all are `Source` objects, they are returned unchanged.
        out: the folder of the results.
        tell: called with messages for the user.

    Returns:
        The sources in the order of the arguments, each with a stem for its results.

    Raises:
        ConfigError: an argument is not a path, pattern, address, camera number, image or `Source`.
        DataError: a path does not exist, a file is neither image nor video, a folder or pattern contains neither, or
            the scheme of an address is not supported.
    """
    given = _as_list(arguments)
    if all(isinstance(each, Source) for each in given):
        return given
    found: dict[object, tuple[_Found, str]] = {}
    for argument in given:
        if _is_image(argument):
            item = _Found(Path(IN_MEMORY), Path(IN_MEMORY), image=argument)
            found.setdefault(item.identity, (item, IN_MEMORY))
            continue
        text = read_path_text("each of the sources", argument)
        for item in _find(os.path.expanduser(text), out, tell):  # noqa: PTH111 - Path would change an address
            found.setdefault(item.identity, (item, text))
    items = [item for item, _ in found.values()]
    return [
        Source(item.kind, stem if item.image is not None else item.address, stem, argument, item.image)
        for (item, argument), stem in zip(found.values(), _stems(items), strict=True)
    ]


def results_name(source: Source) -> str:
    """Return a name for the folder of a source's results, from the path, pattern or address that the user gave.

    For a folder it is the folder's name. For a file or a pattern it is the last part of the path, without suffix and
    wildcards; if this leaves nothing, it is the name of the nearest parent folder whose path has no wildcards. For a
    live source or an image in memory it is the stem.
    """
    if source.is_live or source.image is not None:
        return source.stem
    path = Path(source.argument or source.address).expanduser()
    if path.is_dir():
        return short_name(path) or "images"  # "/" has no name
    fixed = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
    return re.sub(r"[*?\[\]]", "", path.stem) or short_name(fixed) or "images"


def _as_list(arguments: Any) -> list[Any]:
    if isinstance(arguments, Source | str | os.PathLike | Image.Image):
        return [arguments]
    if isinstance(arguments, np.ndarray):
        return list(arguments) if arguments.ndim == 4 else [arguments]
    if not isinstance(arguments, Sequence) or isinstance(arguments, bytes):
        raise ConfigError(
            f"sources must be paths, addresses, arrays or Pillow images, or a list of them, but got {shown(arguments)}"
        )
    return list(arguments)


def _is_image(argument: Any) -> bool:
    return isinstance(argument, np.ndarray | Image.Image)


def _find(argument: str, out: Path | None, tell: Callable[[str], None]) -> list[_Found]:
    path = Path(argument)
    if path.is_dir():
        files = without_results(path, _files_below(path, tell), out=out, tell=tell)
        items = _in_order(_Found(file, file.relative_to(path)) for file in files)
        if not items and (path / WEIGHTS).is_file():
            raise DataError(f"{argument}: is a model; expected an image or a video; give the model before the images")
        if not items:
            raise DataError(f"{argument}: holds no images and no videos; {_EXPECTED} in the folder or its subfolders")
        return items
    if path.is_file():
        if not _is_known(path):
            ending = f"ends in {path.suffix!r}" if path.suffix else "has no suffix"
            raise DataError(f"{argument}: {ending}; {_EXPECTED}; convert it first")
        return [_Found(path, Path(path.name))]
    kind = scheme(argument)
    if kind in SCHEMES:
        return [_live(Source("stream", argument, stem_of(argument)))]
    if kind:
        raise DataError(
            f"{without_secrets(argument)}: {kind} addresses are not supported; expected {', '.join(SCHEMES)}; download "
            "the file and give its path"
        )
    number = camera_number(argument)
    if number is not None:
        return [_live(Source("camera", str(number), f"camera-{number}"))]
    if glob.has_magic(argument):
        return _match(argument, out, tell)
    if kind := special_kind(path):
        raise DataError(f"{argument}: is not a file but {kind}; {_EXPECTED}, an address or the number of a camera")
    raise DataError(f"{argument}: there is no such file or folder; check the path")


def _live(source: Source) -> _Found:
    return _Found(Path(source.stem), Path(f"{source.stem}.stream"), source)  # names lose their suffix


def _match(pattern: str, out: Path | None, tell: Callable[[str], None]) -> list[_Found]:
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    try:
        matched = list(fixed.glob(str(Path(pattern).relative_to(fixed))))
    except ValueError:  # "**" beside other letters, which Python 3.13 reads as "*"
        matched = []
    if not matched:
        raise DataError(f"{pattern}: no file matches this pattern; check its spelling and that it is quoted")
    below = [file for path in matched for file in (_files_below(path, tell) if path.is_dir() else [path])]
    known = [file for file in below if _is_known(file) and not file.name.startswith(".") and _is_regular(file, tell)]
    files = without_results(fixed, known, out=out, tell=tell)
    if not files:
        raise DataError(f"{pattern}: matches no images and no videos; {_EXPECTED}")
    return _in_order(_Found(file, file.relative_to(fixed)) for file in files)


def _files_below(folder: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        masks = _beside_images(folders)
        for name in masks:
            masked = Path(parent, name)
            tell(f"{masked}: holds the masks of a data set and is skipped; to segment it, name it as a source")
        folders[:] = [name for name in folders if not name.startswith(".") and name not in masks]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and _is_known(path) and _is_regular(path, tell):
                yield path
        _tell_unread(Path(parent), names, tell)


def _tell_unread(folder: Path, names: Sequence[str], tell: Callable[[str], None]) -> None:
    """Call `tell` with one message if images in a folder have a format that cannot be read."""
    unread = sorted(name for name in names if Path(name).suffix.lower() in UNREAD_SUFFIXES and name[0] != ".")
    if unread:
        others = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        kinds = ", ".join(sorted({Path(name).suffix.lower() for name in unread}))
        tell(f"{folder / unread[0]}{others}: left out, since {kinds} cannot be read; convert to JPEG or PNG")


def _beside_images(folders: Sequence[str]) -> list[str]:
    """Return the names of those `folders` that contain the masks of a data set, such as masks beside images."""
    has_images = any(name.lower() in IMAGE_FOLDERS for name in folders)
    return [name for name in folders if has_images and name.lower() in MASK_FOLDERS]


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be searched ({error.strerror}); check its permissions") from error


def _is_regular(path: Path, tell: Callable[[str], None]) -> bool:
    kind = special_kind(path)
    if kind:
        tell(f"{path}: is left out, because it is {kind}")
    return kind is None


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def _in_order(items: Iterable[_Found]) -> list[_Found]:
    return sorted(items, key=lambda item: [_natural(part) for part in item.relative.parts])


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key that compares digits in a row as one number; numbers sort before other text."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return [(int(piece), piece) if piece[0] in "0123456789" else (10**30, piece) for piece in pieces]


def _stems(items: Sequence[_Found]) -> list[str]:
    """Return the stem of each source.

    If the results of two sources would have the same name, their stems get the suffix, the parent folder or a number.
    """
    stems = [item.relative.with_suffix("").as_posix() for item in items]
    for longer in _LONGER:
        for clash in _clashes(items, stems):
            renamed = [longer(items[i]) for i in clash]
            if len({stem.casefold() for stem in renamed}) == len(clash):
                for i, stem in zip(clash, renamed, strict=True):
                    stems[i] = stem
    while clashes := _clashes(items, stems):
        for clash in clashes:
            for number, i in enumerate(clash[1:], start=2):
                stems[i] = f"{stems[i]}-{number}"
    return stems


_LONGER: tuple[Callable[[_Found], str], ...] = (
    lambda item: item.relative.as_posix(),  # a.jpg, a.png
    lambda item: Path(*item.path.resolve().parts[-len(item.relative.parts) - 1 :]).with_suffix("").as_posix(),
)


def _clashes(items: Sequence[_Found], stems: Sequence[str]) -> list[list[int]]:
    """Return groups of indices of sources whose results would have the same name, ignoring case."""
    same: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for i, (item, stem) in enumerate(zip(items, stems, strict=True)):
        same[item.kind == "image", stem.casefold()].append(i)
    return [indices for indices in same.values() if len(indices) > 1]


SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp")
"""The schemes of supported addresses."""

_DEVICE_FILE = re.compile(r"/dev/video([0-9]+)")

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # at least two letters, since C:/ is a drive of Windows


def scheme(text: str) -> str | None:
    """Return the scheme of an address in lower case, such as rtsp; None if the text is not an address."""
    match = _ADDRESS.match(text)
    return match[1].lower() if match else None


def camera_number(text: str) -> int | None:
    """Return the number of a camera given as "0" or "/dev/video0"; None if the text has another form."""
    device = _DEVICE_FILE.fullmatch(text)
    digits = device[1] if device else text
    return int(digits) if digits.isdecimal() and digits.isascii() else None


def without_secrets(address: str) -> str:
    """Return an address without user, password, query and fragment, since these may contain secrets."""
    shown = re.sub(r"^([^/]+:/+)[^/?#]*@", r"\1", address)
    return re.split(r"[?#]", shown, maxsplit=1)[0]


def stem_of(address: str) -> str:
    """Return a name for the results of an address: the last part of its path, without suffix, else its host and port.

    Characters other than letters, digits, "_", "." and "-" become "-"; a name without characters becomes "stream".
    """
    parts = urlsplit(address)
    last = PurePosixPath(unquote(parts.path)).stem
    name = last or re.sub(r"^.*@", "", parts.netloc)
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "stream"


RUNS = "runs"
"""The name of the folder in which the commands make their default folders."""

RUN_NAMES = re.compile(r"(?:benchmark|check|convert|demo|heatmap|import|predict|train)(?:-[0-9]+)?")
"""The names of folders in `RUNS` to which the commands write by default."""

RUN_FILES = ("config.yaml", "data.json")
"""Files that every run folder of training contains."""

MAX_LISTED_FOLDERS = 3
"""The largest number of folders that a message lists."""


def without_results(root: Path, files: Iterable[Path], *, out: Path | None, tell: Callable[[str], None]) -> list[Path]:
    """Return the `files` below the folder `root` that no earlier run wrote; one message to `tell` counts the others.

    If all files are results that the `results.MARKER` of `root` itself records, and `root` is not `out`, all files are
    returned: the user named a folder of results in order to segment them.
    """
    tree = _Tree(root)
    kept: list[Path] = []
    own: list[Path] = []
    others: dict[Path, int] = {}
    for file in files:
        writer = tree.writer_of(file)
        if writer is None:
            kept.append(file)
        elif writer == root:
            own.append(file)
        else:
            others[writer] = others.get(writer, 0) + 1
    if own and not kept and not others and not (out is not None and out.resolve() == root.resolve()):
        return own
    if own:
        others[root] = len(own)
    if others:
        count = sum(others.values())
        shown = ", ".join(map(str, list(others)[:MAX_LISTED_FOLDERS])) + (
            ", ..." if len(others) > MAX_LISTED_FOLDERS else ""
        )
        tell(f"{root}: left out {count} file{'s' * (count > 1)} that earlier runs wrote (in {shown})")
    return kept


@dataclass(frozen=True)
class _Folder:
    """Facts about `_Tree.root` or a folder below it.

    `run` is the uppermost run folder, see `_is_run`, among this folder and its parents below the root; None if there is
    no run folder among them. `results` are the records in this folder and in its parents up to the root.
    """

    run: Path | None
    results: tuple[Results, ...]


@dataclass
class _Tree:
    """A cache of facts about the folders below `root`, to find out which run wrote a file."""

    root: Path
    places: dict[Path, _Folder] = field(default_factory=dict)

    def writer_of(self, file: Path) -> Path | None:
        """Return the folder of the run that wrote a file; None if no run wrote it."""
        place = self._place(file.parent)
        return place.run or next((results.folder for results in place.results if results.names(file)), None)

    def _place(self, folder: Path) -> _Folder:
        if folder not in self.places:
            results = find_results(folder)
            own = () if results is None else (results,)
            if folder == self.root or folder.parent == folder:
                self.places[folder] = _Folder(None, own)
            else:
                above = self._place(folder.parent)
                run = above.run or (folder if _is_run(folder) else None)
                self.places[folder] = _Folder(run, (*above.results, *own))
        return self.places[folder]


def _is_run(folder: Path) -> bool:
    if folder.parent.name == RUNS and RUN_NAMES.fullmatch(folder.name):
        return True
    return all(os.path.isfile(folder / name) for name in RUN_FILES)  # noqa: PTH113 - false for names of any length
