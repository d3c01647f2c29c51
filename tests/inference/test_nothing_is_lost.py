"""`predict` replaces no file of the user, for any source and output."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo, draw_image

from maskpencil.errors import OutputError
from maskpencil.images import write_image
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.report import Progress
from maskpencil.inference.sources import find_sources
from maskpencil.results import MARKER


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png"):
        write_image(tmp_path / "data" / name, draw_image((24, 32)))
    return tmp_path / "data"


def refused(segmenter: BrightnessSegmenter, data: Path, *sources: Path, out: Path, **asked) -> str:
    before = contents(data)
    with pytest.raises(OutputError) as caught:
        predict(segmenter, find_sources(sources, out=out), out=out, options=PredictOptions(**asked))
    assert contents(data) == before
    assert segmenter.seen == [], "it is refused before the first image"
    return str(caught.value)


def test_a_mask_is_never_overwritten_by_its_prediction(
    segmenter: BrightnessSegmenter, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "was not written by an earlier run" in refused(segmenter, data, data / "images", out=data)
    monkeypatch.chdir(data)
    refused(segmenter, data, Path("images"), out=Path())
    for out in ("../data/masks/..", "new/..", "../new/../data"):
        refused(segmenter, data, Path("images"), out=Path(out))


def test_predictions_of_other_images_do_not_go_among_true_masks(segmenter: BrightnessSegmenter, data: Path) -> None:
    write_image(data / "more/c.png", draw_image((24, 32)))
    assert "masks: holds files that no earlier run wrote" in refused(segmenter, data, data / "more", out=data)


def test_images_are_never_overwritten_by_their_overlays(segmenter: BrightnessSegmenter, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_image(photos / "overlays/a.jpg", draw_image((24, 32)))
    assert "is an input" in refused(segmenter, photos, photos / "overlays", out=photos)
    refused(segmenter, photos, photos, out=photos)


@pytest.mark.parametrize("kind", ["confidence", "entropy", "regions"])
def test_no_folder_of_the_user_is_mixed_with_results(segmenter: BrightnessSegmenter, data: Path, kind: str) -> None:
    (data / kind).mkdir()
    (data / kind / "a.txt").touch()
    asked = {"regions": "geojson"} if kind == "regions" else {kind: True}
    message = refused(segmenter, data, data / "images/a.png", out=data, overlays=False, **asked)
    assert "holds files that no earlier run wrote" in message or "masks" in message
    shutil.rmtree(data / "masks")
    assert f"{kind}: holds files" in refused(segmenter, data, data / "images/a.png", out=data, overlays=False, **asked)


def test_a_regions_file_of_the_user_is_kept(segmenter: BrightnessSegmenter, data: Path, tmp_path: Path) -> None:
    (tmp_path / "data/out").mkdir()
    (tmp_path / "data/out/regions.json").write_text("mine")
    assert "regions.json" in refused(segmenter, data, data / "images", out=data / "out", regions="json")


def test_a_result_is_not_its_own_source(segmenter: BrightnessSegmenter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(segmenter, find_sources([data / "images"]), out=out)
    segmenter.seen.clear()
    assert "is an input" in refused(segmenter, out, out / "masks/a.png", out=out)


def test_a_video_is_not_overwritten_by_its_overlay(
    segmenter: BrightnessSegmenter, make_video: MakeVideo, tmp_path: Path
) -> None:
    (tmp_path / "out/overlays").mkdir(parents=True)
    video = make_video().rename(tmp_path / "out/overlays/video.mp4")
    assert "video.mp4" in refused(segmenter, tmp_path / "out", video, out=tmp_path / "out")


def test_masks_of_frames_are_written_again_but_not_over_other_files(
    segmenter: BrightnessSegmenter, make_video: MakeVideo, tmp_path: Path
) -> None:
    video, out = find_sources([make_video()]), tmp_path / "out"
    for every, count in ((1, 12), (3, 4)):
        predict(segmenter, video, out=out, options=PredictOptions(video=VideoOptions(masks="png", every=every)))
        assert len(list((out / "masks/video").iterdir())) == count
    segmenter.seen.clear()
    (out / "masks/video/000002.png").write_text("corrected")
    message = refused(segmenter, out, video[0].path, out=out, video=VideoOptions(masks="png"))
    assert "000002.png: was changed since it was written" in message


@pytest.mark.parametrize("asked", [{}, {"regions": "json", "confidence": True}, {"regions": "geojson"}])
def test_the_same_folder_takes_the_results_of_the_same_images_again(
    segmenter: BrightnessSegmenter, data: Path, tmp_path: Path, make_video: MakeVideo, asked: dict[str, object]
) -> None:
    sources = find_sources([data / "images", make_video()])
    for _ in range(3):
        report = predict(segmenter, sources, out=tmp_path / "out", options=PredictOptions(**asked))
        assert report.failures == ()
    more = find_sources([data / "masks"])
    assert predict(segmenter, more, out=tmp_path / "out", options=PredictOptions(overlays=False)).images == 2


def test_a_corrected_mask_is_kept(segmenter: BrightnessSegmenter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(segmenter, find_sources([data / "images"]), out=out)
    segmenter.seen.clear()
    write_image(out / "masks/b.png", np.full((24, 32), 7, dtype=np.uint8))
    assert "b.png: was changed since it was written" in refused(segmenter, out, data / "images", out=out)


def test_equal_runs_leave_equal_folders(segmenter: BrightnessSegmenter, data: Path, tmp_path: Path) -> None:
    left = []
    for out in (tmp_path / "one", tmp_path / "two"):
        predict(segmenter, find_sources([data / "images"]), out=out, options=PredictOptions(regions="json"))
        left.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert left[0] == left[1]
    assert Path(MARKER) in left[0]


def test_a_change_that_keeps_size_and_time_is_seen(segmenter: BrightnessSegmenter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(segmenter, find_sources([data / "images"]), out=out)
    segmenter.seen.clear()
    mask = out / "masks/b.png"
    status, content = mask.stat(), bytearray(mask.read_bytes())
    content[-20] ^= 1
    mask.write_bytes(content)
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "b.png: was changed since it was written" in refused(segmenter, out, data / "images", out=out)


def test_after_an_interruption_the_same_call_works_annotations_included(
    segmenter: BrightnessSegmenter, data: Path, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    out, sources = tmp_path / "out", find_sources([data / "images"])
    with pytest.raises(KeyboardInterrupt):
        predict(
            segmenter, sources, out=out, report=interrupt, options=PredictOptions(annotations="coco", regions="json")
        )
    assert not (out / "annotations").exists(), "a data set appears whole or not at all"
    predict(segmenter, sources, out=out, options=PredictOptions(annotations="voc", regions="json"))
    predict(segmenter, sources, out=out, options=PredictOptions(annotations="coco", regions="json"))
    file = out / "annotations/annotations/instances_default.json"
    assert not (out / "annotations/labelmap.txt").exists(), "data sets are not mixed"
    file.write_text("corrected")
    segmenter.seen.clear()
    message = refused(segmenter, out, data / "images", out=out, annotations="coco")
    assert "instances_default.json: was changed since it was written" in message


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_two_runs_do_not_write_annotations_into_one_folder(
    segmenter: BrightnessSegmenter, data: Path, tmp_path: Path
) -> None:
    def again(progress: Progress) -> None:
        with pytest.raises(OutputError, match="annotations: is being written by another process"):
            predict(
                segmenter,
                find_sources([data / "masks"]),
                out=tmp_path / "out",
                options=PredictOptions(annotations="voc", overlays=False),
            )

    predict(
        segmenter,
        find_sources([data / "images"]),
        out=tmp_path / "out",
        report=again,
        options=PredictOptions(annotations="voc"),
    )
    assert len(list((tmp_path / "out/annotations/JPEGImages").iterdir())) == 2


def test_every_output_for_images_is_checked_before_writing(
    segmenter: BrightnessSegmenter, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: set[Path] = set()

    def plan(out, files, **_) -> None:
        planned.update(files)

    monkeypatch.setattr("maskpencil.inference.predict.refuse_to_replace", plan)
    out = tmp_path / "out"
    for regions in ("json", "geojson"):
        predict(
            segmenter,
            find_sources([data / "images"]),
            out=out,
            options=PredictOptions(confidence=True, entropy=True, regions=regions),
        )
    assert {path for path in out.rglob("*") if path.is_file() and path.parent != out} <= planned
    assert out / "regions.json" in planned
