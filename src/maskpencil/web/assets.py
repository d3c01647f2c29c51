"""Build the scripts of the browser pages from `sources/` with npm, and find the built scripts.

Wheels contain the built scripts, see `hatch_build.py`. In a checkout the scripts are built at their first use, and
again after their sources change. This module requires the standard library only, since no other packages are installed
when a wheel is built.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from maskpencil.errors import ConfigError, first_line

SOURCES = Path(__file__).with_name("sources")
"""The folder of the pages' sources: JavaScript, styles, HTML templates and the locked versions of npm packages."""

BUILT = Path(__file__).with_name("built")
"""The folder of the built scripts."""

STAMP = "stamp"
"""The file in `BUILT` with the digest of the sources from which the scripts were built."""

NODE_MODULES = "node_modules"
"""The folder of npm packages in the sources of a developer, which is not a source."""

BUILD_SECONDS = 600
"""The longest time in seconds that each command of a build may take."""

CORRECT = "correct the sources"
"""The remedy of a failed check or build of the sources."""


def page_assets() -> Path:
    """Return the folder of built scripts, after building them if they are missing or older than their sources.

    Raises:
        ConfigError: the scripts cannot be built, or the folder cannot be written.
    """
    if not are_built():
        build_assets()
    return BUILT


def are_built() -> bool:
    """Return whether the built scripts exist and were built from the current sources."""
    stamp = BUILT / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest()


def build_tools() -> list[str] | None:
    """Return the paths of node and npm, or None if one of them is not installed."""
    found = [shutil.which(name) for name in ("node", "npm")]
    return [path for path in found if path] if all(found) else None


def build_assets() -> None:
    """Fetch the locked npm packages, check the types of the sources, bundle them, and replace the folder `BUILT`.

    Raises:
        ConfigError: node or npm is not installed, one of them fails, or the folder cannot be written.
    """
    tools = build_tools()
    if tools is None:
        raise ConfigError(
            "the scripts of the pages are not built, and node or npm, which build them, is not installed; install "
            "Node.js 20 or newer with npm, then type the command again"
        )
    node, npm = tools
    digest = _digest()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary, "sources")
        shutil.copytree(SOURCES, work, ignore=shutil.ignore_patterns(NODE_MODULES))
        _run([npm, "ci", "--no-progress"], work, "check the connection to the package index")
        _run([npm, "run", "--silent", "check"], work, CORRECT)
        _run([node, "build.js", os.fspath(work / "built")], work, CORRECT)
        (work / "built" / STAMP).write_text(digest, encoding="utf-8")
        _replace_built(work / "built")


def _replace_built(folder: Path) -> None:
    """Replace the folder `BUILT` by a copy of `folder`.

    If several processes do so at the same time, the folder of one of them stays.

    Raises:
        ConfigError: the folder cannot be written.
    """
    new, old = (BUILT.with_name(f"{BUILT.name}-{secrets.token_hex(4)}") for _ in range(2))
    try:
        shutil.copytree(folder, new)
        with suppress(FileNotFoundError):
            BUILT.rename(old)
        new.rename(BUILT)
    except OSError as error:
        if not are_built():  # otherwise another process replaced it at the same time
            raise ConfigError(
                f"{BUILT}: the scripts of the pages cannot be written there ({first_line(error)}); make the folder "
                "writable, or install maskpencil from a wheel, which contains them"
            ) from error
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _run(command: Sequence[str], folder: Path, remedy: str) -> None:
    """Run a command of the build in a folder; errors end with the remedy.

    Raises:
        ConfigError: the command cannot be run, takes too long, or ends with an exit code other than 0.
    """
    shown = " ".join([Path(command[0]).stem, *command[1:2]])
    try:
        done = subprocess.run(  # noqa: S603 - the programs that shutil.which found
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"the scripts of the pages cannot be built: {shown} failed ({first_line(error)}); {remedy}, "
            "then type make page-assets"
        ) from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ConfigError(
            f"the scripts of the pages cannot be built: {shown} ended with exit code {done.returncode} "
            f"({lines[0] if lines else 'without a message'}); {remedy}, then type make page-assets"
        )


def _digest() -> str:
    """Return the SHA-256 of the names and contents of all sources."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        name = path.relative_to(SOURCES).as_posix()
        if path.is_file() and not name.startswith(NODE_MODULES):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    try:
        page_assets()
    except ConfigError as error:
        sys.exit(f"error: {error}")
