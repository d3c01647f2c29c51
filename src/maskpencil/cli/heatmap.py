"""`maskpencil heatmap`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.options import (
    CLASSES,
    NETWORK,
    OUTPUT,
    Device,
    Precision,
    RuntimeName,
    found_model,
    load_segmenter,
    option,
)
from maskpencil.errors import ConfigError
from maskpencil.extras import needed_for
from maskpencil.files import numbered_folder
from maskpencil.results import refuse_to_replace_file
from maskpencil.terminal import show


def command(
    model: Annotated[
        str, Parameter(help="The name of a classifier, such as tf_efficientnet_lite0 or vgg16, or a model folder.")
    ],
    image: Annotated[Path, Parameter(help="An image of any size.")],
    /,
    *,
    classes: Annotated[
        list[str],
        option(
            "The names or numbers of one or more classes, such as tabby for an ImageNet classifier.",
            CLASSES,
            "CLASS...",
            name=("--class", "--classes"),
            consume_multiple=True,
        ),
    ],
    weights: Annotated[
        str,
        option(
            "The weights of a classifier: auto (pretrained on ImageNet), none (random) or the path of a weights file.",
            NETWORK,
            "WEIGHTS",
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        option(
            "The PNG file to write if there is a single class; by default a file per class in a new folder in "
            "runs/heatmap.",
            OUTPUT,
            "FILE",
        ),
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Draw where in an image a network detects a class.

    MODEL may be a classifier that was trained on whole images only: it is converted to a fully convolutional network,
    which yields one probability of the class per 32 x 32 pixels. A model folder yields one probability per pixel.
    """
    from maskpencil.hardware import choose_device
    from maskpencil.images import read_image, refuse_unknown_suffix, write_image
    from maskpencil.inference.heatmap import category_index, classifier_heatmap
    from maskpencil.visualize import heat

    place = found_model(Path(model), "heatmap", [image])
    if out:  # before the network is made ready
        if len(classes) > 1:
            raise ConfigError(f"--out is one file, but {len(classes)} classes are drawn; omit --out")
        refuse_unknown_suffix(out)
        refuse_to_replace_file(out)
    pixels = read_image(image)
    if place.is_dir():
        segmenter = load_segmenter(place, runtime=runtime, device=device, precision=precision)
        names = segmenter.classes.names
        indices = [category_index(names, name) for name in classes]
        maps = [values for index in indices for _, values in segmenter.predict_class([pixels], index)]
        title = segmenter.title
    else:
        with needed_for("the heatmap of a classifier"):
            from maskpencil.models.dense_classifier import dense_classifier

        classifier = dense_classifier(model, weights=weights)
        names = classifier.categories
        indices = [category_index(names, name) for name in classes]
        maps = [classifier_heatmap(classifier, pixels, index, device=device, precision=precision) for index in indices]
        title = f"{choose_device(device).type} by torch"
    folder = out.parent if out else numbered_folder(Path("runs/heatmap") / image.stem)
    for index, values in zip(indices, maps, strict=True):
        file = "heatmap.png" if len(indices) == 1 else f"heatmap-{index}.png"
        path = out or folder / file
        write_image(path, heat(pixels, values))
        row, column = divmod(int(values.argmax()), values.shape[1])
        show(f"{names[index]}: highest probability {values.max():.3f} at x {column}, y {row}, on {title}: {path}")
