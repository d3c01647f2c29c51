from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskpencil.data.check import check, refuse_nonsense
from maskpencil.data.folder import open_folder
from maskpencil.data.layout import Pair
from maskpencil.data.layout.splits import split_names, split_pairs, write_splits

names = st.lists(st.text("abc/0123", min_size=1, max_size=8), unique=True, min_size=2, max_size=60)


@given(names, st.randoms())
def test_every_name_is_in_one_of_two_parts_whatever_their_order(names: list[str], random) -> None:
    train, val = split_names(names)
    assert sorted((*train, *val)) == sorted(names)
    assert len(val) == max(1, round(len(names) / 5))
    assert train
    shuffled = random.sample(names, len(names))
    train_again, val_again = split_names(shuffled)
    assert set(val_again) == set(val)
    assert list(train_again) == [name for name in shuffled if name not in val]


@given(names)
def test_a_name_more_moves_few_others(names: list[str]) -> None:
    before = set(split_names(names)[1])
    after = set(split_names([*names, "one more"])[1]) - {"one more"}
    assert len(before ^ after) <= 1


def test_the_choice_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert split_names([f"{i:03}" for i in range(20)])[1] == ("000", "010", "015", "018")
    assert split_names(["straße/märz", "b", "車"])[1] == ("straße/märz",)


def test_a_single_name_is_in_train() -> None:
    assert split_names(["a"]) == (("a",), ())


def test_splits_are_written_a_name_a_line(tmp_path: Path) -> None:
    write_splits(tmp_path / "splits", {"train": ["a/1", "straße"], "val": ["b"]})
    assert (tmp_path / "splits" / "train.txt").read_text(encoding="utf-8") == "a/1\nstraße\n"
    assert (tmp_path / "splits" / "val.txt").read_text(encoding="utf-8") == "b\n"


def pairs_of(folder: Path, contents: dict[str, bytes]) -> list[Pair]:
    for name, content in contents.items():
        (folder / f"{name}.png").write_bytes(content)
    return [Pair(name, folder / f"{name}.png", folder / "masks" / f"{name}.png") for name in contents]


def test_copies_are_in_the_split_of_the_copy_whose_name_comes_first(tmp_path: Path) -> None:
    numbers = [f"{i:03}" for i in range(20)]
    contents = {name: name.encode() for name in numbers}
    assert [pair.name for pair in split_pairs(pairs_of(tmp_path, contents))[1]] == ["000", "010", "015", "018"]
    copies = {"020": b"000", "021": b"010", "030": b"001", "031": b"001"}
    train, val = split_pairs(pairs_of(tmp_path, copies | contents))
    assert [pair.name for pair in val] == ["020", "021", "000", "010", "015", "018"]
    assert len(train) == 18


def test_images_that_are_all_one_are_split_by_their_names(tmp_path: Path) -> None:
    train, val = split_pairs(pairs_of(tmp_path, dict.fromkeys("abcde", b"same")))
    assert (len(train), len(val)) == (4, 1)


def test_one_image_with_several_masks_is_in_one_split(tmp_path: Path) -> None:
    others = pairs_of(tmp_path, {"a": b"a", "b": b"b", "c": b"c"})
    shared = [Pair(f"d{n}", tmp_path / "a.png", tmp_path / f"{n}.png") for n in range(8)]
    train, val = split_pairs([*others, *shared])
    assert any(not {others[0], *shared} & {*part} for part in (train, val))
    assert train
    assert val


def test_images_that_are_missing_count_as_different(tmp_path: Path) -> None:
    pairs = [Pair(name, tmp_path / f"{name}.png", tmp_path / "m.png") for name in "abcde"]
    assert tuple(pair.name for pair in split_pairs(pairs)[1]) == split_names("abcde")[1]


def test_only_images_of_one_size_are_opened_to_split_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_of(tmp_path, {"a": b"1", "b": b"22", "c": b"33", "d": b"4444"})
    opened, plain = list[str](), Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self.stem), plain(self, *a, **k))[1])
    split_pairs(pairs)
    assert sorted(opened) == ["b", "c"]


def test_train_and_check_do_not_part_copies(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(12):
        image = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        for name in (f"{number}", f"copy_of_{number}"):
            Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
            Image.fromarray(np.eye(20, 30, dtype=np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    report, folder = check(tmp_path), open_folder(tmp_path)
    assert {fault.kind for fault in report.faults} & {"duplicates", "duplicates-across-splits"} == {"duplicates"}
    assert report.splits == {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 20, "val": 4}
    assert not any(fault.kind == "copies-of-train" for fault in refuse_nonsense(folder))
