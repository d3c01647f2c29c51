"""Export a model to ONNX, OpenVINO's format or a torch program, after comparing each file with the model."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.errors import ConfigError, ModelError, last_line
from maskpencil.evaluation import match_classes
from maskpencil.export.network import (
    FILES,
    ExportedNetwork,
    Form,
    in_fp16,
    quantized,
    to_onnx,
    to_openvino,
    to_torch,
    with_facts,
)
from maskpencil.export.parity import Comparison, Parity, Pixels, Run, data_samples, drawn_samples
from maskpencil.export.readme import readme
from maskpencil.exported import ExportedModel, ExportFacts, OnnxEngine, Output, Weights
from maskpencil.files import folder_written_whole, named, numbered_folder, run_name
from maskpencil.images import write_image
from maskpencil.parsing import read_choice, read_path
from maskpencil.segmenter import Segmenter

PARITY, README, DIFFERENCE = "parity.json", "README.md", "difference.png"
"""The names of the files beside the exported files, and of the image that shows different masks."""

CALIBRATION_IMAGES = 100
"""The largest number of training images on which the ranges of activations are measured for int8."""


@dataclass(frozen=True)
class ExportOptions:
    """The settings of an export.

    Attributes:
        to: the forms to write, one or more of onnx, openvino and torch.
        weights: the number format of the weights: fp32, fp16 (half the size) or int8 (a quarter of the size, and faster
            on CPUs; requires data). torch programs are written in fp32 only.
        output: what the files compute: labels (label maps and confidences) or logits.
        split: the split of the data on which the files are compared with the model.

    Example:
        >>> mp.ExportOptions(to=("onnx", "openvino"), weights="fp16").output
        'labels'

    Raises:
        ConfigError: a setting has an unknown value, or `to` and `weights` do not fit together.
    """

    to: tuple[Form, ...] = ("onnx",)
    weights: Weights = "fp32"
    output: Output = "labels"
    split: str = "val"

    def __post_init__(self) -> None:
        if not self.to:
            raise ConfigError("to is empty; give one or more of onnx, openvino and torch")
        for form in self.to:
            read_choice("to", form, get_args(Form))
        read_choice("weights", self.weights, get_args(Weights))
        read_choice("output", self.output, get_args(Output))
        if "torch" in self.to and self.weights != "fp32":
            raise ConfigError(
                f"torch programs are written in fp32 only, but the weights are {self.weights}; leave out torch, "
                "or give fp32 as weights"
            )


@dataclass(frozen=True)
class ExportedFiles:
    """The result of an export.

    Attributes:
        out: the folder of the files.
        facts: the classes, the outputs and the number format of the files.
        sizes: the size in bytes of the files of each form.
        parities: the comparison of each form with the model.

    Example:
        >>> exported = mp.export_model("runs/train/street/model", "exported")
        >>> exported.sizes["onnx"] == exported.files[0].stat().st_size
        True
    """

    out: Path
    facts: ExportFacts
    sizes: dict[Form, int] = field(default_factory=dict)
    parities: dict[Form, Parity] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """The path of the file to load of each form, in the order of `ExportOptions.to`."""
        return [self.out / FILES[form][0] for form in self.parities]


def export_model(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: ExportOptions | None = None,
    data: str | os.PathLike[str] | DataFolder | None = None,
    image_size: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> ExportedFiles:
    """Write a model to files for other programs; nothing is written unless every file gives the masks of the model.

    Args:
        model: the model folder.
        out: the folder to write, which must not exist yet, or be empty.
        options: the settings; by default those of `ExportOptions()`.
        data: a folder of images and masks on which the files are compared with the model: in fp32 in addition to drawn
            images, in fp16 and int8 instead of drawn images. Required for int8, which is calibrated on its training
            images.
        image_size: "native" exports a model that scales images without the scaling; required for such a model, since
            exported files do not scale images.
        report: called with a text before each step.

    Returns:
        The written files, and the comparison of each file with the model.

    Example:
        >>> exported = mp.export_model("runs/train/street/model", "exported")
        >>> [path.name for path in exported.files]
        ['model.onnx']
        >>> exported.parities["onnx"].faults
        []

    Raises:
        ConfigError: a required package is not installed, the model scales images and `image_size` is not "native", or
            int8 is wanted without data.
        DataError: the data cannot be read, or have other classes than the model.
        ModelError: the model cannot be read or converted; or an exported file gives other masks, in which case only
            `difference.png` is written, into the new folder NAME-difference beside the folder `out`, where NAME is the
            name of `out`.
        OutputError: the folder cannot be written, or is not empty.
    """
    options, out = options or ExportOptions(), named(read_path("out", out))
    segmenter = _loaded(model, image_size)
    parts = segmenter.parts
    folder = None if data is None else _opened(data, segmenter)
    if options.weights == "int8" and folder is None:
        raise ConfigError("int8 needs images and masks for calibration and for its score; give them with --data DATA")
    facts = ExportFacts(parts.classes, options.output, options.weights)
    result = ExportedFiles(out, facts)
    network, title = ExportedNetwork(parts, options.output), str(model)
    with folder_written_whole(out, fresh=True) as place:
        content = b""
        if {*options.to} & {"onnx", "openvino"}:
            report("converting to ONNX")
            content = _onnx_content(network, title, facts, folder)
        for form in options.to:
            report(f"writing and comparing {FILES[form][0]}")
            run = _written(form, network, content, facts, place, title)
            differ = out.with_name(f"{out.name}-difference")
            parity = compared(run, segmenter, facts, folder, options.split, differ, name=FILES[form][0])
            result.parities[form] = parity
            result.sizes[form] = sum((place / name).stat().st_size for name in FILES[form])
        (place / README).write_text(readme(run_name(model), facts, result.parities), encoding="utf-8")
        (place / PARITY).write_text(
            json.dumps({FILES[form][0]: parity.to_dict() for form, parity in result.parities.items()}, indent=2) + "\n",
            encoding="utf-8",
        )
    return result


def onnx_of(model: str | os.PathLike[str], weights: Literal["fp32", "fp16"] = "fp16") -> bytes:
    """Return the content of an ONNX file that computes labels, after comparing the file with the model.

    `maskpencil page` puts the file into its page. The network does not scale images, even if the model does.

    Args:
        model: the model folder.
        weights: the number format of the weights.

    Raises:
        ConfigError: a required package is not installed.
        ModelError: the model cannot be read or converted, or the file gives other masks; then `difference.png` is
            written into a new folder runs/page/difference.
    """
    segmenter = _loaded(model, "native")
    parts = segmenter.parts
    facts = ExportFacts(parts.classes, "labels", weights)
    content = _onnx_content(ExportedNetwork(parts, facts.output), str(model), facts, None)
    differ = Path("runs/page/difference")
    compared(_onnx_engine(content).run, segmenter, facts, None, "val", differ, name=f"{model} in {weights}")
    return content


def verify_export(
    file: str | os.PathLike[str],
    model: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | DataFolder | None = None,
    split: str = "val",
    out: str | os.PathLike[str] = "runs/verify/difference",
) -> Parity:
    """Compare an exported file with the model, as `export_model` does before it writes a file.

    Args:
        file: the exported file, model.onnx or model.xml.
        model: the folder of the exported model.
        data: a folder of images and masks on which the file is compared with the model, see `export_model`; by default
            only drawn images are used.
        split: the split of the data.
        out: if the masks differ, `difference.png` is written into a new folder of this name, with a number if the
            folder exists.

    Returns:
        The comparison.

    Raises:
        ConfigError: a required package is not installed.
        DataError: the data cannot be read, or have other classes than the model.
        ModelError: the file or the model cannot be read, or the file gives other masks.

    Example:
        >>> exported = mp.export_model("runs/train/street/model", "exported")
        >>> mp.verify_export("exported/model.onnx", "runs/train/street/model").faults
        []
    """
    exported, segmenter = ExportedModel.from_file(file), _loaded(model, "native")
    if exported.classes.names != segmenter.classes.names:
        raise ModelError(
            f"{file}: has the classes {', '.join(exported.classes.names)}, but {model} has "
            f"{', '.join(segmenter.classes.names)}; give the model that was exported"
        )
    folder = None if data is None else _opened(data, segmenter)
    return compared(exported.engine.run, segmenter, exported.facts, folder, split, Path(out), name=str(file), end="")


def compared(
    run: Run,
    segmenter: Segmenter,
    facts: ExportFacts,
    data: DataFolder | None,
    split: str,
    out: Path,
    *,
    name: str,
    end: str = "; nothing was written",
) -> Parity:
    """Compare an exported network with its model on drawn images and on data.

    In fp32 the masks of the drawn images and of the data are compared; in fp16 and int8 only the masks of the data, or
    those of the drawn images if there are no data.

    Args:
        run: runs the exported network.
        segmenter: the model.
        facts: the facts about the exported network.
        data: the images and masks; None compares on drawn images only.
        split: the split of the data.
        out: the folder for `difference.png`, with a number if the folder exists.
        name: the name of the exported network in errors.
        end: the text after the reason in the error; "" if nothing was exported just now.

    Returns:
        The comparison.

    Raises:
        ModelError: the exported network fails or gives other masks. If masks differ, `difference.png` is written.
    """
    comparison = Comparison(
        run, segmenter.logits_batch, output=facts.output, weights=facts.weights, num_classes=len(facts.classes)
    )
    for sample in drawn_samples():
        _add(comparison, sample, name, is_counted=data is None or facts.weights == "fp32")
    for sample, target in data_samples(data, split) if data else ():
        _add(comparison, sample, name, target)
    parity = comparison.result()
    if parity.faults:
        shown = ""
        if comparison.difference:
            place = numbered_folder(out) / DIFFERENCE
            write_image(place, comparison.difference.drawn(facts.classes))
            shown = f"; {place} shows the model's mask, the exported mask and where they differ"
        is_blind = facts.weights == "int8" and parity.drop is None
        better = "give data with labeled pixels" if is_blind else "train longer"
        remedy = (
            "" if facts.weights == "fp32" else f"; {better}, or {'give' if end else 'export again with'} --weights fp32"
        )
        raise ModelError(f"{name}: does not give the model's masks ({'; '.join(parity.faults)}){end}{shown}{remedy}")
    return parity


def _add(comparison: Comparison, sample: Pixels, name: str, target: Any = None, *, is_counted: bool = True) -> None:
    try:
        comparison.add(sample, target, is_counted=is_counted)
    except Exception as error:  # the engines have no common class of errors
        height, width = sample.shape[1:3]
        raise ModelError(f"{name}: fails on an image of {width} x {height} pixels ({last_line(error)})") from error


def _loaded(model: str | os.PathLike[str], image_size: str | None) -> Segmenter:
    segmenter = Segmenter.from_pretrained(
        model, runtime="torch", device="cpu", precision="fp32", image_size="native" if image_size == "native" else None
    )
    size = segmenter.preprocessing.image_size
    if size is not None:
        shown = f"{size[0]}x{size[1]}" if isinstance(size, tuple) else f"at most {size}"
        raise ConfigError(
            f"{model}: scales images to {shown} pixels before the network, but exported files do not scale images; "
            "give --image-size native, and scale the images before they go into the exported network"
        )
    return segmenter


def _opened(data: str | os.PathLike[str] | DataFolder, segmenter: Segmenter) -> DataFolder:
    folder = data if isinstance(data, DataFolder) else open_folder(read_path("data", data), classes=segmenter.classes)
    return match_classes(folder, segmenter.classes)[0]


def _onnx_content(network: ExportedNetwork, title: str, facts: ExportFacts, data: DataFolder | None) -> bytes:
    model = to_onnx(network, title)
    if facts.weights == "fp16":
        model = in_fp16(model, title)
    elif data is not None and facts.weights == "int8":
        model = quantized(model, [data.read_pair(pair)[0][None] for pair in data.spread("train", CALIBRATION_IMAGES)])
    return with_facts(model, facts)


def _written(form: Form, network: ExportedNetwork, content: bytes, facts: ExportFacts, place: Path, title: str) -> Run:
    """Write the files of a form, and return a function that runs the written network.

    Args:
        form: the form.
        network: the network.
        content: the content of the ONNX file, from which OpenVINO's files are made too.
        facts: the facts to write into the files.
        place: the folder to write into.
        title: the name of the model in errors.
    """
    path = place / FILES[form][0]
    if form == "torch":
        # the guards would require the memory layout of the example input
        program = to_torch(network, facts, path, title).module(check_guards=False)

        def run(pixels: Pixels) -> list[Any]:
            with torch.inference_mode():
                outputs = program(torch.from_numpy(np.ascontiguousarray(pixels)))
            return [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

        return run
    if form == "onnx":
        path.write_bytes(content)
        return _onnx_engine(content).run
    to_openvino(content, facts, place, title)
    return ExportedModel.from_file(path).engine.run


def _onnx_engine(content: bytes) -> OnnxEngine:
    try:
        return OnnxEngine(content)
    except ConfigError:
        raise
    except Exception as error:  # ONNX Runtime raises errors of its own classes
        raise ModelError(f"ONNX Runtime cannot load the converted network ({last_line(error)})") from error
