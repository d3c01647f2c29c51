import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from maskpencil.errors import ConfigError
from maskpencil.models.geometry import Crop, Grid


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=4))
def test_a_grid_holds_the_center_of_what_a_cell_sees(layers):
    convs = [
        nn.Conv2d(1, 1, size, stride=stride, padding=min(padding, size), bias=False) for size, stride, padding in layers
    ]
    for conv in convs:
        nn.init.ones_(conv.weight)
    image = torch.zeros(1, 1, 400, 3 * 7 + 400, dtype=torch.float64, requires_grad=True)
    cells = nn.Sequential(*convs).double()(image)
    row = cells.shape[-2] // 2
    (seen,) = torch.autograd.grad(cells[0, 0, row, cells.shape[-1] // 2], image)
    rows = seen[0, 0].sum(1).nonzero()[:, 0]
    grid = Grid().through(*convs)
    assert grid.origin + row * grid.step == (int(rows[0]) + int(rows[-1])) / 2


def test_upsampling_undoes_the_step_of_a_convolution():
    for stride in (2, 8, 16):
        up = nn.ConvTranspose2d(1, 1, 2 * stride, stride=stride, padding=stride // 2)
        assert Grid.in_place(stride).through(up) == Grid()


def test_maps_of_other_steps_or_between_cells_cannot_be_cropped():
    assert Grid(8, 12).offset_of(Grid(8, -12)) == 3
    for other in (Grid(4, 12), Grid(8, 13), Grid(8, 20)):
        with pytest.raises(ConfigError, match="cannot be cropped"):
            Grid(8, 12).offset_of(other)


def test_a_crop_begins_at_its_offset():
    cells = torch.arange(30.0).view(1, 1, 5, 6)
    assert torch.equal(Crop(1)(cells, (3, 2)), cells[..., 1:4, 1:3])
    assert torch.equal(Crop(0)(cells, (5, 6)), cells)


def test_windows_must_be_square():
    with pytest.raises(ConfigError, match="the same for height and width"):
        Grid().through(nn.Conv2d(1, 1, (3, 5)))
