"""The code of the front page, the manual and the docstrings runs, and their options and links exist."""

import ast
import doctest
import importlib
import inspect
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskpencil as mp
from maskpencil.scenes import draw_scene, drive, write_scenes

from .helpers import page_assets
from .pages import LANGUAGES, OUTPUT, PAGES, ROOT, Block, blocks, broken_links, check_block, commands, prose, run_block

SIZE = (64, 96)

LONGEST = {"README.md": 100, "architecture.md": 500}
"""Lines that a page may have, where it is not 250."""


def quick(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Replace every training on the pages by one epoch of a small untrained network, in small batches, offline."""

    def resolved(config: Any, *others: Any) -> Any:
        small = replace(
            config,
            backbone="test_resnet",
            weights="none",
            epochs=1,
            time_budget=None,
            image_size="native",
            batch_size=2,
        )
        return resolve(small, *others)

    return resolved


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages assume: drawn streets with masks, photos, a video, a raster, and a run."""
    from rasterio import open as open_raster
    from rasterio.transform import from_origin

    from maskpencil.inference.video.writers import write_video
    from maskpencil.training.train import train

    root = tmp_path_factory.mktemp("docs")
    write_scenes(root / "street", train=8, val=4, test=2, size=SIZE)
    (root / "photos").mkdir()
    for number in range(3):
        Image.fromarray(draw_scene(100 + number, SIZE).image).save(root / "photos" / f"street_{number + 1}.jpg")
    Image.fromarray(draw_scene(99, SIZE).image).save(root / "photo.jpg")
    write_video(root / "drive.mp4", (scene.image for scene in drive(7, 24, SIZE, frame_rate=12)), frame_rate=12)
    bands = draw_scene(98, (128, 192)).image.transpose(2, 0, 1)
    shape = {"count": 3, "height": 128, "width": 192, "dtype": np.uint8, "photometric": "RGB"}
    place = {"crs": "EPSG:32632", "transform": from_origin(600000, 5300000, 0.5, 0.5)}
    with open_raster(root / "field.tif", "w", driver="GTiff", **shape, **place) as file:
        file.write(bands)
    settings = {"backbone": "test_resnet", "weights": "none", "epochs": 1, "device": "cpu"}
    train(root / "street", out=root / "runs" / "train" / "street", quiet=True, **settings)
    return root


@pytest.fixture
def work(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder with a copy of what is prepared, in which trainings are quick."""
    from maskpencil.training import train as training

    shutil.copytree(prepared, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(training, "resolve", quick(training.resolve))
    monkeypatch.setattr(training, "add_graph", lambda *_, **__: None)  # takes longer than such a training


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_runs(page: Path, work: None, monkeypatch: pytest.MonkeyPatch):
    if re.search(r"^\$ maskpencil page |mp\.write_page", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        page_assets()
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.is_run:
            run_block(block, names)
        else:
            check_block(block, monkeypatch)


def test_the_manual_has_every_public_name():
    manual = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in mp.__all__ if not re.search(rf"(`|mp\.){name}\b", manual)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", mp.__all__)
def test_the_examples_of_a_public_name_work(name: str, work: None):
    if name in ("write_page", "write_site"):
        page_assets()
    test = doctest.DocTestParser().get_doctest(documentation(name), {"mp": mp, "np": np}, name, None, None)
    assert test.examples, "has no example after >>> in its docstring"
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=OUTPUT | doctest.REPORT_NDIFF).run(test, out=report.append)
    assert not result.failed, "".join(report)


def documentation(name: str) -> str:
    """Return the docstring of a public name; that of a constant is the text below it in its module."""
    value = getattr(mp, name)
    if isinstance(value, type) or callable(value):
        return value.__doc__ or ""
    module = importlib.import_module(f"maskpencil.{mp._HOMES[name]}")
    body = ast.parse(inspect.getsource(module)).body
    below = {ast.unparse(each.targets[0]): text for each, text in pairwise(body) if isinstance(each, ast.Assign)}
    return ast.literal_eval(below[name].value) if isinstance(below[name], ast.Expr) else ""


def test_the_pages_are_found_and_have_blocks():
    assert {page.name for page in PAGES} >= {"README.md", "index.md", "data.md", "prediction.md", "python.md"}
    of_pages = {page.name: blocks(page) for page in PAGES}
    assert [name for name, found in of_pages.items() if not found] == ["out-of-scope.md"]
    run = [block for found in of_pages.values() for block in found if block.is_run]
    assert len([block for block in run if block.language == "console"]) > 20
    assert len([block for block in run if block.language == "python"]) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_short_and_its_blocks_are_fenced_and_have_a_language(page: Path):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST.get(page.name, 250)
    assert not [str(block) for block in blocks(page) if block.language not in LANGUAGES]
    indented = [line for line in prose(page) if line.startswith("    ") and not line.lstrip().startswith("- ")]
    assert not indented, "indented blocks are not run; fence them"


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs" / "adr").glob("*.md"))], ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_to_a_file_or_a_heading(page: Path):
    assert list(broken_links(page)) == []


def _block(tmp_path: Path, text: str) -> Block:
    page = tmp_path / "page.md"
    page.write_text(text)
    (block,) = blocks(page)
    return replace(block, page=ROOT / "page.md")


def test_a_command_that_fails_or_prints_something_else_is_noticed(tmp_path: Path):
    with pytest.raises(AssertionError, match=r"page.md:1: maskpencil info nothing: exit code"):
        run_block(_block(tmp_path, "```console\n$ maskpencil info nothing\n```\n"), {})
    with pytest.raises(AssertionError, match=r"(?s)shown:\nversion 9\n.*printed:\n0"):
        run_block(_block(tmp_path, "```console\n$ maskpencil --version\nversion 9\n```\n"), {})


def test_nothing_but_maskpencil_is_run(tmp_path: Path):
    with pytest.raises(AssertionError, match="only maskpencil is run"):
        run_block(_block(tmp_path, "```console\n$ rm photo.jpg\n```\n"), {})


def test_a_block_after_a_marker_with_text_between_is_run(tmp_path: Path):
    assert not _block(tmp_path, "<!-- not run: slow -->\n\n```python\n1\n```\n").is_run
    assert _block(tmp_path, "<!-- not run: slow -->\nSome text.\n```python\n1\n```\n").is_run


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("maskpencil predict MODEL 0 --shows", "--shows"),
        ("maskpencil predict MODEL drive.mp4 --every often", "every"),
        ("maskpencil fly", "there is no command fly"),
        ("torchrun -m maskpencil train DATA --epoch 3", "--epoch"),
        ("make tea", "make has no"),
        ("pip install '.[tea]'", "there is no extra"),
        ("rm photo.jpg", "rm is neither run nor checked"),
    ],
)
def test_an_option_that_does_not_exist_is_noticed_where_a_command_is_not_run(line, problem, tmp_path, monkeypatch):
    block = _block(tmp_path, f"<!-- not run: slow -->\n```console\n$ {line}\n```\n")
    with pytest.raises(AssertionError, match=problem):
        check_block(block, monkeypatch)


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, of two parts\n[a](#a-title-of-two-parts) [b](#b) [c](c.md) [d](page.md#d) [e](page.md)\n"
    )
    assert list(broken_links(page)) == ["#b", "c.md", "page.md#d"]


def test_commands_go_on_after_a_backslash_and_end_at_a_pipe():
    (command,) = commands("$ maskpencil info \\\n    recipes | less  # all\nsome output\n")
    assert command.words == ["maskpencil", "info", "recipes"]
    assert command.output == "some output\n"
