"""Draw the built-in street with exact label maps, as single images and as the frames of a drive through it."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.classes import write_classes
from maskpencil.errors import ConfigError
from maskpencil.images import write_image
from maskpencil.label_maps import write_label_map
from maskpencil.scenes.facets import SCENE_CLASSES
from maskpencil.scenes.painter import paint
from maskpencil.scenes.street import Street

__all__ = ["SCENE_CLASSES", "Scene", "draw_scene", "drive", "write_scenes"]

SMALLEST = 32
WORTH_PROCESSES = 64  # from this number of images on, starting processes is faster


@dataclass(frozen=True)
class Scene:
    """A generated street: `image` (H, W, 3), and `label_map` (H, W) with the class at the center of each pixel."""

    image: npt.NDArray[np.uint8]
    label_map: npt.NDArray[np.uint8]


def draw_scene(seed: int, size: tuple[int, int]) -> Scene:
    """Draw the street of a seed at `size` (height, width) in pixels: the first frame of `drive`.

    The same seed gives the same street at every size, with more detail at a larger size.

    Raises:
        ConfigError: the seed is negative, or a side is shorter than 32 pixels.
    """
    return next(drive(seed, 1, size))


def drive(seed: int, frames: int, size: tuple[int, int], *, frame_rate: float = 24) -> Iterator[Scene]:
    """Yield `frames` scenes of a drive through the street that `seed` generates, at `frame_rate` frames per second.

    Raises:
        ConfigError: the seed is negative, a side is shorter than 32 pixels, `frames` is below 1, or `frame_rate` is not
            above 0.
    """
    if seed < 0:
        raise ConfigError(f"the seed of a scene must not be negative, but got {seed}")
    if len(size) != 2 or min(size) < SMALLEST:
        raise ConfigError(
            f"the size of a scene must be a height and a width of at least {SMALLEST} pixels, but got {size}"
        )
    if frames < 1 or frame_rate <= 0:
        raise ConfigError(
            f"a simulated drive needs at least 1 frame and a frame rate above 0; got {frames} frames at {frame_rate}"
        )
    return _frames(seed, frames, size, frame_rate)


def _frames(seed: int, frames: int, size: tuple[int, int], frame_rate: float) -> Iterator[Scene]:
    street = Street(seed)
    for frame in range(frames):
        image, label_map = paint(street.moment(frame / frame_rate), size, np.random.default_rng([seed, 6, frame]))
        yield Scene(image, label_map)


def write_scenes(
    root: Path,
    *,
    train: int,
    val: int,
    test: int,
    size: tuple[int, int],
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a data set `images/SPLIT/NNNN.jpg`, `masks/SPLIT/NNNN.png` and `classes.yaml` under `root`.

    `train`, `val` and `test` are the numbers of images. The first image shows the street of `seed`, every further image
    the street of the next seed. `progress` is called with the number of images written so far.

    Raises:
        ConfigError: see `draw_scene`.
        OutputError: a file cannot be written.
    """
    root = Path(root)
    write_classes(root / "classes.yaml", SCENE_CLASSES)
    counts = {"train": train, "val": val, "test": test}
    names = [f"{split}/{number:04d}" for split, count in counts.items() for number in range(count)]
    write = partial(_write_scene, root, size)
    seeds = range(seed, seed + len(names))
    with ExitStack() as stack:
        done: Iterable[None] = map(write, names, seeds)
        if len(names) >= WORTH_PROCESSES:
            pool = stack.enter_context(ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")))
            done = pool.map(write, names, seeds, chunksize=4)
        for written, _ in enumerate(done, start=1):
            if progress is not None:
                progress(written)


def _write_scene(root: Path, size: tuple[int, int], name: str, seed: int) -> None:
    scene = draw_scene(seed, size)
    write_image(root / "images" / f"{name}.jpg", scene.image)
    write_label_map(root / "masks" / f"{name}.png", scene.label_map, SCENE_CLASSES.colors)
