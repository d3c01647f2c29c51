import csv
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from tests.report.encoded import HOSTILE, Encoded, images, squares

import maskpencil as mp
from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError, DataError, ImageError, OutputError
from maskpencil.evaluation import evaluate, neighboring_frames, video_names
from maskpencil.images import RGBImage
from maskpencil.report import ReportOptions, write_report
from maskpencil.report.report import LABEL_ERRORS, QUALITIES

NAMES = ("ground", "box", "ball")


class Page(HTMLParser):
    """The elements and texts of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("bdi", "span", "wbr"):
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).replace("\u200b", "").split())


@pytest.fixture
def street(save_files) -> Path:
    maps = squares(6)
    wrong = {name: np.where(m == 2, 1, m).astype(np.uint8) if i < 2 else m for i, (name, m) in enumerate(maps.items())}
    names = "names: [ground, box, ball]"
    return save_files({**images(maps, wrong), **images(squares(4, seed=1), split="train"), "classes.yaml": names})


def test_the_page_shows_the_scores_of_evaluate(street: Path, tmp_path: Path) -> None:
    scores = write_report(Encoded(NAMES), street, tmp_path / "report.html")
    assert scores.to_dict() == evaluate(Encoded(NAMES), street).to_dict()
    page = Page(tmp_path / "report.html")
    assert f"the mean IoU is {scores.mean_iou:.3f}" in page.text
    low, high = scores.intervals["mean_iou"]
    assert f"95% interval {low:.3f} to {high:.3f}" in page.text
    for name, each in scores.classes.items():
        assert f"{each.iou:.4f}"[:-1] in page.text, name
    assert "ball missed: 100% of its pixels called box" in page.text


def test_the_page_loads_nothing_and_runs_only_its_own_script(street: Path, tmp_path: Path) -> None:
    write_report(Encoded(NAMES), street, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    addresses = [attributes[key] for _, attributes in page.elements for key in ("src", "href") if key in attributes]
    assert addresses
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in addresses if address)
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert not [attributes for _, attributes in page.elements if "style" in attributes], "the policy forbids these"
    (policy,) = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(page.all("script")) == len(page.all("style")) == 1


def test_names_of_classes_and_files_are_only_text(save_files, tmp_path: Path) -> None:
    maps = squares(12, classes=len(HOSTILE))
    files = dict(zip((f"{i}<img src=x onerror=alert(1)>&'\"" for i in range(12)), maps.values(), strict=True))
    classes = ClassSet(HOSTILE)
    first = next(iter(files))
    wrong = files | {first: np.where(files[first] == 4, 0, files[first]).astype(np.uint8)}
    folder = save_files(images(files, wrong))
    mp.classes.write_classes(folder / "classes.yaml", classes)
    write_report(Encoded(HOSTILE), folder, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert len(page.all("script")) == 1
    assert {attributes.get("src", "")[:5] for attributes in page.all("img")} == {"", "data:"}
    for name in HOSTILE[:2]:
        assert name in page.text
    assert r"\x1b[31mred" in page.text
    assert r"\u202eright to left" in page.text
    assert not {"\x1b", "\x07", "\u202e"} & set((tmp_path / "report.html").read_text(encoding="utf-8"))
    with (tmp_path / LABEL_ERRORS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert "'=HYPERLINK(1)" in {cell for row in rows for cell in row}


def test_a_region_that_contradicts_its_label_is_listed(save_files, tmp_path: Path) -> None:
    maps = squares(40)
    name = list(maps)[2]
    wrong = {**maps, name: maps[name].copy()}
    wrong[name][44:50, 4:10] = 2
    folder = save_files({**images(maps, wrong), "classes.yaml": "names: [ground, box, ball]"})
    write_report(Encoded(NAMES), folder, tmp_path / "report.html")
    with (tmp_path / LABEL_ERRORS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    assert (first["file"], first["class"], first["would be"]) == (f"images/val/{name}.png", "ground", "ball")
    x0, y0, x1, y1 = (int(first[key]) for key in ("x0", "y0", "x1", "y1"))
    assert (x0, y0, x1, y1) == (4, 44, 10, 50)
    assert "labeled ground, the model says ball" in Page(tmp_path / "report.html").text


def test_without_a_suspect_no_table_is_written(save_files, tmp_path: Path) -> None:
    folder = save_files({**images(squares(3)), "classes.yaml": "names: [ground, box, ball]"})
    write_report(Encoded(NAMES), folder, tmp_path / "report.html")
    assert not (tmp_path / LABEL_ERRORS).exists()
    assert "No label is suspect" in Page(tmp_path / "report.html").text


def test_a_better_model_is_called_better_with_an_interval(save_files, tmp_path: Path) -> None:
    maps = squares(30)
    wrong = {name: np.where(m == 2, 1, m).astype(np.uint8) if i % 3 else m for i, (name, m) in enumerate(maps.items())}
    folder = save_files({**images(maps, wrong), "classes.yaml": "names: [ground, box, ball]"})
    always_ground = Encoded(NAMES, np.zeros_like)
    for models, expected in (
        ([always_ground, Encoded(NAMES)], r"the model \(2\) is better than the model \(1\) \(\+\d+\.\d, 95% \+\d"),
        ([Encoded(NAMES), always_ground], r"the model \(2\) is worse than the model \(1\) \(-\d+\.\d, 95% -\d"),
        ([Encoded(NAMES), Encoded(NAMES)], r"cannot be told apart by these images \(\+0\.0, 95% \+0\.0 to \+0\.0"),
    ):
        write_report(models, folder, tmp_path / "report.html")
        assert re.search(expected, Page(tmp_path / "report.html").text)


def test_models_with_other_classes_are_not_compared(street: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^the model \(2\) has other classes than the model \(1\)"):
        write_report([Encoded(NAMES), Encoded(("a", "b", "c"))], street, tmp_path / "report.html")


@pytest.mark.parametrize("classes", [1, 2, 150])
def test_any_number_of_classes_gives_a_report(classes: int, save_files, tmp_path: Path) -> None:
    names = [f"c{k}" for k in range(classes)]
    maps = {name: np.minimum(m, classes - 1) for name, m in squares(3).items()}
    folder = save_files({**images(maps), "classes.yaml": f"names: [{', '.join(names)}]"})
    scores = write_report(Encoded(names), folder, tmp_path / "report.html")
    assert scores.mean_iou == 1
    page = Page(tmp_path / "report.html")
    assert ("Precision and recall of c1" in page.text) == (classes == 2)
    assert ("Confusion matrix" in page.text) == (classes == 2)


def test_masks_without_a_pixel_of_any_class_give_a_report(save_files, tmp_path: Path) -> None:
    maps = squares(2) | {"void": np.full((20, 20), IGNORE_INDEX, np.uint8)}
    folder = save_files({**images(maps), "classes.yaml": "names: [ground, box, ball, never]"})
    scores = write_report(Encoded((*NAMES, "never")), folder, tmp_path / "report.html")
    assert scores.classes["never"].iou is None


def test_ignored_pixels_alone_give_a_report_without_scores(save_files, tmp_path: Path) -> None:
    void = np.full((20, 20), IGNORE_INDEX, np.uint8)
    folder = save_files({**images({"void": void, "nothing": void}), "classes.yaml": "names: [a, b]"})
    scores = write_report(Encoded(("a", "b")), folder, tmp_path / "report.html")
    assert math.isnan(scores.mean_iou)
    assert "no pixel of these images is labeled" in Page(tmp_path / "report.html").text


def test_a_single_image_gives_a_report_without_intervals(save_files, tmp_path: Path) -> None:
    folder = save_files(
        {
            **images(squares(1)),
            **images(squares(2, seed=3), split="train"),
            "classes.yaml": "names: [ground, box, ball]",
        }
    )
    scores = write_report(Encoded(NAMES), folder, tmp_path / "report.html")
    assert not scores.intervals
    assert "Intervals need at least 6 images" in Page(tmp_path / "report.html").text


def test_a_missing_split_and_an_unreadable_image_are_clear_errors(street: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no 'test' images; it has train, val$"):
        write_report(Encoded(NAMES), street, tmp_path / "report.html", options=ReportOptions(split="test"))
    image = sorted((street / "images/val").iterdir())[0]
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(ImageError, match=re.escape(str(image))):
        write_report(Encoded(NAMES), street, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.fixture
def doubtful(save_files) -> Path:
    """A folder with a label that is suspect."""
    maps = squares(40)
    wrong = {name: m.copy() for name, m in maps.items()}
    wrong[next(iter(maps))][:6, :6] = 2
    return save_files({**images(maps, wrong), "classes.yaml": "names: [ground, box, ball]"})


def test_only_an_earlier_report_is_replaced(doubtful: Path, tmp_path: Path) -> None:
    out, street = tmp_path / "report.html", doubtful
    write_report(Encoded(NAMES), street, out)
    write_report(Encoded(NAMES), street, out)
    for file in (out, tmp_path / LABEL_ERRORS):
        before = file.read_bytes()
        file.write_text("mine")
        with pytest.raises(OutputError, match=rf"^{re.escape(str(file))}"):
            write_report(Encoded(NAMES), street, out)
        assert file.read_text() == "mine"
        file.write_bytes(before)
    with pytest.raises(OutputError, match=r": is a folder; give the name of a file, such as .*report\.html$"):
        write_report(Encoded(NAMES), street, tmp_path)


def test_the_table_of_an_earlier_report_does_not_stay(doubtful: Path, save_files, tmp_path: Path) -> None:
    write_report(Encoded(NAMES), doubtful, tmp_path / "report.html")
    assert (tmp_path / LABEL_ERRORS).exists()
    write_report(Encoded(NAMES), save_files(images(squares(40))), tmp_path / "report.html")
    assert not (tmp_path / LABEL_ERRORS).exists()


def test_the_page_is_not_larger_than_asked(save_files, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    maps = {f"n{i}x": random.integers(0, 3, (300, 300)).astype(np.uint8) for i in range(16)}
    folder = save_files({**images(maps), "classes.yaml": "names: [ground, box, ball]"})
    write_report(Encoded(NAMES), folder, tmp_path / "large.html")
    assert (tmp_path / "large.html").stat().st_size > 1_500_000, f"noise is large even in quality {QUALITIES[0]}"
    write_report(Encoded(NAMES), folder, tmp_path / "small" / "small.html", options=ReportOptions(size=1_000_000))
    assert (tmp_path / "small" / "small.html").stat().st_size <= 1_000_000
    with pytest.raises(ConfigError, match=r"^size must be at least 1 MB, but got 1000 bytes$"):
        ReportOptions(size=1000)


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_about_as_many_images_are_shown_as_were_asked_for(most: int, save_files, tmp_path: Path) -> None:
    maps = squares(40)
    wrong = {
        name: np.where(m == 2, i % 2, m).astype(np.uint8) if i % 3 else m for i, (name, m) in enumerate(maps.items())
    }
    folder = save_files({**images(maps, wrong), "classes.yaml": "names: [ground, box, ball]"})
    write_report(Encoded(NAMES), folder, tmp_path / "report.html", options=ReportOptions(top=most))
    items = [each for each in Page(tmp_path / "report.html").all("li") if "data-groups" in each]
    groups = [name for each in items for name in str(each["data-groups"]).split()]
    assert "worst" in groups
    assert most <= len([name for name in groups if name != "class"]) <= max(4, most)
    assert len(items) <= max(4, most) + 3, "the worst image of each class"


def test_a_table_of_label_errors_that_was_changed_is_kept(doubtful: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "report.html", tmp_path / LABEL_ERRORS
    write_report(Encoded(NAMES), doubtful, out)
    table.write_text(table.read_text() + "my remark\n")
    with pytest.raises(OutputError, match=rf"^{re.escape(str(table))}: is not what maskpencil report wrote; move it"):
        write_report(Encoded(NAMES), doubtful, out)
    assert table.read_text().endswith("my remark\n")


def test_reports_beside_each_other_have_tables_of_their_own(doubtful: Path, tmp_path: Path) -> None:
    write_report(Encoded(NAMES), doubtful, tmp_path / "report.html")
    write_report(Encoded(NAMES), doubtful, tmp_path / "second.html")
    assert (tmp_path / f"second_{LABEL_ERRORS}").read_bytes() == (tmp_path / LABEL_ERRORS).read_bytes()


def test_two_images_make_no_verdict(save_files, tmp_path: Path) -> None:
    folder = save_files({**images(squares(2)), "classes.yaml": "names: [ground, box, ball]"})
    write_report([Encoded(NAMES, np.zeros_like), Encoded(NAMES)], folder, tmp_path / "report.html")
    text = Page(tmp_path / "report.html").text
    assert "points of mean IoU; so few images say little about other images" in text
    assert "is better than" not in text


def test_a_predictor_without_confidence_gets_a_report_without_calibration(save_files, tmp_path: Path) -> None:
    class Unsure(Encoded):
        def sureness(self, image: RGBImage) -> None:  # noqa: ARG002
            return None

    folder = save_files({**images(squares(8)), "classes.yaml": "names: [ground, box, ball]"})
    scores = write_report(Unsure(NAMES), folder, tmp_path / "report.html")
    assert scores.calibration_error is None
    assert "expected calibration error" not in Page(tmp_path / "report.html").text


def test_confidences_a_little_above_one_are_scored(save_files, tmp_path: Path) -> None:
    class Rounded(Encoded):
        def sureness(self, image: RGBImage) -> npt.NDArray[np.float32]:
            return np.full(image.shape[:2], 1.0000001, np.float32)

    folder = save_files({**images(squares(8, classes=2)), "classes.yaml": "names: [ground, box]"})
    assert evaluate(Rounded(("ground", "box")), folder).foreground.recall == 1


def test_frames_of_a_video_are_shown_from_apart_and_named_as_such(save_files, tmp_path: Path) -> None:
    maps = {f"drive1_{i:04}": m for i, m in enumerate(squares(48).values())}
    wrong = {name: np.where(m == 2, 1, m).astype(np.uint8) if i < 24 else m for i, (name, m) in enumerate(maps.items())}
    folder = save_files({**images(maps, wrong), "classes.yaml": "names: [ground, box, ball]"})
    write_report(Encoded(NAMES), folder, tmp_path / "report.html", options=ReportOptions(top=8))
    page = Page(tmp_path / "report.html")
    assert "By their names these are frames of 1 video; other videos may well score outside of" in page.text
    shown = sorted(int(name) for name in re.findall(r"drive1_(\d+)\.png copy name", page.text))
    assert max(np.diff(shown)) > 1


def test_names_of_a_camera_say_nothing_about_videos() -> None:
    def pairs(*names: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in names]

    assert video_names(pairs("IMG_0001", "IMG_0002", "IMG_0003")) == []
    assert video_names(pairs("0001", "0002")) == []
    assert video_names(pairs("a/1", "a/2", "b/1", "b/2")) == ["a/", "a/", "b/", "b/"]
    assert video_names(pairs("0016E5_00390", "0016E5_00420", "0001TP_6690")) == []
    assert video_names(pairs("0016E5_00390", "0016E5_00420")) == ["0016E5_", "0016E5_"]


def test_neighboring_frames_are_those_next_to_each_other_in_a_video_by_their_numbers() -> None:
    names = "drive1/10", "drive1/9", "drive2/9", "drive1/8", "drive2/10", "drive1/101"
    pairs = [SimpleNamespace(name=name) for name in names]
    assert neighboring_frames(pairs, 1) == [[1, 0, 5], [3, 1, 0], [2, 4], [3, 1], [2, 4], [0, 5]]
    assert neighboring_frames([SimpleNamespace(name=name) for name in ("IMG_1", "IMG_2")], 3) == [[0], [1]]


def test_a_limited_time_leaves_out_images(street: Path, tmp_path: Path) -> None:
    scores = write_report(Encoded(NAMES), street, tmp_path / "report.html", options=ReportOptions(seconds=1e-9))
    assert scores.images == 1
    assert "1 of 6 images of the split val" in Page(tmp_path / "report.html").text


def test_a_video_is_described_without_truth(make_segmenter, make_video, tmp_path: Path) -> None:
    video = make_video()
    mp.report.report_video(make_segmenter(), video, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert "Flicker" in page.text
    assert "Shares of the classes over time" in page.text
    assert page.all("img")


def test_a_report_of_a_video_leaves_a_table_beside_it_alone(make_segmenter, make_video, tmp_path: Path) -> None:
    (tmp_path / LABEL_ERRORS).write_text("mine")
    mp.report.report_video(make_segmenter(), make_video(), tmp_path / "report.html")
    assert (tmp_path / LABEL_ERRORS).read_text() == "mine"
