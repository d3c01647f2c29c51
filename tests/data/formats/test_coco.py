import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from PIL import Image
from tests.helpers import (
    BACKGROUND_FIRST,
    BACKGROUND_LAST,
    CORNERS,
    NESTED,
    NO_BACKGROUND,
    assert_reads_back,
    class_sets,
    drawn,
    label_maps,
    left_out,
    write_blank_images,
)

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats import LabeledImage, coco
from maskpencil.data.formats.coco import write_coco
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
CATEGORIES = ({"id": 7, "name": "tree"}, {"id": 3, "name": "car"})
BOX = [10, 5, 30, 5, 30, 25, 10, 25]
BOX_PIXELS = (slice(5, 25), slice(10, 30))


def image(number: Any, name: Any = None, size: Any = SIZE, **more: Any) -> dict[str, Any]:
    name = f"{number}.png" if name is None else name
    return {"id": number, "file_name": name, "height": size[0], "width": size[1], **more}


def annotation(image: Any, category: Any, segmentation: Any, area: Any = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": area,
        "bbox": [0, 0, 1, 1],
        "iscrowd": 0,
        **more,
    }


def instances(images: Any, annotations: Any, categories: Any = CATEGORIES) -> str:
    parts = {"images": images, "categories": categories, "annotations": annotations}
    return json.dumps({"info": {"about": "segmentation"}, "licenses": [], **parts})


def runs(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    counts, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def pairs(folder: DataFolder) -> dict[str, npt.NDArray[np.uint8]]:
    """The label maps by name."""
    return {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


def beside(*annotations: Any, **more: Any) -> Mapping[str, Any]:
    """Two images, and a JSON in the same folder."""
    text = instances([image(1), image(2)], annotations, **more)
    return {"coco.json": text, "images/1.png": IMAGE, "images/2.png": IMAGE}


def test_smaller_annotations_lie_on_top_and_classes_are_the_categories_by_their_ids(save_files) -> None:
    parts = [[0, 0, 20, 0, 20, 10, 0, 10], [40, 20, 48, 20, 48, 32, 40, 32]]
    small = annotation(1, 3, [[12, 6, 14, 6, 14, 8, 12, 8]], 4)
    folder = open_folder(save_files(beside(small, annotation(1, 7, [BOX], 400), annotation(1, 3, parts, 296))))
    assert folder.classes.names == ("background", "car", "tree")
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[BOX_PIXELS] = 2
    expected[:10, :20] = expected[20:, 40:] = expected[6:8, 12:14] = 1
    np.testing.assert_array_equal(pairs(folder)["1"], expected)
    np.testing.assert_array_equal(pairs(folder)["2"], np.zeros(SIZE))
    assert "read as COCO: 3 classes (background, car, tree)" in folder.notes


@pytest.mark.parametrize("area", [0, None, "4", float("nan")])
def test_without_an_area_the_smaller_is_found_from_the_outlines(area: Any, save_files) -> None:
    mask = np.zeros(SIZE, dtype=bool)
    mask[6:9, 12:14] = True
    order = [
        annotation(1, 7, runs(mask), area),
        annotation(1, 3, [BOX], area),
        annotation(1, 7, [[0, 0, 48, 0, 48, 32]], area),
    ]
    expected = np.zeros(SIZE, dtype=np.uint8)
    rows, columns = np.indices(SIZE) + 0.5
    expected[rows / 32 < columns / 48] = 2
    expected[BOX_PIXELS] = 1
    expected[mask] = 2
    np.testing.assert_array_equal(pairs(open_folder(save_files(beside(*order))))["1"], expected)


def test_parts_that_overlap_are_all_drawn(save_files) -> None:
    parts = [BOX, [20, 15, 40, 15, 40, 30, 20, 30]]
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[BOX_PIXELS] = expected[15:30, 20:40] = 1
    np.testing.assert_array_equal(pairs(open_folder(save_files(beside(annotation(1, 3, parts)))))["1"], expected)


@pytest.mark.parametrize(
    ("size", "numbers", "refused"),
    [
        ((8, 8), [0, 0, 8, 0, 8, 8, 8, 8, 8, 8, 0, 8], False),  # points of the image
        ((4, 12), [0, 0, 12, 0, 12, 4, 12, 4, 0, 4], False),
        ((8, 8), [10, 3, 5, 3, 20, 23], True),
        ((8, 8), [10, 3, 5, 3, 43], True),
    ],
)
def test_numbers_that_add_up_to_the_pixels_are_run_lengths_unless_they_are_points_of_the_image(
    size: tuple[int, int], numbers: list[int], refused: bool, save_files
) -> None:
    assert sum(numbers) == size[0] * size[1]
    text = instances([image(1, size=size), image(2)], [annotation(1, 3, [numbers]), annotation(2, 3, [BOX])])
    root = save_files({"coco.json": text, "1.png": np.zeros((*size, 3), dtype=np.uint8), "2.png": IMAGE})
    if refused:
        with pytest.raises(
            DataError, match=rf"{len(numbers)} numbers that add up to the 64 pixels of the image, like run"
        ):
            open_folder(root)
    else:
        assert pairs(open_folder(root))["1"].any()


@pytest.mark.parametrize("crowd", [0, 1])
def test_run_lengths_are_read_as_numbers_and_as_text_also_of_crowds(crowd: int, save_files) -> None:
    mask = np.random.default_rng(0).random(SIZE) < 0.5
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[mask] = 1
    box = np.zeros(SIZE, dtype=np.uint8)
    box[BOX_PIXELS] = 1
    box_as_text = {"size": list(SIZE), "counts": BOX_AS_TEXT}
    root = save_files(beside(annotation(1, 3, runs(mask), iscrowd=crowd), annotation(2, 3, box_as_text, iscrowd=crowd)))
    label_maps = pairs(open_folder(root))
    np.testing.assert_array_equal(label_maps["1"], expected)
    np.testing.assert_array_equal(label_maps["2"], box)


BOX_AS_TEXT = "U:d0<0000000000000000000000000000000000000ka0"
"""BOX_PIXELS as pycocotools 2.0 encodes them."""


@pytest.mark.parametrize(
    ("layout", "splits"),
    [
        ({"annotations/instances_{}2017.json": "{}2017/{}.png"}, ("train", "val")),
        ({"annotations/instances_{}2017.json": "images/{}2017/{}.png"}, ("train", "val")),
        ({"{}/_annotations.coco.json": "{}/{}.png"}, ("train", "valid", "test")),
        ({"annotations/instances_{}.json": "images/{}/{}.png"}, ("train", "val", "test")),
        ({"annotations/{}.json": "images/{}/{}.png"}, ("train", "val")),
        ({"{}.json": "images/{}/{}.png"}, ("training", "validation")),
        ({"{}.json": "{}/images/{}.png"}, ("train", "val")),
    ],
)
def test_splits_are_read_from_names(layout: dict[str, str], splits: tuple[str, ...], save_files) -> None:
    ((annotations, pattern),) = layout.items()
    files: dict[str, Any] = {}
    for number, split in enumerate(splits, start=1):
        outline = [[0, 0, number, 0, number, 1, 0, 1]]
        files[annotations.format(split)] = instances([image(5, "a/1.png")], [annotation(5, 3, outline)])
        files[pattern.format(split, "a/1")] = IMAGE
    root = save_files(files)
    folder = open_folder(root)
    assert list(folder.splits) == ["train", "val", "test"][: len(splits)]
    for number, (split, called) in enumerate(zip(folder.splits, splits, strict=True), start=1):
        (pair,) = folder.pairs(split)
        assert pair.name == "a/1"
        assert pair.image == root / pattern.format(called, "a/1")
        assert folder.read_pair(pair)[1].sum() == number


@pytest.mark.parametrize(
    ("annotations", "pattern", "named"),
    [
        ("annotations/instances_default.json", "images/{}.png", "{}.png"),  # CVAT
        ("annotations/instances_default.json", "images/default/{}.png", "{}.png"),  # Datumaro
        ("result.json", "images/{}.png", "images/{}.png"),  # Label Studio
        ("result.json", "images/{}.png", "..\\..\\label-studio\\data\\media\\upload\\1\\{}.png"),
        ("result.json", "images/{}.png", "/data/upload/1/{}.png"),
        ("coco.json", "{}.png", "{}.png"),
        ("labels.json", "data/{}.png", "{}.png"),  # FiftyOne
    ],
)
def test_exports_without_splits_are_read(annotations: str, pattern: str, named: str, save_files) -> None:
    numbers = (1, 2, 3)
    outlines = [annotation(n, 3, [[0, 0, n, 0, n, 1, 0, 1]]) for n in numbers]
    text = instances([image(n, named.format(n)) for n in numbers], outlines)
    label_maps = pairs(open_folder(save_files({annotations: text} | {pattern.format(n): IMAGE for n in numbers})))
    assert {name: label_map.sum() for name, label_map in label_maps.items()} == {"1": 1, "2": 2, "3": 3}


def test_files_of_other_tasks_are_left_out(save_files) -> None:
    text = instances([image(1), image(2)], [annotation(1, 3, [BOX])])
    save_files({f"annotations/{task}_val.json": text for task in ("instances", "person_keypoints")})
    save_files({"annotations/captions_val.json": '{"images": [], "annotations": []}'})
    root = save_files({f"images/{number}.png": IMAGE for number in (1, 2)})
    assert set(pairs(open_folder(root))) == {"1", "2"}


def test_a_category_above_others_is_a_class_only_where_it_is_used(save_files) -> None:
    categories = [
        {"id": 0, "name": "traffic", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "traffic"},
        {"id": 2, "name": "bus", "supercategory": "bus"},
    ]
    root = save_files(beside(annotation(1, 1, [BOX]), categories=categories))
    assert open_folder(root).classes.names == ("background", "car", "bus")
    save_files(beside(annotation(1, 0, [BOX]), categories=categories))
    assert open_folder(root).classes.names == ("background", "traffic", "car", "bus")


def test_categories_of_one_name_are_one_class_and_a_background_is_class_0(save_files) -> None:
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "_background_"}, {"id": 3, "name": "car"}]
    outlines = [annotation(1, 1, [BOX], 9), annotation(1, 2, [[12, 6, 14, 6, 14, 8, 12, 8]], 4)]
    folder = open_folder(save_files(beside(*outlines, annotation(2, 3, [BOX]), categories=categories)))
    assert folder.classes.names == ("background", "car")
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[BOX_PIXELS] = 1
    np.testing.assert_array_equal(pairs(folder)["2"], expected)
    expected[6:8, 12:14] = 0
    np.testing.assert_array_equal(pairs(folder)["1"], expected)


def test_a_class_file_orders_the_classes_and_must_name_those_that_are_used(save_files) -> None:
    root = save_files({**beside(annotation(1, 3, [BOX])), "classes.yaml": "names: [bus, car]"})
    folder = open_folder(root)
    assert folder.classes.names == ("bus", "car")
    expected = np.full(SIZE, IGNORE_INDEX)  # there is no background class
    expected[BOX_PIXELS] = 1
    np.testing.assert_array_equal(pairs(folder)["1"], expected)
    (root / "classes.yaml").write_text("names: [bus, tree]")
    with pytest.raises(DataError, match=r"classes\.yaml: does not name 'car'"):
        open_folder(root)


def test_files_without_a_partner_or_an_outline_are_left_out_and_reported(save_files) -> None:
    images = [image(1), image(2), image(3)]
    annotations = [annotation(1, 3, [BOX]), annotation(2, 3, []), annotation(2, 3, None), annotation(99, 3, [BOX])]
    root = save_files({**beside(), "coco.json": instances(images, annotations), "images/4.png": IMAGE})
    folder = open_folder(root)
    assert set(pairs(folder)) == {"1", "2"}
    assert left_out(folder.notes, "images without a mask") == ["4.png"]
    assert left_out(folder.notes, "masks without an image") == ["3.png"]
    assert left_out(folder.notes, "annotations without a segmentation") == ["coco.json: annotation 1"] * 2
    assert left_out(folder.notes, "annotations of images that are not listed") == [
        "coco.json: annotation 1 of image 99"
    ]


def test_boxes_alone_are_an_error(save_files) -> None:
    with pytest.raises(DataError, match=r"coco\.json: its annotations have boxes, but no segmentation"):
        open_folder(save_files(beside(annotation(1, 3, []), annotation(2, 3, []))))


def test_no_image_at_all_is_an_error_that_names_one(save_files) -> None:
    with pytest.raises(DataError, match=r"coco\.json: names 2 images \(1\.png\), but none of them is below .*; put"):
        open_folder(save_files({"coco.json": beside()["coco.json"]}))


def test_a_size_that_is_missing_is_the_images(save_files) -> None:
    images = [image(1, size=(None, None)), image(2)]
    root = save_files({**beside(), "coco.json": instances(images, [annotation(1, 3, [BOX])])})
    assert pairs(open_folder(root))["1"].shape == SIZE


@pytest.mark.parametrize("name", ["../../etc/x.png", "/etc/x.png", "..\\..\\etc\\x.png", "C:\\etc\\x.png"])
def test_images_outside_of_the_folder_are_never_taken(name: str, tmp_path: Path, save_files) -> None:
    outside = tmp_path / "etc" / "x.png"
    outside.parent.mkdir()
    Image.fromarray(IMAGE).save(outside)
    root = save_files({"in/1.json": instances([image(1, name if name[0] != "/" else str(outside))], [])})
    with pytest.raises(DataError, match=r"is outside|none of them is below"):
        open_folder(root / "in")


CAR = annotation(1, 3, [BOX])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (instances([image(1), 7], []), r"image number 2 is 7; expected an object"),
        (instances([image(None)], []), r"image None: 'id' is None; expected a whole number or a text"),
        (instances([image(True)], []), r"image True: 'id' is True"),
        (instances([image([1])], []), r"image \[1\]: 'id' is \[1\]"),
        (instances([image(1), image(1)], []), r"image 1: two images have this id"),
        (instances([image(1), image(2, "1.png")], []), r"names an image twice \('1\.png'\)"),
        (instances([image(1), image(2, "1.jpg")], []), r"names 1\.png and 1\.jpg \('1\.jpg'\)"),
        (instances([image(1, 7)], []), r"image 1: 'file_name' is 7; expected a text"),
        (
            instances([image(1, size=(1e6, 1e6))], []),
            r"image 1: is 1000000\.0 x 1000000\.0 pixels; at most",
        ),
        (instances([image(1, size=("32", 48))], []), r"image 1: has the height '32'"),
        (instances([image(1, size=(32.5, 48))], []), r"image 1: has the height 32\.5"),
        (instances([image(1, size=(0, 48))], []), r"image 1: has the height 0"),
        (instances([image(1)], ["x"]), r"annotation number 1 is 'x'; expected an object"),
        (instances([image(1)], [{**CAR, "image_id": {}}]), r"annotation 1: 'image_id' is \{\}"),
        (
            instances([image(1)], [{**CAR, "category_id": 4}]),
            r"annotation 1: 'category_id' is 4; expected the id of one of the categories",
        ),
        (
            instances([image(1)], [{"image_id": 1, "segmentation": []}]),
            r"number 1: 'category_id' is missing",
        ),
        (instances([image(1)], [CAR], [{"id": 3}]), r"category 3: 'name' is missing; expected a text"),
        (
            instances([image(1)], [CAR], [{"id": 3, "name": "a", "supercategory": [1]}]),
            r"category 3: 'supercategory' is \[1\]",
        ),
        (instances([image(1)], [CAR], [{"id": 3, "name": n} for n in "ab"]), r"category 3: has the names 'a' and 'b'"),
        *(
            (instances([image(1)], [annotation(1, 3, segmentation)]), f"annotation 1: {message}")
            for segmentation, message in (
                ("x", "'segmentation' is 'x'; expected polygons"),
                ([["1", "2"] * 3], "has the points"),
                ([[1, None] * 3], "has the points"),
                ([[[1, 2], [3, 4, 5], [5, 6]]], "has the points"),
                ([[1, 2], [3, 4], [5, 6]], "has 3 parts of 2 numbers each; expected a list of polygons"),
                ([[1, 2, 3, 4, 5]], "has a polygon of 5 numbers; expected the x and y of at least 3 points"),
                ([[1, 2, 3, 4, 5, 6, 7]], "has a polygon of 7 numbers"),
                ([[1, 2, 3, float("nan"), 5, 6]], "has a point at nan"),
                ([[1, 2, 3, float("inf"), 5, 6]], "has a point at inf"),
                ([[1, 2, 3, 1e300, 5, 6]], r"has a point at 1e\+300"),
                ({}, r"segmentation: 'size' is missing; expected \[height, width\]"),
                ({"size": [32, 48]}, "segmentation: 'counts' is missing; expected run lengths"),
                ({"size": [32], "counts": [1]}, r"segmentation: 'size' is \[32\]"),
                (
                    {"size": [10**6, 10**6], "counts": [10**12]},
                    "segmentation: is 1000000 x 1000000 pixels",
                ),
                ({"size": [[], 48], "counts": [1]}, r"segmentation: has the height \[\]"),
                ({"size": [32, 48], "counts": [1, 2]}, "segmentation: its run lengths add up to 3 pixels"),
                ({"size": [32, 48], "counts": [1, -2]}, "segmentation: a run length is not between"),
                ({"size": [32, 48], "counts": [None]}, "segmentation: its run lengths are not whole numbers"),
                ({"size": [32, 48], "counts": "\0\0"}, "segmentation: its run-length text is damaged"),
            )
        ),
        (
            instances([image(1)], [annotation(1, 3, {"size": [48, 32], "counts": [1536]})]),
            r"the run lengths of 'car' in 1\.png have the size \[48, 32\], but the image has \[32, 48\]",
        ),
        (instances([], [])[:-1] + ', "extra": ' + "[" * 100_000, "is nested too deeply"),
        (instances([image(1)], [])[:-1], "is not valid JSON"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it_and_the_entry(text: str, message: str, save_files) -> None:
    root = save_files({"coco.json": text, "1.png": IMAGE, "2.png": IMAGE, "1.jpg": IMAGE})
    with pytest.raises(DataError, match=message) as caught:
        open_folder(root)
    assert str(caught.value).startswith(f"{root / 'coco.json'}: ")
    assert "\n" not in str(caught.value)


def test_other_folders_are_left_alone(tiny_folder: Path, save_files, tmp_path: Path) -> None:
    both = save_files({**beside(annotation(1, 3, [BOX])), "masks/1.png": IMAGE[..., 0]})
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.json").write_text('{"images": 1, "annotations": {}, "categories": "segmentation"}')
    (other / "b.json").write_text('["images", "annotations", "categories", "segmentation"]')
    for folder in (both, other, tiny_folder, tmp_path / "nowhere", other / "a.json"):
        assert coco.recognize(folder) is None


def test_of_a_folder_of_many_files_the_first_alone_are_looked_into(save_files, monkeypatch: pytest.MonkeyPatch) -> None:
    root = save_files({f"labels/{number}.json": "{}" for number in range(coco.MOST_FILES + 1)})
    looked: list[Path] = []
    monkeypatch.setattr(coco, "mentions", lambda path, _: looked.append(path))
    assert coco.recognize(root) is None
    assert [path.name for path in looked] == ["0.json"]


def test_messages_stay_short_however_large_the_entry(save_files) -> None:
    text = instances([image(1)], [annotation(1, 3, ["x" * 1000] * 1000)])
    with pytest.raises(DataError, match=re.escape("annotation 1")) as caught:
        open_folder(save_files({"coco.json": text, "1.png": IMAGE}))
    assert len(str(caught.value)) < 500


written = partial(write_blank_images, write_coco)


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@example(NESTED, CORNERS, BACKGROUND_FIRST)
@example(NESTED, CORNERS, BACKGROUND_LAST)
@example(NESTED, CORNERS, NO_BACKGROUND)
@example(drawn("."), drawn("."), BACKGROUND_FIRST)  # nothing to annotate
@settings(max_examples=60)
@given(label_maps, label_maps, class_sets)
def test_label_maps_and_classes_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    one: npt.NDArray[np.uint8],
    other: npt.NDArray[np.uint8],
    classes: ClassSet,
) -> None:
    maps = {("train", "a/1"): one, ("val", "2.b"): other}
    assert_reads_back(written(tmp_path_factory.mktemp("out") / "data", classes, maps), classes, maps)


def test_a_file_a_split_lies_beside_copies_of_the_images(tmp_path: Path) -> None:
    maps = {("train", "a/1"): NESTED, ("val", "a/1"): CORNERS, ("train", "2"): CORNERS}
    out = written(tmp_path / "out", BACKGROUND_FIRST, maps)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "classes.yaml",
        "images/train/2.png",
        "images/train/a/1.png",
        "images/val/a/1.png",
    ]
    train = content(out / "annotations" / "instances_train.json")
    assert [(image["file_name"], image["height"], image["width"]) for image in train["images"]] == [
        ("a/1.png", 7, 7),
        ("2.png", 5, 5),
    ]


def test_images_without_splits_come_back_by_their_names(tmp_path: Path) -> None:
    maps = {("", f"train/{number}"): NESTED for number in range(3)}
    out = written(tmp_path / "out", BACKGROUND_FIRST, maps)
    assert (out / "annotations" / "instances_default.json").is_file()
    names = {pair.name for pairs in open_folder(out).splits.values() for pair in pairs}
    assert names == {"train/0", "train/1", "train/2"}


@pytest.mark.parametrize(
    ("classes", "used"),
    [
        (BACKGROUND_FIRST, {"tree", "car", "__ignore__"}),
        (BACKGROUND_LAST, {"tree", "car", "__ignore__"}),
        (NO_BACKGROUND, {"tree", "car", "road"}),
    ],
)
def test_what_is_undrawn_has_no_annotation(classes: ClassSet, used: set[str], tmp_path: Path) -> None:
    out = written(tmp_path / "out", classes, {("", "1"): NESTED, ("", "2"): CORNERS})
    data = content(out / "annotations" / "instances_default.json")
    names = {category["id"]: category["name"] for category in data["categories"]}
    assert {names[annotation["category_id"]] for annotation in data["annotations"]} == used
    assert list(names.values()) == [*classes.names, *(["__ignore__"] if "__ignore__" in used else [])]


def test_classes_that_leave_no_label_for_ignored_pixels_are_refused(tmp_path: Path) -> None:
    names = tuple(f"c{i}" for i in range(254))
    message = "there are 255 classes, which leaves no label for ignored pixels"
    with pytest.raises(DataError, match=message), write_coco(tmp_path, ClassSet(("background", *names))):
        pass
    with write_coco(tmp_path, ClassSet(("sky", *names))):  # ignored pixels stay undrawn
        pass


def test_when_an_image_fails_no_annotations_are_left(tmp_path: Path) -> None:
    def fail() -> None:
        with write_coco(tmp_path / "out", BACKGROUND_FIRST) as add:
            Image.fromarray(np.zeros((7, 7, 3), dtype=np.uint8)).save(tmp_path / "1.png")
            add(LabeledImage("train", "1", tmp_path / "1.png", NESTED))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((tmp_path / "out" / "annotations").iterdir()) == []
