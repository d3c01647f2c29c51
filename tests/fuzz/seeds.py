"""Make the files that fuzzing begins with: `python tests/fuzz/seeds.py` writes tests/fuzz/seeds anew.

They are kept in the repository, so that a case is the same everywhere. Only the model folder is made when it is needed:
a network has too many weights to be kept.
"""

import gzip
import io
import json
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import yaml
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin

SEEDS = Path(__file__).parent / "seeds"
SIZE = (32, 48)
NAMES = ["background", "car", "road"]
PALETTE = [[0, 0, 0], [250, 50, 83], [51, 221, 255]]


def label_map(number: int = 0) -> np.ndarray:
    """A car on a road (H, W)."""
    drawn = np.zeros(SIZE, np.uint8)
    drawn[20:] = 2
    drawn[12:18, 8 + number : 20 + number] = 1
    return drawn


def image(number: int = 0) -> np.ndarray:
    """The label map in its colors, with a little noise (H, W, 3)."""
    noise = np.random.default_rng(number).integers(0, 9, (*SIZE, 1))
    return (np.array(PALETTE)[label_map(number)] * 0.9 + noise).astype(np.uint8)


def encoded(pixels: np.ndarray, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def write(files: dict[str, bytes | str], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def images() -> dict[str, bytes]:
    """Images of all formats that are read, of many kinds."""
    color, gray, labels = image(), image()[..., 1], label_map()
    files: dict[str, bytes] = {}

    def save(name: str, drawn: Image.Image, file_format: str, **options: Any) -> None:
        buffer = io.BytesIO()
        drawn.save(buffer, file_format, **options)
        files[name] = buffer.getvalue()

    plain, turned = Image.fromarray(color), Image.Exif()
    turned[0x0112] = 6
    palette = Image.fromarray(labels)
    palette.putpalette(np.array(PALETTE, np.uint8).tobytes())
    alpha = Image.fromarray(np.dstack([color, labels * 100]))
    few = plain.quantize(16)
    save("turned.jpg", plain, "JPEG", exif=turned)
    save("progressive.jpg", plain, "JPEG", progressive=True)
    save("cmyk.jpg", plain.convert("CMYK"), "JPEG")
    save("gray.jpg", plain.convert("L"), "JPEG")
    save("color.png", plain, "PNG", exif=turned, dpi=(72, 72))
    save("palette.png", palette, "PNG")
    save("palette-clear.png", few, "PNG", transparency=1)
    save("alpha.png", alpha, "PNG")
    save("gray-alpha.png", plain.convert("LA"), "PNG")
    save("bits.png", plain.convert("1"), "PNG")
    save("deep.png", Image.fromarray(gray.astype(np.uint16) * 257), "PNG")
    save("moving.png", plain, "PNG", save_all=True, append_images=[Image.fromarray(image(1))])
    save(
        "moving.gif", few, "GIF", save_all=True, append_images=[Image.fromarray(image(3)).quantize(16)], transparency=0
    )
    save("lossy.webp", plain, "WEBP")
    save("lossless.webp", alpha, "WEBP", lossless=True)
    save("moving.webp", plain, "WEBP", save_all=True, append_images=[Image.fromarray(image(1))])
    save("color.bmp", plain, "BMP")
    save("palette.bmp", few, "BMP")
    save("bits.bmp", plain.convert("1"), "BMP")
    save("color.jp2", plain, "JPEG2000")
    save("color.ppm", plain.resize((12, 8)), "PPM")
    save("gray.pgm", plain.convert("L").resize((12, 8)), "PPM")
    save("lzw.tif", plain, "TIFF", compression="tiff_lzw")
    save("jpeg.tif", plain, "TIFF", compression="jpeg")
    save("packbits.tif", palette, "TIFF", compression="packbits")
    save("bits.tif", plain.convert("1"), "TIFF", compression="group4")
    save("deep.tif", Image.fromarray(gray.astype(np.uint16) * 257), "TIFF", compression="tiff_adobe_deflate")
    save("float.tif", Image.fromarray(gray.astype(np.float32) / 255), "TIFF")
    save("pages.tif", plain, "TIFF", save_all=True, append_images=[Image.fromarray(image(1))], compression="tiff_lzw")
    save("cmyk.tif", plain.convert("CMYK").resize((12, 8)), "TIFF")
    return files | rasters()


def rasters() -> dict[str, bytes]:
    """GeoTIFFs with a place, emptiness, tiles, overviews and more bands."""
    color, labels = np.moveaxis(image(), 2, 0), label_map()
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_400_000, 0.2, 0.2)}
    points = [
        GroundControlPoint(row, column, 10 + column, 50 - row) for row, column in ((0, 0), (0, 9), (9, 0), (9, 9))
    ]
    kinds: dict[str, tuple[np.ndarray, dict[str, Any], dict[str, Any]]] = {
        "nodata": (color, place | {"nodata": 0, "compress": "deflate"}, {}),
        "tiled": (color, place | {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"}, {}),
        "masked": (color, place, {"mask": labels * 120}),
        "points": (color[:1], {"gcps": points, "crs": "EPSG:4326", "compress": "deflate"}, {}),
        "bands": (np.concatenate([color, color[:2]]).astype(np.uint16) * 40, place | {"compress": "deflate"}, {}),
        "float": (color[:1].astype(np.float32) / 255, {"nodata": float("nan"), "compress": "deflate"}, {}),
        "big": (color[:1], place | {"BIGTIFF": "YES", "compress": "deflate"}, {}),
    }
    files = {}
    for name, (bands, settings, after) in kinds.items():
        count, height, width = bands.shape
        profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
        with rasterio.io.MemoryFile() as memory:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), memory.open(**profile, **settings) as file:
                file.write(bands)
                if "mask" in after:
                    file.write_mask(after["mask"])
            files[f"geo-{name}.tif"] = memory.read()
    return files


def video(name: str, codec: str, sound: str | None, folder: Path) -> None:
    """Seven frames of 64 x 48 with a second stream of silence."""
    with av.open(str(folder / name), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.thread_count = 48, 64, 1
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        voice = container.add_stream(sound, rate=48000) if sound else None
        if voice:
            voice.codec_context.layout = "mono"
        for number in range(7):
            pixels = np.full((48, 64, 3), 20 + 5 * number, np.uint8)
            pixels[:24, number : 32 + number] = 250
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice:
            size, kind = voice.codec_context.frame_size or 1024, voice.codec_context.format.name
            dtype = {"flt": np.float32, "s16": np.int16}[kind.removesuffix("p")]
            for start in range(0, 13000, size):
                wave = av.AudioFrame.from_ndarray(np.zeros((1, size), dtype), format=kind, layout="mono")
                wave.sample_rate, wave.pts, wave.time_base = 48000, start, Fraction(1, 48000)
                container.mux(voice.encode(wave))
            container.mux(voice.encode(None))


VIDEOS = {
    "sound.mp4": ("libx264", "aac"),
    "plain.mkv": ("libx264", None),
    "sound.webm": ("libvpx", "libopus"),
    "nine.webm": ("libvpx-vp9", None),
    "plain.avi": ("mpeg4", None),
    "frames.avi": ("mjpeg", None),
    "stream.ts": ("libx264", "aac"),
    "old.mpg": ("mpeg1video", None),
    "plain.mov": ("mpeg4", "aac"),
}


def _rle(mask: np.ndarray) -> dict[str, Any]:
    runs = [(bool(value), len(list(run))) for value, run in groupby(mask.T.ravel().tolist())]
    return {"counts": [0] * runs[0][0] + [length for _, length in runs], "size": list(mask.shape)}


def _packed_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed text: differences to the run before the last, 5 bits a character."""
    counts, text = _rle(mask)["counts"], ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return {"counts": text, "size": list(mask.shape)}


def _brush(mask: np.ndarray) -> list[int]:
    """Runs of 16 bits over red, green, blue and alpha, as Label Studio packs a brush."""
    bits = f"{mask.size * 4:032b}00111" + "0010001101111111"
    bits += "".join(
        f"111{4 * len(list(run)) - 1:016b}{255 * value:08b}" for value, run in groupby(mask.ravel().tolist())
    )
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def _yaml(**entries: Any) -> str:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in entries.items())


def annotations() -> Iterator[tuple[str, dict[str, bytes | str]]]:
    """Small data sets of every form, as (name, files)."""
    images = {name: encoded(image(number)) for number, name in enumerate("abc")}
    indices = {name: encoded(label_map(number)) for number, name in enumerate("abc")}
    colors = {name: encoded(np.array(PALETTE, np.uint8)[label_map(number)]) for number, name in enumerate("abc")}
    height, width = SIZE
    corners = [[8, 12], [20, 12], [20, 18], [8, 18]]
    flat = [number for corner in corners for number in corner]
    shares = [[100 * x / width, 100 * y / height] for x, y in corners]

    def pair_folder(masks: dict[str, bytes], **more: str) -> dict[str, bytes | str]:
        both = {f"images/{name}.png": data for name, data in images.items()}
        both |= {f"masks/{name}.png": data for name, data in masks.items()}
        return {**both, **{name.replace("__", "/").replace("_dot_", "."): text for name, text in more.items()}}

    yield (
        "coco",
        {
            **{f"train/{name}.png": data for name, data in images.items()},
            "annotations/instances_train.json": json.dumps(
                {
                    "info": {"year": 2024},
                    "licenses": [],
                    "images": [
                        {"id": n, "file_name": f"{name}.png", "width": width, "height": height}
                        for n, name in enumerate("abc", start=1)
                    ],
                    "categories": [{"id": n, "name": NAMES[n], "supercategory": "x"} for n in (1, 2)],
                    "annotations": [
                        {
                            "id": 1,
                            "image_id": 1,
                            "category_id": 1,
                            "iscrowd": 0,
                            "segmentation": [flat],
                            "bbox": [8, 12, 12, 6],
                            "area": 72,
                        },
                        {
                            "id": 2,
                            "image_id": 2,
                            "category_id": 2,
                            "iscrowd": 1,
                            "segmentation": _rle(label_map(1) == 2),
                        },
                        {
                            "id": 3,
                            "image_id": 3,
                            "category_id": 1,
                            "iscrowd": 1,
                            "segmentation": _packed_rle(label_map(2) == 1),
                        },
                    ],
                }
            ),
        },
    )
    yield (
        "labelme",
        {
            **{f"{name}.png": data for name, data in images.items()},
            **{
                f"{name}.json": json.dumps(
                    {
                        "version": "5.4.1",
                        "flags": {},
                        "shapes": [
                            {"label": "car", "points": corners, "group_id": None, "shape_type": "polygon", "flags": {}},
                            {"label": "road", "points": [[0, 20], [48, 32]], "group_id": 1, "shape_type": "rectangle"},
                            {"label": "car", "points": [[30, 10], [33, 10]], "shape_type": "circle", "group_id": None},
                            {
                                "label": "line",
                                "points": [[1, 1], [9, 3], [4, 9]],
                                "shape_type": "linestrip",
                                "group_id": None,
                            },
                        ],
                        "imagePath": f"{name}.png",
                        "imageData": None,
                        "imageHeight": height,
                        "imageWidth": width,
                    }
                )
                for name in "abc"
            },
        },
    )
    size = {"original_width": width, "original_height": height, "image_rotation": 0}

    def region(kind: str, value: dict[str, Any]) -> dict[str, Any]:
        return {"id": "x", "from_name": "label", "to_name": "image", "type": kind, **size, "value": value}

    box = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 20.0, "rotation": 15}
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0, "ellipselabels": ["car"]}
    regions = [
        region("polygonlabels", {"points": shares, "closed": True, "polygonlabels": ["car"]}),
        region("brushlabels", {"format": "rle", "rle": _brush(label_map() == 1), "brushlabels": ["road"]}),
        region("rectanglelabels", {**box, "rectanglelabels": ["road"]}),
        region("ellipselabels", ellipse),
    ]
    yield (
        "label-studio",
        {
            **{f"images/{name}.png": data for name, data in images.items()},
            "export.json": json.dumps(
                [
                    {
                        "id": n,
                        "annotations": [
                            {
                                "id": 7,
                                "result": regions[: n + 2],
                                "was_cancelled": False,
                                "created_at": "2024-03-09T21:52:49.5Z",
                                "updated_at": "2024-03-09T21:52:49.5Z",
                            }
                        ],
                        "drafts": [],
                        "predictions": [],
                        "data": {"image": f"/data/upload/1/{name}.png"},
                    }
                    for n, name in enumerate("abc")
                ]
            ),
        },
    )
    shape = {"id": 0, "attributes": {}, "group": 0, "label_id": 1, "z_order": 0}
    shapes = [
        {**shape, "type": "polygon", "points": flat},
        {**shape, "type": "mask", "label_id": 2, "rle": _rle(label_map() == 2)},
        {**shape, "type": "bbox", "bbox": [4, 4, 10, 8], "group": 1},
        {**shape, "type": "ellipse", "points": [5, 5, 20, 15]},
    ]
    yield (
        "datumaro",
        {
            **{
                f"images/{split}/{name}.png": images[name]
                for split, name in (("train", "a"), ("train", "b"), ("val", "c"))
            },
            **{
                f"annotations/{split}.json": json.dumps(
                    {
                        "dm_format_version": "1.0",
                        "media_type": 2,
                        "info": {},
                        "categories": {
                            "label": {
                                "labels": [{"name": name, "parent": "", "attributes": []} for name in NAMES],
                                "attributes": [],
                            },
                            "mask": {"colormap": []},
                        },
                        "items": [
                            {"id": name, "annotations": shapes, "image": {"path": f"{name}.png", "size": list(SIZE)}}
                            for name in names
                        ],
                    }
                )
                for split, names in (("train", "ab"), ("val", "c"))
            },
        },
    )
    labelmap = "# label:color_rgb:parts:actions\n" + "".join(
        f"{name}:{','.join(map(str, color))}::\n" for name, color in zip(NAMES, PALETTE, strict=True)
    )
    yield (
        "cvat",
        {
            "labelmap.txt": labelmap,
            "ImageSets/Segmentation/default.txt": "a\nb\nc\n",
            **{f"JPEGImages/{name}.png": data for name, data in images.items()},
            **{f"SegmentationClass/{name}.png": data for name, data in colors.items()},
        },
    )
    yield (
        "roboflow",
        {
            **{
                f"{split}/_classes.csv": "Pixel Value, Class\n0, background\n1, car\n2, road\n"
                for split in ("train", "valid")
            },
            **{f"{split}/{name}.png": images[name] for split, name in (("train", "a"), ("train", "b"), ("valid", "c"))},
            **{
                f"{split}/{name}_mask.png": indices[name]
                for split, name in (("train", "a"), ("train", "b"), ("valid", "c"))
            },
        },
    )
    line = " ".join(f"{number:.4g}" for x, y in corners for number in (x / width, y / height))
    yield (
        "yolo",
        {
            "data.yaml": _yaml(path=".", train="images/train", val="images/val", nc=2, names=NAMES[1:]),
            **{
                f"images/{split}/{name}.png": images[name]
                for split, name in (("train", "a"), ("train", "b"), ("val", "c"))
            },
            **{
                f"labels/{split}/{name}.txt": f"0 {line}\n1 0 0.6 1 0.6 1 1 0 1\n"
                for split, name in (("train", "a"), ("train", "b"), ("val", "c"))
            },
        },
    )
    yield (
        "yolo-masks",
        {
            "data.yaml": _yaml(path=".", train="images", val="images", masks_dir="masks", names=NAMES),
            **{f"images/{name}.png": data for name, data in images.items()},
            **{f"masks/{name}.png": data for name, data in indices.items()},
        },
    )
    yield (
        "voc",
        {
            **{f"JPEGImages/{name}.jpg": encoded(image(number), "JPEG") for number, name in enumerate("abc")},
            **{f"SegmentationClass/{name}.png": data for name, data in indices.items()},
            "ImageSets/Segmentation/train.txt": "a\nb\n",
            "ImageSets/Segmentation/val.txt": "c\n",
            "ImageSets/Segmentation/trainval.txt": "a\nb\nc\n",
        },
    )
    own = _yaml(names=NAMES, palette=PALETTE, ignore_index=255)
    yield "classes-yaml", pair_folder(indices, classes_dot_yaml=own)
    yield (
        "classes-colors",
        pair_folder(colors, classes_dot_yaml=own, train_dot_txt="images/a.png masks/a.png\nb\n", val_dot_txt="c\n"),
    )
    yield (
        "lists",
        pair_folder(
            colors,
            splits__train_list_dot_csv="image,mask\nimages/a.png,masks/a.png\n",
            splits__val_dot_txt="b\nc.png\n",
        ),
    )
    yield (
        "dataset-meta",
        pair_folder(
            indices,
            dataset_meta_dot_json=json.dumps(
                {"label_map": dict(enumerate(NAMES)), "segmentation_colors": PALETTE, "background_label": "0"}
            ),
        ),
    )
    yield "id2label", pair_folder(indices, id2label_dot_json=json.dumps(dict(enumerate(NAMES))))
    yield "codes", pair_folder(indices, codes_dot_txt="".join(f"{name}\n" for name in NAMES))
    yield (
        "label-colors",
        pair_folder(
            colors,
            label_colors_dot_txt="".join(
                f"{r} {g} {b}\t{name}\n" for (r, g, b), name in zip(PALETTE, NAMES, strict=True)
            ),
        ),
    )


def archives() -> dict[str, bytes]:
    """Packed data sets."""
    (_, files), *_ = (found for found in annotations() if found[0] == "classes-yaml")
    (_, coco), *_ = (found for found in annotations() if found[0] == "coco")
    packed = {}
    for name, kind, content in (("deflated.zip", 8, files), ("stored.zip", 0, files), ("coco.zip", 8, coco)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            for path, data in content.items():
                archive.writestr(zipfile.ZipInfo(f"data/{path}"), data, compress_type=kind)
        packed[name] = buffer.getvalue()
    for name, kind in (("plain.tar", tarfile.USTAR_FORMAT), ("pax.tar.gz", tarfile.PAX_FORMAT)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
            for path, data in files.items():
                data = data.encode() if isinstance(data, str) else data
                member = tarfile.TarInfo(f"data/{'é/' if kind == tarfile.PAX_FORMAT else ''}{path}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        packed[name] = gzip.compress(buffer.getvalue(), mtime=0) if name.endswith(".gz") else buffer.getvalue()
    rows = {
        "image": [{"bytes": encoded(image(number)), "path": f"{number}.png"} for number in range(3)],
        "label": [{"bytes": encoded(label_map(number)), "path": f"{number}.png"} for number in range(3)],
    }
    for name, kind in (("snappy.parquet", "snappy"), ("plain.parquet", "none")):
        buffer = io.BytesIO()
        pq.write_table(pa.table(rows), buffer, compression=kind)
        packed[name] = buffer.getvalue()
    return packed


def model(folder: Path, *, quantized: bool) -> Path:
    """A model folder of random weights with its graph, and where wanted in int8; it shows three classes.

    It is made by torch, always alike on one version of it.
    """
    import torch

    from maskpencil.classes import ClassSet
    from maskpencil.data.folder import open_folder
    from maskpencil.model_folder import ModelParts
    from maskpencil.models import FCNConfig, build_fcn
    from maskpencil.preprocessing import Preprocessing
    from maskpencil.quantization import quantize
    from maskpencil.runtimes.export import add_graph
    from maskpencil.segmenter import Segmenter

    torch.manual_seed(0)
    network = build_fcn(FCNConfig(3, "test_convnext"), weights="none")
    for name, parameter in network.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(parameter, std=0.1)
    classes = ClassSet(tuple(NAMES), tuple(map(tuple, PALETTE)))
    preprocessing = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2), None)
    place = folder / "float"
    Segmenter.of_network(ModelParts(network, classes, preprocessing), device="cpu", precision="fp32").save(place)
    add_graph(place, warn=print)
    if not quantized:
        return place
    for number in range(3):
        write(
            {
                f"data/{kind}/{number}.png": encoded(pixels(number))
                for kind, pixels in (("images", image), ("masks", label_map))
            },
            folder,
        )
    write({"data/classes.yaml": yaml.safe_dump({"names": NAMES})}, folder)
    quantize(place, open_folder(folder / "data"), out=folder / "int8", max_drop=100, split="val")
    return folder / "int8"


def main() -> None:
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    shutil.rmtree(SEEDS, ignore_errors=True)
    write(images(), SEEDS / "images")
    write(archives(), SEEDS / "archives")
    for name, files in annotations():
        write(files, SEEDS / "annotations" / name)
    (SEEDS / "videos").mkdir()
    for name, (codec, sound) in VIDEOS.items():
        video(name, codec, sound, SEEDS / "videos")


if __name__ == "__main__":
    main()
