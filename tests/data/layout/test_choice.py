from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Places
from maskpencil.errors import DataError
from maskpencil.label_maps import LabelMap

Files = dict[str, Any]
Truth = dict[str, LabelMap]

HEIGHT, WIDTH = 48, 72
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
COLORS = np.array([(20, 30, 40), (200, 60, 50), (60, 90, 210), (220, 200, 60)], dtype=np.uint8)
IMAGES = 6


def photo(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def label_map(seed: int, classes: int = 4) -> LabelMap:
    """A disc of each class from 1 on, which do not overlap."""
    random = np.random.default_rng(seed)
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for index in range(1, classes):
        row, column = random.integers(10, HEIGHT - 10), random.integers(0, 8) + 12 + 20 * (index - 1)
        values[(ROWS - row) ** 2 + (COLUMNS - column) ** 2 <= random.integers(5, 10) ** 2] = index
    return values


def white(area: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return area.astype(np.uint8) * 255


def scenes(classes: int = 4, name: str = "scene{}") -> Truth:
    return {name.format(seed): label_map(seed, classes) for seed in range(IMAGES)}


def with_images(truth: Truth, place: str = "images/{}.png") -> Files:
    return {place.format(name): photo(seed) for seed, name in enumerate(truth)}


def assert_read(folder: DataFolder, truth: Truth) -> None:
    """Check that the label maps are those of the truth, up to the order of the classes."""
    pairs = {pair.name.rpartition("/")[2]: pair for pairs in folder.splits.values() for pair in pairs}
    assert pairs.keys() == truth.keys()
    couples = set()
    for name, expected in truth.items():
        read = folder.read_label_map(pairs[name])
        couples |= set(zip(expected.ravel().tolist(), read.ravel().tolist(), strict=True))
    assert len({true for true, _ in couples}) == len(couples) == len({read for _, read in couples}), couples


FIELD = (ROWS - 24) ** 2 + (COLUMNS - 36) ** 2 <= 22**2
"""The field of view of a camera, the same in every image."""

NAMES = {1: "hair", 2: "skin", 3: "lips"}


def field_of_view() -> tuple[Files, Truth]:
    truth = {name: values * FIELD for name, values in scenes(2).items()}
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"mask/{name}_mask.png": white(FIELD), f"manual/{name}_manual.png": white(values > 0)}
    return files, truth


def field_of_view_in_names() -> tuple[Files, Truth]:
    truth = {name: values * FIELD for name, values in scenes(2).items()}
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{name}_fov.png": white(FIELD), f"masks/{name}_vessels.png": white(values > 0)}
    return files, truth


def other_folders_on_both_sides() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth, "images/10k/{}.png")
    files |= {f"labels/semantic/masks/{name}.png": values for name, values in truth.items()}
    return files | {f"labels/semantic/colors/{name}.png": COLORS[values] for name, values in truth.items()}, truth


def splits_deep_inside() -> tuple[Files, Truth]:
    truth = scenes()
    files: Files = {}
    for number, (name, values) in enumerate(truth.items()):
        split = "train" if number < 4 else "val"
        files |= {f"images/raw/{split}/{name}.png": photo(number), f"masks/final/{split}/{name}.png": values}
    return files, truth


def several_sites() -> tuple[Files, Truth]:
    truth = scenes(name="a{}") | scenes(name="b{}")
    files: Files = {}
    for name, values in truth.items():
        files |= {f"images/raw/{name[0]}/{name}.png": photo(9), f"masks/final/{name[0]}/{name}.png": values}
    return files, truth


def trimaps_among_other_annotations() -> tuple[Files, Truth]:
    truth = scenes(3)
    files = with_images(truth) | {f"annotations/trimaps/{name}.png": values + 1 for name, values in truth.items()}
    return files | {"annotations/README": "about trimaps"}, truth


def a_file_a_class() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{name}_{word}.png": white(values == index) for index, word in NAMES.items()}
    return files, truth


def a_folder_a_class() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{word}/{name}.png": white(values == index) for index, word in NAMES.items()}
    return files, truth


def a_folder_a_class_beside_the_images() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"{word}/{name}.png": white(values == index) for index, word in NAMES.items()}
    return files, truth


def numbered_classes() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{name}_class{index}.png": white(values == index) for index in (1, 2, 3)}
    return files, truth


def a_class_inside_another() -> tuple[Files, Truth]:
    truth: Truth = {}
    for seed in range(IMAGES):
        distance = (ROWS - 20 - seed) ** 2 + (COLUMNS - 36) ** 2
        truth[f"eye{seed}"] = ((distance < 18**2).astype(np.uint8) + (distance < 8**2)).astype(np.uint8)
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/disc/{name}.png": white(values > 0), f"masks/cup/{name}.png": white(values > 1)}
    return files, truth


def a_file_an_object() -> tuple[Files, Truth]:
    truth = scenes(2)
    files = with_images(truth)
    for seed, (name, values) in enumerate(truth.items()):
        left = COLUMNS < 16
        files |= {
            f"masks/{name}_mask0.png": white((values > 0) & left),
            f"masks/{name}_mask1.png": white((values > 0) & ~left),
        }
        if seed % 2:
            corner = (ROWS > 40) & (COLUMNS > 60)
            files[f"masks/{name}_mask2.png"] = white(corner)
            values[corner] = 1
    return files, truth


def a_folder_an_image_with_a_file_an_object() -> tuple[Files, Truth]:
    truth = {f"{seed:08x}c0ffee": (label_map(seed) > 0).astype(np.uint8) for seed in range(IMAGES)}
    files: Files = {}
    for seed, name in enumerate(truth):
        files[f"train/{name}/images/{name}.png"] = photo(seed)
        for index in (1, 2, 3):
            files[f"train/{name}/masks/{seed * 7 + index:032x}.png"] = white(label_map(seed) == index)
    return files, truth


def two_annotators() -> tuple[Files, Truth]:
    truth = scenes(2)
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{name}_1stHO.png": white(values > 0)}
        files |= {f"masks/{name}_2ndHO.png": white(np.roll(values, 1, axis=0) > 0)}
    return files, truth


def numbered_annotators() -> tuple[Files, Truth]:
    truth = scenes(2)
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{name}_manual1.png": white(values > 0)}
        files |= {f"masks/{name}_manual2.png": white(np.roll(values, 1, axis=1) > 0)}
    return files, truth


def numbers_colors_and_instances() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth)
    for seed, (name, values) in enumerate(truth.items()):
        instances = values.astype(np.uint16) * 1000 + (values == 2) * (COLUMNS > 40) * np.uint16(seed % 3)
        files |= {f"labels/{name}_labelIds.png": values, f"labels/{name}_color.png": COLORS[values]}
        files |= {f"labels/{name}_instanceIds.png": instances.astype(np.uint16)}
    return files, truth


def overlays_named_like_masks() -> tuple[Files, Truth]:
    truth = scenes()
    files = with_images(truth)
    for seed, (name, values) in enumerate(truth.items()):
        files |= {f"gt/{name}.png": values, f"gt_overlay/{name}.png": photo(seed) // 2 + COLORS[values] // 2}
    return files, truth


def names_in_another_case() -> tuple[Files, Truth]:
    words = ("Cat", "Dog", "COW", "Goat", "Horse", "Sheep")
    truth = {word: label_map(seed) for seed, word in enumerate(words)}
    return with_images(truth) | {f"masks/{word.lower()}.png": values for word, values in truth.items()}, truth


FORMS: dict[str, Callable[[], tuple[Files, Truth]]] = {
    made.__name__: made
    for made in (
        field_of_view,
        field_of_view_in_names,
        other_folders_on_both_sides,
        splits_deep_inside,
        several_sites,
        trimaps_among_other_annotations,
        a_file_a_class,
        a_folder_a_class,
        a_folder_a_class_beside_the_images,
        numbered_classes,
        a_class_inside_another,
        a_file_an_object,
        a_folder_an_image_with_a_file_an_object,
        two_annotators,
        numbered_annotators,
        numbers_colors_and_instances,
        overlays_named_like_masks,
        names_in_another_case,
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_masks_are_found_by_what_they_hold(form: str, save_files) -> None:
    files, truth = FORMS[form]()
    assert_read(open_folder(save_files(files)), truth)


def test_the_decision_is_noted(save_files) -> None:
    notes = open_folder(save_files(field_of_view()[0])).notes
    assert "mask is left out: it is nearly the same in every image" in notes


@pytest.mark.parametrize("form", [a_file_a_class, a_folder_a_class])
def test_classes_have_the_names_of_their_files(form: Callable[[], tuple[Files, Truth]], save_files) -> None:
    folder = open_folder(save_files(form()[0]))
    assert folder.classes.names == ("background", "hair", "lips", "skin")
    assert any(note.startswith("each class has its own mask files: hair (") for note in folder.notes)


def test_a_class_without_pixels_may_have_no_file(save_files) -> None:
    files, truth = a_file_a_class()
    for number, name in enumerate(truth):
        if number % 2:
            truth[name][truth[name] == 2] = 0
            del files[f"masks/{name}_skin.png"]
    folder = open_folder(save_files(files))
    assert_read(folder, truth)
    assert not any("without an image" in note for note in folder.notes)


def test_a_class_file_orders_the_classes_of_files(save_files) -> None:
    files, _ = a_folder_a_class()
    folder = open_folder(save_files(files | {"classes.yaml": "names: [skin, background, lips, hair]"}))
    values = folder.read_label_map(next(pair for pair in folder.pairs("train")))
    assert folder.classes.names == ("skin", "background", "lips", "hair")
    assert values[0, 0] == 1
    with pytest.raises(DataError, match=r"names only background, lips, but hair, skin also have mask"):
        open_folder(save_files(files | {"classes.yaml": "names: [background, lips]"}))


def test_two_folders_of_different_masks_are_an_error_whose_remedies_work(save_files) -> None:
    truth = scenes(2)
    files = with_images(truth)
    for name, values in truth.items():
        edges = (values != np.roll(values, 1, axis=0)) | (values != np.roll(values, 1, axis=1))
        files |= {f"masks/{name}.png": white(values > 0), f"edges/{name}.png": white(edges)}
    root = save_files(files)
    with pytest.raises(DataError, match="choose the masks to read: --masks masks or --masks edges"):
        open_folder(root)
    assert_read(open_folder(root, places=Places(masks=Path("masks"))), truth)
    edges_read = open_folder(root, places=Places(masks=Path("edges")))
    assert edges_read.class_counts("train")[:, 1].max() < 150


def test_a_folder_in_each_split_is_named_once(save_files) -> None:
    truth = scenes(2)
    files: Files = {}
    for number, (name, values) in enumerate(truth.items()):
        split = "training" if number < 4 else "test"
        other = white(np.roll(values, 9, axis=0) > 0)
        files |= {f"{split}/images/{name}.png": photo(number), f"{split}/first/{name}.png": white(values > 0)}
        files |= {f"{split}/masks/{name}.png": other}
    root = save_files(files)
    with pytest.raises(DataError, match="--masks masks or --masks first"):
        open_folder(root)
    folder = open_folder(root, places=Places(masks=Path("first")))
    assert_read(folder, truth)
    assert len(folder.pairs("test")) == 2


def test_masks_that_overlap_only_in_part_are_an_error(save_files) -> None:
    truth = scenes(2)
    files = with_images(truth)
    for name, values in truth.items():
        files |= {f"masks/{name}_{number}.png": white(np.roll(values, 5 * number, axis=1) > 0) for number in (1, 2)}
    with pytest.raises(DataError, match="overlap in part: neither separate objects nor the same objects by"):
        open_folder(save_files(files))


def test_masks_of_one_image_must_be_of_one_size(save_files) -> None:
    files, _ = a_folder_a_class()
    files["masks/lips/scene1.png"] = white(label_map(1) == 3)[:40]
    with pytest.raises(
        DataError, match=r"lips/scene1\.png: is 72 x 40 pixels, but .* is 72 x 48; expected all masks of"
    ):
        open_folder(save_files(files))


@pytest.mark.parametrize("upper", [False, True])
def test_objects_belong_to_the_folder_that_holds_them_whatever_their_digest_contains(save_files, upper: bool) -> None:
    truth = scenes(name="{}")
    files: Files = {}
    for name, expected in truth.items():
        files[f"train/{name}/images/{name}.png"] = photo(int(name))
        for index in (1, 2, 3):
            digest = sha256(f"{name} {index}".encode()).hexdigest()
            files[f"train/{name}/masks/{digest.upper() if upper and index == 2 else digest}.png"] = white(
                expected == index
            )
    folder = open_folder(save_files(files))
    assert folder.classes.names == ("background", "foreground")
    for pairs in folder.splits.values():
        for pair in pairs:
            np.testing.assert_array_equal(folder.read_label_map(pair) > 0, truth[pair.name] > 0)
