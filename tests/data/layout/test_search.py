from pathlib import Path

import numpy as np
import pytest

from maskpencil.data.layout import Places, find_layout
from maskpencil.data.layout.search import evenness
from maskpencil.errors import DataError

RANDOM = np.random.default_rng(0)


def photo() -> np.ndarray:
    return RANDOM.integers(0, 255, (24, 32, 3), dtype=np.uint8)


def mask() -> np.ndarray:
    values = np.zeros((24, 32), dtype=np.uint8)
    values[RANDOM.integers(0, 12) :, RANDOM.integers(0, 16) :] = 1
    return values


def pairs_of(root: Path) -> dict[str, dict[str, tuple[str, str]]]:
    return {
        split: {
            pair.name: (pair.image.relative_to(root).as_posix(), pair.mask.relative_to(root).as_posix())
            for pair in pairs
        }
        for split, pairs in find_layout(root).splits.items()
    }


def all_pairs(root: Path) -> set[tuple[str, str]]:
    return {files for pairs in pairs_of(root).values() for files in pairs.values()}


@pytest.mark.parametrize("addition", ["_mask", "_L", "-gt", "_labelIds", "_matte", " copy"])
def test_one_folder_with_masks_by_an_addition(save_files, addition: str) -> None:
    names = ["a1", "a2", "b10"]
    root = save_files({f"{n}.png": photo() for n in names} | {f"{n}{addition}.png": mask() for n in names})
    assert all_pairs(root) == {(f"{n}.png", f"{n}{addition}.png") for n in names}


def test_one_folder_with_masks_by_their_suffix(save_files) -> None:
    root = save_files({f"{n}.jpg": photo() for n in "abc"} | {f"{n}.png": mask() for n in "abc"})
    assert all_pairs(root) == {(f"{n}.jpg", f"{n}.png") for n in "abc"}
    layout = find_layout(root)
    assert "images and masks lie in one folder; an image's mask has the suffix .png" in layout.notes


@pytest.mark.parametrize("annotators", [("_1stHO", "_2ndHO"), ("-ana", "-ben", "-cleo"), ("_mask", "_mask_copy")])
def test_one_folder_with_masks_by_several_annotators(save_files, annotators: tuple[str, ...]) -> None:
    files = {}
    for name in (f"Image_{n:02}L" for n in range(6)):
        files |= {f"{name}.jpg": photo()}
        own = 255 * mask()
        files |= {f"{name}{each}.png": np.roll(own, place, axis=1) for place, each in enumerate(annotators)}
    root = save_files(files)
    layout = find_layout(root)
    first, *others = annotators
    assert all_pairs(root) == {(f"Image_{n:02}L.jpg", f"Image_{n:02}L{first}.png") for n in range(6)}
    assert not layout.faults
    named = ", ".join(f"IMAGE{each}" for each in others)
    assert any(f"{named}: masks of the same images by other annotators, left out" in note for note in layout.notes)


def test_one_folder_with_files_of_other_kinds_names_them(save_files) -> None:
    files = {f"{n}.bmp": photo() for n in "abcd"} | {f"{n}.png": mask() for n in "abcd"}
    root = save_files(files | {f"{n}.jpg": photo() for n in "abcd"} | {"z.jpg": photo()})
    assert all_pairs(root) == {(f"{n}.bmp", f"{n}.png") for n in "abcd"}
    assert {fault.kind: fault.files for fault in find_layout(root).faults} == {
        "images-not-read": tuple(f"{n}.jpg" for n in "abcd"),
        "images-without-mask": ("z.jpg",),
    }


def test_one_folder_a_split_with_masks_beside_the_images(save_files) -> None:
    files = {}
    for split in ("train", "valid", "test"):
        files |= {f"{split}/{n}.jpg": photo() for n in "ab"} | {f"{split}/{n}_mask.png": mask() for n in "ab"}
    assert pairs_of(save_files(files)) == {
        split: {n: (f"{folder}/{n}.jpg", f"{folder}/{n}_mask.png") for n in "ab"}
        for split, folder in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def test_folders_whose_names_say_nothing_are_recognized_by_their_files(save_files) -> None:
    root = save_files({f"one/{n}.png": mask() for n in "abc"} | {f"two/{n}.png": photo() for n in "abc"})
    assert all_pairs(root) == {(f"two/{n}.png", f"one/{n}.png") for n in "abc"}
    assert "images are in two/, masks in one/" in find_layout(root).notes


def test_folders_that_are_called_after_a_split_among_other_words(save_files) -> None:
    files = {}
    for split in ("train", "test"):
        files |= {f"images_prepped_{split}/{n}.png": photo() for n in "ab"}
        files |= {f"annotations_prepped_{split}/{n}.png": mask() for n in "ab"}
    pairs = pairs_of(save_files(files))
    assert pairs["test"] == {n: (f"images_prepped_test/{n}.png", f"annotations_prepped_test/{n}.png") for n in "ab"}
    assert set(pairs) == {"train", "val", "test"}  # one of train's was set aside


def test_trees_with_the_same_folders_inside(save_files) -> None:
    names = ["train/x/1", "train/y/1", "val/x/2"]
    root = save_files({f"pics/{n}.jpg": photo() for n in names} | {f"groundtruth/{n}_gt.png": mask() for n in names})
    assert pairs_of(root) == {
        "train": {n: (f"pics/train/{n}.jpg", f"groundtruth/train/{n}_gt.png") for n in ("x/1", "y/1")},
        "val": {"x/2": ("pics/val/x/2.jpg", "groundtruth/val/x/2_gt.png")},
    }


def test_data_one_folder_further_down(save_files) -> None:
    root = save_files({f"set/images/{n}.jpg": photo() for n in "ab"} | {f"set/labels/{n}.png": mask() for n in "ab"})
    assert all_pairs(root) == {(f"set/images/{n}.jpg", f"set/labels/{n}.png") for n in "ab"}


def test_several_sets_beside_each_other(save_files) -> None:
    files = {}
    for place in ("north", "south"):
        files |= {f"{place}/{n}.jpg": photo() for n in "ab"} | {f"{place}/{n}.png": mask() for n in "ab"}
    assert all_pairs(save_files(files)) == {
        (f"{place}/{n}.jpg", f"{place}/{n}.png") for place in ("north", "south") for n in "ab"
    }


def test_one_of_several_annotators_is_taken(save_files) -> None:
    root = save_files(
        {f"scans/{n}.jpg": photo() for n in "abc"}
        | {f"{who}_masks/{n}.png": mask() for who in ("anna", "ben") for n in "abc"}
    )
    assert all_pairs(root) == {(f"scans/{n}.jpg", f"anna_masks/{n}.png") for n in "abc"}
    assert any(note.startswith("anna_masks is read; ben_masks") for note in find_layout(root).notes)


def test_two_folders_of_photographs_are_an_error(save_files) -> None:
    root = save_files({f"{folder}/{n}.png": photo() for folder in ("left", "right") for n in "ab"})
    with pytest.raises(DataError, match=r"left and right hold files of the same names, but neither looks like masks"):
        find_layout(root)


def test_masks_are_more_even_than_photographs(save_files) -> None:
    root = save_files({"photo.png": photo(), "mask.png": mask(), "broken.png": "no image"})
    assert evenness([root / "photo.png"]) < 0.05
    assert evenness([root / "mask.png"]) > 0.8
    assert evenness([root / "broken.png"]) == 0


def test_sites_with_images_and_masks_of_the_same_names_are_not_mixed(save_files) -> None:
    files = {}
    for site, count in (("siteA", 4), ("siteB", 6)):
        files |= {f"{site}/pics/{n}.png": photo() for n in range(count)}
        files |= {f"{site}/truth/{n}.png": mask() for n in range(count)}
    assert all_pairs(save_files(files)) == {
        (f"{site}/pics/{n}.png", f"{site}/truth/{n}.png")
        for site, count in (("siteA", 4), ("siteB", 6))
        for n in range(count)
    }


def test_no_pair_is_lost_where_names_repeat(save_files) -> None:
    files = {}
    for part in ("train_a", "train_b"):
        files |= {f"pics/{part}/{n}.png": photo() for n in range(3)}
        files |= {f"truth/{part}/{n}.png": mask() for n in range(3)}
    assert len(all_pairs(save_files(files))) == 6


def test_parts_of_one_split_beside_each_other(save_files) -> None:
    files = {}
    for part in ("train_a", "train_b"):
        files |= {f"{part}/{n}.jpg": photo() for n in range(3)} | {f"{part}/{n}.png": mask() for n in range(3)}
    pairs = pairs_of(save_files(files))
    assert {split: len(of_split) for split, of_split in pairs.items()} == {"train": 5, "val": 1}


def test_each_image_folder_has_the_mask_folder_that_is_named_like_it(save_files) -> None:
    files = {}
    for side in ("left", "right"):
        files |= {f"{side}_images/{n}.png": photo() for n in "ab"} | {f"{side}_masks/{n}.png": mask() for n in "ab"}
    root = save_files(files)
    assert all_pairs(root) == {(f"{s}_images/{n}.png", f"{s}_masks/{n}.png") for s in ("left", "right") for n in "ab"}
    assert "images are in right_images/, masks in right_masks/" in find_layout(root).notes


def test_two_folders_that_both_fit_the_masks_are_an_error(save_files) -> None:
    root = save_files({f"{k}/{n}.png": mask() if k == "truth" else photo() for k in ("a", "b", "truth") for n in "12"})
    with pytest.raises(DataError, match="a and b both hold images with the names of the masks in truth; choose one"):
        find_layout(root)
    assert len(find_layout(root, Places(images=Path("b"), masks=Path("truth"))).splits["train"]) == 1


def test_the_rule_that_makes_the_most_pairs_counts(save_files) -> None:
    names = [f"{n:03}" for n in range(20)]
    root = save_files(
        {f"{n}.png": photo() for n in names}
        | {f"{n}_mask.png": mask() for n in names}
        | {"odd.jpg": photo(), "odd.png": mask()}
    )
    assert {(f"{n}.png", f"{n}_mask.png") for n in names} <= all_pairs(root)


def test_masks_that_fit_no_images_are_an_error(save_files) -> None:
    root = save_files(
        {f"{k}/{n}.png": photo() for k in "ab" for n in "12"}
        | {f"{k}/{n}x.png": mask() for k in ("mask_c", "mask_d") for n in "89"}
    )
    with pytest.raises(DataError, match="no pairs of images and masks"):
        find_layout(root)


def test_links_are_followed_and_loops_are_not(save_files, tmp_path: Path) -> None:
    root = save_files({f"other/{n}.png": photo() for n in "ab"} | {f"set/masks/{n}.png": mask() for n in "ab"})
    (root / "set" / "images").symlink_to(root / "other")
    (root / "set" / "masks" / "up").symlink_to(root / "set")
    assert all_pairs(root / "set") == {(f"images/{n}.png", f"masks/{n}.png") for n in "ab"}


# what the user says


@pytest.mark.parametrize("below", [True, False], ids=["below the folder", "as paths"])
def test_named_places_stand_above_what_is_found(save_files, below: bool) -> None:
    root = save_files(
        {
            f"{k}/{n}.png": photo() if k in ("images", "x") else mask()
            for k in ("images", "masks", "x", "y")
            for n in "ab"
        }
        | {"split.csv": "name,split\na,train\nb,test\n"}
    )
    names = (Path("x"), Path("y"), Path("split.csv"))
    places = Places(*names) if below else Places(*(root / name for name in names))
    with pytest.raises(DataError, match="one pair"):
        find_layout(root, places)
    (root / "split.csv").write_text("a.png train\nb val\n")
    layout = find_layout(root, places)
    assert {split: [pair.image for pair in pairs] for split, pairs in layout.splits.items()} == {
        "train": [root / "x" / "a.png"],
        "val": [root / "x" / "b.png"],
    }
    assert "splits from split.csv" in layout.notes


def test_a_place_that_is_not_there_is_an_error(save_files) -> None:
    root = save_files({"images/a.png": photo(), "masks/a.png": mask()})
    with pytest.raises(DataError, match="pix: there is no such folder, neither in the current folder nor in"):
        find_layout(root, Places(images=Path("pix"), masks=Path("masks")))
    with pytest.raises(DataError, match=r"/pix: there is no such folder; correct the path, or name a folder in \S+$"):
        find_layout(root, Places(images=root / "pix", masks=Path("masks")))


def test_a_folder_in_several_splits_may_have_brackets_in_its_name(save_files) -> None:
    files = {f"{split}/{kind}/{split}.png": kind for split in ("train", "val") for kind in ("pix [1]", "masks [1]")}
    root = save_files({name: photo() if kind == "pix [1]" else mask() for name, kind in files.items()})
    layout = find_layout(root, Places(images=Path("pix [1]"), masks=Path("masks [1]")))
    assert {split: len(pairs) for split, pairs in layout.splits.items()} == {"train": 1, "val": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [("a", "expected an image's name and train, val or test"), ("c train", "no image with a mask has that name")],
)
def test_a_split_file_that_does_not_fit_is_an_error(save_files, line: str, message: str) -> None:
    root = save_files({f"{k}/{n}.png": photo() for k in ("images", "masks") for n in "ab"} | {"split.txt": line})
    with pytest.raises(DataError, match=message):
        find_layout(root, Places(split_file=root / "split.txt"))


def drive(masks: str, place: str = "") -> dict[str, np.ndarray]:
    """Write two splits with names of their own, as in DRIVE."""
    files = {}
    for folder in ("training", "test"):
        for number in range(4):
            files[f"{place}{folder}/images/{number}_{folder}.png"] = photo()
            files[f"{place}{folder}/{masks}/{number}_manual1.png"] = mask()
    return files


@pytest.mark.parametrize("masks", ["masks", "1st_manual"])
@pytest.mark.parametrize("given", [False, True])
def test_rules_of_several_splits_are_all_stated_with_their_folders(save_files, masks: str, given: bool) -> None:
    notes = find_layout(save_files(drive(masks)), Places(masks=Path(masks)) if given else Places()).notes
    training = "the image NAME_training has the mask NAME_manual1"
    test = "the image NAME_test has the mask NAME_manual1"
    if masks == "1st_manual" and not given:
        where = f"test/, training/: images are in images/, masks in {masks}/"
        assert notes[:3] == (f"test/: {test}", where, f"training/: {training}")
    else:
        assert notes[0] in (
            f"test/{masks}/: {test}; training/{masks}/: {training}",
            f"training/{masks}/: {training}; test/{masks}/: {test}",
        )


def test_rules_of_several_data_sets_are_stated_with_their_folders(save_files) -> None:
    files = {}
    for n in "abcd":
        files |= {f"one/pics/{n}.jpg": photo(), f"one/gt/{n}.png": mask()}
        files |= {f"two/{n}.jpg": photo(), f"two/{n}_gt.png": mask(), f"three/pics/{n}.jpg": photo()}
        files |= {f"three/gt/{n}.png": mask()}
    assert find_layout(save_files(files)).notes[:2] == (
        "one/, three/: images are in pics/, masks in gt/",
        "two/: images and masks lie in one folder; an image's mask is named IMAGE_gt",
    )


def test_rules_of_very_many_folders_are_no_flood_of_lines(save_files) -> None:
    files = {}
    for patient in ("anna", "bert", "carl", "dora", "emil", "fred", "gina", "hugo", "ines", "jane"):
        for n in range(2):
            files |= {f"{patient}/{patient}_{n}.png": photo(), f"{patient}/{patient}_{n}_{patient}.png": mask()}
    notes = find_layout(save_files(files)).notes
    assert notes[0] == "anna/: images and masks lie in one folder; an image's mask is named IMAGE_anna"
    assert notes[8] == "2 more rules like these for other folders"
