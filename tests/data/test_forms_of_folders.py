"""Forms of folders in which data sets lie in public, each in data of our own."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.cli import main
from maskpencil.data.check import CheckReport, check
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

SIZE = (32, 48)
RANDOM = np.random.default_rng(5)


def photo() -> npt.NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def labels(*values: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SIZE, dtype=np.uint8)
    for place, value in enumerate(values):
        top, left = int(RANDOM.integers(0, 8)), 12 * place + int(RANDOM.integers(0, 3))
        mask[top : top + 18, left : left + 9] = value
    return mask


def colored(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.array([(0, 0, 0), (128, 64, 128), (64, 0, 128), (0, 128, 192)], dtype=np.uint8)[mask]


def lines(report: CheckReport) -> str:
    return "\n".join([*report.notes, *(fault.line for fault in report.faults), report.verdict])


def images_of(folder: Any) -> set[str]:
    return {str(pair.image.relative_to(folder.root)) for pairs in folder.splits.values() for pair in pairs}


@pytest.mark.parametrize("split", ["val", "test"])
def test_without_images_to_train_on_a_data_set_is_not_fit(save_files, split: str, capsys) -> None:
    files = {f"images/{split}/{n}.png": photo() for n in range(4)}
    files |= {f"masks/{split}/{n}.png": labels(1, 2) for n in range(4)}
    root = save_files(files)
    report = check(root)
    assert report.verdict.startswith(f"not fit for training: 4 pairs (4 {split}); 1 error")
    assert f"no images to train on: all images are in other splits ({split})" in lines(report)
    assert "but not in train" not in lines(report)
    assert main(["train", str(root), "--out", str(root.parent / "run")]) == 1
    assert "no images to train on" in capsys.readouterr().err


def test_validation_that_shows_one_class_alone_is_a_warning(save_files) -> None:
    files = {f"{split}/images/{n}.png": photo() for split in ("train", "val") for n in range(3)}
    files |= {f"train/masks/{n}.png": labels(1, 2) for n in range(3)}
    files |= {f"val/masks/{n}.png": labels() for n in range(3)}
    assert "all pixels of val are of one class (class_0)" in lines(check(save_files(files)))


@pytest.mark.parametrize("kinds", [("LABELS",), ("COLOR",), ("LABELS", "COLOR")])
def test_masks_that_lie_deeper_than_their_images_are_paired(save_files, kinds: tuple[str, ...]) -> None:
    files = {}
    for place in ("left/front", "left/back"):
        for number in range(3):
            mask = labels(1, 2, 3)
            files[f"RGB/{place}/{number:04}.png"] = photo()
            for kind in kinds:
                files[f"GT/{kind}/{place}/{number:04}.png"] = mask if kind == "LABELS" else colored(mask)
    folder = open_folder(save_files(files))
    assert images_of(folder) == {name for name in files if name.startswith("RGB")}
    assert len(folder.classes) == 4


def test_two_forms_of_the_same_masks_are_no_images(save_files) -> None:
    masks = [labels(1, 2, 3) for _ in range(4)]
    files = {f"COLOR/{n}.png": colored(mask) for n, mask in enumerate(masks)}
    files |= {f"LABELS/{n}.png": mask for n, mask in enumerate(masks)}
    with pytest.raises(DataError, match="COLOR and LABELS hold the same masks in two forms, and no images"):
        open_folder(save_files(files))


@pytest.mark.parametrize(("image", "mask"), [("image_{}_7", "mask_{}_7"), ("{}_view", "{}_view_mask")])
def test_a_folder_with_pairs_of_its_own_beside_the_masks_is_left_out(save_files, image: str, mask: str) -> None:
    files = {}
    for number in range(6):
        files[f"image/{number}.png"] = photo()
        files[f"label/{number}.png"] = labels(255)
        files[f"more/{image.format(number)}.png"] = photo()
        files[f"more/{mask.format(number)}.png"] = labels(255)
    folder = open_folder(save_files(files))
    assert "more/ left out: it holds images with masks of their own" in folder.notes
    assert images_of(folder) == {f"image/{n}.png" for n in range(6)}


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("training", "validation")])
def test_the_folders_of_mapillary_may_have_short_names(save_files, train: str, val: str) -> None:
    entries = [{"name": n, "color": c, "evaluate": True} for n, c in (("road", [128, 64, 128]), ("car", [0, 0, 142]))]
    files: dict[str, Any] = {"config_v1.2.json": json.dumps({"labels": entries})}
    for split, names in ((train, "abc"), (val, "de")):
        for name in names:
            files[f"{split}/images/{name}.jpg"] = photo()
            files[f"{split}/v1.2/labels/{name}.png"] = labels(1)
            files[f"{split}/v1.2/instances/{name}.png"] = labels(1).astype(np.uint16) * 256
    folder = open_folder(save_files(files))
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 3, "val": 2}
    assert images_of(folder) == {name for name in files if "/images/" in name}


def test_camvid_in_the_folders_of_segnet_may_be_in_colors(save_files) -> None:
    files = {}
    for split, numbers in (("train", range(30, 34)), ("val", range(60, 62))):
        for number in numbers:
            files[f"{split}/0001TP_0066{number}.png"] = photo()
            files[f"{split}annot/0001TP_0066{number}.png"] = colored(labels(1, 2, 3))
    folder = open_folder(save_files(files))
    counts = folder.class_counts("train").sum(axis=0)
    found = {name for name, count in zip(folder.classes.names, counts, strict=True) if count}
    assert found == {"Road", "Car", "Bicyclist"}


@pytest.mark.parametrize("lists", [{"1_atr.txt": '001 # 0 # 0 # sky # sky # ""'}, {"1.json": '{"annotation": {}}'}])
def test_the_full_ade20k_is_refused_as_what_it_is(save_files, lists: dict[str, str]) -> None:
    files: dict[str, Any] = {f"training/street/{name}": text for name, text in lists.items()}
    for name in ("1.jpg", "1_seg.png", "1_parts_1.png"):
        files[f"training/street/{name}"] = photo()
    with pytest.raises(DataError, match=r"1_seg\.png: belongs to the full ADE20K.*; download ADEChallengeData2016"):
        open_folder(save_files(files))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_meta.json", '{"label_map": {"0": "ground", "1": "leaf", "2": "stem"}}'),
        ("classes.yaml", "names: [ground, leaf, stem]"),
    ],
)
def test_a_class_file_may_lie_beside_folders_inside_the_folder(save_files, name: str, content: str) -> None:
    files: dict[str, Any] = {f"export/sets/{name}": content}
    for number in range(4):
        files[f"export/sets/photos/img_{number}.png"] = photo()
        files[f"export/sets/masks/gt_{number}.png"] = labels(1, 2)
    folder = open_folder(save_files(files))
    assert folder.classes.names == ("ground", "leaf", "stem")


def shapes(image: str, *areas: list[list[int]]) -> str:
    entries = [{"label": "leaf", "points": points, "shape_type": "polygon"} for points in areas]
    return json.dumps({"shapes": entries, "imagePath": image, "imageHeight": SIZE[0], "imageWidth": SIZE[1]})


LEAF = [[3, 3], [20, 3], [20, 20]]


def test_data_sets_in_folders_of_a_folder_are_named(save_files) -> None:
    files: dict[str, Any] = {}
    for number in range(2):
        files[f"drawn/{number}.png"] = files[f"exported/JPEGImages/{number}.png"] = photo()
        files[f"exported/SegmentationClass/{number}.png"] = labels(1)
        files[f"exported/SegmentationClassVisualization/{number}.png"] = photo()
        files[f"drawn/{number}.json"] = shapes(f"{number}.png", LEAF)
    files["exported/class_names.txt"] = "_background_\nleaf\n"
    root = save_files(files)
    with pytest.raises(DataError, match=r"holds 2 data sets, drawn/ \(labelme\), exported/ \(labelme2voc\); give"):
        open_folder(root)
    assert open_folder(root / "drawn").classes.names == ("background", "leaf")


def coco(*names: str, panoptic: bool = False) -> str:
    images = [{"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for n, name in enumerate(names)]
    segment = {"id": 1, "category_id": 1}
    annotations: list[dict[str, Any]] = [
        {"image_id": n, "file_name": name.replace("jpg", "png"), "segments_info": [segment]}
        if panoptic
        else {"id": n, "image_id": n, "category_id": 1, "segmentation": [[3, 3, 20, 3, 20, 20]]}
        for n, name in enumerate(names)
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "leaf"}]})


@pytest.mark.parametrize("others", ["Visualization", "annotations/panoptic_train"])
def test_overlays_of_the_images_of_coco_are_no_images_without_a_mask(save_files, others: str) -> None:
    files: dict[str, Any] = {"annotations.json": coco("photos/1.jpg", "photos/2.jpg")}
    for name in "12":
        files[f"photos/{name}.jpg"], files[f"{others}/{name}.png"] = photo(), photo()
    files["photos/3.jpg"] = photo()
    text = lines(check(save_files(files)))
    assert f"{others}/ left out: its files are named as the images" in text
    assert "warning: 1 image without a mask left out (photos/3.jpg)" in text


def test_folders_around_a_panoptic_file_name_its_split(save_files) -> None:
    files: dict[str, Any] = {}
    for split, names in (("train", "abc"), ("val", "de")):
        listed = coco(*(f"{name}.jpg" for name in names), panoptic=True)
        files[f"{split}/v3/panoptic/panoptic_2020.json"] = listed
        for name in names:
            files[f"{split}/images/{name}.jpg"] = photo()
            files[f"{split}/v3/panoptic/{name}.png"] = np.stack([labels(1), *[np.zeros(SIZE, np.uint8)] * 2], axis=-1)
    folder = open_folder(save_files(files))
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 3, "val": 2}


def test_labelme_files_without_any_shape_are_named(save_files) -> None:
    files: dict[str, Any] = {f"{n}.png": photo() for n in range(3)}
    files |= {f"{n}.json": shapes(f"{n}.png") for n in range(3)}
    text = lines(check(save_files(files)))
    assert "warning: no shapes in the labelme files: 3 (0.json, 1.json, 2.json)" in text


def via(*images: tuple[str, dict[str, str]]) -> str:
    shape = {"name": "rect", "x": 3, "y": 3, "width": 9, "height": 9}
    entries = {
        name: {
            "filename": name,
            "size": -1,
            "regions": [{"shape_attributes": shape, "region_attributes": attributes}],
            "file_attributes": {},
        }
        for name, attributes in images
    }
    return json.dumps(entries)


def test_images_whose_regions_have_no_class_are_not_said_to_have_none(save_files) -> None:
    files: dict[str, Any] = {f"{n}.png": photo() for n in "abc"}
    files["via.json"] = via(("a.png", {"kind": "leaf"}), ("b.png", {}), ("c.png", {"kind": "stem"}))
    text = " ".join(open_folder(save_files(files)).notes)
    assert "warning: 1 region without a value of 'kind' left out (via.json: image 'b.png': region 1); these" in text
    assert "have no annotated area" not in text


@pytest.mark.parametrize("value", ["undefined", "null", '""'])
def test_undefined_attributes_in_the_csv_of_via_are_none(save_files, value: str) -> None:
    shape = json.dumps({"name": "rect", "x": 3, "y": 3, "width": 9, "height": 9})
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    cells = [shape, '{"name":"scratch","type":%s}' % value]  # noqa: UP031 - it has braces
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    rows = [f'{n}.png,-1,"{{}}",1,0,{quoted}' for n in "ab"]
    files: dict[str, Any] = {f"{n}.png": photo() for n in "ab"} | {"via.csv": "\n".join([head, *rows])}
    assert open_folder(save_files(files)).classes.names == ("background", "scratch")


@pytest.mark.parametrize("step", [3, 1])
def test_objects_numbered_through_the_pages_of_a_volume_are_refused(tmp_path, step: int) -> None:
    columns = np.indices((60, 60))[1]
    for page in range(30):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 255, (60, 60, 3), dtype=np.uint8)).save(tmp_path / f"images/{page}.png")
        start = 6 * (page // 3) if step > 1 else 14 * (page // 3)
        numbers = 1 + step * (start + columns // 4)  # a third of the objects is new every third page
        if step == 1:
            numbers = 1 + start + columns // 4
        numbers[::60] = 0
        Image.fromarray(numbers.astype(np.uint16)).save(tmp_path / f"masks/{page}.png")
    text = lines(check(tmp_path))
    assert "numbers objects" in text
    assert "not fit for training" in text


def test_classes_of_pages_that_are_one_region_each_stay_classes(tmp_path) -> None:
    """As organs in the slices of a body: few numbers without gaps."""
    columns = np.indices((60, 60))[1]
    for page in range(30):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 255, (60, 60, 3), dtype=np.uint8)).save(tmp_path / f"images/{page}.png")
        numbers = (1 + page + columns // 6).astype(np.uint8)
        numbers[0] = 0
        Image.fromarray(numbers).save(tmp_path / f"masks/{page}.png")
    assert "numbers objects" not in lines(check(tmp_path))


def test_images_that_are_blank_by_their_scale_alone_are_told_so(tmp_path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        pixels = RANDOM.integers(100, 300, SIZE).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.tif")
        Image.fromarray(labels(1)).save(tmp_path / f"masks/{number}.png")
    text = lines(check(tmp_path))
    assert "images that have the same brightness everywhere after their numbers are mapped to 0 to 255: 4" in text
    assert "blank images" not in text
