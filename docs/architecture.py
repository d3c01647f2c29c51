"""Write docs/architecture.md: the layers of pyproject.toml, a line for every module, trips, and where to add things.

python docs/architecture.py
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "maskpencil"
PAGE = ROOT / "docs" / "architecture.md"

HEAD = """\
# Architecture

<!-- written by docs/architecture.py from the layers in pyproject.toml and the docstrings; do not edit -->

<!-- not run: a drawing -->
```text
folder -> data (pairs, classes) -> training (batches, loss, steps) -> model folder
image, folder, video, URL -> inference (Segmenter) -> Prediction -> masks, overlays, regions, video
model folder + data -> evaluation -> scores
```

The last two sections follow one thing through the program ([Trips](#trips)) and say where to add a new one of a kind
([Where would I add ...](#where-would-i-add-)).

A module imports from lower layers only, which `make lint` checks. The layers from the top:
"""


Step = tuple[str, str, str]
"""A file below src/maskpencil, a function, class or constant in it, and what it does."""

TRIPS: dict[str, list[Step]] = {
    "A JPEG from predict to its overlay": [
        ("cli/__init__.py", "main", "picks the command"),
        ("cli/predict.py", "command", "parses the options, wraps the segmenter as they ask"),
        ("cli/options.py", "load_segmenter", "reads memory and size, prints what computes"),
        ("segmenter.py", "Segmenter.from_pretrained", "reads the model folder, chooses the runtime"),
        ("runtimes/graph_cache.py", "prepared_network", "finds the graph and fills in the weights"),
        ("runtimes/openvino_runtime.py", "OpenVINORuntime", "compiles the graph"),
        ("inference/predict.py", "predict", "checks options and places, then reads, runs and writes"),
        ("inference/options.py", "PredictOptions.refuse_unfit", "refuses what does not fit the segmenter or sources"),
        ("inference/sources.py", "find_sources", "finds the files"),
        ("predictor.py", "predict_each", "reads ahead, batches, and runs batches side by side"),
        ("inference/images.py", "read_image", "reads an image in a thread ahead of the network"),
        ("images/read.py", "read_pixels", "decodes the file to RGB uint8 (H, W, 3)"),
        ("segmenter.py", "Segmenter.predict_batch", "segments images of one size"),
        ("runtimes/base.py", "Runtime.maps", "turns coarse scores into maps, block by block"),
        ("prediction.py", "Prediction.overlay", "draws the classes over the image"),
        ("visualize.py", "overlay", "blends colors; `with_legend` adds the legend"),
        ("inference/images.py", "write_prediction", "writes mask and overlay in a thread behind the network"),
        ("files.py", "written_whole", "writes beside, flushes, has the file recorded, renames"),
    ],
    "A mask from its file to the loss": [
        ("data/masks/encoding.py", "scan_masks", "reads and measures every mask, and keeps its pixels as run lengths"),
        ("data/drawing.py", "mask_pixels", "reads a file, or draws a mask that is given as shapes"),
        ("label_maps.py", "read_mask_pixels", "decodes the file without changing a value"),
        ("images/files.py", "opened_image", "opens every image file of the package"),
        ("training/dataset.py", "TrainingImages.load", "decodes every image once, and keeps those to train on"),
        ("data/folder.py", "DataFolder.read_label_map", "takes the pixels that were kept"),
        ("data/masks/encoding.py", "MaskEncoding.decode", "turns values or colors into class indices"),
        ("training/transforms.py", "training_transform", "scales and cuts image and target together, nearest neighbor"),
        ("training/dataset.py", "collate", "stacks targets to (N, H, W) int64, padded with 255"),
        ("training/trainer.py", "GradientDescent.step", "moves the targets to the device"),
        ("training/losses.py", "Loss.__call__", "compares them with the logits; 255 counts nothing"),
    ],
    "A training step": [
        ("training/trainer.py", "Trainer.fit", "sets the learning rate, takes a batch, logs, saves, ends"),
        ("training/trainer.py", "GradientDescent.step", "seeds dropout, adds up gradients, updates the weights"),
        ("training/trainer.py", "Trainer.batch_loss", "normalizes the images, runs the network, computes the loss"),
        ("training/losses.py", "Loss.__call__", "adds up the terms of the loss"),
        ("training/optimizers.py", "Muon.step", "moves the weights; other optimizers are torch's"),
    ],
}
"""What is read in which order by someone who follows one thing through the program."""

LEAVES = {
    "A JPEG from predict to its overlay": (
        "Leaves that are called by name: `model_folder.py` (`read_model_config`), `runtimes/graph_files.py` "
        "(`carried_graph`), `images/files.py` (`opened_image`), `preprocessing.py` (`Preprocessing.resize`), "
        "`runtimes/upsampling.py` (`Upsampling.blocks`), `pipeline.py` (`read_ahead`, `in_parallel`, `WriteBehind`) "
        "and `results.py` (`refuse_to_replace`, `recorded_results`)."
    ),
    "A mask from its file to the loss": (
        "Leaves that are called by name: `data/masks/encoding.py` (`count_values`), `preprocessing.py` "
        "(`Preprocessing.working_size`), and `regular_files.py` and `images/tiff.py`, which opening an image file "
        "asks first."
    ),
    "A training step": (
        "Leaves that the step calls by name: `training/schedule.py` (`rate_factor`), `hardware.py` (`autocast`), "
        "`training/dataset.py` (`Images.on`), `training/transforms.py` (`recolor`), `preprocessing.py` "
        "(`Preprocessing.normalize`), `training/optimizers.py` (`ExponentialMovingAverage`), and `models/fcn.py`, the "
        "network itself."
    ),
}
"""What a trip passes and nobody has to open to understand it."""

PLACES: dict[str, list[Step]] = {
    "a data format": [
        ("data/formats/__init__.py", "READERS", "a file in this folder with `recognize`, entered here"),
    ],
    "an annotation format to write": [
        ("data/formats/__init__.py", "WRITERS", "a writer in the format's file, entered here"),
        ("data/formats/base.py", "LabeledImage", "what a writer gets"),
    ],
    "a loss": [
        ("training/losses.py", "TERMS", "a function of scores (P, K) and classes (P,), entered here"),
        ("training/config.py", "LOSS_TERMS", "its name"),
    ],
    "an optimizer": [
        ("training/optimizers.py", "build_optimizer", "where it is built"),
        ("training/config.py", "TrainConfig", "its name among the choices of `optimizer`"),
    ],
    "a schedule of the learning rate": [
        ("training/schedule.py", "rate_factor", "the share of the highest rate by the work that is done"),
        ("training/config.py", "TrainConfig", "its name among the choices of `schedule`"),
    ],
    "an augmentation": [
        ("training/transforms.py", "training_transform", "what is done to image and mask alike"),
        ("training/config.py", "TrainConfig", "a setting for it, whose help stands below it"),
        ("training/recipes.py", "RECIPES", "its value in each recipe"),
    ],
    "a backbone": [
        ("models/backbones/__init__.py", "FAMILIES", "a file in this folder with a `Family`, entered here"),
        ("models/backbones/base.py", "Backbone", "what it must give"),
        ("models/backbones/naming.py", "efficientnet_pytorch_names", "other libraries' names of its tensors"),
    ],
    "a reader of another project's networks": [
        ("imported.py", "import_model", "where files are recognized and the model folder is written"),
        ("models/importers/torchvision_fcn.py", "TorchvisionFCN", "a file like this one maps names and shapes"),
    ],
    "a runtime": [
        ("runtimes/base.py", "Runtime", "a file in this folder with a class of this kind"),
        ("hardware.py", "RUNTIMES", "its name"),
        ("cli/options.py", "RuntimeName", "its name as a value of `--runtime`"),
        ("segmenter.py", "_graph_runtime", "where it is made"),
        ("extras.py", "EXTRAS", "the packages that it needs"),
    ],
    "an option of predict": [
        ("inference/options.py", "PredictOptions", "a field with its help below it, for videos in `VideoOptions`"),
        ("inference/wrappers.py", "Abstain", "a wrapper like this one, where the option changes the mask"),
        ("inference/images.py", "ImageResults", "what is written for an image, where the option adds a file"),
        ("cli/predict.py", "command", "where the option is read and wraps the segmenter"),
    ],
    "a video filter": [
        (
            "inference/video/predict.py",
            "_predictor",
            "where frames get their predictor, wrapped by a file beside it such as `inference/video/smoothing.py`",
        ),
        ("inference/options.py", "VideoOptions", "its option"),
    ],
    "a kind of source": [("inference/sources.py", "find_sources", "what the arguments of `predict` may be")],
    "a score": [
        (
            "metrics/detailed.py",
            "DetailedCounts",
            "what is measured of each image, by a file such as `metrics/boundary.py`",
        ),
        ("metrics/detailed.py", "DetailedScores", "a field, which `--json` writes as well"),
        ("cli/evaluate.py", "table", "where it is printed"),
    ],
    "a check of `maskpencil check`": [
        (
            "data/check/__init__.py",
            "check",
            "what `maskpencil check` runs: the checks of files, images and masks, in the files beside it",
        ),
        ("data/check/inspect.py", "PairFacts", "what is measured in the one reading of each image and mask"),
        ("data/faults.py", "fault", "how a check in one of these files reports"),
    ],
    "a command": [("cli/__init__.py", "COMMANDS", "a file in this folder with `command`, entered here")],
    "a route of the server": [
        ("server/app.py", "App._endpoints", "the table that makes the routes and openapi.json"),
        ("server/openapi.py", "Endpoint", "the type of a row of this table; schemas of answers stand in this file"),
    ],
    "a control of the pages (exported page and server)": [
        ("web/sources/parts/view.html", "view", "the elements that both pages share, in this folder"),
        ("web/sources/src/view.js", "View", "what the elements do; `web/sources/src/paint.js` draws"),
        ("web/assets.py", "page_assets", "builds the scripts again when their sources have changed"),
    ],
    "a form of export": [
        ("export/network.py", "FILES", "its name and its files, and a function that converts a network"),
        ("export/export.py", "_written", "where the files are written and run for the comparison with the model"),
    ],
    "a section or chart of the report": [
        ("report/report.py", "write_report", "what the report consists of, in its order"),
        ("report/sections.py", "scores_section", "each section is a function like this"),
        ("report/charts.py", "curve", "each chart is a function like this"),
    ],
    "a kind of region file": [
        ("regions/write.py", "_DOCUMENTS", "a class like `_GeoJson`, entered here"),
        ("regions/write.py", "RegionFormat", "its name"),
    ],
}
"""Where a new one of a kind is added."""


def page() -> str:
    """Return the text of docs/architecture.md."""
    layers = _layers()
    parts = [HEAD]
    for number, modules in enumerate(layers):
        parts.append(f"## Layer {len(layers) - 1 - number}\n")
        for module in modules:
            parts += _lines(SOURCE.joinpath(*module.split(".")[1:]))
        parts.append("")
    parts += [*_trips(), *_places()]
    return "\n".join(parts)


def _trips() -> list[str]:
    lines = [
        "## Trips\n",
        "The files, in their order, that someone opens who follows one thing through the program; some come twice.",
    ]
    for title, steps in TRIPS.items():
        files = len({file for file, _, _ in steps})
        lines += [f"\n### {title}: {files} files\n"]
        lines += [f"{number}. `{file}`, `{name}`: {does}" for number, (file, name, does) in enumerate(steps, start=1)]
        lines += [f"\n{LEAVES[title]}"] if title in LEAVES else []
    return [*lines, ""]


def _places() -> list[str]:
    lines = ["## Where would I add ...\n", "| What | Where |", "|---|---|"]
    for what, steps in PLACES.items():
        lines.append(f"| {what} | {'; '.join(f'`{file}`, `{name}`: {does}' for file, name, does in steps)} |")
    return [*lines, ""]


def _layers() -> list[list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["name"] == "Imports go to a lower layer only")
    return [[module.strip() for module in layer.split("|")] for layer in contract["layers"]]


def _lines(path: Path) -> list[str]:
    """Return the lines of a module, or of a package and all that is in it."""
    name = path.relative_to(SOURCE).as_posix()
    if not path.is_dir():
        return [f"- `{name}.py`: {_summary(path.with_suffix('.py'))}"]
    lines = [f"- `{name}/`: {_summary(path / '__init__.py')}"]
    for file in sorted(path.iterdir()):
        if (file.is_dir() and (file / "__init__.py").is_file()) or (
            file.suffix == ".py" and file.name != "__init__.py"
        ):
            lines += [f"  {line}" for line in _lines(file if file.is_dir() else file.with_suffix(""))]
    return lines


def _summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring in one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(":.") + "."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
