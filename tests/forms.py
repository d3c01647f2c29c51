"""Small data folders in every form that is read: the same scenes of rectangles, each image of a size of its own."""

import csv
import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt
from PIL import Image
from tests.mask_codes import cvat_code, darwin_code, hasty_code, supervisely_code

from maskpencil.classes import ClassSet
from maskpencil.data.formats import WRITERS, LabeledImage

Pixels = npt.NDArray[Any]
Box = tuple[int, int, int, int]

NAMES = ("background", "car", "road")
CLASSES = ClassSet(NAMES, ((0, 0, 0), (250, 50, 83), (51, 221, 255)))
SIZES = {"a": (24, 40), "b": (26, 36), "c": (28, 44), "d": (30, 32), "e": (32, 38)}
SPLITS = {"a": "train", "b": "train", "c": "train", "d": "val", "e": "val"}


def box(name: str, index: int) -> Box:
    """Where the class has its rectangle: left, top, right, bottom, in whole pixels."""
    number, (height, width) = "abcde".index(name), SIZES[name]
    return (3 + number, 4, 14 + number, 12 + number) if index == 1 else (0, height - 8, width - number, height - 2)


def label_map(name: str) -> npt.NDArray[np.uint8]:
    drawn = np.zeros(SIZES[name], np.uint8)
    for index in (2, 1):
        left, top, right, bottom = box(name, index)
        drawn[top:bottom, left:right] = index
    return drawn


def photo(name: str) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(ord(name)).integers(0, 256, (*SIZES[name], 3), dtype=np.uint8)


def corners(name: str, index: int) -> list[list[int]]:
    left, top, right, bottom = box(name, index)
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def flat(name: str, index: int) -> list[int]:
    return [number for corner in corners(name, index) for number in corner]


def save(path: Path, content: Pixels | str | dict[str, Any] | list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        Image.fromarray(content).save(path)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def photos(root: Path, place: str = "images/{}.png") -> None:
    """Save the images; {} in the place is the name, {split} its split."""
    for name in SIZES:
        save(root / place.format(name, split=SPLITS[name]), photo(name))


def masks(root: Path, place: str = "masks/{}.png", of: Callable[[str], Pixels] = label_map) -> None:
    for name in SIZES:
        save(root / place.format(name, split=SPLITS[name]), of(name))


def written(file_format: str) -> Callable[[Path], None]:
    """The form that this package writes."""

    def write(root: Path) -> None:
        source = root.with_name(f"{root.name}-photos")
        photos(source, "{}.png")
        root.mkdir()
        with WRITERS[file_format](root, CLASSES) as add:
            for name, split in SPLITS.items():
                add(LabeledImage(split, name, source / f"{name}.png", label_map(name)))

    return write


def colored(root: Path) -> None:
    photos(root, "images/{}.jpg")
    masks(root, of=lambda name: CLASSES.colors[label_map(name)])
    save(root / "train.txt", "images/a.jpg masks/a.png\nb\nc\n")
    save(root / "val.txt", "d\ne\n")
    rows = (f"{n},{','.join(map(str, color))}\n" for n, color in zip(NAMES, CLASSES.palette, strict=True))
    save(root / "class_dict.csv", f"name,r,g,b\n{''.join(rows)}")


def numbers(root: Path) -> None:
    photos(root, "images/{split}/{}.png")
    masks(root, "annotations/{split}/{}.png")
    save(root / "id2label.json", dict(enumerate(NAMES)))


def roboflow(root: Path) -> None:
    places = {"train": "train", "val": "valid"}
    for name, split in SPLITS.items():
        save(root / places[split] / f"{name}.jpg", photo(name))
        save(root / places[split] / f"{name}_mask.png", label_map(name))
        save(root / places[split] / "_classes.csv", "Pixel Value, Class\n0, background\n1, car\n2, road\n")


def label_studio(root: Path) -> None:
    photos(root)
    tasks = []
    for number, name in enumerate(SIZES):
        height, width = SIZES[name]
        results = []
        for index in (2, 1):
            points = [[100 * x / width, 100 * y / height] for x, y in corners(name, index)]
            value = {"points": points, "closed": True, "polygonlabels": [NAMES[index]]}
            size = {"original_width": width, "original_height": height, "image_rotation": 0}
            head = {"id": f"{name}{index}", "from_name": "label", "to_name": "image", "type": "polygonlabels"}
            results.append({**head, **size, "value": value})
        times = {"created_at": "2024-03-09T21:52:49.5Z", "updated_at": "2024-03-09T21:52:49.5Z"}
        annotation = {"id": 7 + number, "result": results, "was_cancelled": False, **times}
        image = {"image": f"/data/upload/1/{name}.png"}
        tasks.append({"id": number, "annotations": [annotation], "drafts": [], "predictions": [], "data": image})
    save(root / "export.json", tasks)


def label_studio_brush(root: Path) -> None:
    photos(root)
    save(root / "tasks.json", [{"id": n, "data": {"image": f"{name}.png"}} for n, name in enumerate(SIZES, start=1)])
    for number, name in enumerate(SIZES, start=1):
        for index in (1, 2):
            area = (label_map(name) == index).astype(np.uint8) * 255
            save(root / f"task-{number}-annotation-{number}-by-1-tag-{NAMES[index]}-0.png", area)


def datumaro(root: Path) -> None:
    photos(root, "images/{split}/{}.png")
    for split in ("train", "val"):
        items = []
        for name in (name for name in SIZES if SPLITS[name] == split):
            head = {"type": "polygon", "attributes": {}, "z_order": 0}
            shapes = [
                {"id": index, "group": index, "label_id": index, **head, "points": flat(name, index)}
                for index in (2, 1)
            ]
            items.append(
                {"id": name, "annotations": shapes, "image": {"path": f"{name}.png", "size": list(SIZES[name])}}
            )
        labels = [{"name": label, "parent": "", "attributes": []} for label in NAMES]
        categories = {"label": {"labels": labels, "attributes": []}, "mask": {"colormap": []}}
        head = {"dm_format_version": "1.0", "media_type": 2, "info": {}}
        save(root / "annotations" / f"{split}.json", {**head, "categories": categories, "items": items})


def supervisely(root: Path) -> None:
    photos(root, "ds/img/{}.png")
    classes = [
        {"title": "car", "shape": "any", "color": "#FF0000"},
        {"title": "road", "shape": "any", "color": "#00FF00"},
    ]
    save(root / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    for name, (height, width) in SIZES.items():
        left, top, right, bottom = box(name, 2)
        ring = [[left, top], [right - 1, top], [right - 1, bottom - 1], [left, bottom - 1]]
        polygon = {"points": {"exterior": ring, "interior": []}, "geometryType": "polygon", "classTitle": "road"}
        left, top, right, bottom = box(name, 1)
        code = supervisely_code(np.ones((bottom - top, right - left), dtype=bool))
        bitmap = {"bitmap": {"data": code, "origin": [left, top]}, "geometryType": "bitmap", "classTitle": "car"}
        objects = [{"id": n, "tags": [], **each} for n, each in enumerate((polygon, bitmap))]
        size = {"height": height, "width": width}
        save(root / "ds/ann" / f"{name}.png.json", {"description": "", "tags": [], "size": size, "objects": objects})


def _regions(name: str) -> list[dict[str, Any]]:
    left, top, right, bottom = box(name, 1)
    x, y = zip(*corners(name, 2), strict=True)
    return [
        {
            "shape_attributes": {"name": "polygon", "all_points_x": x, "all_points_y": y},
            "region_attributes": {"class": "road"},
        },
        {
            "shape_attributes": {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top},
            "region_attributes": {"class": "car"},
        },
    ]


def via(root: Path) -> None:
    photos(root, "{}.png")
    entries = {
        f"{name}.png1": {"filename": f"{name}.png", "size": 1, "regions": _regions(name), "file_attributes": {}}
        for name in SIZES
    }
    attribute = {"type": "dropdown", "description": "", "options": {"car": "", "road": ""}, "default_options": {}}
    content = {
        "_via_settings": {"ui": {}, "core": {"default_filepath": ""}, "project": {"name": "x"}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": {"class": attribute}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries),
    }
    save(root / "project.json", content)


def via_table(root: Path) -> None:
    photos(root, "{}.png")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    writer.writerow(head.split(","))
    for name in SIZES:
        for number, region in enumerate(_regions(name)):
            cells = [json.dumps(region[key]) for key in ("shape_attributes", "region_attributes")]
            writer.writerow([f"{name}.png", 1, "{}", 2, number, *cells])
    save(root / "via.csv", file.getvalue())


def _element(tag: str, *inside: str, **attributes: Any) -> str:
    own = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{tag}{own}>{''.join(inside)}</{tag}>"


def cvat_xml(root: Path) -> None:
    photos(root)
    images = []
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in corners(name, 2))
        polygon = _element("polygon", label="road", source="manual", occluded=0, points=points, z_order=0)
        code, (left, top, wide, high) = cvat_code(label_map(name) == 1)
        place = {"left": left, "top": top, "width": wide, "height": high}
        mask = _element("mask", label="car", source="manual", occluded=0, rle=code, **place, z_order=1)
        images.append(_element("image", polygon, mask, id=number, name=f"{name}.png", width=width, height=height))
    labels = [
        f"<label><name>{n}</name><color>{c}</color><type>any</type></label>"
        for n, c in (("car", "#ff0000"), ("road", "#00ff00"))
    ]
    meta = _element("meta", _element("task", "<id>7</id>", _element("labels", *labels)))
    save(
        root / "annotations.xml",
        '<?xml version="1.0" encoding="utf-8"?>\n' + _element("annotations", "<version>1.1</version>", meta, *images),
    )


def hasty(root: Path) -> None:
    photos(root, "{}.png")
    entries = []
    for name, (height, width) in SIZES.items():
        left, top, right, bottom = box(name, 1)
        code = hasty_code(np.ones((bottom - top, right - left), dtype=bool))
        road = {
            "class_name": "road",
            "bbox": list(box(name, 2)),
            "polygon": corners(name, 2),
            "mask": None,
            "z_index": 0,
        }
        car = {"class_name": "car", "bbox": list(box(name, 1)), "polygon": None, "mask": code, "z_index": 1}
        labels = [{"id": f"{name}{n}", **each} for n, each in enumerate((road, car))]
        head = {"image_name": f"{name}.png", "dataset_name": "default", "width": width, "height": height}
        entries.append({**head, "image_status": "DONE", "labels": labels})
    classes = [
        {"class_name": n, "color": c, "class_type": "object"} for n, c in (("car", "#1f78b44d"), ("road", "#e31a1c4d"))
    ]
    head = {"project_name": "x", "create_date": "2019-10-22 19:04:16Z", "export_format_version": "1.1"}
    save(root / "hasty.json", {**head, "label_classes": classes, "images": entries})


def darwin(root: Path) -> None:
    photos(root)
    for name, (height, width) in SIZES.items():
        path = [{"x": x, "y": y} for x, y in corners(name, 2)]
        road = {"id": "1", "name": "road", "slot_names": ["0"], "polygon": {"paths": [path]}}
        car = {"id": "2", "name": "car", "slot_names": ["0"], "mask": {}}
        values = (label_map(name) == 1).astype(np.uint8)
        layer = {"dense_rle": darwin_code(values), "mask_annotation_ids_mapping": {"2": 1}, "total_pixels": values.size}
        raster = {"id": "3", "name": "__raster_layer__", "slot_names": ["0"], "raster_layer": layer}
        slot = {"type": "image", "slot_name": "0", "width": width, "height": height}
        item = {"name": f"{name}.png", "path": "/", "slots": [{**slot, "source_files": [{"file_name": f"{name}.png"}]}]}
        save(
            root / "annotations" / f"{name}.json", {"version": "2.0", "item": item, "annotations": [road, car, raster]}
        )


def labelbox(root: Path) -> None:
    photos(root, "{}.png")
    rows = []
    for name, (height, width) in SIZES.items():
        objects = []
        for index in (2, 1):
            ring = [{"x": x, "y": y} for x, y in corners(name, index)]
            kind = {"name": NAMES[index], "value": NAMES[index], "annotation_kind": "ImagePolygon"}
            objects.append({"feature_id": f"{name}{index}", **kind, "polygon": ring})
        label = {
            "label_kind": "Default",
            "label_details": {"created_at": "2024-03-09T10:00:00.000+00:00"},
            "annotations": {"objects": objects, "classifications": [], "relationships": []},
        }
        row = {
            "data_row": {"id": name, "external_id": f"{name}.png", "row_data": f"https://storage/{name}.png"},
            "media_attributes": {"height": height, "width": width, "mime_type": "image/png"},
            "projects": {"p": {"name": "x", "labels": [label]}},
        }
        rows.append(json.dumps(row))
    save(root / "export.ndjson", "\n".join(rows) + "\n")


def panoptic(root: Path) -> None:
    photos(root, "photos/{}.jpg")

    def ids(name: str) -> Pixels:
        numbers = 70_000 + label_map(name).astype(np.int64)
        return np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16 & 255], axis=-1).astype(np.uint8)

    masks(root, "labels/panoptic/{}.png", ids)
    segments = [{"id": 70_000 + index, "category_id": 10 + index} for index in range(3)]
    content = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "height": SIZES[name][0], "width": SIZES[name][1]}
            for n, name in enumerate(SIZES)
        ],
        "annotations": [
            {"image_id": n, "file_name": f"{name}.png", "segments_info": segments} for n, name in enumerate(SIZES)
        ],
        "categories": [{"id": 10 + index, "name": NAMES[index], "isthing": index % 2} for index in range(3)],
    }
    save(root / "labels/panoptic.json", content)


def mapillary(root: Path) -> None:
    for name, split in SPLITS.items():
        folder = root / {"train": "training", "val": "validation"}[split]
        save(folder / "images" / f"{name}.jpg", photo(name))
        save(folder / "v1.2/labels" / f"{name}.png", label_map(name))
    names = ("construction--flat--road", "object--vehicle--car", "nature--sky")
    labels = [{"name": n, "readable": n, "color": [k, 9, 9], "evaluate": True} for k, n in enumerate(names)]
    save(root / "config_v1.2.json", {"labels": labels, "version": "1.2", "mapping": "public"})


def bdd100k(root: Path) -> None:
    photos(root, "images/10k/{split}/{}.jpg")
    masks(root, "labels/sem_seg/masks/{split}/{}.png")


def pets(root: Path) -> None:
    called = {name: f"Abyssinian_{number}" for number, name in enumerate(SIZES, start=100)}
    for name, place in called.items():
        save(root / f"images/{place}.jpg", photo(name))
        save(root / f"annotations/trimaps/{place}.png", label_map(name) + np.uint8(1))
    for place, names in {"trainval": "abcd", "test": "e", "list": "abcde"}.items():
        save(root / f"annotations/{place}.txt", "".join(f"{called[name]} 1 1 1\n" for name in names))


def mask_per_class(root: Path) -> None:
    photos(root)
    for index in (1, 2):
        masks(
            root, f"masks/{{}}_{NAMES[index]}.png", lambda name, i=index: (label_map(name) == i).astype(np.uint8) * 255
        )


def mask_per_object(root: Path) -> None:
    photos(root, "train/{0}/images/{0}.png")
    for name in SIZES:
        for index in (1, 2):
            area = (label_map(name) == index).astype(np.uint8) * 255
            save(root / f"train/{name}/masks/{sha256(f'{name}{index}'.encode()).hexdigest()}.png", area)


def stacks(root: Path) -> None:
    for number, name in enumerate(SIZES):
        for side, of in (("images", photo), ("masks", label_map)):
            pages = [Image.fromarray(np.roll(of(name), 2 * page, axis=1)) for page in range(3)]
            (root / side).mkdir(parents=True, exist_ok=True)
            pages[0].save(root / side / f"s{number}.tif", save_all=True, append_images=pages[1:])


def labelme_voc(root: Path) -> None:
    photos(root, "JPEGImages/{}.jpg")
    for name in SIZES:
        mask = Image.fromarray(label_map(name))
        mask.putpalette(CLASSES.colors.tobytes())
        (root / "SegmentationClassPNG").mkdir(exist_ok=True)
        mask.save(root / "SegmentationClassPNG" / f"{name}.png")
    masks(root, "SegmentationClassVisualization/{}.jpg", photo)
    save(root / "class_names.txt", "_background_\ncar\nroad\n")


def cityscapes(root: Path) -> None:
    for number, (name, split) in enumerate(SPLITS.items()):
        stem = f"{name}burg/{name}burg_{number:06}_000019"
        save(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", photo(name))
        ids = np.array([7, 26, 0], np.uint8)[label_map(name)]
        save(root / f"gtFine/{split}/{stem}_gtFine_labelIds.png", ids)


FORMS: dict[str, Callable[[Path], None]] = {
    **{f"written as {file_format}": written(file_format) for file_format in WRITERS},
    "colors with a class file and lists": colored,
    "numbers with id2label": numbers,
    "Roboflow": roboflow,
    "Label Studio": label_studio,
    "Label Studio's brush": label_studio_brush,
    "Datumaro": datumaro,
    "Supervisely": supervisely,
    "VIA": via,
    "VIA's table": via_table,
    "CVAT XML": cvat_xml,
    "Hasty": hasty,
    "Darwin": darwin,
    "Labelbox": labelbox,
    "COCO panoptic": panoptic,
    "Mapillary": mapillary,
    "BDD100K": bdd100k,
    "Oxford pets": pets,
    "labelme as VOC": labelme_voc,
    "Cityscapes": cityscapes,
    "a mask per class": mask_per_class,
    "a mask per object": mask_per_object,
    "stacks of pages": stacks,
}
"""Builders by the name of their form; each takes a folder that is missing."""
