import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers import noise
from torch import nn

from maskpencil.runtimes.base import NetworkProfile, Wanted, joined_maps
from maskpencil.runtimes.tiling import ArrayWindows, tiled_maps
from maskpencil.segmenter import Segmenter

CLOSE = 1e-4


def differing(segmenter, image, maps):
    """Return the number of labels that differ at pixels whose two best logits are not almost equal."""
    logits = np.sort(segmenter.logits_batch([image])[0], axis=0)
    decided = logits[-1] - logits[-2] >= CLOSE
    whole = segmenter.runtime.maps(segmenter.runtime.coarse_scores([image]), image.shape[:2], Wanted())
    return int(((whole.labels[0] != maps.labels[0]) & decided).sum())


@pytest.fixture(scope="module")
def networks():
    """Small networks of a short reach, by their stride."""
    kept = {}

    def of(make_segmenter, stride, learned):
        if (stride, learned) not in kept:
            kept[stride, learned] = make_segmenter(stride=stride, learned_upsampling=learned)
        return kept[stride, learned]

    return of


def sides_for(tile):
    """A tile, and the height and width of an image of up to five tiles each way: each computes the pixels around it."""
    sides = st.integers(1, min(500, 5 * tile))
    return st.tuples(st.just(tile), sides, sides)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.sampled_from([32, 64, 96, 256]).flatmap(sides_for),
    stride=st.sampled_from([8, 16, 32]),
    learned=st.sampled_from(["none", "all"]),
)
def test_tiles_give_the_label_map_of_the_whole_image(make_segmenter, networks, size, stride, learned):
    tile, height, width = size
    segmenter, image = networks(make_segmenter, stride, learned), noise(height, width)
    profile = segmenter.runtime.profile
    assert profile.exact
    bands = list(tiled_maps(segmenter.runtime, ArrayWindows(image), Wanted(), profile=profile, tile=tile))
    assert [rows.stop for rows, _ in bands[:-1]] == [rows.start for rows, _ in bands[1:]]
    assert differing(segmenter, image, joined_maps([maps for _, maps in bands])) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "vgg16", "regnetx_002"])
def test_real_networks_give_the_label_map_of_the_whole_image(make_segmenter, backbone):
    segmenter = make_segmenter(backbone, fully_connected=False)
    if backbone != "regnetx_002":
        narrow(segmenter.network)
    for number, tile in enumerate((256, 352, 512)):
        segmenter.tile = tile
        image = noise(700 + 37 * number, 611 - 53 * number)
        assert differing(segmenter, image, segmenter.maps([image], Wanted())) == 0


def narrow(network):
    """Keep a quarter of the channels: a sixteenth of the work, the same reach, and scores that spread as far."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            outputs = layer.out_channels if name.startswith("score") else layer.out_channels // 4
            inputs = layer.in_channels if layer.in_channels == 3 else layer.in_channels // 4
            layer.weight = nn.Parameter(layer.weight[:outputs, :inputs] * (layer.in_channels / inputs) ** 0.5)
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[:outputs])
        elif isinstance(layer, nn.BatchNorm2d):
            for kind, tensor in layer.state_dict().items():
                if tensor.ndim:
                    getattr(layer, kind).data = tensor[: len(tensor) // 4]


@pytest.mark.slow
def test_openvino_gives_the_same_in_tiles(make_segmenter, shared_cache, tmp_path):
    make_segmenter().save(tmp_path / "model")
    segmenter = Segmenter.from_pretrained(tmp_path / "model", device="cpu", precision="fp32", tile=64)
    image = noise(333, 421)
    assert differing(segmenter, image, segmenter.maps([image], Wanted())) == 0
    assert segmenter.runtime.profile == make_segmenter().runtime.profile


def test_bands_from_a_later_row_equal_those_from_the_top(make_segmenter):
    segmenter, image = make_segmenter(), noise(300, 200)
    profile, wanted = segmenter.runtime.profile, Wanted(confidence=True)
    whole = segmenter.maps([image], wanted)
    for start in (1, 95, 96, 250):
        bands = tiled_maps(segmenter.runtime, ArrayWindows(image), wanted, profile=profile, tile=96, start=start)
        rest = joined_maps([maps for _, maps in bands])
        np.testing.assert_array_equal(rest.labels[0], whole.labels[0, start:])
        np.testing.assert_allclose(rest.confidence[0], whole.confidence[0, start:], atol=1e-5)


def test_a_network_that_sees_the_whole_image_is_recognized_and_its_tiles_are_blended(make_segmenter):
    segmenter, image = make_segmenter("mobilenetv3_small_050"), noise(600, 400)
    assert segmenter.runtime.profile.receptive_radius is None
    bands = tiled_maps(segmenter.runtime, ArrayWindows(image), Wanted(), profile=segmenter.runtime.profile, tile=256)
    labels = joined_maps([maps for _, maps in bands]).labels[0]
    whole = segmenter.maps([image], Wanted()).labels[0]
    assert labels.shape == whole.shape
    assert (labels == whole).mean() > 0.8


def test_fixed_and_learned_upsampling_reach_equally_far(make_segmenter):
    fixed, learned = (
        make_segmenter(learned_upsampling=kind).runtime.profile.receptive_radius for kind in ("none", "all")
    )
    assert fixed == learned is not None


def test_a_tile_stays_within_the_memory_limit():
    profile = NetworkProfile(receptive_radius=256, bytes_per_pixel=200)
    side = profile.tile_size(2**30)
    assert side % 32 == 0
    assert (side + 512) ** 2 * 200 <= 2**30 < (side + 544) ** 2 * 200
    assert profile.tile_size(1) == 32


def test_large_images_are_tiled_automatically(make_segmenter):
    segmenter = make_segmenter()
    assert segmenter.tile_for((1000, 1000)) is None
    segmenter = make_segmenter(memory=2**27)
    tile = segmenter.tile_for((4000, 6000))
    assert tile == segmenter.runtime.profile.tile_size(2**27)
    assert make_segmenter(image_size=(64, 64)).tile_for((4000, 6000)) is None
