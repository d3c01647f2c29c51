import shutil
from pathlib import Path

import pytest

from maskpencil.cli import main

pytestmark = pytest.mark.usefixtures("shared_cache")


def report(*words: object) -> int:
    return main(["report", *map(str, words), "--device", "cpu", "--precision", "fp32"])


def test_a_report_gets_a_new_folder_in_runs(model, tiny_folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for number in ("", "-2"):
        assert report(model, tiny_folder) == 0
        shown = capsys.readouterr().out.splitlines()
        file = Path(f"runs/report/{model.parent.name}-{tiny_folder.name}{number}/report.html")
        assert shown[0].startswith("mean IoU 0.")
        assert shown[1:] == [f"report: {file}"]
        assert file.is_file()


def test_a_report_of_two_models_compares_them(model, tiny_folder, tmp_path, capsys) -> None:
    other = tmp_path / "other" / "model"
    shutil.copytree(model, other)
    assert report(model, other, tiny_folder, "--out", tmp_path / "both.html") == 0
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "other" in text
    assert f"other minus {model.parent.name}: +0.0 points of mean IoU; so few images say little about other" in text


def test_a_report_of_a_video_needs_no_masks(model, make_video, tmp_path, capsys) -> None:
    assert report(model, make_video(), "--out", tmp_path / "drive.html") == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'drive.html'}\n"
    assert "Flicker" in (tmp_path / "drive.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL"], "error: report needs a model and data; type maskpencil report MODEL DATA"),
        (["DATA", "MODEL"], "is not a model, but"),
        (["MODEL", "MODEL"], "is a model, not data; expected a folder of images and masks"),
        (["MODEL", "DATA", "--split", "test"], "has no 'test' images; it has"),
        (["MODEL", "DATA", "--top", "0"], "error: top must be a whole number of 1 or more, but got 0"),
        (["MODEL", "DATA", "--size", "10KB"], "error: size must be at least 1 MB, but got 10240 bytes"),
        (["MODEL", "DATA", "--size", "many"], "error: --size must be an amount such as 2GiB or 512MiB"),
        (["MODEL", "PHOTO", "--out", "x.html"], "error: "),
        (["MODEL", "DATA", "--out", "."], ".: is a folder; give the name of a file, such as report.html"),
        (["MODEL", "DATA", "--out", "/"], "/: is a folder; give the name of a file, such as /report.html"),
        (["MODEL", "x.mp4", "--masks", "masks"], "a video has no masks; leave --images, --masks and --split-file out"),
        (["MODEL", "MODEL", "x.mp4"], "the report of a video shows one model, but got 2; give one model"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_line(
    words, message, model, tiny_folder, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = next((tiny_folder / "images").rglob("*.png"))
    places = {"MODEL": model, "DATA": tiny_folder, "PHOTO": photo}
    assert report(*(places.get(word, word) for word in words)) in (1, 2)
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1]
    assert not list(tmp_path.rglob("*.html"))


def test_a_file_of_somebody_else_is_kept(model, tiny_folder, tmp_path, capsys) -> None:
    (tmp_path / "report.html").write_text("mine")
    assert report(model, tiny_folder, "--out", tmp_path / "report.html") == 1
    assert "is not from maskpencil report" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--no-report"]])
def test_a_training_ends_with_a_report(words, tiny_folder, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    settings = ["--backbone", "test_resnet", "--weights", "none", "--epochs", "1", "--device", "cpu"]
    assert main(["train", str(tiny_folder), "--out", str(run), *settings, *words]) == 0
    shown = capsys.readouterr().out
    assert (run / "report.html").is_file() == (not words)
    assert (f"report: {run / 'report.html'}" in shown) == (not words)


@pytest.mark.slow
def test_a_report_that_cannot_be_written_does_not_fail_the_training(tiny_folder, tmp_path, monkeypatch, capsys) -> None:
    from maskpencil.errors import OutputError
    from maskpencil.report import report as module

    def full(*_: object) -> None:
        raise OutputError("no space left on device")

    monkeypatch.setattr(module, "_write", full)
    settings = ["--backbone", "test_resnet", "--weights", "none", "--epochs", "1", "--device", "cpu"]
    assert main(["train", str(tiny_folder), "--out", str(tmp_path / "run"), *settings]) == 0
    captured = capsys.readouterr()
    assert "warning: no report was written: no space left on device" in captured.err
    assert "model: " in captured.out


@pytest.mark.slow
def test_ctrl_c_during_the_report_says_that_the_training_is_done(tiny_folder, tmp_path, monkeypatch, capsys) -> None:
    from maskpencil.report import report as module

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write", interrupted)
    settings = ["--backbone", "test_resnet", "--weights", "none", "--epochs", "1", "--device", "cpu"]
    assert main(["train", str(tiny_folder), "--out", str(tmp_path / "run"), *settings]) == 130
    captured = capsys.readouterr()
    model = tmp_path / "run" / "model"
    assert captured.err.endswith(
        f"interrupted; the training is done; to write its report, type maskpencil report {model} {tiny_folder}\n"
    )
    monkeypatch.undo()
    assert main(["report", str(model), str(tiny_folder), "--out", str(tmp_path / "report.html")]) == 0
