import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskpencil.data.packed import archives
from maskpencil.data.packed.archives import is_archive, unpack_archive
from maskpencil.errors import DataError, MaskPencilError, OutputError

FILES = {"images/1.jpg": b"an image", "masks/1.png": b"a mask" * 1000, "masks/empty.png": b""}


def make_zip(
    path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(zipfile.ZipInfo(name), content, how)
    return path


def make_tar(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.lower().endswith("gz") else "w") as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files)


def unpack(path: Path) -> tuple[str, ...]:
    (path.parent / "out").mkdir()
    return unpack_archive(path, path.parent / "out")


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["data.zip", "data.tar", "data.tar.gz", "DATA.TGZ"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_files_come_out_as_they_went_in(path: Path, tmp_path: Path) -> None:
    assert unpack(make(path, FILES)) == ()
    assert written(tmp_path / "out") == FILES


def test_a_large_file_comes_out_in_blocks(path: Path, tmp_path: Path) -> None:
    content = os.urandom(2 * archives.BLOCK_BYTES + 5)
    unpack(make(path, {"images/large.bmp": content}))
    assert written(tmp_path / "out") == {"images/large.bmp": content}


def test_stored_files_and_the_marks_of_windows_are_understood(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "data.zip", {"images\\deep\\1.jpg": b"an image"}, zipfile.ZIP_STORED))
    assert written(tmp_path / "out") == {"images/deep/1.jpg": b"an image"}


def test_a_tar_that_was_packed_under_another_name_is_read(tmp_path: Path) -> None:
    unpack(make_tar(tmp_path / "data.tar.gz", FILES).rename(tmp_path / "data.tar"))
    assert written(tmp_path / "out") == FILES


def test_hidden_files_are_left_out_and_reported(path: Path, tmp_path: Path) -> None:
    extra = {"__MACOSX/images/._1.jpg": b"x", ".DS_Store": b"x", "images/.thumbs/1.jpg": b"x"}
    assert unpack(make(path, FILES | extra)) == ("3 hidden files left out ('__MACOSX/images/._1.jpg', ...)",)
    assert written(tmp_path / "out") == FILES


def test_links_and_devices_in_a_tar_are_neither_made_nor_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        for name, kind in (("images", tarfile.SYMTYPE), ("masks", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(tmp_path)
            archive.addfile(member)
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert unpack(tmp_path / "data.tar") == ("3 links left out ('images', ...)",)
    assert written(tmp_path / "out") == FILES
    assert not any(path.is_symlink() or path.is_fifo() for path in (tmp_path / "out").rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.tar", "out"]


def test_links_in_a_zip_are_neither_made_nor_followed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        link = zipfile.ZipInfo("images/2.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        folder = zipfile.ZipInfo("masks/")
        folder.external_attr = (stat.S_IFDIR | 0o755) << 16
        archive.writestr(folder, "")
        archive.writestr("images/1.jpg", b"an image")
    assert unpack(tmp_path / "data.zip") == ("1 links left out ('images/2.jpg')",)
    assert written(tmp_path / "out") == {"images/1.jpg": b"an image"}


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "images/../../evil.png", "/evil.png", "\\evil.png", "..\\evil.png", "C:\\evil.png", "c:evil.png"],
)
def test_a_name_that_leads_out_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"holds the file '.*evil\.png', which leads out of the folder"):
        unpack(make(path, {**FILES, name: b"evil"}))
    assert not list(tmp_path.rglob("*evil*"))


def test_a_name_that_is_no_name_is_refused_in_one_line(path: Path) -> None:
    with pytest.raises(DataError, match=r"holds the file 'images/a\\nb\.png'") as refused:
        unpack(make(path, {"images/a\nb.png": b"x"}))
    assert "\n" not in str(refused.value)


def test_a_name_that_stands_twice_is_refused(path: Path) -> None:
    files = [("images/1.jpg", b"one"), ("images/1.jpg", b"other")]
    with pytest.warns(UserWarning, match="Duplicate") if path.suffix == ".zip" else nullcontext():
        make(path, files)
    with pytest.raises(DataError, match=r"holds two files named 'images/1\.jpg'"):
        unpack(path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("images/a.jpg", "images/A.jpg"),
        ("images/1.jpg", "Images/2.jpg"),
        ("images", "images/1.jpg"),
        ("images/é.jpg", "images/e\u0301.jpg"),
    ],
)
def test_names_that_some_file_systems_cannot_distinguish_are_refused(path: Path, one: str, other: str) -> None:
    with pytest.raises(DataError, match="which are the same name on Windows and macOS"):
        unpack(make(path, {one: b"1", other: b"2"}))


def test_folders_without_end_are_refused(path: Path) -> None:
    with pytest.raises(DataError, match="nests folders 1001 deep; expected at most 32"):
        unpack(make(path, {"a/" * 1000 + "1.jpg": b"x"}))


def test_what_grows_a_hundredfold_is_refused_before_it_is_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 2**16)
    files = {f"images/{number}.bmp": bytes(2**19) for number in range(4)}
    make(path, files)
    if path.suffix == ".tar":  # not packed, so that nothing grows
        assert unpack(path) == ()
        return
    with pytest.raises(DataError, match="over 100 times its size, like a decompression bomb"):
        unpack(path)
    assert len(written(tmp_path / "out")) < 3
    assert path.suffix != ".zip" or not written(tmp_path / "out")


def test_more_files_than_the_size_accounts_for_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "HARMLESS_FILES", 5)
    monkeypatch.setattr(archives, "PACKED_BYTES_A_FILE", 2**20)
    with pytest.raises(DataError, match="holds more than 5 files"):
        unpack(make(path, {f"images/{number}.jpg": b"" for number in range(6)}))


def test_a_full_disk_is_reported_before_it_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SHARE_OF_FREE_SPACE", 0.0)
    with pytest.raises(OutputError, match="free some space, or set XDG_CACHE_HOME"):
        unpack(make(path, FILES))


def test_a_table_of_contents_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 1000)
    with pytest.raises(DataError, match="has a table of contents that is too long to be safe"):
        unpack(make_zip(tmp_path / "data.zip", {f"images/{number}.jpg": b"" for number in range(100)}))


def test_a_header_without_end_in_a_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("images/1.jpg")
        member.pax_headers = {"comment": "x" * (archives.MAX_HEADER_BYTES + 1)}
        archive.addfile(member)
    with pytest.raises(DataError, match="has a table of contents that is too long to be safe"):
        unpack(tmp_path / "data.tar.gz")


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "data.zip", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flags of the first file in the table of contents
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is encrypted \('images/1\.jpg'\); unpack it with its password"):
        unpack(path)


def test_an_unusual_packing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="by method 14; expected deflate"):
        unpack(make_zip(tmp_path / "data.zip", FILES, zipfile.ZIP_LZMA))


def test_a_size_that_is_a_lie_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "data.zip", {"images/1.bmp": bytes(2**20)})
    size, lie = (2**20).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, lie))
    with pytest.raises(DataError, match=r"is damaged.*Bad CRC-32"):
        unpack(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_an_archive_that_is_cut_short_is_refused(path: Path, share: float) -> None:
    make(path, {f"images/{number}.jpg": os.urandom(3000) for number in range(7)})
    whole = path.read_bytes()
    if path.suffix == ".tar":
        whole = whole[: whole.rindex(b"images") + 512 + 3000]  # the rest is zeros
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match="is damaged, cut short or not an archive"):
        unpack(path)


def test_an_archive_of_nothing_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match="holds no files; expected images and masks"):
        unpack(make(path, {}))


def test_archives_inside_stay_packed_and_are_reported(path: Path, tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", FILES).read_bytes()
    assert unpack(make(path, FILES | {"more.zip": inner})) == ("1 archives inside are left packed ('more.zip')",)
    assert written(tmp_path / "out") == {**FILES, "more.zip": inner}


def test_archives_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("a.zip", "a.TAR", "a.tar.gz", "a.tgz"):
        (tmp_path / name).touch()
        assert is_archive(tmp_path / name)
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "a.json").touch()
    for name in ("folder.zip", "a.json", "nowhere.zip"):
        assert not is_archive(tmp_path / name)
    (tmp_path / "a.tar.xz").touch()
    with pytest.raises(DataError, match=r"expected \.zip, \.tar\.gz or \.tar; unpack it yourself"):
        is_archive(tmp_path / "a.tar.xz")


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_no_damage_makes_it_fail_in_another_way(
    path: Path, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(make(folder / path.name, FILES).read_bytes())
    for place, value in damage:
        content[int(place * len(content))] = value
    (folder / path.name).write_bytes(content)
    with suppress(MaskPencilError):
        unpack(folder / path.name)
    assert {file.name for file in folder.iterdir()} == {"out", path.name}
