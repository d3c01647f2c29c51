"""Messages that are not our own: out of memory, faults of this program, warnings and logs of other packages."""

import errno
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from maskpencil.errors import MaskPencilError, OutputError, first_line
from maskpencil.files import cache_folder, written_whole
from maskpencil.plain_text import visible
from maskpencil.terminal import say

_NO_MEMORY = re.compile(
    r"bad[ _]alloc|out ?of ?memory|(can'?t|cannot|unable to|failed to) (allocate|map segment|create file mapping)"
    r"|can'?t start new thread|not enough memory|insufficient memory|DefaultCPUAllocator"
    r"|cannot (allocate|apply) (memory|additional memory)|killed by signal: Killed|terminated abruptly",
    re.IGNORECASE,
)
"""How Python, NumPy, torch, OpenVINO, OpenCV, the linker and process pools say that memory was refused."""

_NAME_FILES = (OSError, ValueError, LookupError, MaskPencilError)
"""Errors whose message may hold a file's name, which is no evidence."""

_LESS_MEMORY = {
    "predict": "take less with --memory 256MiB, or a smaller --image-size",
    "train": "take less with a smaller --batch-size, --crop-size or --image-size, or --accumulate 2",
    "evaluate": "take less with a smaller --image-size",
    "check": "read fewer files at once with --processes 1",
}


def say_failure(error: Exception, command: str) -> None:
    """Say in one line, to standard error, why a command ended, and what to do."""
    if reason := memory_refused(error):
        less = _LESS_MEMORY.get(command, "use smaller images or a smaller model")
        remedies = [*_raised_limit(), *([] if isinstance(error, ImportError) else [less]), "close other programs"]
        say(f"error: there is not enough memory ({reason}); {', or '.join(remedies)}")
        return
    place = traceback.extract_tb(error.__traceback__)[-1]
    say(
        f"error: {type(error).__name__}: {first_line(error)} ({Path(place.filename).name}, line {place.lineno}); this "
        f"is a fault of maskpencil, please report it with {_kept_traceback(error)}"
    )


def memory_refused(error: BaseException | None) -> str:
    """Return what an error, or one of its causes, says about memory that was refused; empty where none was."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # an error may be its own cause
        seen.append(error)
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return first_line(error)
        lines = [] if isinstance(error, _NAME_FILES) else str(error).splitlines()
        if found := [line.strip() for line in lines if _NO_MEMORY.search(line)]:
            return found[0][:200]
        error = error.__cause__ or error.__context__
    return ""


def say_traceback(error: BaseException) -> None:
    """Write where an error came from to standard error."""
    for line in _traceback(error):
        say(line)


def _traceback(error: BaseException) -> Sequence[str]:
    return "".join(traceback.format_exception(error)).splitlines()


def _kept_traceback(error: BaseException) -> str:
    """Write the traceback to the cache and return where: an error of a long run may not come back in a second one."""
    place = cache_folder("errors") / "traceback.txt"
    try:
        with written_whole(place) as temporary:
            temporary.write_text("\n".join(map(visible, _traceback(error))) + "\n", encoding="utf-8")
    except OutputError:
        return "what it prints with --debug added"
    return f"{place}, or with what it prints when --debug is added"


def _raised_limit() -> list[str]:
    """Advise to raise the limit on this process's memory, where one is set."""
    if sys.platform == "win32":
        return []
    import resource

    limits = {resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)}
    limits.discard(resource.RLIM_INFINITY)
    return [f"raise the limit of {min(limits) / 2**30:.1f} GiB that is set for this process (ulimit)"] if limits else []


def as_plain_lines(*, quiet: bool) -> None:
    """Print warnings, and log records without a handler, as plain lines; `quiet` leaves out Pillow's warnings."""
    if quiet:  # the faults of images are reported in our own words
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.showwarning = _show_warning
    if logging.lastResort:
        logging.lastResort.setFormatter(_PlainFormatter())


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,  # noqa: ARG001 - the source line, which does not fit in one line
) -> None:
    say(f"warning: {message} ({category.__name__} in {filename}, line {lineno})", file=file)
