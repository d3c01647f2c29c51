"""`maskpencil benchmark`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.options import Device


def command(
    what: Annotated[  # noqa: ARG001 - the one there is
        Literal["sliding-window"], Parameter(help="The dense net beside the classifier window by window.")
    ],
    pictures: Annotated[tuple[Path, ...], Parameter(help="Pictures to run on; by default drawn streets.")] = (),
    /,
    *,
    backbone: Annotated[
        str, Parameter(help="The classifier: torchvision's VGG, AlexNet, GoogLeNet or ResNet.")
    ] = "vgg16",
    weights: Annotated[str, Parameter(help="imagenet, none or a file in torchvision's form.")] = "imagenet",
    size: Annotated[str, Parameter(help="HEIGHTxWIDTH to which the pictures are scaled.")] = "500x500",
    batch_size: Annotated[int, Parameter(help="Windows a pass.")] = 16,
    repeats: Annotated[int, Parameter(help="Rounds; the median counts.")] = 3,
    device: Device = "auto",
) -> None:
    """Time methods side by side, in turns, on this machine."""
    import torch

    from maskpencil.benchmark.sliding_window import compare
    from maskpencil.data.scenes import draw_scene
    from maskpencil.hardware import choose_device
    from maskpencil.images import read_image
    from maskpencil.models.dense_classifier import dense_classifier
    from maskpencil.preprocessing import Preprocessing, stacked
    from maskpencil.training.values import height_and_width

    place = choose_device(device)
    height, width = height_and_width("--size", size, "HEIGHTxWIDTH")
    classifier = dense_classifier(backbone, weights=weights).to(place)
    images = [read_image(path) for path in pictures] or [draw_scene(seed, (height, width)).image for seed in range(2)]
    preprocessing = Preprocessing(classifier.mean, classifier.std, (height, width))
    batch = preprocessing.normalize(stacked([preprocessing.resize(image) for image in images]).to(place))
    result = compare(classifier.to(memory_format=torch.channels_last), batch, batch_size=batch_size, repeats=repeats)
    rows, columns = result.grid
    print(f"{backbone} on {place.type}, {len(batch)} pictures of {size}, {rows} x {columns} scores each")
    for method, seconds in (
        ("dense", result.dense),
        ("windows in batches", result.batched),
        ("windows one by one", result.single),
    ):
        print(f"{method:<20} {1000 * seconds:10.1f} ms a picture {seconds / result.dense:8.1f} times the dense net's")
    print(
        f"the same class in {100 * result.agreement:.1f} % of the cells, scores correlate by {result.correlation:.3f}"
    )
