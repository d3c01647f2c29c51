import os
from pathlib import Path

import pytest

from maskpencil.errors import DataError
from maskpencil.inference.sources import find_sources


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def stems(*arguments: str | Path) -> list[str]:
    return [source.stem for source in find_sources(arguments)]


def test_a_file_is_a_picture_or_a_film_by_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "photo.JPG", "drive.mp4")
    photo, drive = find_sources([tmp_path / "photo.JPG", str(tmp_path / "drive.mp4")])
    assert (photo.kind, photo.path, photo.stem) == ("picture", tmp_path / "photo.JPG", "photo")
    assert (drive.kind, drive.stem) == ("video", "drive")


def test_a_folder_is_searched_through_its_subfolders_and_sorted_as_people_count(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.jpg", "a/10.jpg", "a/2.jpg", "a/1.jpg", "notes.txt", "drive.mov")
    assert stems(tmp_path) == ["a/1", "a/2", "a/10", "b/1", "drive"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "._1.jpg", ".thumbnails/1.jpg")
    assert stems(tmp_path) == ["1"]
    assert stems(f"{tmp_path}/*.jpg") == ["1"]


def test_a_pattern_keeps_the_names_below_its_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path, "a/img/1.jpg", "b/img/1.jpg", "b/img/notes.txt")
    assert stems(f"{tmp_path}/*/img/*") == ["a/img/1", "b/img/1"]
    assert stems(f"{tmp_path}/**/*.jpg") == ["a/img/1", "b/img/1"]


def test_a_pattern_may_match_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    assert stems(f"{tmp_path}/[ab]") == ["a/1", "b/1"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].jpg", "a1.jpg")
    assert stems(f"{tmp_path}/a[1].jpg") == ["a[1]"]


def test_one_stem_with_two_suffixes_gives_two_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.jpg", "a.mp4")
    assert stems(tmp_path) == ["a.jpg", "a", "a.png", "b"]


def test_one_name_in_two_folders_gives_two_names(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.jpg", "y/1.jpg", "y/2.jpg", "z/x/1.jpg")
    assert stems(tmp_path / "x", tmp_path / "y") == ["x/1", "y/1", "2"]
    assert stems(tmp_path / "x/1.jpg", tmp_path / "y/1.jpg") == ["x/1", "y/1"]
    assert stems(tmp_path / "x/1.jpg", tmp_path / "z/x/1.jpg") == ["1", "1-2"]


def test_names_that_differ_in_case_only_do_not_meet_on_a_file_system_that_ignores_it(tmp_path: Path) -> None:
    touch(tmp_path, "x/A.jpg", "y/a.jpg")
    assert stems(tmp_path / "x", tmp_path / "y") == ["x/A", "y/a"]


def test_a_file_that_is_named_twice_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    assert stems(tmp_path / "2.jpg", tmp_path, f"{tmp_path}/*.jpg") == ["2", "1"]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("missing", "no such file or folder"),
        ("*.jpg", "nothing matches"),
        ("a**.jpg", "nothing matches"),
        ("notes*", "no pictures and no films"),
        ("empty", "holds no pictures and no films"),
        ("notes.txt", "'.txt'"),
        ("https://example.org/a.mp4", "addresses and streams"),
        ("rtsp://camera/1", "addresses and streams"),
        ("/dev/null", "cameras cannot be read yet"),
        ("0", "cameras cannot be read yet"),
    ],
)
def test_what_cannot_be_found_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=reason) as caught:
        find_sources([argument])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(argument)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_searched_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "shut/1.jpg")
    (tmp_path / "shut").chmod(0)
    with pytest.raises(DataError, match="cannot be searched"):
        find_sources([tmp_path])
