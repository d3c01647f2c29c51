"""The Containerfile: every RUN line works, and its command serves as a user without rights and on read-only files.

The images that it begins with are not needed: the lines are run on this machine, with folders of the test in place of
those of the image.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

pytestmark = pytest.mark.stress

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-this-test"
CONTENT = {"hatch_build.py", "LICENSE", "pyproject.toml", "README.md", "requirements.lock", "src"}


def lines_of(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Containerfile, each with its arguments."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    found = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(instruction, arguments) for instruction, arguments in found]


def may_isolate() -> bool:
    """Return whether a process can be started as another user with mounts of its own."""
    tools = all(map(shutil.which, ("unshare", "setpriv")))
    return (
        tools
        and os.getuid() == 0
        and not subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode
    )


LINES = lines_of(ROOT / "Containerfile")


def the(instruction: str) -> str:
    """The arguments of an instruction that occurs once."""
    (found,) = [arguments for name, arguments in LINES if name == instruction]
    return found


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The folder in which all RUN lines were run; other users may read it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for line in tracked.splitlines():
            if line.split("/")[0] in CONTENT and (ROOT / line).is_file():
                (place / "source" / line).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / line, place / "source" / line)
        (place / "local" / "bin").mkdir(parents=True)
        for number, arguments in enumerate(arguments for name, arguments in LINES if name == "RUN"):
            done = subprocess.run(
                placed(arguments, place), shell=True, capture_output=True, text=True, timeout=900, cwd=place
            )
            assert done.returncode == 0, f"RUN line {number}: {arguments}\n{done.stderr[-2000:]}"
        yield place


def placed(text: str, place: Path) -> str:
    """A line of the Containerfile with folders of the test."""
    text = text.replace("/usr/local/bin/npm", f"{place}/local/bin/npm")
    text = re.sub(r"^python ", f"{Path(sys.base_prefix, 'bin', 'python3')} ", text)
    return text.replace("/source", f"{place}/source").replace("/opt/maskpencil", f"{place}/maskpencil")


def test_the_ignore_file_keeps_what_the_image_is_made_of() -> None:
    rules = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == CONTENT


def test_the_image_has_no_torch_and_names_no_root(image: Path) -> None:
    script = (
        "from importlib.util import find_spec; print([n for n in ('torch', 'maskpencil', 'uvicorn') if find_spec(n)])"
    )
    python = image / "maskpencil" / "bin" / "python"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['maskpencil', 'uvicorn']\n"
    assert the("USER") == "65532:65532"
    size = sum(path.lstat().st_size for path in (image / "maskpencil").rglob("*") if path.is_file())
    assert size < 900e6


@pytest.mark.skipif(not may_isolate(), reason="only root can start a process as another user, on other mounts")
def test_the_command_serves_as_another_user_on_files_that_are_read_only(image: Path, model: Path, images: Path) -> None:
    (image / "tmp").mkdir(mode=0o777)
    shutil.copytree(model, image / "model")
    (image / "token").write_text(TOKEN)
    command = [*json.loads(the("ENTRYPOINT")), *json.loads(the("CMD")), "--port", "0"]
    command = [
        str({"/model": image / "model", "/run/secrets/token": image / "token"}.get(word, word)) for word in command
    ]
    settings = dict(pair.split("=", 1) for pair in shlex.split(the("ENV")))
    settings = {name: placed(text.replace("/tmp", "TMP"), image) for name, text in settings.items()}
    settings = {name: text.replace("TMP", f"{image}/tmp") for name, text in settings.items()}
    read_only = (
        f"mount --make-rprivate / && mount -t tmpfs -o mode=1777 none {image}/tmp && mount -o remount,ro,bind / && "
    )
    # the Python of this machine may lie in the home folder of root
    rights = "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --no-new-privs"
    user = f"setpriv --reuid 65532 --regid 65532 --clear-groups {rights} "
    started = ["unshare", "--mount", "sh", "-c", read_only + "exec " + user + shlex.join(command)]
    process = subprocess.Popen(
        started,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=settings | {"TMPDIR": f"{image}/tmp"},
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("http://0.0.0.0:"), process.communicate(timeout=30)
        address = line.split()[0].replace("0.0.0.0", "127.0.0.1")
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"Uid:\t65532\t65532\t65532", status)
        request = Request(
            f"{address}/v1/mask", next(images.iterdir()).read_bytes(), {"Authorization": f"Bearer {TOKEN}"}
        )
        with urlopen(request, timeout=60) as answer:
            assert answer.read(4) == b"\x89PNG"
        words = json.loads(the("HEALTHCHECK").partition("CMD ")[2])
        check = [str(image / "maskpencil" / "bin" / words[0]), *words[1:]]
        check = [word.replace("http://127.0.0.1:8000", address) for word in check]
        subprocess.run(check, check=True, timeout=10)
        process.terminate()
        assert process.wait(10) == 0
        assert subprocess.run(check, capture_output=True, timeout=10).returncode == 1
    finally:
        process.kill()
        process.communicate()
