"""A network's graph without its weights. A model folder that carries it runs on CPUs without torch from the start.

The folder `graph` holds `cells.xml` and `cells.bin`, in OpenVINO's form, whose inputs are pictures and, under their
names in `model.safetensors`, the weights; and `network.json`, which says what comes after it and how far around a cell
it looks.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from maskpencil.errors import ConfigError, ModelError, OutputError
from maskpencil.files import folder_written_whole
from maskpencil.model_folder import CONFIG, WEIGHTS, graph_fingerprint, read_model_folder
from maskpencil.runtimes.footprint import Footprint
from maskpencil.runtimes.upscoring import Upscoring

if TYPE_CHECKING:
    from maskpencil.models.architectures import Network

GRAPH = "graph"
"""The folder, in a model folder."""

Form = Literal["openvino", "onnx"]

CELLS, FACTS = "cells.xml", "network.json"
GRAPHS: dict[Form, str] = {"openvino": CELLS, "onnx": "cells.onnx"}
PIXELS = "pixels"

_VERSION = 1
"""Of what the folder holds; a folder of another version is left alone."""


def add_graph(folder: Path, *, warn: Callable[[str], None]) -> None:
    """Let a model folder carry its network's graph, where there can be one: `warn` hears why not. Needs torch."""
    try:
        with folder_written_whole(folder / GRAPH) as place:
            write_graph(folder, place, "openvino")
    except (ConfigError, ModelError, OutputError) as error:  # the model itself is whole
        warn(f"warning: its first prediction on a CPU will take longer: {error}")


def carries_graph(folder: Path) -> bool:
    """Whether a model folder carries a graph of its network and of this version."""
    facts = folder / GRAPH / FACTS
    return facts.is_file() and _read_facts(facts).get("of") == _name(folder)


def write_graph(folder: Path, place: Path, form: Form) -> None:
    """Write the graph of a model folder's network, in that form, into the folder `place`. Needs torch.

    OpenVINO's is without the weights, ONNX's holds them.

    Raises:
        ConfigError: what is needed for it is not installed.
        ModelError: the model folder is damaged, or the form has no such layers.
    """
    from maskpencil.runtimes.conversion import convert_network

    parts = read_model_folder(folder)
    write_facts(place, parts.model, of=folder)
    convert_network(parts, place / GRAPHS[form], form=form, source=folder)


def filled_graph(place: Path, folder: Path) -> Any:
    """The graph in the folder `place` with the weights of a model folder, an `openvino.Model`.

    Raises:
        ModelError: a file is damaged, or the weights do not fit the graph.
    """
    import openvino
    from openvino import opset13 as op

    try:
        model = openvino.Core().read_model(place / CELLS)
    except RuntimeError as error:
        raise ModelError(f"{place / CELLS}: is damaged; remove the folder {place}, it is made anew") from error
    tensors = _read_arrays(folder / WEIGHTS)
    for parameter in model.get_parameters():
        name, shape = parameter.output(0).get_any_name(), parameter.get_partial_shape()
        if name == PIXELS:
            continue
        found = tensors.get(name)
        if found is None or not shape.compatible(openvino.PartialShape(found.shape)):
            told = "is missing" if found is None else f"is {found.shape} instead of {tuple(shape.to_shape())}"
            raise ModelError(f"{folder / WEIGHTS}: does not fit, {name} {told}; expected its {CONFIG}")
        parameter.output(0).replace(op.constant(found, shared_memory=True).output(0))
        model.remove_parameter(parameter)
    return model


def write_facts(place: Path, network: "Network", *, of: Path) -> None:
    """Write beside the graph of a network, that of the model folder `of`, what comes after it and what it needs."""
    from maskpencil.models.fcn import LAST_UPSCORE
    from maskpencil.runtimes.probe import footprint_of
    from maskpencil.runtimes.torch_runtime import upscoring_of

    upscoring = upscoring_of(network)
    # whose cells are not in place is never cut into tiles, whatever it needs
    footprint = footprint_of(network) if upscoring.in_place else Footprint(None, 1)
    plain = {name: value for name, value in asdict(upscoring).items() if name != "kernel"}
    learned = upscoring.kernel is not None and upscoring.stride
    kernel = f"{LAST_UPSCORE[learned]}.weight" if learned else None
    facts = {"of": _name(of), "upscoring": plain, "kernel": kernel, "footprint": asdict(footprint)}
    (place / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def read_facts(place: Path, folder: Path) -> tuple[Upscoring, Footprint]:
    """What comes after the graph in the folder `place`, and what it needs. What has learned lies in the model folder.

    Raises:
        ModelError: a file is damaged.
    """
    facts = _read_facts(place / FACTS)
    kernel = facts["kernel"]
    learned = _read_arrays(folder / WEIGHTS, kernel)[kernel] if kernel else None
    return Upscoring(**facts["upscoring"], kernel=learned), Footprint(**facts["footprint"])


def _name(folder: Path) -> list[object]:
    return [_VERSION, graph_fingerprint(folder)]


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: is damaged; remove the folder {path.parent}, it is made anew") from error


def _read_arrays(weights: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Read tensors, by default all, of a model folder's weights without torch."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as tensors:
            return {name: tensors.get_tensor(name) for name in names or tensors.keys()}
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: numbers that NumPy does not know
        raise ModelError(f"{weights}: cannot be read as weights ({error}); copy or download it again") from error
