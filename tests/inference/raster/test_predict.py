import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_geom

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ImageError
from maskpencil.images import read_image
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.raster.predict import predict_raster
from maskpencil.inference.sources import Source, find_sources
from maskpencil.runtimes.base import Maps

CLASSES = ClassSet(("dark", "bright"), ((0, 0, 200), (200, 0, 0)))
PLACE = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_400_000, 0.2, 0.2)}


class Bands:
    """A substitute for the network: dark and bright, in bands of an odd number of rows."""

    classes, legend = CLASSES, range(2)

    def predict_batch(self, images, **asked):  # noqa: ARG002
        raise AssertionError("rasters are read by windows")

    def __init__(self, *, origin: dict[str, object] | None = None, stop_at: int | None = None) -> None:
        self.known, self.stop_at = origin, stop_at
        self.starts: list[int] = []

    def origin(self):
        return self.known

    def bands(self, image, wanted, *, start=0):
        self.starts.append(start)
        height, width = image.size
        for top in range(start, height, 97):
            if self.stop_at is not None and top >= self.stop_at:
                raise KeyboardInterrupt
            rows = slice(top, min(height, top + 97))
            values = image.read(rows, slice(0, width)).mean(axis=2)
            sure = (np.abs(values - 127.5) / 127.5).astype(np.float32)[None] if wanted.confidence else None
            entropy = (values / 255).astype(np.float32)[None] if wanted.entropy else None
            yield rows, Maps((values > 127).astype(np.uint8)[None], sure, entropy)


def pixels(bands: int, height: int, width: int, dtype: str = "uint8") -> np.ndarray:
    most = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, most, (bands, height, width), dtype=dtype, endpoint=True)


@pytest.fixture
def make_raster(tmp_path: Path):
    def make(name: str, values: np.ndarray, **profile) -> Path:
        count, height, width = values.shape
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        settings = {"count": count, "height": height, "width": width, "dtype": values.dtype, **PLACE, **profile}
        with rasterio.open(path, "w", **settings) as dataset:
            dataset.write(values)
        return path

    return make


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1300, 700), (512, 1024), (40, 30)])
def test_a_mask_has_the_georeference_of_its_image_and_the_classes_of_the_network(make_raster, tmp_path, size):
    values = pixels(3, *size)
    path = make_raster("field.tif", values, tiled=size[0] > 100, blockxsize=256, blockysize=256)
    events: list[tuple[int, int]] = []
    asked = {"confidence": True, "entropy": True}
    predict_raster(
        Bands(),
        path,
        tmp_path / "out",
        "field",
        options=PredictOptions(**asked),
        on_rows=lambda *rows: events.append(rows),
    )
    with rasterio.open(tmp_path / "out" / "masks" / "field.tif") as mask:
        np.testing.assert_array_equal(mask.read(1), values.mean(axis=0) > 127)
        assert (mask.crs, mask.transform, mask.nodata) == ("EPSG:32633", PLACE["transform"], 255)
        assert {index: mask.colormap(1)[index][:3] for index in (0, 1, 255)} == {
            **dict(enumerate(map(tuple, CLASSES.colors.tolist()))),
            255: (224, 224, 192),
        }
    with rasterio.open(tmp_path / "out" / "confidence" / "field.tif") as sure:
        expected = np.abs(values.mean(axis=0) - 127.5) / 127.5 * 255
        assert np.abs(sure.read(1).astype(float) - expected).max() <= 1
    with rasterio.open(tmp_path / "out" / "entropy" / "field.tif") as entropy:
        assert np.abs(entropy.read(1).astype(float) - values.mean(axis=0)).max() <= 1
    assert events[-1] == (size[0], size[0])
    assert read_image(tmp_path / "out" / "overlays" / "field.jpg").shape[1] >= min(size[1], 100)


@pytest.mark.parametrize("bands", [1, 4])
def test_gray_and_many_bands_and_16_bits_are_read(make_raster, tmp_path, bands):
    values = pixels(bands, 60, 50, "uint16")
    path = make_raster("deep.tif", values)
    predict_raster(Bands(), path, tmp_path / "out", "deep", options=PredictOptions(overlays=False))
    with rasterio.open(tmp_path / "out" / "masks" / "deep.tif") as mask:
        seen = np.round(values[: 3 if bands == 4 else 1] / 257).mean(axis=0)
        np.testing.assert_array_equal(mask.read(1), seen > 127)
    assert not (tmp_path / "out" / "overlays").exists()


def test_rasters_are_done_by_windows_and_unreadable_ones_reported(make_raster, tmp_path):
    make_raster("good.tif", pixels(3, 64, 64))
    (tmp_path / "in" / "bad.tif").write_bytes(b"II*\0nothing")
    make_raster("floats.tif", np.full((1, 8, 8), 300, np.float32))
    report = predict(
        Bands(), find_sources([tmp_path / "in"]), out=tmp_path / "out", options=PredictOptions(geotiff=True)
    )
    assert report.images == 1
    reported = sorted(failure.message for failure in report.failures)
    assert "bad.tif: is " in reported[0]
    assert "damaged" in reported[0]
    assert "floats.tif: holds floating-point numbers from 300 to 300; expected 0 to 1" in reported[1]
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["good.tif"]


def test_a_raster_that_is_cut_short_leaves_no_half_mask(make_raster, tmp_path):
    path = make_raster("cut.tif", pixels(3, 600, 600))
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(ImageError, match=r"cut\.tif: (is damaged|cannot be read)"):
        predict_raster(Bands(), path, tmp_path / "out", "cut")
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_results_that_rasters_do_not_have_are_refused(make_raster, segmenter, tmp_path):
    path = make_raster("field.tif", pixels(3, 8, 8))
    for network, settings in ((Bands(), {"regions": "json"}), (Bands(), {"annotations": "coco"}), (segmenter, {})):
        with pytest.raises(ConfigError, match=r"geotiff cannot be combined with .* other than geojson; leave these"):
            predict(
                network, find_sources([path]), out=tmp_path / "out", options=PredictOptions(**settings, geotiff=True)
            )


def test_an_interrupted_raster_goes_on_where_it_stood(make_raster, tmp_path):
    values = pixels(3, 700, 300)
    path, out = make_raster("field.tif", values), tmp_path / "out"
    with pytest.raises(
        KeyboardInterrupt,
        match=r"field\.tif: 388 of 700 rows are done and kept; to continue, repeat the command with --out .*out",
    ):
        predict_raster(
            Bands(origin={"model": 1}, stop_at=388), path, out, "field", options=PredictOptions(confidence=True)
        )
    assert not (out / "masks" / "field.tif").exists()
    again = Bands(origin={"model": 1})
    predict_raster(again, path, out, "field", options=PredictOptions(confidence=True))
    assert again.starts == [388]
    with rasterio.open(out / "masks" / "field.tif") as mask:
        np.testing.assert_array_equal(mask.read(1), values.mean(axis=0) > 127)
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()) == [
        "confidence/field.tif",
        "masks/field.tif",
        "overlays/field.jpg",
    ]


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        ({"model": 1}, {"model": 2}, {}),
        ({"model": 1}, {"model": 1}, {"confidence": True}),
        (None, None, {}),
        ({"model": 1}, {"model": 1}, None),  # another raster of the same name
    ],
)
def test_an_interrupted_raster_of_other_settings_starts_from_the_top(make_raster, tmp_path, first, second, asked):
    path, out = make_raster("field.tif", pixels(3, 300, 100)), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_raster(Bands(origin=first, stop_at=97), path, out, "field")
    if asked is None:
        make_raster("field.tif", pixels(3, 300, 120))
    again = Bands(origin=second)
    predict_raster(again, path, out, "field", options=PredictOptions(**(asked or {})))
    assert again.starts == [0]
    assert len(list(out.rglob(".*"))) == 0


def test_regions_of_a_raster_lie_where_it_lies(make_raster, tmp_path):
    values = np.zeros((3, 40, 30), np.uint8)
    values[:, 5:15, 10:20] = 255
    values[:, 8:10, 12:14] = 0  # a hole
    values[:, 15, 20] = 255  # touches by a corner
    values[:, 30, 2] = 255
    path = make_raster("field.tif", values)
    asked = {"regions": "geojson", "min_area": 2, "region_classes": ["bright"]}
    predict(Bands(), find_sources([path]), out=tmp_path / "out", options=PredictOptions(**asked, geotiff=True))
    (feature,) = json.loads((tmp_path / "out/regions/field.geojson").read_text())["features"]
    assert feature["properties"] == {
        "class": "bright",
        "class_index": 1,
        "area": 97,
        "square_meters": round(97 * 0.04, 2),
    }
    placed = transform_geom("EPSG:4326", PLACE["crs"], feature["geometry"])
    ring = np.array(placed["coordinates"][0])
    np.testing.assert_allclose(ring.min(axis=0), [500_000 + 10 * 0.2, 5_400_000 - 16 * 0.2], atol=0.01)
    np.testing.assert_allclose(ring.max(axis=0), [500_000 + 21 * 0.2, 5_400_000 - 5 * 0.2], atol=0.01)
    assert len(placed["coordinates"]) == 2


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # as the raster is written here
def test_regions_without_a_georeference_are_in_pixels(make_raster, tmp_path):
    values = np.zeros((3, 20, 30), np.uint8)
    values[:, 5:15, 10:20] = 255
    path = make_raster("plain.tif", values, crs=None, transform=None)
    predict_raster(Bands(), path, tmp_path / "out", "plain", options=PredictOptions(regions="geojson"))
    features = json.loads((tmp_path / "out/regions/plain.geojson").read_text())["features"]
    assert sorted(feature["properties"]["area"] for feature in features) == [100, 500]
    bright = next(feature for feature in features if feature["properties"]["class"] == "bright")
    assert bright["properties"] == {"class": "bright", "class_index": 1, "area": 100}
    assert sorted(set(map(tuple, bright["geometry"]["coordinates"][0]))) == [(10, 5), (10, 15), (20, 5), (20, 15)]


def test_finished_rows_of_a_raster_are_reported(make_raster, tmp_path):
    path, events = make_raster("field.tif", pixels(3, 400, 64)), []
    predict(Bands(), [path], out=tmp_path / "out", options=PredictOptions(geotiff=True), report=events.append)
    rows = [(progress.frame, progress.frames) for progress in events if progress.is_part]
    assert rows == [(97, 400), (194, 400), (291, 400), (388, 400), (400, 400)]
    assert [(p.number, p.sources, p.frame, p.frames) for p in events if not p.is_part] == [(1, 1, 1, 1)]


def test_rasters_are_separated_from_images_without_comparing_sources(tmp_path, monkeypatch):
    compared, done = 0, []
    equal = Source.__eq__

    def counted(one, other):
        nonlocal compared
        compared += 1
        return equal(one, other)

    monkeypatch.setattr(Source, "__eq__", counted)
    monkeypatch.setattr(
        "maskpencil.inference.predict.predict_raster", lambda _, path, *__, **___: done.append(path.name)
    )
    sources = [
        Source("image", str(tmp_path / f"{n}.{kind}"), f"{n}-{kind}") for n in range(40) for kind in ("tif", "png")
    ]
    report = predict(Bands(), sources, out=tmp_path / "out", options=PredictOptions(geotiff=True))
    assert (report.images, len(report.failures)) == (40, 40)
    assert done == [f"{n}.tif" for n in range(40)]
    assert compared == 0
