import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import left_out

from maskpencil.data.layout import Layout, find_layout, splits
from maskpencil.data.layout.pairs import find_image
from maskpencil.data.layout.splits import write_splits
from maskpencil.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lies below folders whose names mean something, as on people's disks."""
    (tmp_path / "train" / "images").mkdir(parents=True)
    return tmp_path / "train" / "images"


def touch(root: Path, *names: str) -> None:
    """Make empty files; `{a,b}` in a name stands for one file each."""
    for name in names:
        if braces := re.search(r"\{(.*?)\}", name):
            touch(root, *(name.replace(braces[0], part, 1) for part in braces[1].split(",")))
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()


def found(root: Path) -> dict[str, list[str]]:
    """The names by split; checks that each pair's files are there."""
    layout = find_layout(root)
    for pairs in layout.splits.values():
        for pair in pairs:
            assert pair.image.is_file()
            assert pair.mask.is_file()
            assert pair.image != pair.mask
    return {split: [pair.name for pair in pairs] for split, pairs in layout.splits.items()}


def everything(layout: Layout) -> set[str]:
    return {pair.name for pairs in layout.splits.values() for pair in pairs}


SPLIT = {"train": ["1", "2"], "val": ["3"], "test": ["4"]}


@pytest.mark.parametrize(
    "names",
    [
        ["{images,masks}/train/{1,2}.png", "{images,masks}/val/3.png", "{images,masks}/test/4.png"],
        ["train/{images,masks}/{1,2}.png", "val/{images,masks}/3.png", "test/{images,masks}/4.png"],
        ["{img,label}/training/{1,2}.png", "{img,label}/valid/3.png", "{img,label}/testing/4.png"],
        ["{Images,Masks}/Train/{1,2}.png", "{Images,Masks}/Val/3.png", "{Images,Masks}/Test/4.png"],
        ["images/train/{1,2}.jpg", "images/val/3.JPEG", "images/test/4.webp", "masks/{1,2,3,4}.png"],
        ["images/{1,2,3,4}.jpg", "labels/train/{1,2}.png", "labels/validation/3.png", "labels/test/4.png"],
        ["{images,masks}/{1,2}.png", "val/{images,masks}/3.png", "test/{images,masks}/4.png"],
        ["{train,trainannot}/{1,2}.png", "{val,valannot}/3.png", "{test,testannot}/4.png"],
        ["{Train,train_labels}/{1,2}.png", "{val,val_masks}/3.png", "{test,test_labels}/4.png"],
    ],
    ids=[
        *("inside", "outside", "other words", "capitals", "images alone", "masks alone", "some outside"),
        *("annot beside", "labels beside"),
    ],
)
def test_splits_are_found_wherever_they_stand(root: Path, names: Iterable[str]) -> None:
    touch(root, *names)
    assert found(root) == SPLIT
    assert find_layout(root).notes == ()


def test_without_splits_one_in_five_is_set_aside_and_reported(root: Path) -> None:
    touch(root, *(f"{{images,masks}}/{i}.png" for i in range(10)))
    layout = find_layout(root)
    assert {split: len(pairs) for split, pairs in layout.splits.items()} == {"train": 8, "val": 2}
    assert layout.notes == ("no validation images: 2 of 10 set aside by the hash of their names",)
    assert find_layout(root).splits == layout.splits


def test_where_only_validation_is_missing_it_comes_from_the_training_images(root: Path) -> None:
    touch(root, *(f"{{images,masks}}/{split}/{i}.png" for split in ("train", "test") for i in range(5)))
    layout = find_layout(root)
    assert {split: len(pairs) for split, pairs in layout.splits.items()} == {"train": 4, "val": 1, "test": 5}
    assert all(pair.image.parent.name == "train" for pair in (*layout.splits["train"], *layout.splits["val"]))


def test_test_images_alone_are_enough_to_evaluate(root: Path) -> None:
    touch(root, "{images,masks}/test/1.png")
    assert found(root) == {"test": ["1"]}


@pytest.mark.parametrize("prefix", ["{images,masks}/train/", "train/{images,masks}/", "{images,masks}/"])
def test_written_splits_put_beside_the_images_give_the_same_pairs(root: Path, prefix: str) -> None:
    touch(root, *(f"{prefix}{i}.png" for i in range(8)), *(f"{prefix}deep/{i}.png" for i in range(8)))
    touch(root, *(f"{prefix.replace('train', 'test')}{i}.png" for i in range(3)))
    layout = find_layout(root)
    write_splits(root, {split: [pair.name for pair in pairs] for split, pairs in layout.splits.items()})
    again = find_layout(root)
    assert again.splits == layout.splits
    assert again.notes[0].startswith("splits from train.txt, val.txt")


# lists


@pytest.mark.parametrize("folder", ["", "splits/"])
@pytest.mark.parametrize(
    "lines",
    [
        ["1", "2", "3", "4"],
        ["1.jpg", "2.jpg", "3.jpg", "4.jpg"],
        ["images/1.jpg", "images/2.jpg", "images/3.jpg", "images/4.jpg"],
        ["  1", "2  ", "3\r", "4"],
    ],
)
def test_a_list_names_images_with_or_without_folder_and_suffix(root: Path, folder: str, lines: list[str]) -> None:
    touch(root, "images/{1,2,3,4}.jpg", "masks/{1,2,3,4}.png", f"{folder}train.txt")
    (root / f"{folder}train.txt").write_text("\ufeff" + "\n".join(lines[:2]) + "\n\n", encoding="utf-8")
    (root / f"{folder}val.txt").write_text(f"\n{lines[2]}\n", encoding="utf-8")
    (root / f"{folder}test.txt").write_text(lines[3], encoding="utf-8")
    assert found(root) == SPLIT
    assert find_layout(root).notes == ("splits from train.txt, val.txt, test.txt",)


def test_a_list_may_name_image_and_mask_anywhere(root: Path) -> None:
    touch(root, "a/1.jpg", "b/1_label.png", "c/2.jpg", "c/2.png")
    (root / "train.txt").write_text("a/1.jpg b/1_label.png")
    (root / "val.txt").write_text(f"{root}/c/2.jpg\t{root}/c/2.png")
    layout = find_layout(root)
    assert [pair.name for pair in layout.splits["train"]] == ["a/1"]
    assert layout.splits["train"][0].mask == root / "b" / "1_label.png"
    assert layout.splits["val"][0].image == root / "c" / "2.jpg"


def test_a_name_may_hold_a_space(root: Path) -> None:
    touch(root, "{images,masks}/my photo.png", "{images,masks}/two.png")
    (root / "train.txt").write_text("my photo.png")
    (root / "val.txt").write_text("two")
    assert found(root) == {"train": ["my photo"], "val": ["two"]}


def test_a_list_names_images_of_its_own_split_first(root: Path) -> None:
    touch(root, "{images,masks}/{train,val,test}/1.png")
    for split in ("train", "val", "test"):
        (root / f"{split}.txt").write_text("1")
    for split, pairs in find_layout(root).splits.items():
        assert [pair.image for pair in pairs] == [root / "images" / split / "1.png"]


def test_an_empty_list_is_as_none(root: Path) -> None:
    touch(root, "{images,masks}/{1,2}.png", "val.txt")
    (root / "train.txt").write_text("1\n2")
    assert {split: len(names) for split, names in found(root).items()} == {"train": 1, "val": 1}


def test_images_that_no_list_names_are_not_reported(root: Path) -> None:
    touch(root, "{images,masks}/{1,2}.png", "images/3.png")
    (root / "train.txt").write_text("1")
    (root / "val.txt").write_text("2")
    assert find_layout(root).notes == ("splits from train.txt, val.txt",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7", r"train\.txt: line 3 names '7', but no image with a mask has that name; correct or remove the line"),
        ("a b c", "line 3 names 'a b c', but no image"),
        ("images/1.png masks/7.png", r"line 3 names .*masks/7\.png, which is missing"),
    ],
)
def test_a_list_that_names_what_is_not_there_is_an_error(root: Path, line: str, message: str) -> None:
    touch(root, "{images,masks}/{1,2}.png")
    (root / "train.txt").write_text(f"1\n\n{line}\n2\n")
    with pytest.raises(DataError, match=message):
        find_layout(root)


def test_a_list_that_is_no_text_is_an_error(root: Path) -> None:
    touch(root, "{images,masks}/1.png")
    (root / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read .* expected one name per line"):
        find_layout(root)


# names


def test_names_match_through_subfolders_and_whatever_their_suffix(root: Path) -> None:
    touch(
        root, "images/a/1.JPG", "masks/a/1.png", "images/b/1.tiff", "masks/b/1.bmp", "images/x.y.png", "masks/x.y.png"
    )
    assert everything(find_layout(root)) == {"a/1", "b/1", "x.y"}


def test_hidden_files_and_other_files_are_left_out(root: Path) -> None:
    touch(root, "{images,masks}/{1,2}.png", "{images,masks}/.3.png", "images/notes.txt")
    touch(root, "{images,masks}/.ipynb_checkpoints/1-checkpoint.png", "{images,masks}/.thumbnails/1.png")
    layout = find_layout(root)
    assert everything(layout) == {"1", "2"}
    assert len(layout.notes) == 1


def test_files_without_a_partner_are_left_out_and_reported(root: Path) -> None:
    touch(root, "{images,masks}/{1,2}.png", "images/{a,b,c,d}.jpg", "masks/e.png")
    layout = find_layout(root)
    assert everything(layout) == {"1", "2"}
    lines = [fault.line for fault in layout.faults]
    assert left_out(lines, "images without a mask") == [f"{name}.jpg" for name in "abcd"]
    assert left_out(lines, "masks without an image") == ["e.png"]


def test_test_images_without_masks_are_reported_and_nothing_else(root: Path) -> None:
    touch(root, "{images,masks}/train/1.png", "{images,masks}/val/2.png", "images/test/{3,4}.png")
    layout = find_layout(root)
    assert found(root) == {"train": ["1"], "val": ["2"]}
    assert layout.notes == ()
    assert [fault.what for fault in layout.faults] == ["2 images without a mask left out"]
    assert layout.faults[0].files == ("images/test/3.png", "images/test/4.png")


def test_two_images_of_one_name_are_an_error(root: Path) -> None:
    touch(root, "images/1.jpg", "images/1.png", "masks/1.png")
    with pytest.raises(DataError, match=r"images/1\.png: has the same name as 1\.jpg; rename or remove one of them"):
        find_layout(root)


def test_training_images_in_and_out_of_a_split_are_an_error(root: Path) -> None:
    touch(root, "{images,masks}/1.png", "train/{images,masks}/1.png")
    with pytest.raises(
        DataError, match=r"both in train/ and outside of all splits; keep one of the two groups, or list"
    ):
        find_layout(root)


# nothing found


def test_a_missing_folder_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match=r"none: there is no such folder; expected images/ and masks/"):
        find_layout(root / "none")


def test_a_folder_without_pairs_is_an_error_that_says_what_is_there(root: Path) -> None:
    with pytest.raises(DataError, match=r"has no pairs of images and masks \(found nothing\); expected images/ and"):
        find_layout(root)
    touch(root, "photos/1.jpg", "readme.md")
    with pytest.raises(DataError, match=r"\(found photos/, readme\.md\)"):
        find_layout(root)


def test_the_rule_by_which_masks_are_named_is_reported(root: Path) -> None:
    touch(root, "images/{1,2,3}.jpg", "masks/{1,2}_mask.png", "masks/1_late.png")
    layout = find_layout(root)
    assert {pair.name: pair.mask.name for pairs in layout.splits.values() for pair in pairs} == {
        "1": "1_mask.png",
        "2": "2_mask.png",
    }
    assert layout.notes[:2] == (
        "an image's mask is named IMAGE_mask",
        "1 other masks of the same images are left out",
    )
    lines = [fault.line for fault in layout.faults]
    assert left_out(lines, "images without a mask") == ["3.jpg"]


def test_pascal_voc_as_it_was_unpacked_is_read_by_its_lists(root: Path) -> None:
    touch(root, "JPEGImages/{1,2,3,9}.jpg", "SegmentationClass/{1,2,3}.png")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("1\n2\n")
    (lists / "val.txt").write_text("3\n")
    layout = find_layout(root)
    assert {split: [pair.name for pair in pairs] for split, pairs in layout.splits.items()} == {
        "train": ["1", "2"],
        "val": ["3"],
    }


def test_names_that_do_not_match_are_an_error_with_examples(root: Path) -> None:
    touch(root, "images/{1,2}.jpg", "masks/{a,b}.png")
    with pytest.raises(
        DataError,
        match=r"has 2 images and 2 masks, but no mask with the name of an image \(1\.jpg and a\.png\); rename them,",
    ):
        find_layout(root)


def test_one_pair_is_too_few_to_train_and_validate(root: Path) -> None:
    touch(root, "{images,masks}/1.png")
    with pytest.raises(DataError, match="has one pair of image and mask; at least 2 are needed"):
        find_layout(root)


def test_folders_beside_those_of_the_splits_are_reported(root: Path) -> None:
    touch(root, "{images,masks}/{train,val}/{1,2}.png", "{images,masks}/more/{3,4}.png")
    layout = find_layout(root)
    assert {split: len(pairs) for split, pairs in layout.splits.items()} == {"train": 2, "val": 2}
    lines = [fault.line for fault in layout.faults]
    assert left_out(lines, "images without a mask") == ["3.png", "4.png"]
    assert left_out(lines, "masks without an image") == ["3.png", "4.png"]


def test_masks_of_a_kind_that_is_not_read_are_named(root: Path) -> None:
    touch(root, "image/{1,2}.jpg", "groundTruth/{1,2}.mat")
    with pytest.raises(DataError, match=r"\.mat files are not read, save them as PNG$"):
        find_layout(root)


def test_a_line_that_a_list_repeats_is_looked_up_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(root, "a/{1,2}.jpg", "b/{1,2}_label.png")
    (root / "train.txt").write_text("a/1.jpg b/1_label.png\n" * 1000)
    (root / "val.txt").write_text("a/2.jpg b/2_label.png")
    names = []

    def find(root: Path, folders: list[Path], name: str, *, source: Path) -> Path | None:
        names.append(name)
        return find_image(root, folders, name, source=source)

    monkeypatch.setattr(splits, "find_image", find)
    assert found(root) == {"train": ["a/1"], "val": ["a/2"]}
    assert names == ["a/1.jpg", "b/1_label.png", "a/2.jpg", "b/2_label.png"]


def test_pairs_that_no_list_names_are_noted(save_files) -> None:
    pixels = np.zeros((8, 8), dtype=np.uint8)
    files = {f"{side}/{name}.png": pixels for side in ("images", "masks") for name in "abcdefgh"}
    notes = find_layout(save_files({**files, "train.txt": "a\n", "val.txt": "b\n"})).notes
    assert "6 pairs that no list names are left out (c, d, e, f, g, ...)" in notes
