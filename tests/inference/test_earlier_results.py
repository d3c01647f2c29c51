from pathlib import Path

import pytest

from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.inference.sources import find_sources
from maskpencil.results import MARKER, recorded_results


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_results(folder: Path, *names: str) -> None:
    with recorded_results(folder):
        for name in names:
            with written_whole(folder / name) as temporary:
                temporary.touch()


def found(*arguments: str | Path, out: Path | None = None) -> tuple[list[str], list[str]]:
    reported: list[str] = []
    return [source.stem for source in find_sources(arguments, out=out, tell=reported.append)], reported


def test_results_below_a_source_are_left_out_and_reported_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    write_results(tmp_path / "out", "masks/1.png", "overlays/1.jpg", "overlays/drive.mp4")
    write_results(tmp_path / "runs/predict/a", "masks/1.png")
    stems, reported = found(tmp_path)
    assert stems == ["1", "2"]
    (line,) = reported
    assert "left out 4 files that earlier runs wrote" in line
    assert f"{tmp_path / 'out'}" in line


@pytest.mark.parametrize("pattern", ["**/*.png", "**/*.jpg", "*"])
def test_a_pattern_leaves_them_out_as_well(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "1.jpg", "2.png")
    write_results(tmp_path / "out", "masks/1.png", "overlays/1.jpg")
    stems, reported = found(f"{tmp_path}/{pattern}")
    assert set(stems) <= {"1", "2"}
    assert len(reported) == 1


def test_images_of_the_user_beside_results_are_taken(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "out/mine.jpg", "out/overlays/mine.jpg")
    write_results(tmp_path / "out", "overlays/1.jpg")
    write_results(tmp_path, "overlays/1.jpg")
    assert found(tmp_path)[0] == ["1", "out/mine", "out/overlays/mine"]


def test_results_are_taken_where_they_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    write_results(tmp_path / "out", "masks/1.png", "overlays/1.jpg")
    for argument in (tmp_path / "out", f"{tmp_path}/out/*"):
        assert found(argument) == (["masks/1", "overlays/1"], [])
    assert found(tmp_path / "out/masks") == (["1"], [])
    assert found(f"{tmp_path}/out/masks/*.png") == (["1"], [])
    assert found(tmp_path / "out/masks/1.png") == (["1"], [])


def test_results_are_no_sources_of_more_results_in_the_same_place(tmp_path: Path) -> None:
    write_results(tmp_path / "out", "masks/1.png")
    with pytest.raises(DataError, match="holds no images and no videos"):
        find_sources([tmp_path / "out"], out=tmp_path / "x/../out")


def test_run_folders_of_training_and_of_all_commands_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "own/config.yaml", "own/data.json", "own/preview/epoch.png")
    for name in ("train/a", "check-2/a", "heatmap/a", "benchmark/a", "convert/a", "demo", "demo-3"):
        touch(tmp_path, f"runs/{name}/image.png")
    stems, (line,) = found(tmp_path)
    assert stems == ["1"]
    assert "8 files that earlier runs" in line
    assert found(tmp_path / "own")[0] == ["preview/epoch"]
    assert found(tmp_path / "runs/demo")[0] == ["image"]


def test_a_folder_of_the_user_called_runs_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "runs/monday/1.jpg", "train/2.jpg", "runs/3.jpg")
    assert found(tmp_path) == (["runs/3", "runs/monday/1", "train/2"], [])


def test_a_file_that_is_not_a_record_leaves_nothing_out(tmp_path: Path) -> None:
    touch(tmp_path, "masks/1.png")
    (tmp_path / MARKER).write_text('["masks/1.png", 0, 0]\n')
    assert found(tmp_path) == (["masks/1"], [])
