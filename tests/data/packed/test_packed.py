import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.data import packed
from maskpencil.data.folder import open_folder
from maskpencil.data.packed import unpacked
from maskpencil.errors import DataError, OutputError
from maskpencil.files import cache_folder

UNPACK = "import sys\nfrom pathlib import Path\nfrom maskpencil.data.packed import unpacked\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "maskpencil" / "unpacked"


def pack(folder: Path, path: Path, below: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, below + file.relative_to(folder).as_posix())
    return path


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_what_is_not_packed_is_given_back_as_it_is(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    for root in (tiny_folder, tiny_folder / "classes.yaml", tmp_path / "nowhere", tmp_path / "nowhere.zip"):
        assert unpacked(root) == packed.Unpacked(root)
    assert not cache.exists()


def test_a_packed_folder_is_read_as_the_folder_itself(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    whole, packed = open_folder(tiny_folder), open_folder(pack(tiny_folder, tmp_path / "tiny.zip"))
    (place,) = (path for path in cache.iterdir() if path.is_dir())
    assert packed.notes == (f"unpacked once, into {place}", *whole.notes)
    assert place.name.startswith("tiny-")
    assert packed.classes == whole.classes
    assert {s: [p.name for p in pairs] for s, pairs in packed.splits.items()} == {
        s: [p.name for p in pairs] for s, pairs in whole.splits.items()
    }
    for split in whole.splits:
        for one, other in zip(whole.pairs(split), packed.pairs(split), strict=True):
            for a, b in zip(whole.read_pair(one), packed.read_pair(other), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("below", ["", "tiny/", "deep/tiny data/"])
def test_folders_around_the_data_are_looked_through(tiny_folder: Path, tmp_path: Path, below: str) -> None:
    assert visible(unpacked(pack(tiny_folder, tmp_path / "a.zip", below)).folder) == ["classes.yaml", "images", "masks"]


def test_a_folder_whose_name_means_something_is_kept(tiny_folder: Path, tmp_path: Path) -> None:
    assert visible(unpacked(pack(tiny_folder, tmp_path / "a.zip", "training/")).folder) == ["training"]


def test_it_is_unpacked_once_and_the_notes_stay(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tiny_folder, tmp_path / "tiny.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(".hidden", "x")
    first = unpacked(path)
    assert first.notes[1:] == ("1 hidden files left out ('.hidden')",)
    monkeypatch.setattr(packed, "unpack_archive", lambda *_: pytest.fail("it is unpacked again"))
    assert unpacked(path) == first


def test_a_changed_archive_is_unpacked_anew(tiny_folder: Path, tmp_path: Path) -> None:
    path = pack(tiny_folder, tmp_path / "tiny.zip")
    first = unpacked(path).folder
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.txt", "x")
    second = unpacked(path).folder
    assert "more.txt" not in visible(first)
    assert "more.txt" in visible(second)
    os.utime(path, (1, 1))
    assert unpacked(path).folder not in (first, second)


def test_archives_of_one_name_have_places_of_their_own(tiny_folder: Path, tmp_path: Path) -> None:
    places = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        places.append(unpacked(pack(tiny_folder, tmp_path / name / "tiny.zip")).folder)
        os.utime(tmp_path / name / "tiny.zip", (1, 1))
    assert len(set(places)) == 2


def test_what_fails_leaves_nothing(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    path = pack(tiny_folder, tmp_path / "tiny.zip")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.infolist()[-2].header_offset + 100] ^= 255
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(DataError, match="is damaged"):
            unpacked(path)
        assert visible(cache) == []
        assert not [file for file in cache.iterdir() if file.is_dir()]


def test_what_a_killed_process_left_is_put_right(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    path = pack(tiny_folder, tmp_path / "tiny.zip")
    code = (
        "import os\nfrom maskpencil.data.packed import archives\nwrite, calls = archives._write, []\n"
        "def dying(*words):\n    calls.append(1)\n    os._exit(9) if len(calls) == 5 else write(*words)\n"
        "archives._write = dying\n"
    )
    died = subprocess.run([sys.executable, "-c", f"{code}{UNPACK}unpacked(Path(sys.argv[1]))", str(path)], check=False)
    assert died.returncode == 9
    assert visible(cache) == []
    assert visible(unpacked(path).folder) == ["classes.yaml", "images", "masks"]
    assert len([file for file in cache.iterdir() if file.is_dir()]) == 1


@pytest.mark.slow
def test_processes_at_one_time_do_the_work_once(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    path = pack(tiny_folder, tmp_path / "tiny.zip")
    code = (
        f"{UNPACK}import time\nfrom maskpencil.data.packed import archives\nwrite = archives._write\n"
        "def slow(*words):\n    time.sleep(0.02)\n    write(*words)\n    sys.stdout.write('.')\n"
        "archives._write = slow\nsys.stdout.write(str(unpacked(Path(sys.argv[1])).folder))"
    )
    command = [sys.executable, "-c", code, str(path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    (place,) = (file for file in cache.iterdir() if file.is_dir())
    files = len([file for file in tiny_folder.rglob("*") if file.is_file()])
    assert sorted(said, key=len) == [str(place), str(place), "." * files + str(place)]
    assert len([file for file in place.rglob("[!.]*") if file.is_file()]) == files


def test_a_cache_that_cannot_be_written_is_reported_with_the_remedy(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"tiny\.zip: cannot be unpacked into .*file.*set XDG_CACHE_HOME"):
        unpacked(pack(tiny_folder, tmp_path / "tiny.zip"))


def test_the_cache_is_where_the_system_keeps_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder("unpacked") == tmp_path / "cache" / "maskpencil" / "unpacked"
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder("unpacked") == tmp_path / "home" / ".cache" / "maskpencil" / "unpacked"


def test_pyarrow_and_torch_are_not_imported_for_a_folder_or_a_zip(tiny_folder: Path, tmp_path: Path) -> None:
    code = "import sys\nfrom maskpencil.data.folder import open_folder\nfor root in sys.argv[1:]: open_folder(root)\n"
    code += "print(sorted({'pyarrow', 'torch'} & set(sys.modules)))"
    command = [sys.executable, "-c", code, str(tiny_folder), str(pack(tiny_folder, tmp_path / "tiny.zip"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_names_of_any_kind_make_plain_folders(tiny_folder: Path, tmp_path: Path, cache: Path) -> None:
    for name in ("my data (1).zip", "...zip", "x" * 200 + ".ZIP"):
        place = unpacked(pack(tiny_folder, tmp_path / name)).folder
        assert place.parent == cache
        assert len(place.name) < 60
        assert not place.name.startswith(".")


def test_a_packed_image_that_is_none_is_named_where_it_lies(tmp_path: Path, tiny_folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        Image.new("RGB", (6, 4)).save(tmp_path / "1.png")
        for number in range(2):
            archive.write(tmp_path / "1.png", f"images/{number}.png")
            archive.writestr(f"masks/{number}.png", "no mask")
    with pytest.raises(DataError, match=r"cache/maskpencil/unpacked/a-[0-9a-f]{12}/masks/\d\.png: is text"):
        open_folder(tmp_path / "a.zip")
