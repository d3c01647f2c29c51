import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
from PIL import Image
from tests.helpers import BrightnessSegmenter, InPairs, MakeVideo, draw_image

from maskpencil.data.folder import open_folder
from maskpencil.errors import ConfigError, DataError, ImageError, OutputError
from maskpencil.images import RGBImage, read_image, write_image
from maskpencil.inference.images import write_prediction
from maskpencil.inference.options import AnnotationFormat, PredictOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.report import Progress
from maskpencil.inference.sources import Source, find_sources
from maskpencil.inference.wrappers import Abstain
from maskpencil.label_maps import read_label_map
from maskpencil.predictor import batch_size, side_by_side
from maskpencil.regions import RegionFormat
from maskpencil.results import MARKER


def files_below(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix() for path in files}


@pytest.fixture
def photos(tmp_path: Path) -> list[Source]:
    for name in ("a/1.jpg", "a/2.png", "b/1.jpg"):
        write_image(tmp_path / "in" / name, draw_image((40, 56)))
    return find_sources([tmp_path / "in"])


RESULTS = (("masks", "png"), ("overlays", "jpg"))


def test_images_give_masks_and_overlays_under_their_own_names(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    report = predict(segmenter, photos, out=tmp_path / "out")
    assert files_below(tmp_path / "out") == {
        f"{k}/{s}.{suffix}" for k, suffix in RESULTS for s in ("a/1", "a/2", "b/1")
    }
    assert (report.images, report.videos, report.failures, report.warnings) == (3, 0, (), ())
    assert report.frames_per_second > 0


def test_masks_are_palette_images_of_class_indices(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    predict(segmenter, photos, out=tmp_path / "out")
    with Image.open(tmp_path / "out/masks/a/2.png") as mask:
        assert mask.mode == "P"
        assert mask.getpalette("RGB")[:6] == [0, 0, 200, 200, 0, 0]
        expected = np.zeros((40, 56))
        expected[:20, :28] = 1
        assert np.array_equal(np.asarray(mask), expected)


def test_overlays_show_image_and_classes_by_the_opacity(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    predict(segmenter, photos[1:2], out=tmp_path / "out", options=PredictOptions(opacity=0))
    sheet = read_image(tmp_path / "out/overlays/a/2.jpg").astype(int)
    left = (sheet.shape[1] - 56) // 2
    assert np.abs(sheet[:40, left : left + 56] - draw_image((40, 56))).mean() < 2


def test_overlays_can_be_left_out_and_confidence_and_entropy_asked_for(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    predict(
        segmenter,
        photos[1:2],
        out=tmp_path / "out",
        options=PredictOptions(overlays=False, confidence=True, entropy=True),
    )
    assert files_below(tmp_path / "out") == {"masks/a/2.png", "confidence/a/2.png", "entropy/a/2.png"}
    with Image.open(tmp_path / "out/confidence/a/2.png") as confidence:
        assert confidence.mode == "L"
        assert confidence.getpixel((0, 0)) == round((250 - 127.5) / 127.5 * 255)
    with Image.open(tmp_path / "out/entropy/a/2.png") as entropy:
        assert entropy.mode == "L"
        assert entropy.getpixel((0, 0)) == round((1 - (250 - 127.5) / 127.5) * 255)


def test_a_stem_with_a_dot_keeps_it(tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    write_prediction(
        segmenter.predict_batch([draw_image((8, 8))])[0], tmp_path, "a.jpg", options=PredictOptions(overlays=False)
    )
    assert files_below(tmp_path) == {"masks/a.jpg.png"}


def test_a_broken_file_is_reported_and_the_others_are_done(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source], make_video: MakeVideo
) -> None:
    photos[1].path.write_bytes(photos[1].path.read_bytes()[:60])
    empty = tmp_path / "empty.mp4"
    empty.touch()
    sources = [*photos, *find_sources([empty, make_video()])]
    reported: list[Progress] = []
    report = predict(segmenter, sources, out=tmp_path / "out", report=reported.append)
    assert [failure.source.path for failure in report.failures] == [photos[1].path, empty]
    assert all("\n" not in f.message and f.message.startswith(f.source.name) for f in report.failures)
    assert (report.images, report.videos, report.frames) == (2, 1, 12)
    assert files_below(tmp_path / "out") == {
        *(f"{kind}/{stem}.{suffix}" for kind, suffix in RESULTS for stem in ("a/1", "b/1")),
        "overlays/video.mp4",
    }
    assert [p.failure.source.path for p in reported if p.failure] == [photos[1].path, empty]


def test_progress_counts_sources_and_frames(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source], make_video: MakeVideo
) -> None:
    reported: list[Progress] = []
    video = find_sources([make_video(pts=range(3))])
    predict(segmenter, [*video, *photos], out=tmp_path / "out", report=reported.append)
    assert [(p.number, p.sources, p.frame, p.frames) for p in reported] == [
        *((number, 4, 1, 1) for number in (1, 2, 3)),
        *((4, 4, frame, 3) for frame in (1, 2, 3)),
    ]


def test_an_interruption_leaves_only_whole_files(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(segmenter, photos, out=tmp_path / "out", report=interrupt)
    written = files_below(tmp_path / "out")
    assert "masks/b/1.png" not in written
    assert not any(Path(name).name.startswith(".") for name in written)
    for name in written:
        read_image(tmp_path / "out" / name)


def test_a_folder_that_cannot_be_written_ends_the_work(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written"):
        predict(segmenter, photos, out=tmp_path / "out")


def test_settings_that_cannot_work_are_refused_before_anything_is_done(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source], make_video: MakeVideo
) -> None:
    with pytest.raises(ConfigError, match="opacity"):
        predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(opacity=1.5))
    with pytest.raises(ConfigError, match="overlay"):
        predict(segmenter, find_sources([make_video()]), out=tmp_path / "out", options=PredictOptions(overlays=False))
    with pytest.raises(ConfigError, match="min_area must be at least 1"):
        predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(regions="json", min_area=0))
    with pytest.raises(ConfigError, match="--regions json"):
        predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(min_area=20))
    with pytest.raises(ConfigError, match="--regions json"):
        predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(region_classes=["bright"]))
    with pytest.raises(DataError, match="no class 'light'; the classes are dark, bright"):
        predict(
            segmenter, photos, out=tmp_path / "out", options=PredictOptions(regions="json", region_classes=["light"])
        )
    assert segmenter.seen == []
    assert not (tmp_path / "out").exists()


def test_regions_of_all_images_are_one_json_file(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(regions="json", region_classes=["bright"]))
    assert files_below(tmp_path / "out") == {
        "regions.json",
        *(f"{kind}/{stem}.{suffix}" for kind, suffix in RESULTS for stem in ("a/1", "a/2", "b/1")),
    }
    entries = json.loads((tmp_path / "out/regions.json").read_text())
    assert list(entries) == ["a/1.jpg", "a/2.png", "b/1.jpg"]
    assert entries["a/2.png"]["size"] == [40, 56]
    (region,) = entries["a/2.png"]["regions"]
    assert (region["class"], region["box"], region["area"]) == ("bright", [0, 0, 28, 20], 560)
    assert region["confidence"] == round((250 - 127.5) / 127.5, 4)
    assert region["polygons"] == [[[[0, 0], [28, 0], [28, 20], [0, 20]]]]


def test_regions_of_all_images_are_one_coco_data_set(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(regions="coco", min_area=600))
    data = json.loads((tmp_path / "out/regions.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["a/1.jpg", "a/2.png", "b/1.jpg"]
    assert [(a["image_id"], a["category_id"]) for a in data["annotations"]] == [(1, 1), (2, 1), (3, 1)]


def test_each_image_has_its_own_geojson(tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]) -> None:
    predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(regions="geojson", overlays=False))
    assert files_below(tmp_path / "out") == {
        name for stem in ("a/1", "a/2", "b/1") for name in (f"masks/{stem}.png", f"regions/{stem}.geojson")
    }
    collection = json.loads((tmp_path / "out/regions/a/2.geojson").read_text())
    assert [feature["properties"]["image"] for feature in collection["features"]] == ["a/2.png"] * 2


def test_overlays_have_boxes_where_regions_are_asked_for(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    predict(segmenter, photos[1:2], out=tmp_path / "out", options=PredictOptions(regions="json"))
    (prediction,) = segmenter.predict_batch([read_image(photos[1].path)])
    found = read_image(tmp_path / "out/overlays/a/2.jpg").astype(int)
    expected, plain = prediction.overlay(boxes=prediction.regions()), prediction.overlay()
    near = np.abs(found[: len(plain)] - expected[: len(plain)]).mean()
    assert near < 3
    assert np.abs(found[: len(plain)] - plain).mean() > 2 * near


def test_images_that_differ_in_their_suffix_keep_their_names(tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    for name in ("1.jpg", "1.png"):
        write_image(tmp_path / "in" / name, draw_image((8, 8)))
    predict(segmenter, find_sources([tmp_path / "in"]), out=tmp_path / "out", options=PredictOptions(regions="json"))
    assert list(json.loads((tmp_path / "out/regions.json").read_text())) == ["1.jpg", "1.png"]


def test_a_broken_image_is_left_out_of_the_regions(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    photos[1].path.write_text("this is not an image")
    predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(regions="json"))
    assert list(json.loads((tmp_path / "out/regions.json").read_text())) == ["a/1.jpg", "b/1.jpg"]


@pytest.mark.parametrize("file_format", ["json", "coco"])
def test_an_interruption_leaves_the_regions_of_the_masks_that_are_there(
    file_format: RegionFormat, tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.number == 2:
            while not (tmp_path / "out/masks/a/1.png").exists():  # so that there is something to keep
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(segmenter, photos, out=tmp_path / "out", report=interrupt, options=PredictOptions(regions=file_format))
    entries = json.loads((tmp_path / "out/regions.json").read_text())
    names = list(entries) if file_format == "json" else [image["file_name"] for image in entries["images"]]
    written = files_below(tmp_path / "out")
    assert {f"masks/{Path(name).with_suffix('.png')}" for name in names} == {
        n for n in written if n.startswith("masks")
    }
    assert "a/1.jpg" in names
    assert not any(Path(name).name.startswith(".") for name in written)


def test_the_regions_of_a_video_are_boxes_and_a_warning(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    video = find_sources([make_video(size=(96, 160))])
    report = predict(segmenter, video, out=tmp_path / "boxed", options=PredictOptions(regions="json"))
    (warning,) = report.warnings
    assert warning.startswith(f"{video[0].path}: ")
    assert "are drawn as boxes, but not written to a file" in warning
    assert files_below(tmp_path / "boxed") == {"overlays/video.mp4"}
    predict(segmenter, video, out=tmp_path / "bare")
    boxed, bare = (first_frame(tmp_path / name / "overlays/video.mp4") for name in ("boxed", "bare"))
    assert boxed.shape == bare.shape
    assert np.abs(boxed[:96].astype(int) - bare[:96]).max() > 60


def first_frame(video: Path) -> RGBImage:
    with av.open(str(video)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize("file_format", get_args(AnnotationFormat))
def test_predicted_masks_come_back_from_an_annotation_tool(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source], file_format: str
) -> None:
    write_image(tmp_path / "in" / "a" / "1.jpg", draw_image((40, 56))[::-1])
    predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(annotations=file_format))
    back = open_folder(tmp_path / "out" / "annotations")
    assert back.classes.names == segmenter.classes.names
    pairs = {pair.name: pair for pairs in back.splits.values() for pair in pairs}
    assert set(pairs) == {"a/1", "a/2", "b/1"}
    for name, pair in pairs.items():
        image, label_map = back.read_pair(pair)
        np.testing.assert_array_equal(label_map, read_label_map(tmp_path / "out" / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(
            image, read_image(tmp_path / "in" / pair.image.relative_to(pair.image.parents[1]))
        )


def test_annotations_of_another_kind_are_refused(
    tmp_path: Path, segmenter: BrightnessSegmenter, photos: list[Source]
) -> None:
    with pytest.raises(
        ConfigError, match="annotations must be folder, voc, cvat, coco, labelme, yolo, but got 'paint'"
    ):
        predict(segmenter, photos, out=tmp_path / "out", options=PredictOptions(annotations="paint"))


def test_images_of_one_size_go_through_the_network_together(segmenter, tmp_path):
    sizes = [(20, 30), (20, 30), (20, 30), (24, 30), (20, 30)]
    for number, size in enumerate(sizes):
        Image.fromarray(draw_image(size, number)).save(tmp_path / f"{number}.png")
    (tmp_path / "2b.png").write_bytes(b"no image")
    calls = []
    predict_batch = segmenter.predict_batch

    def counted(images, **asked):
        calls.append(len(images))
        return predict_batch(images, **asked)

    segmenter.predict_batch, segmenter.batch_size = counted, 2
    events = []
    report = predict(
        segmenter,
        find_sources([tmp_path]),
        out=tmp_path / "out",
        report=lambda p: events.append(p.number),
    )
    assert calls == [2, 1, 1, 1]
    assert events == [1, 2, 3, 4, 5, 6]
    assert (report.images, len(report.failures)) == (5, 1)
    for number, size in enumerate(sizes):
        assert read_label_map(tmp_path / "out" / "masks" / f"{number}.png").shape == size


def test_an_image_that_the_predictor_refuses_fails_alone_in_its_batch(segmenter, tmp_path):
    images = [draw_image((20, 30), number) for number in range(5)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    predict_batch = segmenter.predict_batch

    def choosy(batch, **asked):
        if any(np.array_equal(image, images[2]) for image in batch):
            raise ImageError("the image has too many cats")
        return predict_batch(batch, **asked)

    segmenter.predict_batch, segmenter.batch_size = choosy, 4
    report = predict(segmenter, find_sources([tmp_path]), out=tmp_path / "out")
    assert [(each.source.stem, each.message) for each in report.failures] == [
        ("2", f"{tmp_path / '2.png'}: the image has too many cats")
    ]
    assert sorted(path.stem for path in (tmp_path / "out" / "masks").iterdir()) == ["0", "1", "3", "4"]


def test_images_side_by_side_give_the_same_in_the_same_order(segmenter, tmp_path):
    for number in range(6):
        Image.fromarray(draw_image((20, 30 + number), number)).save(tmp_path / f"{number}.png")
    sources, events = find_sources([tmp_path]), []
    in_pairs = InPairs()
    predict(in_pairs, sources, out=tmp_path / "two", report=lambda progress: events.append(progress.source.stem))
    assert events == [str(number) for number in range(6)]
    predict(segmenter, sources, out=tmp_path / "one")
    for name in files_below(tmp_path / "one"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_for_a_few_images_nothing_is_made_ready_for_many(segmenter, photos, tmp_path):
    segmenter.side_by_side = lambda: pytest.fail("made ready")
    predict(segmenter, photos, out=tmp_path / "out")


def test_arrays_and_pillow_images_are_predicted_under_numbered_names(
    segmenter: BrightnessSegmenter, tmp_path: Path
) -> None:
    array = draw_image((20, 30))
    report = predict(segmenter, [array, Image.fromarray(array[:, :20]), array], out=tmp_path / "out")
    assert (report.images, report.failures) == (3, ())
    for stem, width in (("image", 30), ("image-2", 20), ("image-3", 30)):
        expected = (array[:, :width].mean(axis=2) > 127).astype(np.uint8)
        np.testing.assert_array_equal(read_label_map(tmp_path / "out/masks" / f"{stem}.png"), expected)
        assert (tmp_path / "out/overlays" / f"{stem}.jpg").is_file()


def test_an_image_in_memory_and_a_file_of_its_name_keep_their_results_apart(
    segmenter: BrightnessSegmenter, tmp_path: Path
) -> None:
    write_image(tmp_path / "image.png", draw_image((20, 30)))
    predict(segmenter, [draw_image((8, 8)), tmp_path / "image.png"], out=tmp_path / "out")
    masks = {path.name: read_label_map(path).shape for path in (tmp_path / "out/masks").iterdir()}
    assert masks == {"image.png": (8, 8), "image.png.png": (20, 30)}


@pytest.mark.parametrize("sources", [np.zeros((20, 30, 3), np.uint8), Image.new("RGB", (30, 20))])
def test_one_image_in_memory_needs_no_list(segmenter: BrightnessSegmenter, tmp_path: Path, sources: object) -> None:
    predict(segmenter, sources, out=tmp_path / "out")
    assert files_below(tmp_path / "out") == {"masks/image.png", "overlays/image.jpg"}


def test_an_array_of_four_axes_is_several_images(segmenter: BrightnessSegmenter, tmp_path: Path) -> None:
    report = predict(segmenter, np.zeros((4, 20, 30, 3), np.uint8), out=tmp_path / "out")
    assert report.images == 4


def test_an_array_that_is_no_image_is_a_failure_in_one_line(segmenter: BrightnessSegmenter, tmp_path: Path) -> None:
    report = predict(segmenter, [np.zeros((20, 30, 3))], out=tmp_path / "out")
    assert [failure.source.stem for failure in report.failures] == ["image"]
    assert "float64" in report.failures[0].message


def test_annotations_of_an_image_in_memory_are_refused(segmenter: BrightnessSegmenter, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source image is an image in memory; save it first"):
        predict(segmenter, draw_image((8, 8)), out=tmp_path / "out", options=PredictOptions(annotations="coco"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        ("in/2.png", "2"),
        (Path("in/2.png"), "2"),
        ("in", "in"),
        (["in/2.png", "in"], "2"),
        ("in/*.jpg", "in"),
        (".", "here"),
        ("..", "above"),
        (np.zeros((8, 8, 3), np.uint8), "image"),
    ],
)
def test_without_a_folder_results_go_to_the_next_free_run(
    segmenter: BrightnessSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: object, name: str
) -> None:
    for file in ("1.jpg", "2.png"):
        write_image(tmp_path / "above/here/in" / file, draw_image((20, 30)))
    monkeypatch.chdir(tmp_path / "above/here")
    first, second = predict(segmenter, sources), predict(segmenter, sources)
    assert (first.out, second.out) == (Path("runs/predict") / name, Path("runs/predict") / f"{name}-2")
    assert len(list((first.out / "masks").rglob("*.png"))) == first.images == second.images > 0


def test_where_nothing_is_written_no_run_is_begun(
    segmenter: BrightnessSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = predict(segmenter, [])
    assert (report.out, report.images) == (None, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_predictor_decides_on_batches_and_wrappers_pass_it_on(segmenter: BrightnessSegmenter) -> None:
    segmenter.batch_size, segmenter.side_by_side = 7, lambda: nullcontext(3)
    wrapped = Abstain(segmenter, below=0.5)
    assert (batch_size(segmenter), batch_size(wrapped)) == (7, 7)
    with side_by_side(wrapped) as workers:
        assert workers == 3
