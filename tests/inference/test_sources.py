import os
from pathlib import Path

import pytest

from maskpencil.errors import DataError, VideoError
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video.opening import opening_of


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def stems(*arguments: str | Path) -> list[str]:
    return [source.stem for source in find_sources(arguments)]


def test_a_file_is_an_image_or_a_video_by_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "photo.JPG", "drive.mp4")
    photo, drive = find_sources([tmp_path / "photo.JPG", str(tmp_path / "drive.mp4")])
    assert (photo.kind, photo.path, photo.stem) == ("image", tmp_path / "photo.JPG", "photo")
    assert (drive.kind, drive.stem) == ("video", "drive")


def test_a_folder_is_searched_through_its_subfolders_and_sorted_as_people_count(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.jpg", "a/10.jpg", "a/2.jpg", "a/1.jpg", "notes.txt", "drive.mov")
    assert stems(tmp_path) == ["a/1", "a/2", "a/10", "b/1", "drive"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "._1.jpg", ".thumbnails/1.jpg")
    assert stems(tmp_path) == ["1"]
    assert stems(f"{tmp_path}/*.jpg") == ["1"]


def test_of_a_data_set_the_images_are_taken_and_the_masks_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "set/Images/val/1.jpg", "set/masks/val/1.png", "set/other/2.png", "masks/3.png")
    reported: list[str] = []
    found = find_sources([tmp_path], tell=reported.append)
    assert [source.stem for source in found] == ["masks/3", "set/Images/val/1", "set/other/2"]
    (line,) = reported
    assert line.startswith(f"{tmp_path / 'set' / 'masks'}: holds the masks of a data set and is skipped")
    assert stems(tmp_path / "set" / "masks") == ["val/1"]


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
        ("*.jpg", "no file matches"),
        ("a**.jpg", "no file matches"),
        ("notes*", "no images and no videos"),
        ("empty", "holds no images and no videos"),
        ("notes.txt", "'.txt'"),
        ("ftp://example.org/a.mp4", "ftp addresses are not supported; expected http, https, rtsp"),
        ("file:///video.mp4", "file addresses are not supported"),
        ("/dev/null", "is not a file"),
        ("model", "is a model; expected an image or a video; give the model before"),
    ],
)
def test_a_source_that_cannot_be_found_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "notes.txt")
    touch(tmp_path, "model/model.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=reason) as caught:
        find_sources([argument])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(argument)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_searched_is_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "shut/1.jpg")
    (tmp_path / "shut").chmod(0)
    with pytest.raises(DataError, match="cannot be searched"):
        find_sources([tmp_path])


def test_addresses_are_streams_that_are_named_without_their_secrets() -> None:
    (source,) = find_sources(["rtsp://admin:pass@10.0.0.7:554/live/ch1.sdp?key=x*"])
    assert (source.kind, source.stem, source.name) == ("stream", "ch1", "rtsp://10.0.0.7:554/live/ch1.sdp")
    assert source.address == "rtsp://admin:pass@10.0.0.7:554/live/ch1.sdp?key=x*"
    assert source.is_live
    assert stems("HTTPS://a.org/x/Drive%20one.mp4?t=1", "udp://239.0.0.1:1234", "http://a:b@c.org/") == [
        *("Drive-one", "239.0.0.1-1234", "c.org"),
    ]


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = find_sources(["0", "/dev/video1"])
    assert (first.kind, first.address, first.stem, first.name) == ("camera", "0", "camera-0", "camera 0")
    assert (second.kind, second.name) == ("camera", "camera 1")
    touch(tmp_path, "0/1.jpg")
    assert stems("0") == ["1"]


def test_streams_and_videos_of_one_name_give_two_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.jpg")
    assert stems(tmp_path, "http://x.org/a.mp4") == ["a", "a.mp4", "a.stream"]
    assert stems("http://x.org/a", "http://y.org/a", "http://x.org/a") == ["a", "a-2"]


@pytest.mark.skipif(os.name == "nt", reason="no such files")
def test_special_files_among_images_are_left_out_and_reported(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "sub/2.mp4")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "sub" / "pipe.mp4")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for argument in (tmp_path, f"{tmp_path}/**/*.*"):
        reported: list[str] = []
        assert [source.stem for source in find_sources([argument], tell=reported.append)] == ["1", "sub/2"]
        assert sorted(reported) == [
            f"{tmp_path / 'pipe.png'}: is left out, because it is a named pipe",
            f"{tmp_path / 'sub/pipe.mp4'}: is left out, because it is a named pipe",
            f"{tmp_path / 'zero.jpg'}: is left out, because it is a device",
        ]


@pytest.mark.skipif(os.name == "nt", reason="no such files")
def test_a_special_file_that_is_named_is_refused_at_once(tmp_path: Path) -> None:
    for name in ("pipe.png", "pipe.mp4"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}: is not a file but a named pipe"):
            find_sources([tmp_path / name])
        with pytest.raises(VideoError, match=f"{name}: is a named pipe; expected a regular file"):
            opening_of(tmp_path / name)
