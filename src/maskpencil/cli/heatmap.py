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
from maskpencil.extras import needed_for
from maskpencil.files import numbered_folder
from maskpencil.results import refuse_to_replace_file
from maskpencil.terminal import show


def command(
    model: Annotated[str, Parameter(help="The name of a classifier, such as vgg16 or resnet50, or a model folder.")],
    image: Annotated[Path, Parameter(help="An image of any size.")],
    /,
    *,
    class_name: Annotated[
        str,
        option(
            "The name or the number of the class, such as tabby for an ImageNet classifier.",
            CLASSES,
            "CLASS",
            name="--class",
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
        option("The PNG file to write; by default heatmap.png in a new folder in runs/heatmap.", OUTPUT, "FILE"),
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Draw where in an image a network detects a class.

    MODEL may be a classifier that was trained on whole images only: its fully connected layers are converted to
    convolutions, which yields one probability of the class per 32 x 32 pixels. A model folder yields one probability
    per pixel.
    """
    from maskpencil.hardware import choose_device
    from maskpencil.images import read_image, refuse_unknown_suffix, write_image
    from maskpencil.inference.heatmap import category_index, classifier_heatmap
    from maskpencil.visualize import heat

    place = found_model(Path(model), "heatmap", [image])
    if out:  # before the network is made ready
        refuse_unknown_suffix(out)
        refuse_to_replace_file(out)
    pixels = read_image(image)
    if place.is_dir():
        segmenter = load_segmenter(place, runtime=runtime, device=device, precision=precision)
        names = segmenter.classes.names
        index = category_index(names, class_name)
        ((_, values),) = segmenter.predict_class([pixels], index)
        title = segmenter.runtime.title
    else:
        with needed_for("the heatmap of a classifier"):
            from maskpencil.models.dense_classifier import dense_classifier

        classifier = dense_classifier(model, weights=weights)
        names = classifier.categories
        index = category_index(names, class_name)
        values = classifier_heatmap(classifier, pixels, index, device=device, precision=precision)
        title = f"{choose_device(device).type} by torch"
    path = out or numbered_folder(Path("runs/heatmap") / image.stem) / "heatmap.png"
    write_image(path, heat(pixels, values))
    row, column = divmod(int(values.argmax()), values.shape[1])
    show(f"{names[index]}: highest probability {values.max():.3f} at x {column}, y {row}, on {title}: {path}")
