"""The page as a file: its contents, its policy, and what it does not replace. In a browser: tests/browser."""

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest
from tests.report.encoded import HOSTILE

from maskpencil.classes import ClassSet
from maskpencil.cli import main
from maskpencil.errors import ConfigError, ModelError, OutputError
from maskpencil.page import write, write_page, write_site

pytestmark = pytest.mark.usefixtures("assets")


def block(text: str, name: str) -> str:
    (found,) = re.findall(rf'<script type="application/octet-stream" id="{name}">(.*?)</script>', text, re.DOTALL)
    return found


def rename_classes(model: Path, names: tuple[str, ...]) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "classes": ClassSet(names).to_dict()}))


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_a_page_holds_everything_in_one_file(model: Path, tmp_path: Path) -> None:
    page = write_page(model, tmp_path / "road.html", title="Road & more")
    text = page.path.read_text()
    assert page.bytes == page.path.stat().st_size
    assert base64.b64decode(block(text, "model")) == b"the network"
    assert base64.b64decode(block(text, "wasm")) == b"webgpu.wasm.gz"
    assert base64.b64decode(block(text, "worker")) == b"worker-webgpu.js.gz"
    assert unescape(re.findall("<title>(.*)</title>", text)[0]) == "Road & more"
    assert not re.findall(r'(?:src|href)="(?!data:)', text), "nothing is loaded"
    assert "{{" not in text
    facts = json.loads(block(text, "model-facts"))
    assert facts["names"] == ["sky", "road", "car"]
    assert len(facts["palette"]) == 3
    assert facts["imageSize"] is None
    assert facts["webgpu"] is True
    assert facts["files"] is None
    assert "bunny 1 (MIT)" in text
    assert "a &lt; b" in text


def test_without_webgpu_the_page_has_the_smaller_runtime(model: Path, tmp_path: Path) -> None:
    text = write_page(model, tmp_path / "road.html", webgpu=False).path.read_text()
    assert base64.b64decode(block(text, "wasm")) == b"wasm.wasm.gz"
    assert base64.b64decode(block(text, "worker")) == b"worker-wasm.js.gz"
    assert json.loads(block(text, "model-facts"))["webgpu"] is False


def test_the_policy_allows_the_pages_own_script_and_style_and_no_connection(model: Path, tmp_path: Path) -> None:
    text = write_page(model, tmp_path / "road.html").path.read_text()
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*?)">', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'{digest(script)}' 'wasm-unsafe-eval'"
    assert rules["style-src"] == f"'{digest(style)}'"
    assert rules["worker-src"] == "blob:"
    assert "connect-src" not in rules
    assert not re.findall(r"\sstyle=|\son\w+=", re.sub("<script.*?</script>", "", text, flags=re.DOTALL))


def test_the_heading_is_the_name_of_the_model_unless_another_is_given(model: Path, tmp_path: Path) -> None:
    assert "<h1><bdi>street</bdi></h1>" in write_page(model, tmp_path / "road.html").path.read_text()
    for title, problem in (("  ", "must be a text"), ("x" * 201, "at most 200 characters"), (3, "must be a text")):
        with pytest.raises(ConfigError, match=problem):
            write_page(model, tmp_path / "road.html", title=title)  # type: ignore[arg-type]


@pytest.mark.parametrize("title", [*HOSTILE, "</title><script>alert(1)</script>", "{{script}}", "\\1 \\g<0>"])
def test_no_text_of_the_user_ends_an_element(title: str, model: Path, tmp_path: Path) -> None:
    rename_classes(model, (title, "</script><script>alert(2)</script>", "<!-- <script>"))
    text = write_page(model, tmp_path / "road.html", title=title).path.read_text()
    assert text.count("<script>") == 1
    assert "alert(1)</script>" not in text.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")
    assert "<!--" not in text
    assert [name.isprintable() for name in json.loads(block(text, "model-facts"))["names"]] == [True] * 3
    assert "'the script'" in text


def test_an_earlier_page_is_replaced_and_nothing_else(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "road.html"
    write_page(model, file, title="first")
    write_page(model, file, title="second")
    assert "<title>second</title>" in file.read_text()
    file.write_text("<html>my own</html>")
    with pytest.raises(OutputError, match=r"road\.html: is not from maskpencil page; move it"):
        write_page(model, file)
    assert file.read_text() == "<html>my own</html>"
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        write_page(model, tmp_path)


def test_a_page_that_cannot_be_written_leaves_the_earlier_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_page(model, tmp_path / "road.html").path
    before = file.read_bytes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write_page(model, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".maskpencil")] == []


def test_a_network_too_large_for_one_file_is_refused_with_the_remedy(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_MODEL_BYTES", 10)
    with pytest.raises(ConfigError, match=r"can hold at most .* write a folder for a web server with --folder"):
        write_page(model, tmp_path / "road.html")
    assert not (tmp_path / "road.html").exists()
    assert write_site(model, tmp_path / "site").path.is_dir()


def test_a_site_has_the_network_beside_the_page(model: Path, tmp_path: Path) -> None:
    site = write_site(model, tmp_path / "site", title="Road")
    files = {path.name: path.stat().st_size for path in site.path.iterdir()}
    assert {*files} == {
        "README.md",
        "index.html",
        "model.onnx",
        "ort.webgpu.bundle.min.mjs",
        "runtime.wasm.gz",
        "worker.js",
    }
    assert site.bytes == sum(files.values())
    text = (site.path / "index.html").read_text()
    named = json.loads(block(text, "model-facts"))["files"]
    assert all((site.path / name).is_file() for name in named.values())
    assert "connect-src 'self'" in text
    assert "Cross-Origin-Embedder-Policy: require-corp" in (site.path / "README.md").read_text()
    write_site(model, site.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my own")
    with pytest.raises(OutputError, match="mine: is not from maskpencil page"):
        write_site(model, tmp_path / "mine")
    (site.path / "CNAME").write_text("road.example")
    with pytest.raises(OutputError, match="site: holds CNAME, which is not from maskpencil page"):
        write_site(model, site.path)
    assert (site.path / "CNAME").read_text() == "road.example"
    with pytest.raises(OutputError, match="is a file; give the name of a folder"):
        write_site(model, site.path / "index.html")


def test_the_command_says_what_to_do_with_the_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["page", str(model.parent), "--out", "road.html", "--title", "Road", "--no-webgpu"]) == 0
    assert capsys.readouterr().out.startswith("road.html, 0 MB: double-click it")
    assert main(["page", str(model)]) == 0
    assert (tmp_path / "page.html").is_file()
    assert main(["page", str(model), "--folder", "site"]) == 0
    assert "site/README.md says how" in capsys.readouterr().out
    assert main(["page", str(model), "--folder", "site", "--out", "road.html"]) == 2
    assert "leave out one of them" in capsys.readouterr().err
    (tmp_path / "notes.html").write_text("mine")
    assert main(["page", str(model), "--out", "notes.html"]) == 1
    assert capsys.readouterr().err.endswith(
        "error: notes.html: is not from maskpencil page; move it, or give another name with --out\n"
    )


def test_a_model_that_cannot_be_read_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such model folder"):
        write_page(tmp_path / "none", tmp_path / "road.html")
    assert not (tmp_path / "road.html").exists()
