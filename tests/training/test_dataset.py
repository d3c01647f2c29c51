from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data import folder as folders
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.masks import encoding
from maskpencil.training import dataset
from maskpencil.training.dataset import (
    EpochBatches,
    Sample,
    SampleIndex,
    SegmentationDataset,
    TrainingImages,
    collate,
    evenly_spaced,
    load_batches,
)
from maskpencil.training.transforms import Size, training_transform

T = TypeVar("T")

FILL = (124, 116, 104)

AUGMENT = training_transform(crop_size=(32, 40), scale=(0.5, 2), flip=0.5, fill=FILL)


@pytest.fixture(scope="module")
def folder(tiny_folder: Path) -> DataFolder:
    return open_folder(tiny_folder)


def augmented(folder: DataFolder, seed: int = 0) -> SegmentationDataset:
    return of_images(TrainingImages(folder), seed)


def of_images(images: TrainingImages, seed: int = 0) -> SegmentationDataset:
    return SegmentationDataset(images, transform_of=lambda _: AUGMENT, color_jitter=0.3, seed=seed)


def counting(call: Callable[[Path], T], calls: Counter[Path]) -> Callable[[Path], T]:
    def counted(path: Path) -> T:
        calls[path] += 1
        return call(path)

    return counted


def same(one: Sample, other: Sample) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# samples


def test_a_sample_is_the_pair_on_disk(folder: DataFolder) -> None:
    dataset = SegmentationDataset(TrainingImages(folder), transform_of=lambda _: lambda *pair: pair)
    assert len(dataset) == 6
    pixels, target, gains = dataset[SampleIndex(0, 2)]
    image, label_map = folder.read_pair(folder.pairs("train")[2])
    assert type(pixels) is type(target) is torch.Tensor
    assert pixels.dtype == target.dtype == torch.uint8
    assert gains.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), image)
    np.testing.assert_array_equal(target.numpy(), label_map)


def test_a_sample_depends_on_seed_epoch_and_index_alone(folder: DataFolder) -> None:
    samples = augmented(folder)
    sample = samples[SampleIndex(3, 1)]
    torch.manual_seed(99)
    for place in (SampleIndex(3, 0), SampleIndex(4, 1), SampleIndex(0, 5)):
        assert not same(samples[place], sample)
    assert same(samples[SampleIndex(3, 1)], sample)
    assert same(augmented(folder)[SampleIndex(3, 1)], sample)
    assert not same(augmented(folder, seed=1)[SampleIndex(3, 1)], sample)


def test_the_transform_is_that_of_the_resolution(folder: DataFolder) -> None:
    heard: list[float] = []
    dataset = SegmentationDataset(
        TrainingImages(folder), transform_of=lambda resolution: heard.append(resolution) or AUGMENT
    )
    _ = dataset[SampleIndex(7, 0, 0.5)], dataset[SampleIndex(2, 1)]
    assert heard == [0.5, 1.0]


def test_drawing_a_sample_does_not_change_the_random_numbers_of_others(folder: DataFolder) -> None:
    state = torch.get_rng_state()
    _ = augmented(folder)[SampleIndex(0, 0)]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("image_size", [None, 40, (20, 30)])
@pytest.mark.parametrize("free", [2**40, 0], ids=["in memory", "on disk"])
def test_every_file_is_read_once_where_images_are_kept(
    tiny_folder: Path, image_size: int | Size | None, free: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(dataset, "available_memory", lambda: free)
    opened: Counter[Path] = Counter()
    for module, name in ((folders, "read_pixels"), (folders, "read_image"), (encoding, "mask_pixels")):
        monkeypatch.setattr(module, name, counting(getattr(module, name), opened))
    folder = open_folder(tiny_folder)
    images = TrainingImages(folder, image_size)
    images.load()
    assert set(opened.values()) == {1}
    assert len(opened) == 2 * 9, "each image and each mask of both splits"
    kept = of_images(images)
    samples = [kept[SampleIndex(epoch, index)] for epoch in range(2) for index in range(len(kept))]
    assert set(opened.values()) == {1}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "the file on disk has no name"
    read = of_images(TrainingImages(folder, image_size))
    expected = [read[SampleIndex(epoch, index)] for epoch in range(2) for index in range(len(read))]
    assert all(same(one, other) for one, other in zip(samples, expected, strict=True))
    assert images.nbytes == sum(tensor.nbytes for index in range(len(images)) for tensor in images[index])


def test_images_without_room_are_decoded_in_every_epoch(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "available_memory", lambda: 0)
    monkeypatch.setattr(dataset, "disk_usage", lambda _: SimpleNamespace(free=0))
    images, read = TrainingImages(folder), TrainingImages(folder)
    images.load()
    assert all(same(of_images(images)[SampleIndex(0, i)], of_images(read)[SampleIndex(0, i)]) for i in range(len(read)))


# batches


@given(
    length=st.integers(1, 60),
    batch_size=st.integers(1, 12),
    world=st.integers(1, 4),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 5),
)
def test_an_epoch_shows_every_image_in_batches_that_the_processes_share(
    length: int, batch_size: int, world: int, seed: int, epoch: int
) -> None:
    shares: list[list[list[SampleIndex]]] = []
    for rank in range(world):
        batches = EpochBatches(length, batch_size=batch_size, seed=seed, rank=rank, world=world)
        batches.epoch = epoch
        shares.append(list(batches))
        assert len(batches) == len(shares[-1])
    for together in zip(*shares, strict=True):
        assert len({len(share) for share in together}) == 1, "all processes work alike"
        assert min(2, batch_size) <= len(together[0]) <= batch_size + 1
        distinct = {place for share in together for place in share}
        assert len(distinct) == min(length, sum(map(len, together))), "no share repeats another's"
    places = [place for share in shares for batch in share for place in batch]
    assert set(places) == {SampleIndex(epoch, index) for index in range(length)}
    least = min(2, batch_size) * world
    if length >= least:
        assert len(places) < length + world, "each is seen once, but for an equal share"
    else:
        assert len(places) == least


def test_shares_are_those_of_one_process_with_the_whole_batch() -> None:
    whole = EpochBatches(32, batch_size=8, seed=3)
    halves = [EpochBatches(32, batch_size=4, seed=3, rank=rank, world=2) for rank in range(2)]
    for batch, one, other in zip(whole, *halves, strict=True):
        assert sorted(batch) == sorted(one + other)


@given(length=st.integers(1, 40), batch_size=st.integers(1, 8), start=st.integers(0, 8))
def test_starting_later_skips_those_batches_and_no_others(length: int, batch_size: int, start: int) -> None:
    batches = EpochBatches(length, batch_size=batch_size, seed=1)
    whole = list(batches)
    batches.start = start
    assert list(batches) == whole[start:]
    assert len(batches) == len(whole)


def test_the_order_depends_on_seed_and_epoch_and_stays_the_same_between_versions() -> None:
    batches = EpochBatches(8, batch_size=4, seed=1)
    first = [index for batch in batches for _, index, _ in batch]
    assert first == [5, 0, 1, 4, 2, 6, 3, 7]
    batches.epoch = 1
    assert [index for batch in batches for _, index, _ in batch] != first
    assert [index for batch in EpochBatches(8, batch_size=4, seed=2) for _, index, _ in batch] != first


@pytest.mark.parametrize(
    ("length", "batch_size", "sizes"),
    [(10, 5, [5, 5]), (11, 5, [5, 6]), (12, 5, [5, 5, 2]), (3, 5, [3]), (1, 5, [2]), (3, 1, [1, 1, 1]), (1, 1, [1])],
)
def test_no_batch_holds_one_image_unless_asked_for(length: int, batch_size: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in EpochBatches(length, batch_size=batch_size)] == sizes


# collate


def test_images_of_unequal_size_are_padded_with_fill_and_ignored() -> None:
    sizes = [(2, 5), (4, 3)]
    samples = [
        Sample(torch.full((3, *size), 7, dtype=torch.uint8), torch.full(size, i, dtype=torch.uint8), torch.ones(3))
        for i, size in enumerate(sizes)
    ]
    (images, _), targets = collate(samples, fill=FILL)
    assert (images.shape, images.dtype) == ((2, 3, 4, 5), torch.uint8)
    assert (targets.shape, targets.dtype) == ((2, 4, 5), torch.int64)
    for i, (height, width) in enumerate(sizes):
        assert (images[i, :, :height, :width] == 7).all()
        assert (targets[i, :height, :width] == i).all()
        padding = torch.ones(4, 5, dtype=torch.bool)
        padding[:height, :width] = False
        assert (targets[i][padding] == IGNORE_INDEX).all()
        assert (images[i][:, padding] == torch.tensor(FILL)[:, None]).all()


def test_images_of_one_size_are_stacked_as_they_are() -> None:
    image = torch.randint(0, 256, (3, 4, 6), dtype=torch.uint8)
    target = torch.randint(0, 3, (4, 6), dtype=torch.uint8)
    gains = [torch.tensor([1.0, 0.9, number]) for number in range(2)]
    images, targets = collate([Sample(image, target, each) for each in gains], fill=FILL)
    assert torch.equal(images.pixels, torch.stack([image] * 2))
    assert torch.equal(images.gains, torch.stack(gains))
    assert torch.equal(targets, torch.stack([target.long()] * 2))


# loading


def test_batches_are_the_same_whoever_loads_them(folder: DataFolder) -> None:
    loaded = []
    for workers in (0, 2):
        batches = EpochBatches(6, batch_size=4, seed=5)
        loader = load_batches(augmented(folder), batches, workers=workers, fill=FILL)
        loaded.append([])
        for epoch in range(2):
            batches.epoch = epoch
            loaded[-1].extend(loader)
    assert len(loaded[0]) == len(loaded[1]) == 4
    flat = [[Sample(images.pixels, targets, images.gains) for images, targets in each] for each in loaded]
    assert all(same(one, other) for one, other in zip(*flat, strict=True))
    assert flat[0][0].image.shape == (4, 3, 32, 40)
    expected = [augmented(folder)[place] for place in next(iter(EpochBatches(6, batch_size=4, seed=5)))]
    images, targets = collate(expected, fill=FILL)
    assert same(flat[0][0], Sample(images.pixels, targets, images.gains))


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [0, 3]), (4, [0, 1, 3, 5]), (7, [*range(7)]), (9, [*range(7)])]
)
def test_items_are_chosen_evenly_from_the_whole_sequence(count, expected):
    assert evenly_spaced(range(7), count) == expected
