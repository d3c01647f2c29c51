from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from maskpencil.classes import IGNORE_INDEX
from maskpencil.images import fitted_size
from maskpencil.training.transforms import FitSize, RandomScaleCrop, Size, draw_gains, recolor, training_transform

COLORS = np.array([[20, 20, 20], [230, 40, 40], [40, 230, 40], [60, 60, 240]], dtype=np.uint8)
FILL = (124, 116, 104)

sides = st.integers(1, 90)
sizes = st.tuples(sides, sides)
scales = st.floats(0.05, 8)


def as_image(image: np.ndarray[Any, Any]) -> tv_tensors.Image:
    return tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))  # (3, H, W)


def augmentation(
    crop_size: Size | None, scale: tuple[float, float], image_size: int | None = None
) -> Callable[..., tuple[torch.Tensor, ...]]:
    augment = training_transform(crop_size=crop_size, scale=scale, flip=0.5, fill=FILL)
    return v2.Compose([FitSize(lambda size: fitted_size(size, image_size)), augment])


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """An image in which every class has its color, and its label map: large patches of any size."""
    height, width = draw(sizes)
    cells = np.random.default_rng(draw(st.integers(0, 1000))).integers(0, 4, (3, 3)).astype(np.uint8)
    label_map = cells[np.arange(height)[:, None] * 3 // height, np.arange(width)[None] * 3 // width]
    return COLORS[label_map], label_map


@given(scene=scenes(), size=sizes, one=scales, other=scales, seed=st.integers(0, 1000))
def test_a_window_of_any_image_has_its_size_its_classes_and_ignored_padding(
    scene: Any, size: Size, one: float, other: float, seed: int
) -> None:
    torch.manual_seed(seed)
    image, target = augmentation(size, (min(one, other), max(one, other)))(
        as_image(scene[0]), tv_tensors.Mask(torch.from_numpy(scene[1]))
    )
    assert image.shape == (3, *size)
    assert target.shape == size
    assert image.dtype == target.dtype == torch.uint8
    seen, labels = image.permute(1, 2, 0).numpy(), target.numpy()
    assert set(np.unique(labels)) <= {*np.unique(scene[1]), IGNORE_INDEX}
    padding = labels == IGNORE_INDEX
    assert (seen[padding] == FILL).all()
    rows, columns = (~padding).any(1), (~padding).any(0)
    assert rows.any(), "a part of the image is always seen"
    np.testing.assert_array_equal(~padding, rows[:, None] & columns[None])
    # away from the classes' borders the image shows the target's class
    inner = np.zeros(size, dtype=bool)
    if min(size) >= 5:
        around = np.lib.stride_tricks.sliding_window_view(np.where(padding, IGNORE_INDEX, labels), (5, 5))
        inner[2:-2, 2:-2] = (around == around[..., 2:3, 2:3]).all((2, 3)) & ~padding[2:-2, 2:-2]
    distances = np.linalg.norm(seen[..., None, :].astype(float) - COLORS, axis=-1)
    np.testing.assert_array_equal(distances.argmin(-1)[inner], labels[inner])


@given(
    size=sizes,
    scaling=st.tuples(st.tuples(st.integers(3, 60), st.integers(3, 60)), st.floats(0.1, 4)) | st.integers(4, 90),
    seed=st.integers(0, 1000),
)
def test_image_and_target_show_the_same_place_to_the_pixel(
    size: Size, scaling: tuple[Size, float] | int, seed: int
) -> None:
    """The image's red and two targets hold the place in the image; what scales them must not part them."""
    rows, columns = np.indices(size).astype(np.uint8)
    transform = (
        augmentation(None, (1, 1), scaling) if isinstance(scaling, int) else augmentation(scaling[0], (scaling[1],) * 2)
    )
    torch.manual_seed(seed)
    image, row_target, column_target = transform(
        as_image(np.stack([rows, columns, rows], axis=-1)),
        tv_tensors.Mask(torch.from_numpy(rows)),
        tv_tensors.Mask(torch.from_numpy(columns)),
    )
    for channel, target in ((0, row_target.numpy()), (1, column_target.numpy())):
        counted = target != IGNORE_INDEX
        inner = counted.copy()
        for axis in (0, 1):  # at the rim anti-aliasing sees one side only
            for shift in (1, -1):
                moved = np.roll(counted, shift, axis)
                np.moveaxis(moved, axis, 0)[0 if shift == 1 else -1] = False
                inner &= moved
        seen = image[channel].numpy().astype(int)
        assert np.abs(seen - target)[inner].max(initial=0) <= 1  # half for the nearest neighbor, half for rounding


def test_windows_fall_everywhere_and_scales_are_log_uniform() -> None:
    torch.manual_seed(0)
    window = RandomScaleCrop((20, 20), scale=(0.5, 2), fill=FILL)
    image = tv_tensors.Image(torch.zeros(3, 60, 60, dtype=torch.uint8))
    boxes = [window.make_params([image])["box"] for _ in range(400)]
    extents = np.array([(height + width) / 2 for _, _, height, width in boxes])
    assert extents.min() < 11
    assert extents.max() > 38
    assert 15 < np.median(extents) < 25
    assert min(top for top, *_ in boxes) == min(left for _, left, *_ in boxes) == 0
    assert max(top + height for top, _, height, _ in boxes) == max(left + width for _, left, _, width in boxes) == 60


def test_a_small_image_stands_anywhere_in_the_window() -> None:
    torch.manual_seed(0)
    window = RandomScaleCrop((30, 30), scale=(1, 1), fill=FILL)
    image = tv_tensors.Image(torch.zeros(3, 10, 10, dtype=torch.uint8))
    lefts = {window.make_params([image])["padding"][0] for _ in range(400)}
    assert lefts == set(range(21))


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, False), (1.0, True)])
def test_flips_mirror_both(flip: float, mirrored: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    label_map = np.random.default_rng(1).integers(0, 4, (8, 12), dtype=np.uint8)
    transform = training_transform(crop_size=None, scale=(1, 1), flip=flip, fill=FILL)
    pixels, target = transform(as_image(image), tv_tensors.Mask(torch.from_numpy(label_map)))
    step = -1 if mirrored else 1
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), image[:, ::step])
    np.testing.assert_array_equal(target.numpy(), label_map[:, ::step])


def test_recoloring_is_torchvisions_of_every_image_by_its_own_gains() -> None:
    pixels = torch.randint(0, 256, (3, 3, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    gains = torch.tensor([[1.3, 0.8, 1.2], [0.7, 1.4, 0.0], [1.0, 1.0, 1.0]])
    changed = recolor(pixels, gains)
    for image, (brightness, contrast, saturation), found in zip(pixels, gains.tolist(), changed, strict=True):
        expected = functional.adjust_brightness(image.float() / 255, brightness)
        expected = functional.adjust_contrast(expected, contrast)
        expected = functional.adjust_saturation(expected, saturation) * 255
        within = ((found > 0) & (found < 255)).all(dim=0)  # torchvision cuts after each of the three, we do at the end
        assert within.float().mean() > 0.3
        assert (found - expected)[:, within].abs().mean() < 4
    assert torch.equal(changed[2], pixels[2].float())
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_gains_are_drawn_around_1_and_never_below_0() -> None:
    torch.manual_seed(0)
    gains = torch.stack([draw_gains(0.15) for _ in range(500)])
    assert gains.shape == (500, 3)
    assert 0.85 <= gains.min() < 0.86
    assert 1.14 < gains.max() <= 1.15
    assert draw_gains(0).tolist() == [1, 1, 1]
    assert min(draw_gains(3).min() for _ in range(50)) == 0


def test_fitting_does_not_change_an_image_of_the_right_size() -> None:
    image = as_image(np.zeros((8, 12, 3), dtype=np.uint8))
    assert FitSize(lambda size: size)(image) is image
