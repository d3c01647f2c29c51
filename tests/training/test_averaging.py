import torch
from torch import nn

from maskpencil.training.averaging import running_average


def test_the_average_follows_weights_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = running_average(model, 0.9)
    weights, means = [], []
    for step in range(200):
        with torch.no_grad():
            model[0].weight.fill_(step)
            model[1].running_mean.fill_(-step)
            model[1].num_batches_tracked.fill_(step)
        average.update_parameters(model)
        weights.append(average.module[0].weight.item())
        means.append(average.module[1].running_mean.item())
    assert weights[0] == 0
    assert weights[1] == 9 / 11, "of the first steps less stays"
    assert abs(weights[-1] - (199 - 9)) < 1e-3, "nine steps behind: 0.9 / (1 - 0.9)"
    assert means == [-weight for weight in weights]
    assert average.module[1].num_batches_tracked == 199
