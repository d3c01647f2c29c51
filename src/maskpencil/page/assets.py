"""Build the scripts of the page from `web/` with npm, and find those that were built.

Wheels contain them, see `hatch_build.py`; in a checkout they are built when they are first used, and again after their
sources change. Only the standard library is needed.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from maskpencil.errors import ConfigError, first_line
from maskpencil.files import folder_written_whole

WEB = Path(__file__).with_name("web")
"""The sources of the page: JavaScript, style, skeleton, and the locked versions of npm packages."""

BUILT = Path(__file__).with_name("assets")

STAMP = "stamp"
"""The file in `BUILT` with the digest of the sources."""

NODE_MODULES = "node_modules"

BUILD_SECONDS = 600


def page_assets() -> Path:
    """Return the folder of built scripts, after building them if they are missing or older than their sources.

    Raises:
        ConfigError: they cannot be built.
        OutputError: their folder cannot be written.
    """
    if not are_built():
        build_assets()
    return BUILT


def are_built() -> bool:
    """Return whether the built scripts are those of the present sources."""
    stamp = BUILT / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest()


def build_tools() -> list[str] | None:
    """Return the paths of node and npm, or None if one of them is not installed."""
    found = [shutil.which(name) for name in ("node", "npm")]
    return [path for path in found if path] if all(found) else None


def build_assets() -> None:
    """Fetch the locked npm packages, check the types of the sources, bundle them, and replace the folder `BUILT`.

    Raises:
        ConfigError: node or npm is not installed, or one of them fails.
        OutputError: the folder cannot be written.
    """
    tools = build_tools()
    if tools is None:
        raise ConfigError(
            "the scripts of the page are not built, and node and npm are not installed to build them; install "
            "Node.js 20 or newer with npm, then type the command again"
        )
    node, npm = tools
    digest = _digest()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary, "web")
        shutil.copytree(WEB, work, ignore=shutil.ignore_patterns(NODE_MODULES))
        _run([npm, "ci", "--no-progress"], work)
        _run([npm, "run", "--silent", "check"], work)
        _run([node, "build.js", os.fspath(work / "built")], work)
        with folder_written_whole(BUILT) as place:
            shutil.copytree(work / "built", place, dirs_exist_ok=True)
            (place / STAMP).write_text(digest, encoding="utf-8")


def _run(command: Sequence[str], folder: Path) -> None:
    shown = " ".join([Path(command[0]).stem, *command[1:2]])
    try:
        done = subprocess.run(  # noqa: S603 - the programs that shutil.which found
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"the scripts of the page cannot be built: {shown}: {first_line(error)}") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ConfigError(
            f"the scripts of the page cannot be built: {shown} ended with exit code {done.returncode} "
            f"({lines[0] if lines else 'without a message'}); check the connection to the package index, then type "
            "make page-assets"
        )


def _digest() -> str:
    """Return a digest of the sources."""
    digest = hashlib.sha256()
    for path in sorted(WEB.rglob("*")):
        name = path.relative_to(WEB).as_posix()
        if path.is_file() and not name.startswith(NODE_MODULES):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    build_assets()
