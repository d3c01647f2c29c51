from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from maskpencil.classes import read_classes
from maskpencil.errors import ConfigError
from maskpencil.scenes import SCENE_CLASSES, Scene, draw_scene, drive, write_scenes
from maskpencil.scenes.facets import CAR, FACING_CAMERA, Placement, Sketch, crosswise, join_placements
from maskpencil.scenes.painter import View, paint
from maskpencil.scenes.street import Street
from maskpencil.scenes.weather import some_weather

SIZE = (64, 96)
CLASS = {name: SCENE_CLASSES.index(name) for name in SCENE_CLASSES.names}


@pytest.fixture(scope="module")
def stills() -> list[Scene]:
    return [draw_scene(seed, SIZE) for seed in range(20)]


def same(one: Scene, other: Scene) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.label_map, other.label_map)


@pytest.mark.slow
def test_the_same_seed_draws_the_same_scene(stills):
    assert same(draw_scene(7, SIZE), stills[7])


def test_another_seed_draws_another_scene(stills):
    assert not any(same(stills[0], still) for still in stills[1:])


@pytest.mark.parametrize("size", [(64, 96), (33, 57), (97, 41), (32, 32), (40, 200)])
def test_a_scene_has_the_size_asked_for(size):
    scene = draw_scene(1, size)
    assert scene.image.shape == (*size, 3)
    assert scene.label_map.shape == size
    assert scene.image.dtype == scene.label_map.dtype == np.uint8


def test_every_label_is_a_class_and_every_class_occurs(stills):
    assert set(np.unique([still.label_map for still in stills])) == set(range(len(SCENE_CLASSES)))


@pytest.mark.parametrize("name", ["car", "person"])
def test_most_stills_show_cars_and_people(stills, name):
    shown = [np.count_nonzero(still.label_map == CLASS[name]) >= 8 for still in stills]
    assert np.mean(shown) >= 0.6


def test_the_sky_lies_above_the_ground(stills):
    ground = [CLASS["road"], CLASS["lane mark"], CLASS["pavement"]]
    for still in stills:
        sky_rows = np.flatnonzero((still.label_map == CLASS["sky"]).any(axis=1))
        ground_rows = np.flatnonzero(np.isin(still.label_map, ground).any(axis=1))
        assert sky_rows.max() < ground_rows.min()


def test_no_image_is_flat_or_washed_out(stills):
    for still in stills:
        assert still.image.std() > 20
        assert 40 < still.image.mean() < 220


@pytest.mark.parametrize("seed", [2, 5, 11])
def test_a_larger_image_shows_the_same_street(seed):
    small, large = draw_scene(seed, (96, 160)), draw_scene(seed, (192, 320))
    assert np.mean(large.label_map[::2, ::2] == small.label_map) > 0.9


@pytest.mark.parametrize("weather_seed", range(6))
def test_weather_changes_the_image_but_no_label(weather_seed):
    moment = Street(4).moment(0.0)
    weather = some_weather(np.random.default_rng(weather_seed))
    changed = replace(moment, look=replace(moment.look, weather=weather))
    image, labels = paint(moment, SIZE, np.random.default_rng(0))
    other_image, other_labels = paint(changed, SIZE, np.random.default_rng(0))
    assert np.array_equal(labels, other_labels)
    assert not np.array_equal(image, other_image)


def test_a_label_is_what_covers_the_middle_of_its_pixel():
    moment = Street(4).moment(0.0)
    sketch = Sketch(CAR)
    board = crosswise(-1.3, 2.1, 0.2, 2.9, 0.0)
    sketch.paint(board, (1, 0, 0), light=FACING_CAMERA)
    sketch.cast(board)
    facets, casters = join_placements([Placement(sketch.model(), right=1.0, along=moment.along + 9)])
    moment = replace(moment, facets=facets, casters=casters)
    columns, rows, _ = View.of(moment, SIZE).project(facets.vertices)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    margin = np.min([x - columns.min(), columns.max() - x, y - rows.min(), rows.max() - y], axis=0)

    _, labels = paint(moment, SIZE, np.random.default_rng(0))
    sub_pixel = 0.25
    assert (labels[margin > sub_pixel] == CAR).all()
    assert (labels[margin < -sub_pixel] != CAR).all()


def test_a_still_is_the_first_frame_of_its_drive(stills):
    assert same(next(drive(3, 5, SIZE)), stills[3])


def test_a_drive_has_the_frames_asked_for():
    assert len(list(drive(1, 3, SIZE))) == 3


def test_the_frames_of_a_drive_follow_each_other_smoothly():
    frames = list(drive(6, 4, SIZE))
    for one, other in pairwise(frames):
        assert not np.array_equal(one.image, other.image)
        assert np.mean(one.label_map == other.label_map) > 0.85
        assert np.abs(one.image.astype(float) - other.image).mean() < 25


def test_the_frame_rate_changes_how_often_not_where():
    every_frame = [frame.label_map for frame in drive(2, 5, SIZE, frame_rate=24)]
    every_other = [frame.label_map for frame in drive(2, 3, SIZE, frame_rate=12)]
    assert all(np.array_equal(a, b) for a, b in zip(every_frame[::2], every_other, strict=True))


def test_a_street_has_no_end():
    _, labels = paint(Street(8).moment(3600.0), SIZE, np.random.default_rng(0))
    assert {CLASS[name] for name in ("sky", "building", "road", "tree")} <= set(np.unique(labels))


@pytest.mark.parametrize("size", [(31, 96), (64, 0), (64, -5), (64,), (64, 96, 3)])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(ConfigError, match="at least 32"):
        draw_scene(0, size)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed"):
        draw_scene(-1, SIZE)


@pytest.mark.parametrize(("frames", "frame_rate"), [(0, 24), (-2, 24), (5, 0), (5, -1)])
def test_a_drive_without_frames_is_refused_at_once(frames, frame_rate):
    with pytest.raises(ConfigError, match="frame"):
        drive(0, frames, SIZE, frame_rate=frame_rate)


def test_written_scenes_are_images_with_palette_masks(tmp_path):
    reported: list[int] = []
    write_scenes(tmp_path, train=3, val=2, test=1, size=SIZE, seed=5, progress=reported.append)

    assert reported == [1, 2, 3, 4, 5, 6]
    assert read_classes(tmp_path / "classes.yaml") == SCENE_CLASSES
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        images = sorted(path.name for path in (tmp_path / "images" / split).iterdir())
        assert images == [f"{number:04d}.jpg" for number in range(count)]
        masks = sorted(path.name for path in (tmp_path / "masks" / split).iterdir())
        assert masks == [f"{number:04d}.png" for number in range(count)]
    with Image.open(tmp_path / "images" / "val" / "0000.jpg") as image:
        assert np.abs(np.asarray(image, dtype=int) - draw_scene(8, SIZE).image).mean() < 3
    with Image.open(tmp_path / "masks" / "val" / "0000.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), draw_scene(8, SIZE).label_map)
        assert tuple(mask.getpalette()[:3]) == SCENE_CLASSES.palette[0]


def test_no_two_written_images_are_alike(tmp_path):
    write_scenes(tmp_path, train=2, val=2, test=2, size=SIZE)
    assert len({path.read_bytes() for path in (tmp_path / "images").rglob("*.jpg")}) == 6
