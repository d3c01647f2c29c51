import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color, distinct_colors
from maskpencil.data.masks.discovery import discover_encoding
from maskpencil.data.masks.encoding import MaskEncoding, check_values, count_classes, scan_masks
from maskpencil.errors import DataError, ImageError
from maskpencil.known_classes import KNOWN
from maskpencil.label_maps import IGNORE_COLOR, LabelMap, write_label_map

BLACK, GRAY, WHITE, RED, BLUE = (0, 0, 0), (128, 128, 128), (255, 255, 255), (200, 0, 0), (0, 0, 200)
STREET_NAMES = ClassSet(("ground", "car", "sky"))
STREET = ClassSet(("ground", "car", "sky"), (BLACK, RED, BLUE))


def gray(*values: int, dtype: type[np.generic] = np.uint8) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


def colored(*colors: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.array([colors], dtype=np.uint8))


def palette(values: list[int], *colors: tuple[int, int, int]) -> Image.Image:
    image = gray(*values)
    image.putpalette([level for color in colors for level in color])
    return image


@pytest.fixture
def discover(tmp_path: Path):
    """Save masks and find their encoding; returns it with what it reads in each mask."""

    def run(masks: Mapping[str, Image.Image], classes: ClassSet | None = None) -> tuple[MaskEncoding, list[list[Any]]]:
        for name, image in masks.items():
            image.save(tmp_path / name)
        paths = [tmp_path / name for name in masks]
        facts = scan_masks(paths)
        encoding = discover_encoding(facts, classes).encoding
        check_values(facts, encoding)
        read = [encoding.read(path) for path in paths]
        for label_map, counted in zip(read, count_classes(facts, encoding), strict=True):
            assert label_map.dtype == np.uint8
            np.testing.assert_array_equal(counted, np.bincount(label_map.ravel(), minlength=256)[: len(counted)])
        return encoding, [label_map[0].tolist() for label_map in read]

    return run


# class numbers


def test_numbers_in_red_alone_are_class_numbers(discover) -> None:
    """As driving simulators write them."""
    masks = {
        "a.png": colored((0, 0, 0), (1, 0, 0), (7, 0, 0)),
        "b.png": gray(0, 0),
        "c.png": colored((255, 0, 0), (3, 0, 0)),
    }
    encoding, read = discover(masks)
    assert encoding.classes.names == tuple(f"class_{number}" for number in range(8))
    assert read == [[0, 1, 7], [0, 0], [IGNORE_INDEX, 3]]
    names = ClassSet(tuple("abcdefgh"))
    assert discover(masks, names)[1] == read
    assert discover(masks, names)[0].classes == names


def test_dark_red_that_is_a_declared_color_stays_that_color(discover) -> None:
    classes = ClassSet(("wine", "night"), ((50, 0, 0), BLACK))
    assert discover({"a.png": colored((0, 0, 0), (50, 0, 0))}, classes)[1] == [[1, 0]]


def test_small_numbers_are_classes_and_255_is_ignored(discover) -> None:
    encoding, read = discover({"a.png": gray(0, 1, 255), "b.png": gray(3, 3, 0)})
    assert encoding.kind == "index"
    assert encoding.classes.names == ("class_0", "class_1", "class_2", "class_3")
    assert read == [[0, 1, IGNORE_INDEX], [3, 3, 0]]


def test_the_palette_of_the_masks_gives_the_colors(discover) -> None:
    encoding, read = discover({"a.png": gray(0, 1), "b.png": palette([0, 1, 2], BLACK, RED, BLUE)})
    assert encoding.kind == "index"
    assert encoding.classes.palette == (BLACK, RED, BLUE)
    assert read == [[0, 1], [0, 1, 2]]


def test_written_label_maps_are_read_as_they_were(tmp_path: Path) -> None:
    label_map = np.array([[0, 1, 2, IGNORE_INDEX]], dtype=np.uint8)
    write_label_map(tmp_path / "a.png", label_map, STREET.colors)
    encoding = discover_encoding(scan_masks([tmp_path / "a.png"]), None).encoding
    assert encoding.classes.palette == STREET.palette
    np.testing.assert_array_equal(encoding.read(tmp_path / "a.png"), label_map)


@pytest.mark.parametrize("ignore_index", [11, -1, 255])
def test_the_ignore_index_of_the_class_file_is_ignored_and_255_too(discover, ignore_index: int) -> None:
    classes = ClassSet(tuple(f"camvid {i}" for i in range(11)), ignore_index=ignore_index)
    values = [0, 10, 255] if ignore_index == -1 else [0, 10, ignore_index]
    encoding, read = discover({"a.png": gray(*values)}, classes)
    assert (encoding.kind, encoding.classes) == ("index", classes)
    assert read == [[0, 10, IGNORE_INDEX]]


def test_sixteen_bit_masks_hold_classes_too(discover) -> None:
    classes = ClassSet(("a", "b"), ignore_index=65535)
    _, read = discover({"a.png": gray(0, 1, 65535, dtype=np.uint16), "b.png": gray(1, 1)}, classes)
    assert read == [[0, 1, IGNORE_INDEX], [1, 1]]


def test_masks_of_one_value_are_one_class(discover) -> None:
    encoding, read = discover({"a.png": gray(0, 0)})
    assert encoding.classes.names == ("class_0",)
    assert read == [[0, 0]]


def test_masks_ignored_throughout_are_read(discover) -> None:
    _, read = discover({"a.png": gray(255, 255), "b.png": gray(0, 1)}, ClassSet(("a", "b", "c")))
    assert read == [[IGNORE_INDEX, IGNORE_INDEX], [0, 1]]


# black and white


@pytest.mark.parametrize(
    "image",
    [gray(0, 255), Image.fromarray(np.array([[False, True]])), colored(BLACK, WHITE), gray(0, 255).convert("RGBA")],
    ids=["gray", "1-bit", "rgb", "rgba"],
)
def test_black_and_white_is_background_and_foreground(discover, image: Image.Image) -> None:
    encoding, read = discover({"a.png": image, "b.png": gray(0, 0)})
    assert (encoding.kind, encoding.classes.names) == ("binary", ("background", "foreground"))
    assert read == [[0, 1], [0, 0]]
    encoding, read = discover({"a.png": image, "b.png": gray(0, 0)}, ClassSet(("soil", "weed")))
    assert (encoding.kind, encoding.classes.names) == ("binary", ("soil", "weed"))
    assert read == [[0, 1], [0, 0]]


def test_black_and_white_in_the_class_file_say_which_is_which(discover) -> None:
    _, read = discover({"a.png": gray(0, 255)}, ClassSet(("paper", "ink"), (WHITE, BLACK)))
    assert read == [[1, 0]]


def test_of_three_classes_255_is_ignored(discover) -> None:
    _, read = discover({"a.png": gray(0, 255)}, STREET)
    assert read == [[0, IGNORE_INDEX]]


# colors


def test_colors_are_classes_where_the_class_file_gives_them(discover) -> None:
    masks = {
        "rgb.png": colored(BLACK, RED, BLUE, IGNORE_COLOR),
        "rgba.png": colored(BLUE, RED).convert("RGBA"),
        "all black.png": colored(BLACK, BLACK),
        "gray file.png": gray(0, 0),
        "palette.png": palette([1, 0, 2], RED, BLUE, BLACK),
    }
    encoding, read = discover(masks, STREET)
    assert encoding.kind == "color"
    assert read == [[0, 1, 2, IGNORE_INDEX], [2, 1], [0, 0], [0, 0], [2, 1, 0]]


def test_gray_levels_are_colors_where_the_class_file_gives_them(discover) -> None:
    classes = ClassSet(("sky", "haze", "ground"), (WHITE, GRAY, BLACK))
    by_palette = palette([7, 3, 9], *[BLACK] * 3, GRAY, *[BLACK] * 5, WHITE)
    for image in (gray(0, 128, 255), colored(BLACK, GRAY, WHITE), by_palette):
        encoding, read = discover({"a.png": image}, classes)
        assert encoding.kind == "color"
        assert read == [[2, 1, 0]]


def test_a_color_can_stand_twice_in_a_palette(discover) -> None:
    encoding, read = discover({"a.png": colored(RED, BLUE), "b.png": palette([0, 1, 2], RED, BLUE, RED)}, STREET)
    assert encoding.kind == "color"
    assert read == [[1, 2], [1, 2, 1]]


def test_a_palette_may_be_shorter_than_the_values_it_is_used_with(tmp_path: Path) -> None:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes([*BLACK, *RED])),
        (b"IDAT", zlib.compress(bytes([0, 1, 200]))),
        (b"IEND", b""),
    ]
    content = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    colored(BLUE).save(tmp_path / "b.png")
    facts = scan_masks([tmp_path / "a.png", tmp_path / "b.png"])
    assert facts[0].values == {1: 1, 200: 1}
    assert discover_encoding(facts, STREET).encoding.read(tmp_path / "a.png").tolist() == [[1, 0]]


def test_a_class_in_the_color_of_ignored_pixels_is_a_class(discover) -> None:
    _, read = discover({"a.png": colored(RED, IGNORE_COLOR)}, ClassSet(("a", "b"), (RED, IGNORE_COLOR)))
    assert read == [[0, 1]]


@settings(max_examples=30)
@given(arrays(np.uint8, (4, 5), elements=st.integers(0, 3)), st.sampled_from(["index", "palette", "color"]))
def test_every_way_to_write_a_mask_is_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, label_map: LabelMap, kind: str
) -> None:
    classes = ClassSet(("a", "b", "c", "d"), (BLACK, GRAY, RED, BLUE))
    image = Image.fromarray(classes.colors[label_map] if kind == "color" else label_map)
    if kind == "palette":
        image.putpalette(classes.colors.tobytes())
    root = tmp_path_factory.getbasetemp()
    image.save(root / "one.png")
    colored(RED).save(root / "two.png")
    paths = [root / "one.png", root / "two.png"] if kind != "index" else [root / "one.png"]
    encoding = discover_encoding(scan_masks(paths), classes).encoding
    np.testing.assert_array_equal(encoding.read(root / "one.png"), label_map)


# without a class file


def test_the_colors_of_the_masks_are_the_classes(discover) -> None:
    encoding, read = discover({"a.png": colored(BLUE, BLUE, RED, BLACK), "b.png": colored(BLUE, IGNORE_COLOR)})
    assert encoding.kind == "color"
    assert encoding.classes.names == ("class_1", "class_2", "class_3")
    assert encoding.classes.palette == (BLACK, BLUE, RED)  # black is a background, then by the number of pixels
    assert read == [[1, 1, 2, 0], [1, IGNORE_INDEX]]


def test_black_and_white_colors_are_background_and_foreground(discover) -> None:
    encoding, read = discover({"a.png": colored(BLACK, WHITE), "b.png": gray(0, 255)})
    assert encoding.classes.names == ("background", "foreground")
    assert read == [[0, 1], [0, 1]]


@pytest.mark.parametrize("name", KNOWN)
def test_a_published_palette_is_recognized(discover, name: str) -> None:
    classes = KNOWN[name]
    encoding, read = discover({"a.png": colored(*classes.palette)})
    assert encoding.classes.names == classes.names
    assert read == [[classes.palette.index(color) for color in classes.palette]]


def test_a_few_colors_of_a_published_palette_may_be_anyones(discover) -> None:
    encoding, _ = discover({"a.png": colored(*KNOWN["Pascal VOC"].palette[:4])})
    assert encoding.classes.names == ("class_1", "class_2", "class_3", "class_4")


def test_gray_levels_far_apart_are_the_classes(discover) -> None:
    encoding, read = discover({"a.png": gray(0, 85, 170, 254)})
    assert encoding.classes.names == ("gray_0", "gray_85", "gray_170", "gray_254")
    assert read == [[0, 1, 2, 3]]


@pytest.mark.parametrize("highest", [4, 9])
def test_numbers_without_a_class_are_not_taken_for_dark_colors(tmp_path: Path, highest: int) -> None:
    truth = scene(highest, 0) + 1  # three classes are named, and 0 is not among the numbers
    Image.fromarray(truth).save(tmp_path / "a.png")
    facts = scan_masks([tmp_path / "a.png"])
    for classes in (STREET, STREET_NAMES):
        discovery = discover_encoding(facts, classes)
        assert (discovery.encoding.kind, discovery.encoding.nearest) == ("index", False)
        with pytest.raises(DataError, match=r"a\.png: holds the value 3, 4"):
            check_values(facts, discovery.encoding)


def test_numbers_saved_as_jpeg_are_not_guessed(tmp_path: Path) -> None:
    Image.fromarray(scene(3, 0)).save(tmp_path / "a.jpg", quality=75)
    facts = scan_masks([tmp_path / "a.jpg"])
    assert not discover_encoding(facts, STREET).encoding.nearest
    with pytest.raises(DataError, match="do not look like class numbers; save the masks as PNG"):
        discover_encoding(facts, None)


def test_gray_levels_take_the_names_of_a_class_file_without_colors(discover) -> None:
    encoding, read = discover({"a.png": gray(0, 128, 255)}, STREET_NAMES)
    assert encoding.classes == STREET_NAMES
    assert read == [[0, 1, 2]]


def test_palettes_that_differ_from_file_to_file_are_read_by_their_colors(discover) -> None:
    masks = {"a.png": palette([0, 1], RED, BLUE), "b.png": palette([0, 1], BLUE, BLACK)}
    encoding, read = discover(masks)
    assert encoding.classes.palette == (BLACK, BLUE, RED)
    assert read == [[2, 1], [1, 0]]
    _, read = discover(masks, STREET)
    assert read == [[1, 2], [2, 0]]


def test_a_stray_pixel_between_black_and_white_is_an_error_that_names_it(tmp_path: Path) -> None:
    values = np.zeros((200, 200), dtype=np.uint8)
    values[50:150, 50:150] = 255
    Image.fromarray(values).save(tmp_path / "a.png")
    values[10, 10] = 1
    Image.fromarray(values).save(tmp_path / "b.png")
    facts = scan_masks([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(DataError, match=r"b\.png: holds the value 1; the other masks hold only 0 and 255"):
        check_values(facts, discover_encoding(facts, None).encoding)


def test_a_gray_photograph_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has 255 gray levels and few even areas, like a photograph"):
        discover_encoding(scan_masks([tmp_path / "a.png"]), None)


def test_zeros_and_ones_are_background_and_foreground(discover) -> None:
    encoding, read = discover({"a.png": gray(0, 1, 255)})
    assert encoding.classes.names == ("background", "foreground")
    assert read == [[0, 1, IGNORE_INDEX]]


# compressed and smoothed


PALETTES = {
    "two classes": (BLACK, WHITE),
    "eight of Pascal VOC": KNOWN["Pascal VOC"].palette[:8],
    "eight of CamVid": KNOWN["CamVid"].palette[:8],
    "eight apart": distinct_colors(8),
}


def scene(classes: int, seed: int, size: tuple[int, int] = (240, 320)) -> LabelMap:
    """Boxes and discs of all classes."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    label_map = np.zeros(size, dtype=np.uint8)
    for number in range(3 * classes):
        row, column, radius = random.integers(size[0]), random.integers(size[1]), random.integers(18, 45)
        distance = (
            (rows - row) ** 2 + (columns - column) ** 2
            if number % 2
            else np.maximum(np.abs(rows - row), np.abs(columns - column)) ** 2
        )
        label_map[distance < radius**2] = number % classes
    return label_map


def far_from_borders(label_map: LabelMap, pixels: int) -> npt.NDArray[np.bool_]:
    """Where all pixels of the square around one are of its class."""
    padded = np.pad(label_map, pixels, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray((windows == label_map[..., None, None]).all(axis=(2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
@pytest.mark.parametrize("given", [False, True], ids=["without class file", "with class file"])
def test_jpeg_masks_are_read_by_the_nearest_class(tmp_path: Path, palette: tuple[Color, ...], given: bool) -> None:
    colors = np.array(palette, dtype=np.uint8)
    truths = {tmp_path / f"{seed}.jpg": scene(len(palette), seed) for seed in range(4)}
    for path, truth in truths.items():
        Image.fromarray(colors[truth]).save(path, quality=75)
    classes = ClassSet(tuple(f"c{i}" for i in range(len(palette))), palette) if given else None
    encoding = discover_encoding(scan_masks(list(truths)), classes).encoding
    assert encoding.nearest
    assert len(encoding.classes) == len(palette)
    meaning = np.arange(len(palette))
    if encoding.kind == "color":  # each class is one of those that were drawn, but for what compression does to colors
        off = np.linalg.norm(colors[:, None].astype(float) - encoding.classes.colors, axis=-1)
        meaning = off.argmin(axis=1)
        assert sorted(meaning) == list(range(len(palette)))
        assert off.min(axis=1).max() <= (0 if given else 6)
    right = total = 0
    for path, truth in truths.items():
        inside = far_from_borders(truth, 2)
        right += np.count_nonzero((encoding.read(path) == meaning[truth])[inside])
        total += np.count_nonzero(inside)
    assert right / total >= 0.999
    np.testing.assert_array_equal(
        count_classes(scan_masks(list(truths)), encoding),
        [np.bincount(encoding.read(path).ravel(), minlength=len(palette)) for path in truths],
    )


def test_smoothed_borders_are_no_classes(tmp_path: Path) -> None:
    truth = scene(2, 0)
    large = Image.fromarray(np.uint8(255) * truth).resize((160, 120), Image.Resampling.BILINEAR)
    large.save(tmp_path / "a.png")
    discovery = discover_encoding(scan_masks([tmp_path / "a.png"]), None)
    assert (discovery.encoding.kind, discovery.encoding.nearest) == ("binary", True)
    assert discovery.encoding.classes.names == ("background", "foreground")
    assert "masks are compressed or smoothed" in discovery.notes[-1]
    np.testing.assert_array_equal(discovery.encoding.read(tmp_path / "a.png"), np.asarray(large) >= 128)


def test_a_class_that_the_file_does_not_name_is_not_lost_in_compression(tmp_path: Path) -> None:
    palette = PALETTES["eight of Pascal VOC"]
    Image.fromarray(np.array(palette, dtype=np.uint8)[scene(8, 0)]).save(tmp_path / "a.jpg", quality=90)
    facts = scan_masks([tmp_path / "a.jpg"])
    with pytest.raises(DataError, match="belongs to no class"):
        check_values(facts, discover_encoding(facts, ClassSet(("a", "b", "c"), palette[:3])).encoding)


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has at least 256 colors and few even areas, like a photograph"):
        discover_encoding(scan_masks([tmp_path / "a.png"]), None)


# what cannot be


@pytest.mark.parametrize(
    ("masks", "classes", "message"),
    [
        (
            {"a.png": gray(0, 1), "b.png": gray(0, 5, 7)},
            STREET,
            r"b\.png: holds the value 5, 7, which is not a class; expected 0 to 2 \(ground, car, sky\) or 255 for",
        ),
        (
            {"a.png": gray(*range(20))},
            ClassSet(("a", "b", "c", "d")),
            r"holds the value 4, 5, 6, 7, 8 and 11 more, which is not a class; expected 0 to 3 \(a, b, c, \.\.\.\)",
        ),
        (
            {"a.png": colored(RED, (1, 2, 3))},
            STREET,
            r"a\.png: the color \(1, 2, 3\) belongs to no class; add it to the palette in classes\.yaml",
        ),
        (
            {"a.png": gray(0, 1), "b.png": colored(RED, BLUE)},
            None,
            r"a\.png: holds the numbers 0, 1, while .*b\.png is a color image; save all masks in the same way",
        ),
        (
            {"a.png": gray(1, 0), "b.png": colored(RED)},
            STREET,
            r"a\.png: the color \(1, 1, 1\) belongs to no class",
        ),
        (
            {"a.png": colored(RED, BLUE)},
            ClassSet(("car", "bus"), (RED, RED)),
            r"'car' and 'bus' have the same color, \(200, 0, 0\), so colored masks cannot distinguish them",
        ),
        (
            {"a.png": gray(0, 1), "b.png": gray(0, 300, dtype=np.uint16)},
            None,
            r"b\.png: holds the values 0 to 300; expected class numbers from 0 to 254; renumber the classes",
        ),
        (
            {"a.png": gray(*[0] * 300, *[255] * 300, *range(1, 100), 200)},
            None,
            r"101 values \(0, 1, 2, 3, 4, 5, \.\.\.\) between 0 and 200, .* or, if they are class numbers, add",
        ),
        ({"a.jpg": gray(*[0] * 16, *[3] * 16)}, None, "which do not look like class numbers; save the masks as PNG"),
    ],
    ids=["value", "values", "color", "numbers and colors", "mixed", "same color", "16 bit", "blurred", "jpeg"],
)
def test_masks_that_fit_no_classes_are_an_error(
    discover, masks: Mapping[str, Image.Image], classes: ClassSet | None, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        discover(masks, classes)
    assert "\n" not in str(caught.value)


def test_many_classes_are_not_taken_for_gray_levels(discover) -> None:
    encoding, _ = discover({"a.png": gray(*[0] * 300, *range(151), *[255] * 100)})
    assert len(encoding.classes) == 151


def test_a_negative_number_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, -1]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: holds the values -1 to 0; expected class numbers from 0"):
        discover_encoding(scan_masks([tmp_path / "a.tif"]), None)


def test_a_mask_that_changed_after_the_search_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    gray(0, 255).save(path)
    encoding = discover_encoding(scan_masks([path]), None).encoding
    gray(0, 7).save(path)
    with pytest.raises(
        DataError, match=r"holds the value 7; the other masks hold only 0 and 255; save this mask in the same way"
    ):
        encoding.read(path)
    colored(RED).save(path)
    with pytest.raises(DataError, match=r"a\.png: is colored, but the other masks hold class numbers; save this"):
        encoding.read(path)


def test_the_search_reports_its_progress_and_stops_at_a_broken_mask(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path in paths:
        gray(0, 1).save(path)
    heard: list[int] = []
    facts = scan_masks(paths, heard.append)
    assert heard == [1, 2, 3, 4, 5]
    assert [fact.path for fact in facts] == paths
    assert facts[0].size == (1, 2)
    paths[3].write_bytes(b"")
    with pytest.raises(ImageError, match=r"3\.png"):
        scan_masks(paths)


def test_no_masks_have_no_counts() -> None:
    assert count_classes([], MaskEncoding("index", STREET)).shape == (0, 3)
