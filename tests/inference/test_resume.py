"""With `resume`, results of an earlier run are kept only if they are whole and would be the same."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.helpers import BrightnessSegmenter, draw_image

import maskpencil as mp
from maskpencil.cli import main
from maskpencil.errors import ConfigError, OutputError
from maskpencil.inference import resume, wrappers
from maskpencil.inference.options import PredictOptions

OPTIONS = PredictOptions(resume=True)


class Model(BrightnessSegmenter):
    """A model whose weights have a number."""

    def __init__(self, weights=1, fails_after=99):
        super().__init__()
        self.weights, self.fails_after = weights, fails_after

    def origin(self):
        return {"weights": self.weights}

    def predict_batch(self, images, **asked):
        if len(self.seen) >= self.fails_after:
            raise KeyboardInterrupt
        return super().predict_batch(images, **asked)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number in range(6):
        path = folder / ("more" if number > 3 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_image((8, 12 + number), number)).save(path)
    return folder


def run(photos, out, *, model=None, options=OPTIONS):
    """Predict: the report, and the number of images that were computed."""
    model = model or Model()
    seen = getattr(model, "segmenter", model).seen
    seen.clear()
    report = mp.predict(model, photos, out=out, options=options)
    return report, len(seen)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*g") if path.is_file()}


def test_what_is_done_is_kept(photos, tmp_path):
    out = tmp_path / "out"
    report, computed = run(photos, out)
    assert (report.images, report.kept, report.notes, computed) == (6, 0, (), 6)
    before = contents(out)
    report, computed = run(photos, out)
    assert (report.images, report.kept, report.notes, computed) == (
        0,
        6,
        ("6 images done by an earlier run and kept",),
        0,
    )
    assert contents(out) == before
    assert len(before) == 12


def test_an_interrupted_run_is_continued_and_gives_what_one_run_gives(photos, tmp_path):
    run(photos, tmp_path / "whole", options=PredictOptions())
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", model=Model(fails_after=3))
    written = len(list((tmp_path / "out" / "masks").rglob("*.png")))
    report, computed = run(photos, tmp_path / "out")
    assert computed == 6 - report.kept
    assert 0 < report.kept <= written
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert run(photos, tmp_path / "out")[0].kept == 6


def change_time(photos, _):
    os.utime(photos / "1.png", ns=(1, 1))


def change_content(photos, _):
    status = (photos / "1.png").stat()
    Image.fromarray(draw_image((80, 130), 5)).save(photos / "1.png")
    os.utime(photos / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns))


def lose_mask(_, out):
    (out / "masks" / "1.png").unlink()


def lose_overlay(_, out):
    (out / "overlays" / "1.jpg").unlink()


def cut_record(_, out):
    path = out / resume.RECORD
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line[:20] + b"\n" if b'"1"' in line else line for line in lines))


@pytest.mark.parametrize("change", [change_time, change_content, lose_mask, lose_overlay, cut_record])
def test_an_image_is_computed_again_if_anything_changed(change, photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    change(photos, out)
    report, computed = run(photos, out)
    assert (report.images, report.kept, computed) == (1, 5, 1)
    assert run(photos, out)[1] == 0
    assert (out / "overlays" / "1.jpg").is_file()
    assert (out / "masks" / "1.png").is_file()


@pytest.mark.parametrize(
    "changed",
    [
        {"model": Model(weights=2)},
        {"model": wrappers.Abstain(Model(), below=0.5)},
        {"options": replace(OPTIONS, opacity=0.25)},
        {"options": replace(OPTIONS, confidence=True)},
        {"options": replace(OPTIONS, regions="geojson", min_area=2)},
    ],
)
def test_all_images_are_computed_again_for_another_model_or_setting(changed, photos, tmp_path):
    run(photos, tmp_path / "out")
    report, computed = run(photos, tmp_path / "out", **changed)
    assert (report.kept, computed) == (0, 6)
    report, _ = run(photos, tmp_path / "out", **changed)
    assert report.kept == 6


def test_the_settings_of_wrappers_count():
    origins = [
        wrappers.Abstain(Model(), below=0.5),
        wrappers.Abstain(Model(), below=0.6),
        wrappers.Abstain(Model(weights=2), below=0.5),
        wrappers.SingleClass(Model(), "dark", threshold=0.5),
        wrappers.SingleClass(Model(), "bright", threshold=0.5),
        wrappers.SingleClass(Model(), "dark", threshold=0.6),
        wrappers.TestTimeAugmentation(Model()),
        wrappers.TestTimeAugmentation(Model(), flip=False),
        wrappers.TestTimeAugmentation(Model(), scales=(1.0, 1.5)),
    ]
    assert len({json.dumps(each.origin(), sort_keys=True) for each in origins}) == len(origins)
    assert wrappers.Abstain(BrightnessSegmenter(), below=0.5).origin() is None


def test_a_mask_that_the_user_changed_is_not_replaced(photos, tmp_path):
    run(photos, tmp_path / "out")
    (tmp_path / "out" / "masks" / "1.png").write_bytes(b"corrected by hand")
    with pytest.raises(OutputError, match=r"1\.png: was changed since it was written and would be replaced"):
        run(photos, tmp_path / "out")


def test_results_of_runs_without_the_option_are_computed_again(photos, tmp_path):
    run(photos, tmp_path / "out", options=PredictOptions())
    assert not (tmp_path / "out" / resume.RECORD).exists()
    report, computed = run(photos, tmp_path / "out")
    assert (report.kept, computed) == (0, 6)


def test_results_that_another_run_has_replaced_are_computed_again(photos, tmp_path):
    run(photos, tmp_path / "out")
    run(photos, tmp_path / "out", options=PredictOptions(opacity=1.0))
    report, computed = run(photos, tmp_path / "out")
    assert (report.kept, computed) == (0, 6)
    assert run(photos, tmp_path / "out")[1] == 0


def test_an_image_whose_results_could_not_be_written_is_not_recorded(photos, tmp_path, monkeypatch):
    def fail(*_):
        raise OutputError("no space")

    monkeypatch.setattr("maskpencil.inference.images.ImageResults.write", fail)
    with pytest.raises(OutputError, match="no space"):
        run(photos, tmp_path / "out")
    assert not (tmp_path / "out" / resume.RECORD).exists()


def test_images_of_other_runs_in_the_same_folder_stay_recorded(photos, tmp_path):
    out = tmp_path / "out"
    for source in (photos / "0.png", photos / "1.png", photos / "0.png"):
        report, _ = run([source], out)
    assert report.kept == 1
    assert run([photos / "1.png"], out)[0].kept == 1
    assert len((out / resume.RECORD).read_bytes().splitlines()) == 2


def test_an_image_of_the_same_name_from_another_folder_is_computed(photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    os.link(photos / "0.png", other / "0.png")
    run([photos / "0.png"], tmp_path / "out")
    assert run([other / "0.png"], tmp_path / "out")[1] == 1


def test_images_in_memory_are_always_computed(tmp_path):
    for _ in range(2):
        report, computed = run(draw_image((8, 8)), tmp_path / "out")
        assert (report.kept, computed) == (0, 1)


@pytest.mark.parametrize("content", [b"", b"[]\n", b"\xff\xfe\n", b'["1", "a"]\n' * 3, b"[" * 10_000])
def test_a_record_that_is_none_keeps_nothing(content, photos, tmp_path):
    run(photos, tmp_path / "out")
    (tmp_path / "out" / resume.RECORD).write_bytes(content)
    report, computed = run(photos, tmp_path / "out")
    assert (report.kept, computed) == (0, 6)
    assert run(photos, tmp_path / "out")[0].kept == 6


def test_a_record_is_never_written_through_a_link(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / resume.RECORD).symlink_to(tmp_path / "precious")
    run(photos, tmp_path / "out")
    assert (tmp_path / "precious").read_text() == "mine"
    assert run(photos, tmp_path / "out")[0].kept == 6


def test_a_damaged_image_is_an_error_each_time(photos, tmp_path):
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:40])
    for kept in (0, 5):
        report, _ = run(photos, tmp_path / "out")
        assert (len(report.failures), report.kept) == (1, kept)


@pytest.mark.parametrize("settings", [{"regions": "json"}, {"regions": "coco"}, {"annotations": "folder"}])
def test_files_of_all_images_are_refused(settings):
    with pytest.raises(ConfigError, match=r"resume keeps the results of single images.* leave --resume out"):
        PredictOptions(resume=True, **settings)


def test_a_folder_and_a_model_that_can_be_told_from_others_are_needed(photos, tmp_path):
    with pytest.raises(ConfigError, match="resume needs the folder of the earlier results; give it with --out FOLDER"):
        run(photos, None)
    with pytest.raises(ConfigError, match="--resume needs a model that can be identified"):
        run(photos, tmp_path / "out", model=BrightnessSegmenter())


def test_the_command_says_what_it_kept(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("maskpencil.cli.predict.load_predictor", lambda *_, **__: Titled())
    words = ["predict", str(tmp_path / "model"), str(photos), "--out", str(tmp_path / "out"), "--resume"]
    assert main(words) == 0
    assert "6 images done" in capsys.readouterr().out
    (tmp_path / "out" / "masks" / "1.png").unlink()
    assert main(words) == 0
    said = capsys.readouterr()
    assert "1 image done" in said.out
    assert "5 images done by an earlier run and kept" in said.err


class Titled(Model):
    title = "by eye"


def test_masks_beside_tiff_files_count(tmp_path):
    Image.fromarray(draw_image((8, 12))).save(tmp_path / "a.tif")
    for count, expected in ((0, 1), (1, 0)):
        report, computed = run([tmp_path / "a.tif"], tmp_path / "out")
        assert (report.kept, computed) == (count, expected)
    Image.fromarray(np.full((8, 12), 255, np.uint8)).save(tmp_path / "a.tif.msk", "TIFF")
    assert run([tmp_path / "a.tif"], tmp_path / "out")[1] == 1
