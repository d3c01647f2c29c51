"""Images that EXIF turns are exported upright, beside masks that are upright."""

import csv
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.check import check
from maskpencil.data.convert import convert, write_fixed
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import WRITERS
from maskpencil.data.formats.base import LabeledImage, copy_image, is_turned
from maskpencil.images import ORIENTATION, read_header, read_image
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.predict import predict

SHOWN = (48, 32)
ICC = b"profile" * 40
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}


def shown_image() -> npt.NDArray[np.uint8]:
    """As it is to be seen, 48 x 32: smooth, all corners different."""
    rows, columns = np.indices(SHOWN)
    return np.stack([rows * 5, columns * 7, 255 - rows * 2 - columns], axis=-1).astype(np.uint8)


def stored(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """How pixels lie in a file whose EXIF says `orientation`."""
    undone = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(undone[orientation](pixels))


def save(path: Path, orientation: int, *, pixels: npt.NDArray[Any] | None = None, **options: Any) -> Path:
    image = Image.fromarray(stored(shown_image() if pixels is None else pixels, orientation))
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = orientation, "a maker"
    details = exif.get_ifd(0x8769)
    details[0xA002], details[0xA003] = image.size
    lossless = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(path.suffix, {})
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **{"exif": exif, "icc_profile": ICC, **lossless, **options})
    return path


def as_stored(path: Path) -> npt.NDArray[np.uint8]:
    """What a reader sees that does not look at EXIF: OpenCV, asked so."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return np.ascontiguousarray(cv2.imdecode(np.fromfile(path, np.uint8), flags)[..., ::-1])


def copied(source: Path, out: Path) -> Path:
    copy_image(LabeledImage("", "a", source, np.zeros(SHOWN, np.uint8)), out)
    return out


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_a_copy_is_seen_alike_with_and_without_exif(kind: str, orientation: int, tmp_path: Path) -> None:
    source = save(tmp_path / f"a{FORMATS[kind]}", orientation)
    np.testing.assert_allclose(read_image(source).astype(int), shown_image(), atol=4 if kind == "JPEG" else 0)
    out = copied(source, tmp_path / f"b{FORMATS[kind]}")
    if orientation == 1:
        assert out.read_bytes() == source.read_bytes()
    np.testing.assert_array_equal(read_image(out), as_stored(out))
    np.testing.assert_allclose(read_image(out).astype(int), read_image(source), atol=4 if kind == "JPEG" else 0)
    assert read_header(out).size == read_header(out).shown_size == read_header(source).shown_size == SHOWN
    with Image.open(out) as image:
        assert image.format == kind
        assert image.getexif().get(ORIENTATION, 1) == 1
        assert image.info["icc_profile"] == ICC
        if kind != "TIFF" and orientation != 1:
            assert image.getexif()[0x010F] == "a maker"
            assert image.getexif().get_ifd(0x8769)[0xA002] == SHOWN[1]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_mode_and_depth_stay(mode: str, tmp_path: Path) -> None:
    plain = Image.fromarray(stored(shown_image(), 6))
    image = (
        Image.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 200)
        if mode == "I;16"
        else plain.convert(mode)
    )
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    name = "a.jpg" if mode == "CMYK" else "a.png"
    image.save(tmp_path / name, exif=exif, quality=100)
    out = copied(tmp_path / name, tmp_path / f"b{name}")
    with Image.open(out) as written:
        assert (written.mode, written.size) == (mode, SHOWN[::-1])
    np.testing.assert_allclose(
        read_image(out).astype(int), read_image(tmp_path / name), atol=8 if mode == "CMYK" else 0
    )


def test_a_turn_behind_the_pixels_and_one_in_xmp_are_seen(tmp_path: Path) -> None:
    plain, turned = BytesIO(), BytesIO()
    image = Image.fromarray(stored(shown_image(), 6))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(plain, "PNG")
    image.save(turned, "PNG", exif=exif)
    start = turned.getvalue().index(b"eXIf") - 4
    chunk = turned.getvalue()[start : start + 12 + int.from_bytes(turned.getvalue()[start : start + 4], "big")]
    end = plain.getvalue().index(b"IEND") - 4
    (tmp_path / "late.png").write_bytes(plain.getvalue()[:end] + chunk + plain.getvalue()[end:])
    xmp = PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>')
    image.save(tmp_path / "xmp.png", pnginfo=xmp)
    for name in ("late.png", "xmp.png"):
        assert is_turned(tmp_path / name)
        out = copied(tmp_path / name, tmp_path / f"out-{name}")
        np.testing.assert_array_equal(as_stored(out), shown_image())
        np.testing.assert_array_equal(read_image(out), shown_image())


def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    Image.fromarray(shown_image()).save(source, exif=exif)
    assert not is_turned(source)
    assert copied(source, tmp_path / "b.png").read_bytes() == source.read_bytes()


def test_a_phone_photo_of_several_images_becomes_a_plain_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.fromarray(stored(shown_image(), 6))
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image], exif=exif, quality=100, subsampling=0)
    out = copied(tmp_path / "a.jpg", tmp_path / "b.jpg")
    np.testing.assert_allclose(as_stored(out).astype(int), shown_image(), atol=4)
    with Image.open(out) as written:
        assert written.format == "JPEG"


CLASSES = ClassSet(("background", "thing"), ((0, 0, 0), (200, 0, 0)))


def data_set(root: Path) -> Path:
    """A turned JPEG, a mirrored PNG and an image as it is, masks upright."""
    for number, (suffix, orientation) in enumerate(((".jpg", 6), (".png", 2), (".jpg", 1))):
        save(root / "images" / f"{number}{suffix}", orientation)
        (root / "masks").mkdir(exist_ok=True)
        mask = np.zeros(SHOWN, np.uint8)
        mask[:10, : 8 + number] = 1
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    write_classes(root / "classes.yaml", CLASSES)
    return root


def assert_upright(out: Path, originals: int) -> None:
    """Every image below `out` that is no mask is of the masks' size, and the same with and without EXIF."""
    masks = {"masks", "SegmentationClass", "SegmentationObject", "overlays", "confidence"}
    files = [p for p in out.rglob("*") if p.suffix in FORMATS.values() and not masks & {*p.relative_to(out).parts}]
    assert len(files) == originals
    for file in files:
        assert as_stored(file).shape[:2] == SHOWN
        np.testing.assert_array_equal(as_stored(file), read_image(file))
        np.testing.assert_allclose(as_stored(file).astype(int), shown_image(), atol=6)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", WRITERS)
def test_every_format_of_a_converted_data_set_is_upright(file_format: str, tmp_path: Path) -> None:
    source = data_set(tmp_path / "data")
    out = tmp_path / "out"
    out.mkdir()
    assert convert(open_folder(source), out, file_format) == 3
    assert_upright(out, 3)
    read = open_folder(out)
    label_maps = [read.read_pair(pair)[1] for pairs in read.splits.values() for pair in pairs]
    assert sorted(int((label_map == 1).sum()) for label_map in label_maps) == [80, 90, 100]
    if file_format == "labelme":
        content = json.loads(next(out.rglob("0.json")).read_text())
        assert (content["imageHeight"], content["imageWidth"]) == SHOWN
    untouched = next(p for p in out.rglob("2.jpg"))
    assert untouched.read_bytes() == (source / "images" / "2.jpg").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("file_format", WRITERS)
def test_annotations_of_predictions_are_upright(file_format: str, tmp_path: Path, make_segmenter) -> None:
    source = data_set(tmp_path / "data")
    report = predict(
        make_segmenter(), source / "images", out=tmp_path / "out", options=PredictOptions(annotations=file_format)
    )
    assert not report.failures
    assert_upright(tmp_path / "out" / "annotations", 3)
    for mask in (tmp_path / "out" / "masks").iterdir():
        assert read_header(mask).size == SHOWN


def test_a_fixed_copy_is_upright_and_says_so(tmp_path: Path) -> None:
    source = data_set(tmp_path / "data")
    lying = np.zeros(SHOWN, np.uint8)
    lying[:10, :8] = 1
    Image.fromarray(stored(lying, 6)).save(source / "masks" / "0.png")  # as the image is stored
    out = tmp_path / "out"
    out.mkdir()
    write_fixed(check(source), out)
    assert_upright(out, 3)
    with (out / "changes.csv").open() as file:
        changes = {(Path(row["file"]).name, row["change"]) for row in csv.DictReader(file)}
    assert ("0.jpg", "its pixels rotated as EXIF says, the EXIF orientation removed") in changes
    assert ("1.png", "its pixels rotated as EXIF says, the EXIF orientation removed") in changes
    assert ("2.jpg", "its pixels rotated as EXIF says, the EXIF orientation removed") not in changes
    fixed = check(out)
    assert not {"exif-rotation", "exif-rotation-doubtful", "sizes-differ"} & {fault.kind for fault in fixed.faults}


def test_a_turned_tiff_fits_its_upright_mask(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "images" / f"{number}.tif", 6)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.eye(*SHOWN, dtype=np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    assert not {"exif-rotation", "sizes-differ"} & {fault.kind for fault in check(tmp_path).faults}
