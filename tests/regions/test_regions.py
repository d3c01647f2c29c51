import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError, DataError, OutputError
from maskpencil.regions import ImageRegions, Region, RegionFormat, find_regions, regions_file, write_regions

CLASSES = ClassSet(("ground", "box", "ball"))
Pixels = frozenset[tuple[int, int]]
FORMATS: tuple[RegionFormat, ...] = ("json", "geojson", "coco")

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
label_maps = sizes.flatmap(lambda size: arrays(np.uint8, size, elements=st.sampled_from([0, 0, 1, 2, IGNORE_INDEX])))


def drawn(*rows: str) -> npt.NDArray[np.uint8]:
    """A label map from letters: a point is class 0, a # class 1, an o class 2, a blank nothing."""
    return np.array([[{".": 0, "#": 1, "o": 2, " ": IGNORE_INDEX}[c] for c in row] for row in rows], dtype=np.uint8)


def flooded(label_map: npt.NDArray[np.uint8]) -> dict[Pixels, int]:
    """Every component, as its (row, column) pixels, with its class: by flood fill through eight neighbors."""
    left = {(int(r), int(c)) for r, c in zip(*np.nonzero(label_map != IGNORE_INDEX), strict=True)}
    found: dict[Pixels, int] = {}
    while left:
        start = left.pop()
        component, front = {start}, [start]
        while front:
            row, column = front.pop()
            for near in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in left and label_map[near] == label_map[start]:
                    left.remove(near)
                    component.add(near)
                    front.append(near)
        found[frozenset(component)] = int(label_map[start])
    return found


def filled(region: Region, size: tuple[int, int]) -> Pixels:
    """The pixels whose middle lies in a polygon and not in its holes, by the sides that a ray to the left crosses."""
    pixels: list[tuple[int, int]] = []
    for outer, *holes in region.polygons:
        inside = within(outer, size)
        for hole in holes:
            assert within(hole, size) < inside, "holes lie inside"
            inside -= within(hole, size)
        pixels.extend(inside)
    assert len(set(pixels)) == len(pixels), "polygons do not overlap"
    return frozenset(pixels)


def within(ring: tuple[tuple[int, int], ...], size: tuple[int, int]) -> Pixels:
    crossed = np.zeros((size[0], size[1] + 1), dtype=int)
    for (x, y), (next_x, next_y) in sides(ring):
        if x == next_x:
            crossed[min(y, next_y) : max(y, next_y), x] += 1
    return frozenset(zip(*(np.nonzero(crossed.cumsum(axis=1)[:, :-1] % 2)), strict=True))


def sides(ring: tuple[tuple[int, int], ...]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    return zip(ring, (*ring[1:], ring[0]), strict=True)


def signed_area(ring: tuple[tuple[int, int], ...]) -> float:
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in sides(ring)) / 2


AWKWARD = [
    drawn("#"),
    drawn("###", "###"),
    drawn("#.#", ".#.", "#.#"),  # corners only
    drawn("#####", "#...#", "#.#.#", "#...#", "#####"),  # an island in a hole
    drawn("####", "#.##", "##.#", "####"),  # two holes that touch
    drawn("..###", ".#.#.", "#####", "##...", ".####"),  # a ring that meets itself
    drawn("##.##", "#.#.#", ".###.", "#.#.#", "##.##"),  # holes around a middle that hangs by corners
    drawn(".##.", ".#o#", "##o#", ".o#."),
    drawn("  #  ", " ### ", "  #  "),
]


def also(*maps: npt.NDArray[np.uint8]) -> Any:
    def decorate(test: Any) -> Any:
        for label_map in maps:
            test = example(label_map)(test)
        return test

    return decorate


@also(*AWKWARD)
@given(label_maps)
def test_the_polygons_filled_are_the_components_of_a_flood_fill(label_map: npt.NDArray[np.uint8]) -> None:
    regions = find_regions(label_map, CLASSES)
    size = (label_map.shape[0], label_map.shape[1])
    assert {filled(region, size): region.class_index for region in regions} == flooded(label_map)
    assert len(regions) == len(flooded(label_map))


@also(*AWKWARD)
@given(label_maps)
def test_areas_boxes_centroids_and_confidences_are_those_of_the_pixels(label_map: npt.NDArray[np.uint8]) -> None:
    confidence = np.random.default_rng(label_map.size).random(label_map.shape).astype(np.float32)
    for region in find_regions(label_map, CLASSES, confidence=confidence):
        rows, columns = np.array(sorted(filled(region, (label_map.shape[0], label_map.shape[1])))).T
        assert region.class_name == CLASSES.names[region.class_index]
        assert region.area == len(rows)
        assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region.centroid == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))
        assert region.confidence == pytest.approx(confidence[rows, columns].mean())


@also(*AWKWARD)
@given(label_maps)
def test_every_polygon_is_valid_by_the_rules_of_geometry_programs(label_map: npt.NDArray[np.uint8]) -> None:
    for region in find_regions(label_map, CLASSES):
        assert sum(signed_area(ring) for polygon in region.polygons for ring in polygon) == region.area
        for polygon in region.polygons:
            for i, ring in enumerate(polygon):
                assert len(set(ring)) == len(ring), "no ring meets itself"
                assert signed_area(ring) > 0 if i == 0 else signed_area(ring) < 0
                ways = [x == next_x for (x, _), (next_x, _) in sides(ring)]
                assert all(way != next_way for way, next_way in zip(ways, (*ways[1:], ways[0]), strict=True))
            edges = [{edge for side in sides(ring) for edge in unit_edges(*side)} for ring in polygon]
            assert len(set.union(*edges)) == sum(map(len, edges)), "rings share points at most"


def unit_edges(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int, bool]]:
    (x0, y0), (x1, y1) = sorted((start, end))
    yield from ((x, y0, True) for x in range(x0, x1))
    yield from ((x0, y, False) for y in range(y0, y1))


@given(label_maps, st.integers(1, 6))
def test_small_regions_can_be_left_out_and_the_others_keep_their_numbers(
    label_map: npt.NDArray[np.uint8], min_area: int
) -> None:
    everything = find_regions(label_map, CLASSES)
    assert find_regions(label_map, CLASSES, min_area=min_area) == [r for r in everything if r.area >= min_area]


@given(label_maps)
def test_regions_come_by_class_and_size_with_numbers_from_one(label_map: npt.NDArray[np.uint8]) -> None:
    regions = find_regions(label_map, CLASSES)
    assert regions == sorted(regions, key=lambda r: (r.class_index, -r.area))
    for index in range(len(CLASSES)):
        of_class = [region.number for region in regions if region.class_index == index]
        assert of_class == list(range(1, len(of_class) + 1))


def test_of_equally_large_regions_the_upper_left_comes_first() -> None:
    boxes = [region.box for region in find_regions(drawn("....#", "#.#..", "....."), CLASSES, wanted=["box"])]
    assert boxes == [(4, 0, 5, 1), (0, 1, 1, 2), (2, 1, 3, 2)]


def test_coordinates_of_regions_are_on_the_grid_of_pixel_edges() -> None:
    (ring,) = find_regions(drawn("     ", " ### ", " # # ", " ### "), CLASSES, confidence=np.full((4, 5), 0.5))
    assert (ring.class_index, ring.class_name, ring.number, ring.area) == (1, "box", 1, 8)
    assert ring.box == (1, 1, 4, 4)
    assert ring.centroid == (2.5, 2.5)
    assert ring.confidence == 0.5
    ((outer, hole),) = ring.polygons
    assert set(outer) == {(1, 1), (4, 1), (4, 4), (1, 4)}
    assert set(hole) == {(2, 2), (3, 2), (3, 3), (2, 3)}


def test_pixels_that_touch_at_a_corner_are_one_region_of_two_polygons() -> None:
    (region,) = find_regions(drawn("# ", " #"), CLASSES)
    assert region.area == 2
    assert sorted(len(polygon) for polygon in region.polygons) == [1, 1]


def test_only_the_wanted_classes_are_looked_for() -> None:
    label_map = drawn(".#o", "...", "#..")
    assert {region.class_name for region in find_regions(label_map, CLASSES, wanted=("ball", "box"))} == {"ball", "box"}
    assert find_regions(label_map, CLASSES, wanted=()) == []


def test_an_image_without_classes_has_no_regions() -> None:
    assert find_regions(drawn("   ", "   "), CLASSES) == []


def test_polygons_can_be_left_out() -> None:
    label_map = AWKWARD[3]
    bare = find_regions(label_map, CLASSES, polygons=False)
    assert [region.polygons for region in bare] == [()] * 3
    assert [region.box for region in bare] == [region.box for region in find_regions(label_map, CLASSES)]


def test_a_view_of_a_larger_array_is_accepted() -> None:
    label_map = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(np.uint8)
    view = label_map.T[3:25:2, ::-1]
    assert find_regions(view, CLASSES) == find_regions(np.ascontiguousarray(view), CLASSES)


def test_arguments_out_of_range_are_refused() -> None:
    label_map = drawn(".#")
    with pytest.raises(ConfigError, match="at least 1 pixel, but got 0"):
        find_regions(label_map, CLASSES, min_area=0)
    with pytest.raises(DataError, match="no class 'bax'; the classes are ground, box, ball"):
        find_regions(label_map, CLASSES, wanted=["bax"])
    with pytest.raises(DataError, match="equal shapes"):
        find_regions(label_map, CLASSES, confidence=np.zeros((2, 2)))


def written(path: Path, maps: dict[str, npt.NDArray[np.uint8]], file_format: RegionFormat, **options: Any) -> Any:
    images = [
        ImageRegions(name, (label_map.shape[0], label_map.shape[1]), find_regions(label_map, CLASSES, **options))
        for name, label_map in maps.items()
    ]
    write_regions(path, images, CLASSES, file_format=file_format)
    return json.loads(path.read_text(encoding="utf-8"))


def test_json_maps_images_to_their_sizes_and_regions(tmp_path: Path) -> None:
    maps = {"a/1.jpg": drawn("  #", "  #"), "a/ä.jpg": drawn(" ")}
    entries = written(tmp_path / "r.json", maps, "json", confidence=None)
    assert entries == {
        "a/1.jpg": {
            "size": [2, 3],
            "regions": [
                {
                    "class": "box",
                    "class_index": 1,
                    "number": 1,
                    "box": [2, 0, 3, 2],
                    "area": 2,
                    "centroid": [2.5, 1.0],
                    "confidence": None,
                    "polygons": [[[[2, 0], [3, 0], [3, 2], [2, 2]]]],
                }
            ],
        },
        "a/ä.jpg": {"size": [1, 1], "regions": []},
    }


def test_geojson_has_closed_rings_and_a_feature_for_each_region(tmp_path: Path) -> None:
    collection = written(tmp_path / "r.geojson", {"1.jpg": drawn("##  ", "##  ", "  o ", "   o")}, "geojson")
    assert collection["type"] == "FeatureCollection"
    box, ball = collection["features"]
    assert box["geometry"] == {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}
    assert box["bbox"] == [0, 0, 2, 2]
    assert ball["type"] == "Feature"
    assert ball["geometry"]["type"] == "MultiPolygon"
    assert len(ball["geometry"]["coordinates"]) == 2
    assert {key: ball["properties"][key] for key in ("image", "size", "class", "number", "area")} == {
        "image": "1.jpg",
        "size": [4, 4],
        "class": "ball",
        "number": 1,
        "area": 2,
    }
    for feature in collection["features"]:
        coordinates = feature["geometry"]["coordinates"]
        for polygon in [coordinates] if feature["geometry"]["type"] == "Polygon" else coordinates:
            assert all(ring[0] == ring[-1] for ring in polygon)
            assert signed_area(tuple(map(tuple, polygon[0][:-1]))) > 0


def test_coco_has_images_annotations_and_categories_by_ids_from_one(tmp_path: Path) -> None:
    maps = {"1.jpg": drawn(" ##", " o "), "2.jpg": drawn("#")}
    data = written(tmp_path / "r.json", maps, "coco")
    assert data["images"] == [
        {"id": 1, "file_name": "1.jpg", "height": 2, "width": 3},
        {"id": 2, "file_name": "2.jpg", "height": 1, "width": 1},
    ]
    assert data["categories"] == [{"id": 1, "name": "ground"}, {"id": 2, "name": "box"}, {"id": 3, "name": "ball"}]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in data["annotations"]] == [
        (1, 1, 2),
        (2, 1, 3),
        (3, 2, 2),
    ]
    first = data["annotations"][0]
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([1, 0, 2, 1], 2, 0)
    assert first["segmentation"] == [[1, 0, 3, 0, 3, 1, 1, 1]]
    assert "score" not in first


def test_coco_scores_are_mean_confidences(tmp_path: Path) -> None:
    data = written(tmp_path / "r.json", {"1.jpg": drawn("##")}, "coco", confidence=np.array([[0.5, 0.25]]))
    assert data["annotations"][0]["score"] == 0.375


def decoded(segmentation: Any, size: tuple[int, int]) -> Pixels:
    """What COCO's own tools make of a segmentation: runs by columns, out and in by turns; or the union of polygons."""
    if isinstance(segmentation, dict):
        assert segmentation["size"] == list(size)
        counts = segmentation["counts"]
        assert all(count > 0 for count in counts[1:])
        flat = np.repeat(np.arange(len(counts)) % 2, counts)
        return frozenset(zip(*np.nonzero(flat.reshape(size[1], size[0]).T), strict=True))
    return frozenset(
        pixel for flat in segmentation for pixel in within(tuple(zip(flat[::2], flat[1::2], strict=True)), size)
    )


@pytest.mark.slow
@also(*AWKWARD)
@given(label_map=label_maps)
def test_coco_segmentations_hold_the_pixels_of_the_region(
    tmp_path_factory: pytest.TempPathFactory, label_map: npt.NDArray[np.uint8]
) -> None:
    data = written(tmp_path_factory.getbasetemp() / "r.json", {"1.jpg": label_map}, "coco")
    size = (label_map.shape[0], label_map.shape[1])
    for annotation, region in zip(data["annotations"], find_regions(label_map, CLASSES), strict=True):
        assert decoded(annotation["segmentation"], size) == filled(region, size)
        has_holes = any(len(polygon) > 1 for polygon in region.polygons)
        assert isinstance(annotation["segmentation"], dict) == has_holes


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_without_images_can_be_read(file_format: RegionFormat, tmp_path: Path) -> None:
    assert isinstance(written(tmp_path / "r.json", {}, file_format), dict)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_name_that_is_not_utf8_can_be_written(file_format: RegionFormat, tmp_path: Path) -> None:
    assert "\\\\xff.jpg" in json.dumps(written(tmp_path / "r.json", {"\udcff.jpg": drawn("#")}, file_format))


def one(name: str) -> ImageRegions:
    return ImageRegions(name, (1, 1), find_regions(drawn("#"), CLASSES))


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_old_file_stays_if_an_image_fails(file_format: RegionFormat, tmp_path: Path) -> None:
    def images() -> Iterator[ImageRegions]:
        yield one("1.jpg")
        raise KeyboardInterrupt

    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_regions(path, images(), CLASSES, file_format=file_format)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("file_format", FORMATS)
def test_images_added_before_an_interruption_can_be_kept(file_format: RegionFormat, tmp_path: Path) -> None:
    def work() -> None:
        with regions_file(tmp_path / "kept.json", CLASSES, file_format=file_format, keep=True) as add:
            add(one("1.jpg"))
            raise KeyboardInterrupt("at noon")

    with pytest.raises(KeyboardInterrupt, match="at noon"):
        work()
    write_regions(tmp_path / "whole.json", [one("1.jpg")], CLASSES, file_format=file_format)
    assert (tmp_path / "kept.json").read_text() == (tmp_path / "whole.json").read_text()


def test_a_file_that_could_not_be_written_is_not_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left"),
        regions_file(tmp_path / "r.json", CLASSES, file_format="json", keep=True),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_path_and_an_unknown_format_are_errors_of_this_package(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_regions(tmp_path / "file" / "r.json", [], CLASSES, file_format="json")
    with pytest.raises(ConfigError, match="must be one of json, geojson, coco, but got 'xml'"):
        write_regions(tmp_path / "r.xml", [], CLASSES, file_format="xml")
    assert not (tmp_path / "r.xml").exists()


def test_opencv_is_imported_only_when_regions_are_searched() -> None:
    script = "import sys, maskpencil.prediction, maskpencil.cli.predict; print({'cv2', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
