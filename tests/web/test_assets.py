"""The scripts of the pages: locked packages, and what happens where they cannot be built."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.helpers import page_assets

from maskpencil.errors import ConfigError
from maskpencil.web import assets


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources and one of built scripts, which is empty."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "page.js").write_text("1")
    monkeypatch.setattr(assets, "SOURCES", tmp_path / "sources")
    monkeypatch.setattr(assets, "BUILT", tmp_path / "assets")
    return tmp_path


def test_every_package_is_locked_by_its_digest_without_an_address() -> None:
    lock = json.loads((assets.SOURCES / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/onnxruntime-web", "node_modules/mediabunny", "node_modules/esbuild"} <= {*packages}
    assert [name for name, entry in packages.items() if not entry["integrity"].startswith("sha512-")] == []
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    wanted = json.loads((assets.SOURCES / "package.json").read_text())["devDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_without_node_the_error_names_the_remedy(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match=r"install Node\.js 20 or newer with npm, then type the command again"):
        assets.page_assets()


def test_a_failure_of_npm_is_one_line(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 7, stdout="", stderr="npm error code E404\nmore\n")

    monkeypatch.setattr(assets.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(assets.subprocess, "run", failing)
    with pytest.raises(ConfigError, match=r"npm ci ended with exit code 7 \(npm error code E404\)") as caught:
        assets.page_assets()
    assert "\n" not in str(caught.value)
    assert not assets.BUILT.exists()


def test_scripts_are_built_again_only_after_their_sources_change(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def run(command: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command[1])
        (cwd / "built").mkdir(exist_ok=True)
        (cwd / "built" / "page.js").write_text((cwd / "page.js").read_text())
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    monkeypatch.setattr(assets.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(assets.subprocess, "run", run)
    assert (assets.page_assets() / "page.js").read_text() == "1"
    assert commands == ["ci", "run", "build.js"]
    assets.page_assets()
    assert len(commands) == 3
    (assets.SOURCES / "page.js").write_text("2")
    assert (assets.page_assets() / "page.js").read_text() == "2"
    assert {path.name for path in elsewhere.iterdir()} == {"sources", "assets"}, "no leftovers"


@pytest.mark.slow
def test_the_built_scripts_cannot_end_their_element_and_name_no_package_index() -> None:
    folder = page_assets()
    for name in ("page.js", "server.js"):
        script = (folder / name).read_text()
        assert "</script" not in script.lower()
        assert "<!--" not in script
        assert script.isascii()
    assert {"onnxruntime-web", "mediabunny"} == {
        each["name"] for each in json.loads((folder / "licenses.json").read_text())
    }
