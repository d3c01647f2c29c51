import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest
import torch

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.cli import main
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Pair
from maskpencil.errors import DataError
from maskpencil.evaluation import evaluate, evaluate_class, match_classes
from maskpencil.images import write_image
from maskpencil.label_maps import read_label_map, write_label_map
from maskpencil.model_folder import ModelParts
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.prediction import Prediction
from maskpencil.preprocessing import Preprocessing
from maskpencil.segmenter import Segmenter

NAMES = ("ground", "box", "ball")


def untrained(names: tuple[str, ...], precision: str = "fp32") -> Segmenter:
    """An untrained network with the same weights at every call."""
    torch.manual_seed(0)
    model = build_fcn(FCNConfig(len(names), "test_resnet"), weights="none")
    for name, parameter in model.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(parameter, std=0.3)
    preprocessing = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), None)
    return Segmenter.of_network(ModelParts(model, ClassSet(names), preprocessing), device="cpu", precision=precision)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return untrained(NAMES)


def test_the_probability_of_a_class_comes_with_the_same_label_map(segmenter: Segmenter) -> None:
    images = list(np.random.default_rng(1).integers(0, 256, (2, 37, 53, 3), dtype=np.uint8))
    expected = segmenter.predict_batch(images)
    probabilities = []
    for index in range(len(NAMES)):
        found = segmenter.predict_class(images, index)
        for image, (prediction, probability), other in zip(images, found, expected, strict=True):
            assert prediction.image is image
            assert probability.shape == (37, 53)
            assert probability.dtype == np.float32
            np.testing.assert_array_equal(prediction.label_map, other.label_map)
        probabilities.append([probability for _, probability in found])
    np.testing.assert_allclose(np.sum(probabilities, axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(np.argmax(probabilities, axis=0), [prediction.label_map for prediction in expected])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_scoring_a_class_does_not_change_the_other_scores(tiny_folder: Path, precision: str) -> None:
    segmenter = untrained(NAMES, precision)
    scores, _ = evaluate_class(segmenter, tiny_folder, "box", split="train")
    np.testing.assert_array_equal(
        scores.confusion_matrix, evaluate(segmenter, tiny_folder, split="train").confusion_matrix
    )
    assert scores.images == 6


def test_a_class_is_scored_over_all_pixels_of_the_split(segmenter: Segmenter, tiny_folder: Path) -> None:
    folder = open_folder(tiny_folder)
    events: list[tuple[int, int]] = []
    _, scores = evaluate_class(segmenter, folder, "box", report=lambda done, of: events.append((done, of)))
    assert events == [(1, 3), (2, 3), (3, 3)]
    targets, probabilities = [], []
    for pair in folder.pairs("val"):
        image, target = folder.read_pair(pair)
        targets.append(target)
        probabilities.append(segmenter.probabilities_batch([image])[0, 1])
    is_box, chosen = np.array(targets) == 1, np.array(probabilities) >= scores.threshold
    assert (scores.positives, scores.negatives, scores.images) == (is_box.sum(), (~is_box).sum(), 3)
    assert scores.recall == pytest.approx((is_box & chosen).sum() / is_box.sum())
    assert scores.precision == pytest.approx((is_box & chosen).sum() / chosen.sum())
    assert scores.false_positive_rate == pytest.approx((~is_box & chosen).sum() / (~is_box).sum())
    assert scores.max_f1 == pytest.approx(2 * scores.precision * scores.recall / (scores.precision + scores.recall))


def test_images_of_unequal_size_and_masks_without_a_valid_pixel_are_scored(save_files) -> None:
    files: dict[str, np.ndarray | str] = {"classes.yaml": "names: [not road, road]"}
    sizes = [(37, 124), (38, 122), (37, 123), (20, 64)]
    for number, size in enumerate(sizes):
        files[f"images/val/{number}.png"] = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        files[f"masks/val/{number}.png"] = np.full(size, IGNORE_INDEX if number == 3 else number % 2, dtype=np.uint8)
    _, scores = evaluate_class(untrained(("not road", "road")), save_files(files), "road")
    assert (scores.positives, scores.negatives, scores.images) == (38 * 122, 37 * 124 + 37 * 123, 4)
    assert 0 < scores.max_f1 <= 1


def test_a_class_that_the_model_lacks_is_an_error_before_anything_is_read(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no class 'road'; the classes are ground, box, ball$"):
        evaluate_class(segmenter, tmp_path / "nowhere", "road")


@pytest.mark.parametrize("score", [evaluate, lambda *arguments: evaluate_class(*arguments, "box")])
def test_a_folder_with_other_classes_is_an_error_that_names_both(score, save_files) -> None:
    images = {f"images/{i}.png": np.zeros((8, 8, 3), dtype=np.uint8) for i in range(2)}
    masks = {f"masks/{i}.png": np.eye(8, dtype=np.uint8) for i in range(2)}
    folder = save_files({**images, **masks, "classes.yaml": "names: [a, box]"})
    with pytest.raises(
        DataError, match=r"has the classes a, box, but the model has ground, box, ball; .*; evaluate a model"
    ):
        score(untrained(NAMES), folder)


ORDERS = (("ball", "ground", "box"), ("box", "ball", "ground"))


def reordered(folder: Path, out: Path, names: tuple[str, ...], *, colored: bool = False) -> Path:
    """A copy of a folder whose classes stand in another order."""
    classes = open_folder(folder).classes
    numbers = np.full(256, IGNORE_INDEX, np.uint8)
    numbers[: len(names)] = [names.index(name) for name in classes.names]
    colors = tuple(classes.palette[classes.index(name)] for name in names)
    shutil.copytree(folder / "images", out / "images")
    for path in (folder / "masks").rglob("*.png"):
        label_map = numbers[read_label_map(path)]
        target = out / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, np.array(colors, np.uint8)[label_map]) if colored else write_label_map(
            target, label_map, np.array(colors, np.uint8)
        )
    write_classes(out / "classes.yaml", ClassSet(names, colors))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("colored", [False, True])
@pytest.mark.parametrize("names", ORDERS)
def test_the_models_classes_in_another_order_are_matched_by_name(
    names: tuple[str, ...], colored: bool, segmenter: Segmenter, tiny_folder: Path, tmp_path: Path
) -> None:
    other = reordered(tiny_folder, tmp_path / "other", names, colored=colored)
    expected, reported = evaluate(segmenter, tiny_folder), []
    found = evaluate(segmenter, other, tell=reported.append)
    np.testing.assert_array_equal(found.confusion_matrix, expected.confusion_matrix)
    assert found.to_dict() == expected.to_dict()
    (line,) = reported
    assert line.startswith(f"{other}: has the model's classes in another order ({', '.join(names)}), which are matched")
    assert line.endswith(" by name to ground, box, ball")
    scores, road = evaluate_class(segmenter, open_folder(other), "box")
    np.testing.assert_array_equal(scores.confusion_matrix, expected.confusion_matrix)
    assert road.positives == expected.classes["box"].pixels


def test_ignored_pixels_stay_ignored_where_classes_are_matched(
    segmenter: Segmenter, tiny_folder: Path, tmp_path: Path
) -> None:
    other = reordered(tiny_folder, tmp_path / "other", ORDERS[0])
    for path in (other / "masks" / "val").iterdir():
        label_map = read_label_map(path)
        label_map[:, :20] = IGNORE_INDEX
        write_label_map(path, label_map, open_folder(other).classes.colors)
    folder, line = match_classes(open_folder(other), segmenter.classes)
    assert "in another order" in line
    assert line in folder.notes
    for pair in folder.pairs("val"):
        expected = read_label_map(tiny_folder / "masks" / "val" / f"{pair.name}.png")
        expected[:, :20] = IGNORE_INDEX
        np.testing.assert_array_equal(folder.read_pair(pair)[1], expected)
    assert folder.class_counts("val").sum() == 3 * 48 * 44


def test_the_same_order_gives_no_line(segmenter: Segmenter, tiny_folder: Path) -> None:
    folder = open_folder(tiny_folder)
    assert match_classes(folder, segmenter.classes) == (folder, "")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            "[ground, boxes, ball]",
            "the model has no 'boxes' (did you mean box?), the data have no 'box'; if these classes mean the same",
        ),
        ("[ground, box, ball, tree]", "the model has no 'tree'; evaluate a model that was trained on these classes"),
    ],
)
def test_other_names_are_refused_with_the_differences_and_a_remedy(
    names: str, words: str, segmenter: Segmenter, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "data"))
    (folder / "classes.yaml").write_text(f"names: {names}")
    with pytest.raises(DataError) as caught:
        evaluate(segmenter, folder)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_remedy_for_other_names_works(segmenter: Segmenter, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "data"))
    (folder / "classes.yaml").write_text("names: [floor, box, ball]")
    with pytest.raises(DataError, match=r"give them the model's names in .*classes\.yaml; else train"):
        evaluate(segmenter, folder)
    (folder / "classes.yaml").write_text("names: [ground, box, ball]")
    assert evaluate(segmenter, folder).images == 3


def test_the_command_says_that_classes_are_matched(
    segmenter: Segmenter, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmenter.save(tmp_path / "model")
    other = reordered(tiny_folder, tmp_path / "other", ORDERS[0])
    printed = []
    for data in (tiny_folder, other):
        assert main(["evaluate", str(tmp_path / "model"), str(data), "--runtime", "torch", "--precision", "fp32"]) == 0
        printed.append(capsys.readouterr())
    assert printed[0].out == printed[1].out
    assert "in another order" not in printed[0].err
    assert "in another order" in printed[1].err


class Waiting:
    """A substitute for a segmenter that calls `wait` in each prediction."""

    classes = ClassSet(NAMES)

    def __init__(self, wait: Callable[[], object]) -> None:
        self.wait, self.seen = wait, list[int]()

    def predict_batch(self, images: Sequence[np.ndarray], **_: bool):
        self.wait()
        self.seen.append(len(images))
        return [Prediction(image, np.zeros(image.shape[:2], np.uint8), None, self.classes) for image in images]


def test_the_next_images_are_read_while_the_network_is_at_work(tiny_folder: Path, monkeypatch) -> None:
    read, second = [], Event()
    read_pair = DataFolder.read_pair

    def noted(folder: DataFolder, pair: Pair):
        read.append(pair)
        if len(read) == 2:
            second.set()
        return read_pair(folder, pair)

    monkeypatch.setattr(DataFolder, "read_pair", noted)
    monkeypatch.setattr("maskpencil.evaluation.BATCH_PIXELS", 0)
    predictor = Waiting(lambda: second.wait(20) or pytest.fail("the second pair was not read ahead"))
    assert evaluate(predictor, tiny_folder).images == 3


def test_small_images_go_through_the_network_in_batches(tiny_folder: Path, monkeypatch) -> None:
    batched, single = Waiting(lambda: None), Waiting(lambda: None)
    found = evaluate(batched, tiny_folder, split="train").confusion_matrix
    assert batched.seen == [6]
    monkeypatch.setattr("maskpencil.evaluation.BATCH_PIXELS", 2 * 48 * 64 - 1)
    np.testing.assert_array_equal(evaluate(single, tiny_folder, split="train").confusion_matrix, found)
    assert single.seen == [1] * 6


def test_pairs_go_through_the_network_side_by_side_and_in_batches(tiny_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("maskpencil.evaluation.BATCH_PIXELS", 0)
    together = Waiting(Barrier(2, timeout=20).wait)
    together.side_by_side = lambda: nullcontext(2)
    images = evaluate(together, tiny_folder, split="train").images
    assert images % 2 == 0
    assert together.seen == [1] * images
    batched = Waiting(lambda: None)
    batched.batch_size = 2
    expected = evaluate(Waiting(lambda: None), tiny_folder, split="train").confusion_matrix
    np.testing.assert_array_equal(evaluate(batched, tiny_folder, split="train").confusion_matrix, expected)
    assert sum(batched.seen) == images
    assert max(batched.seen) == 2
