"""`maskpencil benchmark`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.options import INPUT, NETWORK, OTHER, OUTPUT, Device, found_model, option, unused_gpu
from maskpencil.errors import ConfigError
from maskpencil.extras import how_to_install, is_installed, needed_for
from maskpencil.files import numbered_folder, short_name
from maskpencil.images import RGBImage, refuse_unknown_suffix, write_image
from maskpencil.plain_text import counted, visible
from maskpencil.results import refuse_to_replace_file
from maskpencil.terminal import say, show

SLIDING_WINDOW = "sliding-window"


def command(
    what: Annotated[
        str,
        Parameter(
            help="A model folder or an exported file, whose speed is measured in every runtime on this machine; or the "
            "word sliding-window, to compare two ways to apply a classifier: once to the whole image, as a fully "
            "convolutional network, or to one window after another."
        ),
    ],
    images: Annotated[
        tuple[Path, ...],
        Parameter(help="The images to run on; by default two generated street scenes.", show_default=False),
    ] = (),
    /,
    *,
    size: Annotated[
        str | None,
        option(
            "The size to which images are scaled, HEIGHTxWIDTH. By default 500x500 for sliding-window; for a model, "
            "images are not scaled, and generated images have 360x480 pixels.",
            INPUT,
            "SIZE",
        ),
    ] = None,
    repeats: Annotated[int, option("The number of timed rounds; the median time is shown.", OTHER, "N")] = 5,
    backbone: Annotated[
        str, option("For sliding-window: the classifier, any name that heatmap accepts.", NETWORK, "NAME")
    ] = "vgg16",
    weights: Annotated[
        str,
        option(
            "For sliding-window: the weights of the classifier: auto (pretrained on ImageNet), none (random) or the "
            "path of a weights file.",
            NETWORK,
            "WEIGHTS",
        ),
    ] = "auto",
    batch_size: Annotated[int, option("For sliding-window: the number of windows in a batch.", NETWORK, "N")] = 16,
    out: Annotated[
        Path | None,
        option(
            "The PNG file to write the chart to, or the heatmaps of sliding-window; by default benchmark.png in a new "
            "folder in runs/benchmark.",
            OUTPUT,
            "FILE",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Compare the speed of a model in all runtimes on this machine.

    All runtimes are timed in turns, so that other load on the machine affects all of them.
    """
    if out:
        refuse_unknown_suffix(out)  # before minutes are spent
        refuse_to_replace_file(out)
    if what == SLIDING_WINDOW:
        _sliding_window(images, size or "500x500", repeats, backbone, weights, batch_size, device, out)
    else:
        model = found_model(Path(what), "benchmark", images)
        _runtimes(model, _images(images, size, "360x480"), repeats, device, out)


def _runtimes(model: Path, images: Sequence[RGBImage], repeats: int, device: str, out: Path | None) -> None:
    from maskpencil.comparison.runtimes import COLUMNS, EXPORTED, cells, chart, compare_runtimes
    from maskpencil.exported import is_exported
    from maskpencil.segmenter import Segmenter

    if is_exported(model):
        if device not in ("auto", "cpu"):
            raise ConfigError(f"{model}: exported files are run on the CPU; leave --device {device} out")
        place, default = "cpu", (EXPORTED, "fp32")
    else:
        runtime = Segmenter.from_pretrained(model, device=device).runtime
        place, default = runtime.device, (runtime.name, runtime.precision)
    results = compare_runtimes(model, images, device=place, repeats=repeats, default=default)
    title = f"{model}, {place}: {len(images)} images one at a time, median of {repeats} rounds"
    show(title)
    width = 2 + max(len(result.name) for result in results)
    show(" " * width + "".join(f"  {head:>11}" for head in COLUMNS))
    for result in results:
        texts = zip(COLUMNS, cells(result, results[0].seconds), strict=True)
        mark = "* " if result.is_default else "  "
        show(f"{mark}{result.name:{width - 2}}" + "".join(f"  {text:>{max(11, len(head))}}" for head, text in texts))
    plot = out or _new_file(short_name(model))
    write_image(plot, chart(results, title))
    show(f"* is the choice of auto on this machine; chart: {plot}")
    if not is_installed("torch"):
        say(
            "note: the runtimes torch and onnx are not compared, and operations are not counted, since this needs "
            f"{how_to_install('torch')}"
        )
    for line in unused_gpu(device):
        say(line)


def _sliding_window(
    paths: Sequence[Path],
    size: str,
    repeats: int,
    backbone: str,
    weights: str,
    batch_size: int,
    device: str,
    out: Path | None,
) -> None:
    with needed_for(SLIDING_WINDOW):
        import torch

    from maskpencil.comparison.sliding_window import compare, figure, main_classes
    from maskpencil.hardware import choose_device
    from maskpencil.models.dense_classifier import dense_classifier
    from maskpencil.preprocessing import Preprocessing, stacked

    place = choose_device(device)
    images = _images(paths, size, size)
    classifier = dense_classifier(backbone, weights=weights).to(place)
    batch = Preprocessing(classifier.mean, classifier.std).normalize(stacked(images).to(place))
    classifier = classifier.to(memory_format=torch.channels_last)
    result = compare(classifier, batch, batch_size=batch_size, repeats=repeats)
    rows, columns = result.grid
    show(f"{backbone} on {place.type}, {counted(len(batch), 'image')} of {size}, {rows} x {columns} scores each")
    for method, seconds in (
        ("dense", result.dense),
        ("windows in batches", result.batched),
        ("windows one by one", result.single),
    ):
        show(
            f"{method:<20} {1000 * seconds:10.1f} ms per image {seconds / result.dense:8.1f} times the dense "
            "classifier's"
        )
    show(
        f"the same class in {100 * result.agreement:.1f} % of the cells; correlation of the scores "
        f"{result.correlation:.3f}"
    )
    for number, category in enumerate(main_classes(result)):
        dense, windows = (
            float(probabilities[number, category].max())
            for probabilities in (result.dense_probabilities, result.window_probabilities)
        )
        name = visible(str(paths[number])) if paths else f"street scene {number + 1}"
        show(f"{name}: {classifier.categories[category]}: probability up to {dense:.3f}, by windows {windows:.3f}")
    plot = out or _new_file(SLIDING_WINDOW)
    write_image(plot, figure(images, result))
    show(f"heatmaps: {plot}")


def _new_file(name: str) -> Path:
    """Return benchmark.png in a new folder in runs/benchmark."""
    return numbered_folder(Path("runs/benchmark") / name) / "benchmark.png"


def _images(paths: Sequence[Path], size: str | None, drawn: str) -> list[RGBImage]:
    """Read the images (H, W, 3), or draw two street scenes if `paths` is empty.

    Args:
        paths: the paths of the images.
        size: HEIGHTxWIDTH, to which images are scaled or in which they are drawn; None leaves images unscaled.
        drawn: HEIGHTxWIDTH of drawn scenes if `size` is None.
    """
    from maskpencil.images import read_image, scaled
    from maskpencil.parsing import parse_size
    from maskpencil.scenes import draw_scene

    sides = parse_size("--size", size or drawn, "HEIGHTxWIDTH")
    if not paths:
        return [draw_scene(seed, sides).image for seed in range(2)]
    images = [read_image(path) for path in paths]
    return images if size is None else [scaled(image, sides) for image in images]
