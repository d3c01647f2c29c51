"""Plain reading, reading by windows and GDAL's own reading of the same raster give the same result."""

import json
import shutil
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasterio.transform import from_origin

from maskpencil.classes import ClassSet
from maskpencil.errors import ImageError
from maskpencil.images import read_header, read_pixels
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.raster.files import opened_raster
from maskpencil.inference.sources import find_sources
from maskpencil.prediction import Prediction
from maskpencil.runtimes.base import Maps

HEIGHT, WIDTH = 150, 70
PLACE = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_400_000, 0.5, 0.5)}
CLASSES = ClassSet(("a", "b", "c"), ((0, 0, 200), (200, 0, 0), (0, 200, 0)))
R, G, B, ALPHA, GRAY, OTHER = (
    ColorInterp.red,
    ColorInterp.green,
    ColorInterp.blue,
    ColorInterp.alpha,
    ColorInterp.gray,
    ColorInterp.undefined,
)


def labels_of(rgb: np.ndarray) -> np.ndarray:
    """A class for each pixel that changes with any of its colors."""
    return ((rgb.astype(int) @ [1, 5, 7]) % 3).astype(np.uint8)


class Network:
    """A substitute for the segmenter, for whole images and windows."""

    classes, legend = CLASSES, range(3)

    def predict_batch(self, images, *, confidence=False, entropy=False):
        ones = np.ones(images[0].shape[:2], np.float32)
        return [
            Prediction(
                image, labels_of(image), ones if confidence else None, CLASSES, entropy=ones * 0 if entropy else None
            )
            for image in images
        ]

    def origin(self):
        return None

    def bands(self, windows, wanted, *, start=0):
        height, width = windows.size
        for top in range(start, height, 64):
            rows = slice(top, min(height, top + 64))
            values = windows.read(rows, slice(0, width))
            ones = np.ones((1, *values.shape[:2]), np.float32)
            yield rows, Maps(labels_of(values)[None], ones if wanted.confidence else None)


def noise(bands: int, dtype: str = "uint8", most: float | None = None) -> np.ndarray:
    random = np.random.default_rng(bands)
    if dtype.startswith("float"):
        return random.random((bands, HEIGHT, WIDTH)).astype(dtype)
    return random.integers(1, most or np.iinfo(dtype).max, (bands, HEIGHT, WIDTH)).astype(dtype)


def write(path: Path, values: np.ndarray, **profile: Any) -> Path:
    """Write a raster; `colorinterp`, `colormap`, `mask`, `scales`, `offsets`, `gcps` and `rpcs` are set after."""
    after = {
        name: profile.pop(name, None)
        for name in ("colorinterp", "colormap", "mask", "scales", "offsets", "gcps", "rpcs")
    }
    count, height, width = values.shape
    settings = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    env = {"GDAL_TIFF_INTERNAL_MASK": profile.pop("internal", True)}
    with warnings.catch_warnings(), rasterio.Env(**env):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **settings | profile) as file:
            if after["colormap"]:
                file.write_colormap(1, after["colormap"])
            if after["colorinterp"]:
                file.colorinterp = after["colorinterp"]
            for name in ("scales", "offsets", "rpcs"):
                if after[name] is not None:
                    setattr(file, name, after[name])
            if after["gcps"]:
                file.gcps = after["gcps"]
            file.write(values)
            if after["mask"] is not None:
                file.write_mask(after["mask"])
    return path


def by_windows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pixels and the empty ones as --geotiff reads them."""
    with opened_raster(path) as windows:
        height, width = windows.size
        whole = slice(0, height), slice(0, width)
        empty = windows.empty(whole[0])
        return windows.read(*whole), np.zeros(windows.size, bool) if empty is None else empty


def plainly(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pixels and the empty ones as plain predict, check and training read them."""
    pixels = read_pixels(path)
    return pixels.rgb, np.zeros(pixels.rgb.shape[:2], bool) if pixels.empty is None else pixels.empty


def by_gdal(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of all bands (H, W, n), and the pixels that are empty by GDAL's mask."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return np.moveaxis(file.read(), 0, 2), file.dataset_mask() == 0


# which bands are seen, and what their numbers mean


@dataclass(frozen=True)
class Layout:
    """How a file is written, and the visible bands and range of the numbers that GDAL reads."""

    values: np.ndarray
    seen: Callable[[np.ndarray], np.ndarray]
    profile: dict[str, Any] = field(default_factory=dict)
    said: str = ""


def bands(*numbers: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values[..., [number - 1 for number in numbers]]


def spread(top: float, *numbers: int) -> Callable[[np.ndarray], np.ndarray]:
    """The bands, with the numbers from 0 to `top` spread over 0 to 255."""
    return lambda values: np.round((bands(*numbers)(values) / top * 255).clip(0, 255))


PALETTE = {index: ((index * 37) % 256, 255 - index, (index * 91) % 256, 255) for index in range(256)}
TILED = {"tiled": True, "blockxsize": 32, "blockysize": 48}
TWELVE_BITS, REFLECTANCE = noise(3, "uint16", 4096), noise(3, "uint16", 9000)

LAYOUTS = {
    "gray": Layout(noise(1), bands(1, 1, 1)),
    "rgb": Layout(noise(3), bands(1, 2, 3)),
    "bgr": Layout(noise(3), bands(3, 2, 1), {"colorinterp": [B, G, R]}),
    "rgb, infrared": Layout(noise(4), bands(1, 2, 3), {"photometric": "RGB", "alpha": "UNSPECIFIED"}, "4 is left out"),
    "rgb, infrared marked as such": Layout(
        noise(4), bands(1, 2, 3), {"colorinterp": [R, G, B, OTHER]}, "4 is left out"
    ),
    "four bytes": Layout(noise(4), bands(1, 2, 3), {}, "4 is alpha"),
    "gray, alpha": Layout(noise(2), bands(1, 1, 1), {"alpha": "YES"}, "2 is alpha"),
    "alpha, r, g, b": Layout(
        noise(4), bands(2, 3, 4), {"photometric": "MINISBLACK", "colorinterp": [ALPHA, R, G, B]}, "1 is alpha"
    ),
    "five": Layout(noise(5), bands(1, 2, 3), {}, "none is marked red, green or blue: 1, 2 and 3 are used"),
    "b, g, r, other, other": Layout(
        noise(5), bands(3, 2, 1), {"colorinterp": [B, G, R, OTHER, OTHER]}, "3, 2 and 1 are red, green, blue"
    ),
    "other, other, r, g, b": Layout(
        noise(5), bands(3, 4, 5), {"colorinterp": [OTHER, OTHER, R, G, B], **TILED}, "1 and 2 are left out"
    ),
    "ten": Layout(noise(10, "uint16"), spread(65535, 1, 2, 3), {"compress": "deflate", "predictor": 2, **TILED}),
    "palette": Layout(
        noise(1), lambda v: np.array([PALETTE[i][:3] for i in range(256)])[v[..., 0]], {"colormap": PALETTE}
    ),
    "palette of 4 bits": Layout(
        noise(1, most=15),
        lambda v: np.array([PALETTE[i][:3] for i in range(256)])[v[..., 0]],
        {"colormap": {i: PALETTE[i] for i in range(16)}, "nbits": 4},
    ),
    "white is zero": Layout(noise(1), lambda v: 255 - bands(1, 1, 1)(v), {"photometric": "MINISWHITE"}),
    "white is zero, LZW": Layout(
        noise(1), lambda v: 255 - bands(1, 1, 1)(v), {"photometric": "MINISWHITE", "compress": "lzw"}
    ),
    "1 bit": Layout(noise(1, most=5) // 3, lambda v: 255 * bands(1, 1, 1)(v), {"nbits": 1}),
    "1 bit, white is zero": Layout(
        noise(1, most=5) // 3, lambda v: 255 - 255 * bands(1, 1, 1)(v), {"nbits": 1, "photometric": "MINISWHITE"}
    ),
    "1 bit, fax": Layout(
        noise(1, most=5) // 3,
        lambda v: 255 - 255 * bands(1, 1, 1)(v),
        {"nbits": 1, "compress": "CCITTFAX4", "photometric": "MINISWHITE"},
    ),
    "2 bits": Layout(noise(1, most=4), lambda v: 85 * bands(1, 1, 1)(v), {"nbits": 2}),
    "4 bits": Layout(noise(1, most=16), lambda v: 17 * bands(1, 1, 1)(v), {"nbits": 4, **TILED}),
    "12 bits": Layout(TWELVE_BITS, spread(4095, 1, 2, 3), {"nbits": 12}, "12-bit numbers 0 to 4095 become 0 to 255"),
    "16 bits": Layout(
        noise(3, "uint16"), spread(65535, 1, 2, 3), {"photometric": "RGB"}, "16-bit numbers 0 to 65535 become"
    ),
    "16 bits, gray": Layout(noise(1, "uint16"), spread(65535, 1, 1, 1)),
    "reflectance": Layout(REFLECTANCE, spread(10_000, 1, 2, 3), {}, "16-bit numbers 0 to 10000 become 0 to 255"),
    "reflectance, gray": Layout(REFLECTANCE[:1], spread(10_000, 1, 1, 1)),
    "reflectance, signed": Layout(REFLECTANCE.astype("int16"), spread(10_000, 1, 2, 3)),
    "reflectance, dark": Layout(REFLECTANCE // 4, spread(10_000, 1, 2, 3)),
    "reflectance, bright": Layout(
        noise(3, "uint16", 12_000), spread(10_000, 1, 2, 3), {}, "become 0 to 255, 16.5% are above"
    ),
    "scaled": Layout(
        noise(3, "uint16", 60_000),
        lambda v: np.round(((v * 2.75e-5 - 0.2) * 255).clip(0, 255)),
        {"scales": (2.75e-5,) * 3, "offsets": (-0.2,) * 3},
        "by the scale in the file",
    ),
    "floats": Layout(noise(3, "float32"), spread(1, 1, 2, 3), {}, "floating-point numbers 0 to 1 become 0 to 255"),
    "floats of 64 bits": Layout(noise(1, "float64"), spread(1, 1, 1, 1)),
    "cmyk": Layout(noise(4), bands(1, 2, 3), {"photometric": "CMYK"}),
    "planes": Layout(noise(5), bands(3, 2, 1), {"interleave": "band", "colorinterp": [B, G, R, OTHER, OTHER]}),
    "planes, tiled": Layout(noise(4, "uint16"), spread(65535, 1, 2, 3), {"interleave": "band", **TILED}),
    "LZW, predicted": Layout(noise(5), bands(1, 2, 3), {"compress": "lzw", "predictor": 2}),
    "floats, predicted": Layout(
        noise(4, "float32"), spread(1, 1, 2, 3), {"compress": "deflate", "predictor": 3, **TILED}
    ),
    "ZSTD": Layout(noise(5), bands(1, 2, 3), {"compress": "zstd"}),
    "PackBits": Layout(noise(5), bands(1, 2, 3), {"compress": "packbits"}),
    "big-endian": Layout(
        noise(5, "uint16"), spread(65535, 1, 2, 3), {"endianness": "big", "compress": "lzw", "predictor": 2}
    ),
    "BigTIFF": Layout(noise(5, "uint16"), spread(65535, 1, 2, 3), {"bigtiff": "yes"}),
    "sparse": Layout(np.zeros((5, HEIGHT, WIDTH), "uint8"), bands(1, 2, 3), {"sparse_ok": True, **TILED}),
    "JPEG": Layout(
        np.repeat(np.repeat(noise(3), 8, 1), 8, 2)[:, :HEIGHT, :WIDTH],
        bands(1, 2, 3),
        {"compress": "jpeg", "photometric": "rgb", "blockysize": 16},
    ),
    "JPEG 2000": Layout(
        noise(3),
        bands(1, 2, 3),
        {"driver": "JP2OpenJPEG", "quality": 100, "reversible": "yes", "colorinterp": [R, G, B]},
    ),
    "JPEG 2000, unmarked": Layout(
        noise(3), bands(1, 2, 3), {"driver": "JP2OpenJPEG", "quality": 100, "reversible": "yes"}
    ),
    "JPEG 2000, 12 bits": Layout(
        TWELVE_BITS[:1],
        spread(4095, 1, 1, 1),
        {"driver": "JP2OpenJPEG", "nbits": 12, "quality": 100, "reversible": "yes"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_band_layout_is_read_as_gdal_reads_it_plainly_and_by_windows(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    suffix = ".jp2" if name.startswith("JPEG 2000") else ".tif"
    path = write(tmp_path / f"a{suffix}", layout.values, **layout.profile)
    values, _ = by_gdal(path)
    expected = layout.seen(values)
    (plain, plain_empty), (windows, windows_empty) = plainly(path), by_windows(path)
    exact = 1 if name in ("cmyk", "JPEG") else 0  # converted or decoded by two libraries
    assert np.abs(plain.astype(int) - expected).max() <= exact
    assert np.abs(plain.astype(int) - windows).max() <= exact
    np.testing.assert_array_equal(plain_empty, windows_empty)
    assert read_header(path).shown_size == plain.shape[:2]
    remarks = "; ".join(read_pixels(path).remarks)
    assert layout.said in remarks
    with opened_raster(path) as opened:
        assert "; ".join(opened.remarks) == remarks


# where nothing is


def hole(*shape: int) -> np.ndarray:
    """Return the empty pixels of the files below."""
    empty = np.zeros((HEIGHT, WIDTH), bool)
    empty[20:90, :30] = True
    return empty


EMPTY = hole()
THERE = np.where(EMPTY, 0, 255).astype(np.uint8)
EMPTINESS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "nodata 0": (np.where(EMPTY, 0, noise(3)), {"nodata": 0}),
    "nodata 255, gray": (np.where(EMPTY, 255, noise(1, most=250)).astype("uint8"), {"nodata": 255}),
    "nodata of 16 bits": (np.where(EMPTY, 65535, REFLECTANCE).astype("uint16"), {"nodata": 65535}),
    "nodata below 0": (np.where(EMPTY, -9999, REFLECTANCE).astype("int16"), {"nodata": -9999}),
    "nodata of floats": (np.where(EMPTY, -9999, noise(3, "float32")).astype("float32"), {"nodata": -9999}),
    "nodata not a number": (np.where(EMPTY, np.nan, noise(3, "float32")).astype("float32"), {"nodata": np.nan}),
    "nodata of a palette": (np.where(EMPTY, 7, noise(1, most=6)).astype("uint8"), {"nodata": 7, "colormap": PALETTE}),
    "nodata, white is zero": (np.where(EMPTY, 0, noise(1)), {"nodata": 0, "photometric": "MINISWHITE"}),
    "nodata out of range": (noise(3), {"nodata": 0.5}),
    "mask within": (noise(3), {"mask": THERE}),
    "mask within, tiled": (noise(5), {"mask": THERE, "compress": "deflate", **TILED}),
    "mask beside": (noise(3), {"mask": THERE, "internal": False}),
    "alpha": (np.concatenate([noise(3), THERE[None]]), {"photometric": "RGB", "alpha": "YES"}),
    "alpha, premultiplied": (np.concatenate([noise(3), THERE[None]]), {"photometric": "RGB", "alpha": "PREMULTIPLIED"}),
    "alpha of 16 bits": (
        np.concatenate([REFLECTANCE, THERE[None].astype("uint16")]),
        {"photometric": "RGB", "alpha": "YES"},
    ),
    "alpha beside gray": (np.concatenate([noise(1), THERE[None]]), {"alpha": "YES"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EMPTINESS)
def test_every_kind_of_emptiness_is_found_as_gdal_finds_it_and_gets_no_class(name: str, tmp_path: Path) -> None:
    values, profile = EMPTINESS[name]
    path = write(tmp_path / "a.tif", values, **PLACE, **profile)
    _, empty = by_gdal(path)
    assert empty.any() == (name != "nodata out of range")
    (plain, plain_empty), (windows, windows_empty) = plainly(path), by_windows(path)
    np.testing.assert_array_equal(plain_empty, empty)
    np.testing.assert_array_equal(windows_empty, empty)
    np.testing.assert_array_equal(plain, windows)
    for geotiff in (False, True):
        out = tmp_path / f"out-{geotiff}"
        predict(
            Network(),
            find_sources([path]),
            out=out,
            options=PredictOptions(geotiff=geotiff, confidence=True, regions="geojson"),
        )
        suffix = ".tif" if geotiff else ".png"
        (mask, _), (sure, _) = (by_gdal(out / kind / f"a{suffix}") for kind in ("masks", "confidence"))
        np.testing.assert_array_equal(mask[..., 0], np.where(empty, 255, labels_of(plain)))
        np.testing.assert_array_equal(sure[..., 0], np.where(empty, 0, 255))
        features = json.loads((out / "regions" / "a.geojson").read_text())["features"]
        assert sum(feature["properties"]["area"] for feature in features) == (~empty).sum()


def test_a_transparent_png_gets_no_class_where_nothing_is(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.moveaxis(np.concatenate([noise(3), THERE[None]]), 0, 2)).save(tmp_path / "a.png")
    predict(Network(), find_sources([tmp_path / "a.png"]), out=tmp_path / "out")
    mask, _ = by_gdal(tmp_path / "out/masks/a.png")
    np.testing.assert_array_equal(mask[..., 0] == 255, EMPTY)


# where on the earth

POINTS = [GroundControlPoint(r, c, 10 + c / 700, 50 - r / 1500) for r in (0, 150) for c in (0, 70)]
RATIONAL = RPC(
    height_off=100, height_scale=100, lat_off=50, lat_scale=1, line_off=75, line_scale=75, long_off=10, long_scale=1,
    samp_off=35, samp_scale=35, line_num_coeff=[0, 0, -1] + [0] * 17, line_den_coeff=[1] + [0] * 19,
    samp_num_coeff=[0, 1] + [0] * 18, samp_den_coeff=[1] + [0] * 19,
)  # fmt: skip
LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'
PLACES: dict[str, dict[str, Any]] = {
    "system and transform": PLACE,
    "turned": {**PLACE, "transform": PLACE["transform"] * Affine.rotation(30)},
    "upside down": {**PLACE, "transform": Affine(0.5, 0, 500_000, 0, 0.5, 5_400_000)},
    "degrees": {"crs": "EPSG:4326", "transform": from_origin(10, 50, 1e-4, 1e-4)},
    "a system of its own": {"crs": LOCAL, "transform": from_origin(100, 200, 1, 1)},
    "transform alone": {"transform": PLACE["transform"]},
    "system alone": {"crs": "EPSG:32633"},
    "control points": {"gcps": (POINTS, rasterio.CRS.from_epsg(4326))},
    "control points alone": {"gcps": (POINTS, rasterio.CRS())},
    "RPCs": {"rpcs": RATIONAL},
    "world file": {},
    "world file .wld": {},
    "nowhere": {},
}
WORLD = "0.5\n0\n0\n-0.5\n500000.25\n5399999.75\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_every_kind_of_georeference_is_copied_to_the_mask(
    name: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = write(tmp_path / "a.tif", noise(3), **PLACES[name])
    if name.startswith("world file"):
        path.with_suffix(".wld" if "wld" in name else ".tfw").write_text(WORLD)
    report = predict(
        Network(), find_sources([path]), out=tmp_path / "out", options=PredictOptions(geotiff=True, regions="geojson")
    )
    assert [str(warning.message) for warning in recwarn if warning.category is NotGeoreferencedWarning] == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as one, rasterio.open(tmp_path / "out/masks/a.tif") as other:
            assert other.transform.almost_equals(one.transform, 1e-9)
            assert other.crs == one.crs
            assert [(p.row, p.col, p.x, p.y) for p in other.gcps[0]] == [(p.row, p.col, p.x, p.y) for p in one.gcps[0]]
            assert other.gcps[1] == one.gcps[1]
            assert other.rpcs == one.rpcs
            transform = one.transform
    features = json.loads((tmp_path / "out/regions/a.geojson").read_text())["features"]
    corners = np.concatenate([np.array(feature["geometry"]["coordinates"][0]) for feature in features])
    low, high = corners.min(axis=0), corners.max(axis=0)
    if name in ("transform alone", "world file", "world file .wld", "a system of its own"):
        (left, top), (right, bottom) = transform * (0, 0), transform * (WIDTH, HEIGHT)
        np.testing.assert_allclose([low, high], [(left, bottom), (right, top)])
    elif name.startswith("control points"):
        np.testing.assert_allclose([low, high], [(10, 49.9), (10.1, 50)], atol=1e-9)
    elif name in ("system alone", "RPCs", "nowhere"):
        np.testing.assert_array_equal([low, high], [(0, 0), (WIDTH, HEIGHT)])
    else:
        assert (np.abs([low, high]) < 181).all()
    in_pixels = name in ("system alone", "RPCs", "nowhere")
    assert any("the outlines are in pixels" in note for note in report.notes) == in_pixels


def test_a_pixel_is_point_raster_stays_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(3), **PLACE)
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(path) as file:
        place = file.transform
    predict(Network(), find_sources([path]), out=tmp_path / "out", options=PredictOptions(geotiff=True))
    with rasterio.open(tmp_path / "out/masks/a.tif") as mask:
        assert (mask.transform, mask.tags()["AREA_OR_POINT"]) == (place, "Point")


def test_plain_prediction_says_that_a_png_has_no_georeference(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(3), **PLACE)
    write(tmp_path / "b.tif", noise(3), **PLACE)
    write(tmp_path / "c.tif", noise(3))
    report = predict(Network(), find_sources([tmp_path]), out=tmp_path / "out")
    (note,) = report.notes
    assert note.startswith("a.tif and 1 more: has a georeference")


# what is said, what is refused


def test_files_of_one_call_that_are_scaled_in_two_ways_cause_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", REFLECTANCE)
    write(tmp_path / "b.tif", noise(3, "uint16"))
    report = predict(Network(), find_sources([tmp_path]), out=tmp_path / "out")
    assert "were mapped to 0 to 255 in 2 different ways (16-bit numbers 0 to 10000" in report.warnings[0]
    assert predict(Network(), find_sources([tmp_path / "a.tif"]), out=tmp_path / "out").warnings == ()


@pytest.mark.parametrize(
    ("values", "profile", "message"),
    [
        (noise(1, "float32") * 3000, {}, r"holds floating-point numbers from .* to 2999.*; expected 0 to 1; rescale"),
        (noise(1, "float32") + 1j, {}, "complex numbers"),
        (noise(3, "uint32", 10**8), {}, "holds whole numbers up to 9999.*; expected at most 65535"),
    ],
)
def test_numbers_without_a_known_range_are_refused_with_the_reason_by_both_ways(
    values: np.ndarray, profile: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tif", values, **profile)
    for geotiff in (False, True):
        report = predict(Network(), find_sources([path]), out=tmp_path / "out", options=PredictOptions(geotiff=geotiff))
        (failure,) = report.failures
        assert failure.message.startswith(f"{path}: ")
        assert "image program" not in failure.message
        with pytest.raises(ImageError, match=message):
            raise ImageError(failure.message)


@pytest.mark.parametrize("profile", [{"blockysize": 16}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_jpeg_with_chroma_subsampling_is_read_alike_by_both_ways(profile: dict[str, Any], tmp_path: Path) -> None:
    blocks = np.repeat(np.repeat(noise(3), 8, 1), 8, 2)[:, :HEIGHT, :WIDTH]
    path = write(tmp_path / "a.tif", blocks, compress="jpeg", photometric="ycbcr", mask=THERE, **profile)
    (plain, plain_empty), (windows, windows_empty) = plainly(path), by_windows(path)
    np.testing.assert_array_equal(plain, windows)
    np.testing.assert_array_equal(plain_empty, windows_empty)
    values, empty = by_gdal(path)
    np.testing.assert_array_equal(plain_empty, empty)
    assert np.abs(plain.mean(axis=2) - values.mean(axis=2)).mean() < 12  # the same but for how color is interpolated
    with opened_raster(path) as opened:
        np.testing.assert_array_equal(opened.read(slice(17, 90), slice(5, 69)), plain[17:90, 5:69])


def test_a_lossy_many_band_file_is_refused_with_a_remedy_that_helps(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(5), compress="jpeg", photometric="minisblack", interleave="band")
    with pytest.raises(
        ImageError, match=r"5 bands of 8 bits compressed by JPEG, .* gdal_translate -co COMPRESS=DEFLATE"
    ):
        read_pixels(path)
    report = predict(Network(), find_sources([path]), out=tmp_path / "out", options=PredictOptions(geotiff=True))
    assert report.failures == ()


def test_a_raster_that_names_other_files_is_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.tif", noise(3))
    vrt = tmp_path / "a.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.shutil.copy(secret, vrt, driver="VRT")
    report = predict(Network(), find_sources([vrt]), out=tmp_path / "out", options=PredictOptions(geotiff=True))
    assert "is text (XML), not an image" in report.failures[0].message
    innocent = write(tmp_path / "b.tif", noise(3))
    shutil.copy(vrt, tmp_path / "b.tif.ovr")
    report = predict(Network(), find_sources([innocent]), out=tmp_path / "out", options=PredictOptions(geotiff=True))
    assert "b.tif.ovr beside it is not a TIFF" in report.failures[0].message


@pytest.mark.parametrize("geotiff", [False, True])
def test_overviews_and_masks_within_a_raster_do_not_count_as_pages(tmp_path: Path, geotiff: bool) -> None:
    path = write(tmp_path / "a.tif", noise(3), mask=THERE, **TILED, **PLACE)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert read_header(path).pages == 1
    report = predict(Network(), find_sources([path]), out=tmp_path / "out", options=PredictOptions(geotiff=geotiff))
    assert not any("page" in note for note in report.notes)


def test_a_color_space_of_more_bands_than_there_are_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lab.tif"
    Image.new("L", (48, 32), 99).save(path)
    content, tag = path.read_bytes(), struct.pack("<HHI", 262, 3, 1)  # PhotometricInterpretation
    start = content.index(tag) + len(tag)
    path.write_bytes(content[:start] + struct.pack("<H", 8) + content[start + 2 :])
    with pytest.raises(ImageError, match=r"lab\.tif: .*needs 3 bands, but the file has 1"), opened_raster(path):
        pass
