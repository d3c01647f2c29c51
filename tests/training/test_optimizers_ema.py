import torch

from maskpencil.models import FCNConfig, build_fcn
from maskpencil.training.optimizers import ExponentialMovingAverage


def test_the_average_follows_weights_and_buffers() -> None:
    network = build_fcn(FCNConfig(2, "test_resnet"), weights="none")
    measured = next(name for name, _ in network.named_buffers() if name.endswith("running_mean"))
    counted = measured.replace("running_mean", "num_batches_tracked")
    average, weights = ExponentialMovingAverage(network, 0.9), []
    for step in range(200):
        with torch.no_grad():
            network.score_fr.bias.fill_(step)
            network.get_buffer(measured).fill_(-step)
            network.get_buffer(counted).fill_(step)
        average.update(network, step + 1)
        weights.append(average.network.score_fr.bias[0].item())
        assert average.network.get_buffer(measured)[0].item() == -weights[-1]
    assert abs(weights[1] - 9 / 11) < 1e-6, "of the first steps less stays"
    assert abs(weights[-1] - (199 - 9)) < 1e-3, "nine steps behind: 0.9 / (1 - 0.9)"
    assert average.network.get_buffer(counted) == 199
    assert network.score_fr.bias[0] == 199
