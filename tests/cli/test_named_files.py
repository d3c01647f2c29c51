"""An output file that the user names must be new, or an earlier output of the same command."""

import json
import shutil
from pathlib import Path

import pytest

from maskpencil.cli import check as check_command
from maskpencil.cli import evaluate as evaluate_command
from maskpencil.cli import main
from maskpencil.cli.check import processes_for
from maskpencil.data.check import check
from maskpencil.metrics import ConfusionMatrix
from maskpencil.results import find_results


@pytest.fixture
def data(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_folder, tmp_path / "data"))


def error(words: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(word) for word in words]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("name", ["classes.yaml", "images/train/0.png", "other.json"])
def test_a_report_does_not_replace_a_file_of_the_user(
    data: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (data / "other.json").write_text('{"classes": ["mine"]}')
    before = (data / name).read_bytes()
    line = error(["check", data, "--json", data / name], capsys)
    assert f"{name}: exists and was not written by this command; give another name" in line
    assert (data / name).read_bytes() == before
    assert not Path("runs").exists(), "it is refused before the work"


def test_an_earlier_report_is_replaced(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["check", str(data), "--json", "findings.json"]) == 0
    assert json.loads(Path("findings.json").read_text())["usable"] is True


def test_reports_have_the_keys_by_which_they_are_recognized(data: Path) -> None:
    assert {*check_command.JSON_KEYS} <= check(data, processes=processes_for(1)).to_dict().keys()
    scores = ConfusionMatrix(1).scores(("a",)).to_dict()
    assert scores.keys() - {*evaluate_command.JSON_KEYS} == {"images"}


def test_scores_do_not_replace_the_report_of_a_check(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(data), "--json", "report.json"]) == 0
    line = error(["evaluate", "no-model", data, "--json", "report.json"], capsys)
    assert "report.json: exists and was not written by this command" in line


@pytest.mark.parametrize("command", ["heatmap", "benchmark"])
def test_a_drawing_replaces_nothing(data: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    photo = data / "images/train/0.png"
    before = photo.read_bytes()
    words = {"heatmap": ["heatmap", "vgg16", photo, "--class", "tabby"], "benchmark": ["benchmark", "no-model"]}
    line = error([*words[command], "--out", photo], capsys)
    assert "0.png: exists, and existing files are not replaced; give another name" in line
    assert photo.read_bytes() == before


def test_the_sheet_of_a_check_is_distinguished_from_images(data: Path) -> None:
    assert main(["check", str(data), "--out", "sheet"]) == 0
    results = find_results(Path("sheet"))
    assert results
    assert results.names(Path("sheet/overlays.png"))


@pytest.mark.parametrize("words", [["convert", "--to", "voc", "--out"], ["check", "--fix"]])
def test_a_data_set_that_cannot_be_written_whole_is_not_there_at_all(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    command, *options = words

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskpencil.data.formats.base.shutil.copyfile", interrupted)
    assert main([command, str(data), *options, "out"]) == 130
    assert not [path for path in Path().iterdir() if path.name not in ("cache", "data", "runs")]
    monkeypatch.undo()
    monkeypatch.chdir(data.parent)
    assert main([command, str(data), *options, "out"]) == 0
    assert any(Path("out").iterdir())


def test_a_data_set_never_goes_into_its_own_source(data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert main(["convert", str(data), "--to", "folder", "--out", str(data)]) == 0
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    assert Path("data-2").is_dir()
