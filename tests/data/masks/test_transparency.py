"""Transparent pixels of masks: where the object is, where nothing is drawn, or without a meaning, as all files say."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import open_folder
from maskpencil.data.masks.discovery import discover_encoding
from maskpencil.data.masks.encoding import check_values, count_classes, scan_masks
from maskpencil.label_maps import read_label_map

SIZE = (40, 48)
RED, GREEN = (230, 25, 75), (60, 180, 75)
COUNT = 5


def shape(seed: int) -> npt.NDArray[np.uint8]:
    """A label map of two boxes of the classes 1 and 2."""
    random = np.random.default_rng(seed)
    label_map = np.zeros(SIZE, np.uint8)
    for number in (1, 2):
        top, left = random.integers(0, 20, 2)
        label_map[top : top + 14, left : left + 16] = number
    return label_map


def opacity(label_map: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.where(label_map > 0, np.uint8(255), np.uint8(0))


def noise(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def write(folder: Path, layers: Sequence[npt.NDArray[np.uint8]], suffix: str = "png") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"m{number}.{suffix}" for number in range(len(layers))]
    for path, layer in zip(paths, layers, strict=True):
        Image.fromarray(layer).save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    return paths


def read(
    paths: Sequence[Path], classes: ClassSet | None = None
) -> tuple[list[npt.NDArray[np.uint8]], tuple[str, ...], str]:
    """Read the label maps, the notes and what transparency means; the counts agree with the label maps."""
    facts = scan_masks(paths)
    discovery = discover_encoding(facts, classes)
    encoding = discovery.encoding
    seen = [fact.seen(encoding.alpha) for fact in facts]
    check_values(seen, encoding)
    label_maps = [encoding.read(path) for path in paths]
    for fact, label_map, counts in zip(seen, label_maps, count_classes(seen, encoding), strict=True):
        np.testing.assert_array_equal(encoding.decode(fact.read(), fact.path), label_map)
        np.testing.assert_array_equal(counts, np.bincount(label_map.ravel(), minlength=256)[: len(counts)])
    return label_maps, discovery.notes, encoding.alpha


Paint = Callable[[int, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]

AS_MASK: dict[str, Paint] = {
    "objects that are cut out": lambda seed, t: np.dstack([noise(seed) * (t > 0)[..., None], opacity(t)]),
    "photographs whose background is only hidden": lambda seed, t: np.dstack([noise(seed), opacity(t)]),
    "a black shape": lambda _, t: np.dstack([np.zeros((*SIZE, 3), np.uint8), opacity(t)]),
    "a black shape on clear white or black": lambda seed, t: np.dstack(
        [np.where(t > 0, 0, 255 * (seed % 2)).astype(np.uint8)] * 3 + [opacity(t)]
    ),
    "white of any opacity": lambda _, t: np.dstack([np.full(SIZE, 255, np.uint8), opacity(t)]),
    "one color of any opacity": lambda _, t: np.dstack([np.full(SIZE, c, np.uint8) for c in RED] + [opacity(t)]),
}


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
@pytest.mark.parametrize("kind", AS_MASK)
def test_opacity_is_the_mask_where_colors_say_nothing(tmp_path: Path, kind: str, suffix: str) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    layers = [AS_MASK[kind](seed, truth) for seed, truth in enumerate(truths)]
    if suffix == "webp":
        layers = [
            np.dstack([layer[..., :1]] * 3 + [layer[..., 1:]]) if layer.shape[2] == 2 else layer for layer in layers
        ]
    label_maps, notes, alpha = read(write(tmp_path, layers, suffix))
    assert alpha == "mask"
    assert notes[0].startswith(f"the transparency of {COUNT} masks is read as the mask")
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, truth > 0)


def test_a_mask_without_transparent_pixels_is_foreground_and_that_is_said(tmp_path: Path) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    truths[2][:] = 1
    paint = AS_MASK["objects that are cut out"]
    label_maps, notes, _ = read(write(tmp_path, [paint(seed, truth) for seed, truth in enumerate(truths)]))
    assert label_maps[2].tolist() == np.ones(SIZE, int).tolist()
    assert notes[0].endswith("1 without transparent pixels is foreground throughout")


def test_smooth_borders_of_cut_outs_take_the_nearest_class(tmp_path: Path) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    layers = []
    for seed, truth in enumerate(truths):
        smooth = Image.fromarray(opacity(truth)).filter(ImageFilter.GaussianBlur(1.2))
        layers.append(np.dstack([noise(seed), np.asarray(smooth)]))
    label_maps, _, alpha = read(write(tmp_path, layers))
    assert alpha == "mask"
    for label_map, truth in zip(label_maps, truths, strict=True):
        assert (label_map != (truth > 0)).mean() < 0.02


def colors_on_clear(seed: int, truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Two colors on a layer whose clear pixels are white in every other file, and black in the rest."""
    clear = (255, 255, 255) if seed % 2 else (0, 0, 0)
    return np.dstack([np.array([clear, RED, GREEN], np.uint8)[truth], opacity(truth)])


def test_transparent_pixels_are_one_class_whatever_they_hide(tmp_path: Path) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    paths = write(tmp_path, [colors_on_clear(seed, truth) for seed, truth in enumerate(truths)])
    label_maps, notes, alpha = read(paths)
    assert alpha == "background"
    assert notes[0] == f"{COUNT} masks have transparent pixels, which are read as black (0), whatever their color"
    pairs = {
        pair
        for m, t in zip(label_maps, truths, strict=True)
        for pair in zip(m.ravel().tolist(), t.ravel().tolist(), strict=True)
    }
    assert len(pairs) == 3
    classes = ClassSet(("clear", "red", "green"), ((0, 0, 0), RED, GREEN))
    for label_map, truth in zip(read(paths, classes)[0], truths, strict=True):
        np.testing.assert_array_equal(label_map, truth)


def test_half_transparent_paint_counts_as_paint(tmp_path: Path) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    layers = [colors_on_clear(seed, truth) for seed, truth in enumerate(truths)]
    for layer in layers:
        layer[..., 3] = layer[..., 3] // 255 * 90
    label_maps, _, alpha = read(write(tmp_path, layers), ClassSet(("clear", "red", "green"), ((0, 0, 0), RED, GREEN)))
    assert alpha == "background"
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, truth)


def test_thin_lines_of_little_opacity_count_as_paint(tmp_path: Path) -> None:
    truths = []
    for seed in range(COUNT):
        truth = np.zeros(SIZE, np.uint8)
        truth[5 + seed], truth[:, 9 + seed] = 1, 2
        truths.append(truth)
    layers = [colors_on_clear(seed, truth) for seed, truth in enumerate(truths)]
    for layer in layers:
        layer[..., 3] = layer[..., 3] // 255 * 90
    label_maps, _, _ = read(write(tmp_path, layers), ClassSet(("clear", "red", "green"), ((0, 0, 0), RED, GREEN)))
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, truth)


def test_transparent_pixels_are_ignored_where_black_is_a_class_beside_them(tmp_path: Path) -> None:
    """As in masks of maps, which are clear outside of the surveyed area."""
    truths = [shape(seed) for seed in range(COUNT)]
    layers = []
    for truth in truths:
        outside = np.zeros(SIZE, bool)
        outside[:, -5:] = True
        layers.append(
            np.dstack([np.where(outside, 0, truth).astype(np.uint8), np.where(outside, 0, 255).astype(np.uint8)])
        )
        truth[outside] = IGNORE_INDEX
    label_maps, notes, alpha = read(write(tmp_path, layers))
    assert alpha == "ignored"
    assert notes[0] == f"{COUNT} masks have transparent pixels, which are ignored: black (0) is another class"
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, truth)


def test_transparent_pixels_are_ignored_where_no_declared_class_is_black(tmp_path: Path) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    paths = write(tmp_path, [colors_on_clear(seed, truth) for seed, truth in enumerate(truths)])
    label_maps, notes, alpha = read(paths, ClassSet(("red", "green"), (RED, GREEN)))
    assert alpha == "ignored"
    assert "no class is black" in notes[0]
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, np.where(truth == 0, IGNORE_INDEX, truth - 1))


@pytest.mark.parametrize("clear", [(0, 0, 0), (255, 255, 255)])
def test_a_declared_color_that_is_transparent_stays_that_class(tmp_path: Path, clear: tuple[int, int, int]) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    layers = [np.dstack([np.array([clear, RED, GREEN], np.uint8)[truth], opacity(truth)]) for truth in truths]
    label_maps, _, alpha = read(write(tmp_path, layers), ClassSet(("clear", "red", "green"), (clear, RED, GREEN)))
    assert alpha == "unused"
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, truth)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_same_opacity_everywhere_says_nothing(tmp_path: Path, level: int) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    label_maps, notes, alpha = read(write(tmp_path, [np.dstack([t, t, t, np.full_like(t, level)]) for t in truths]))
    assert alpha == "unused"
    assert not any("transparen" in note for note in notes)
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, truth)


def test_check_train_and_convert_read_transparency_alike(tmp_path: Path) -> None:
    truths = [shape(seed) for seed in range(COUNT)]
    write(
        tmp_path / "data/masks", [AS_MASK["objects that are cut out"](seed, truth) for seed, truth in enumerate(truths)]
    )
    write(tmp_path / "data/images", [noise(seed + 50) for seed in range(COUNT)])
    report, folder = check(tmp_path / "data"), open_folder(tmp_path / "data")
    assert report.usable
    assert [fault.kind for fault in report.faults] == []
    assert any("is read as the mask" in note for note in report.notes)
    assert any("is read as the mask" in note for note in folder.notes)
    assert report.classes["foreground"].pixels == sum(int((truth > 0).sum()) for truth in truths)
    for pair in (pair for pairs in folder.splits.values() for pair in pairs):
        np.testing.assert_array_equal(folder.read_label_map(pair), truths[int(pair.name[1:])] > 0)


def test_transparent_colors_of_palettes_are_one_class_where_palettes_differ(tmp_path: Path) -> None:
    """As programs write that choose a palette for each file."""
    truths = [shape(seed) for seed in range(COUNT)]
    paths = [tmp_path / f"m{seed}.png" for seed in range(COUNT)]
    for seed, (path, truth) in enumerate(zip(paths, truths, strict=True)):
        order = [(0, 1, 2), (2, 0, 1)][seed % 2]  # the number of each class
        colors: list[tuple[int, int, int]] = [(0, 0, 0)] * 3
        for number, color in zip(order, ((255, 255, 255 * (seed % 2)), RED, GREEN), strict=True):
            colors[number] = color
        image = Image.fromarray(np.array(order, np.uint8)[truth])
        image.putpalette([level for color in colors for level in color])
        image.save(path, transparency=order[0])
    label_maps, notes, _ = read(paths)
    assert notes[0].endswith(
        "have transparent colors in their palette, which are read as black (0) if colors identify the classes"
    )
    first = {1: label_maps[0][truths[0] == 1][0], 2: label_maps[0][truths[0] == 2][0]}
    for label_map, truth in zip(label_maps, truths, strict=True):
        np.testing.assert_array_equal(label_map, np.array([0, first[1], first[2]])[truth])


def test_objects_painted_on_clear_layers_are_two_classes_after_a_fix(tmp_path: Path) -> None:
    """Each object in a color of its own; clear pixels are white in some files."""
    truths = []
    for number in range(COUNT):
        random = np.random.default_rng(number)
        truth = np.zeros(SIZE, np.uint8)
        color = np.full((*SIZE, 3), 255 * (number % 2), np.uint8)
        for place in range(4):
            box = slice(4, 30), slice(2 + 12 * place, 10 + 12 * place)
            truth[box], color[box] = 1, random.integers(20, 250, 3)
        truths.append(truth)
        write(tmp_path / "data/images", [noise(seed + 50) for seed in range(COUNT)])
        path = tmp_path / f"data/masks/m{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.dstack([color, opacity(truth)])).save(path)
    report = check(tmp_path / "data")
    assert [fault.kind for fault in report.faults if fault.severity == "error"] == ["numbered-objects"]
    write_fixed(report, tmp_path / "fixed")
    for number, truth in enumerate(truths):
        (written,) = (tmp_path / "fixed/masks").rglob(f"m{number}.png")
        np.testing.assert_array_equal(read_label_map(written), truth)
