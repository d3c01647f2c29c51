"""A network's graph without its weights. A model folder that carries it runs on CPUs without torch from the start.

The folder `graph` holds `cells.xml` and `cells.bin`, in OpenVINO's form, whose inputs are images and, under their
names in `model.safetensors`, the weights; and `network.json`, which says what comes after it, how far around a cell it
looks, of which network it is, and the digest of all this. A graph whose digest is another, or that is of another
network, is not used.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from maskpencil.errors import ConfigError, ModelError, OutputError, last_line, non_finite_weights
from maskpencil.files import folder_written_whole
from maskpencil.model_folder import CONFIG, WEIGHTS, graph_fingerprint, read_model_folder, weights_file
from maskpencil.plain_values import entries_of, one_of, parse_json, text, whole
from maskpencil.regular_files import read_regular, reason_of
from maskpencil.runtimes.footprint import ALIGNMENT, Footprint
from maskpencil.runtimes.graph_check import MAX_XML_BYTES, PIXELS, checked_xml, refuse_too_large
from maskpencil.runtimes.upscoring import Upscoring

if TYPE_CHECKING:
    from maskpencil.models.architectures import Network

GRAPH = "graph"
"""The folder, in a model folder."""

Form = Literal["openvino", "onnx"]

CELLS, CONSTANTS, FACTS = "cells.xml", "cells.bin", "network.json"
GRAPHS: dict[Form, str] = {"openvino": CELLS, "onnx": "cells.onnx"}
FILES: dict[Form, tuple[str, ...]] = {"openvino": (CELLS, CONSTANTS), "onnx": ("cells.onnx",)}
"""What a form's folder holds besides `FACTS`."""

_VERSION = 2
"""Of what the folder holds; a folder of another version is left alone."""

_MAX_BYTES = 2**32
_MAX_FACTS_BYTES = 2**16
_MAX_STRIDE, _MAX_KERNEL, _MAX_ORIGIN, _MAX_REACH, _MAX_PIXEL_BYTES = 64, 256, 4096, 2**15, 2**20


@dataclass(frozen=True)
class StoredGraph:
    """A graph as it was read and found whole: the content of its files by their names, and its facts.

    `digest` follows from all of it.
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """32 hexadecimal digits."""
        return str(self.facts["digest"])

    def write(self, place: Path) -> None:
        """Write the files into an empty folder.

        Raises:
            OSError: they cannot be written.
        """
        for name, content in self.files.items():
            (place / name).write_bytes(content)
        (place / FACTS).write_text(json.dumps(self.facts), encoding="utf-8")


def add_graph(folder: Path, *, warn: Callable[[str], None]) -> None:
    """Let a model folder carry its network's graph, where there can be one: `warn` hears why not. Needs torch."""
    try:
        with folder_written_whole(folder / GRAPH) as place:
            write_graph(folder, place, "openvino")
    except (ConfigError, ModelError, OutputError) as error:  # the model itself is whole
        warn(f"warning: its first prediction on a CPU will take longer: {error}")


def carried_graph(folder: Path) -> StoredGraph | None:
    """Read the graph that a model folder carries; None where it has none, or none that is whole and of its network."""
    try:
        stored = read_graph(folder / GRAPH, "openvino")
    except ModelError:
        return None
    return stored if stored.facts["of"] == _name(folder) else None


def is_sound(stored: StoredGraph) -> bool:
    """Whether a graph in OpenVINO's form is one that `write_graph` could have written."""
    try:
        checked_xml(stored.files[CELLS], len(stored.files[CONSTANTS]))
    except ValueError:
        return False
    return True


def read_graph(place: Path, form: Form) -> StoredGraph:
    """Read the graph in the folder `place`.

    Raises:
        ModelError: a file is missing, is not regular, or is not what was written.
    """
    try:
        facts = parse_json(read_regular(place / FACTS, limit=_MAX_FACTS_BYTES))
        limits = {CELLS: MAX_XML_BYTES}
        files = {name: read_regular(place / name, limit=limits.get(name, _MAX_BYTES)) for name in FILES[form]}
        if not isinstance(facts, dict) or facts.get("digest") != _digest(files, facts):
            raise ValueError("its files are not those that were written")
        return StoredGraph(files, _checked_facts(facts, "the graph"))
    except OSError as error:
        raise damaged(place, reason_of(error)) from error
    except ValueError as error:
        raise damaged(place, str(error)) from error


def damaged(place: Path, reason: str) -> ModelError:
    """Say that the graph in the folder `place` cannot be used."""
    return ModelError(f"{place}: is damaged ({reason}); remove the folder {place}, it is made anew where torch is")


def write_graph(folder: Path, place: Path, form: Form) -> None:
    """Write the graph of a model folder's network, in that form, into the folder `place`. Needs torch.

    OpenVINO's is without the weights, ONNX's holds them.

    Raises:
        ConfigError: what is needed for it is not installed.
        ModelError: the model folder is damaged, or the form has no such layers.
    """
    from maskpencil.runtimes.conversion import convert_network

    parts = read_model_folder(folder)
    facts = facts_of(parts.model, of=folder)
    convert_network(parts, place / GRAPHS[form], form=form, source=folder)
    seal(place, facts, form)


def seal(place: Path, facts: Mapping[str, Any], form: Form) -> None:
    """Write the facts beside a graph's files in the folder `place`, with the digest of all.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = {name: (place / name).read_bytes() for name in FILES[form]}
    (place / FACTS).write_text(json.dumps({**facts, "digest": _digest(files, facts)}), encoding="utf-8")


def save_openvino(model: Any, path: Path) -> None:
    """Write an `openvino.Model` with its numbers as they are: PATH and, beside it, .bin.

    Raises:
        OSError: it cannot be written, which OpenVINO reports as a RuntimeError.
    """
    import openvino

    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(last_line(error)) from error


def facts_of(network: "Network", *, of: Path) -> dict[str, Any]:
    """Collect what comes after the graph of a network, that of the model folder `of`, and what it needs."""
    from maskpencil.models.fcn import LAST_UPSCORE
    from maskpencil.runtimes.probe import footprint_of
    from maskpencil.runtimes.torch_runtime import upscoring_of

    upscoring = upscoring_of(network)
    # whose cells are not in place is never cut into tiles, whatever it needs
    footprint = footprint_of(network) if upscoring.in_place else Footprint(None, 1)
    plain = {name: value for name, value in asdict(upscoring).items() if name != "kernel"}
    learned = upscoring.kernel is not None and upscoring.stride
    kernel = f"{LAST_UPSCORE[learned]}.weight" if learned else None
    return {"of": _name(of), "upscoring": plain, "kernel": kernel, "footprint": asdict(footprint)}


def after_graph(stored: StoredGraph, folder: Path) -> tuple[Upscoring, Footprint]:
    """Give what comes after a graph, and what it needs. What has learned lies in the model folder.

    Raises:
        ModelError: the weights are damaged, or do not fit.
    """
    facts = stored.facts
    upscoring, name = Upscoring(**facts["upscoring"]), facts["kernel"]
    if name is None:
        return upscoring, Footprint(**facts["footprint"])
    kernel = read_arrays(folder, name)[name]
    size, classes = upscoring.kernel_size, upscoring.classes
    if kernel.shape not in ((classes, 1, size, size), (classes, classes, size, size)):
        raise ModelError(f"{folder / WEIGHTS}: does not fit, {name} is {kernel.shape}; expected its {CONFIG}")
    return Upscoring(**facts["upscoring"], kernel=kernel.astype(np.float32)), Footprint(**facts["footprint"])


def openvino_model(stored: StoredGraph, place: Path, folder: Path, *, is_foreign: bool) -> Any:
    """Make an `openvino.Model` of a graph, read from the folder `place`, with the weights of a model folder.

    Raises:
        ModelError: the weights do not fit it or are not numbers, or a graph `is_foreign`, which came with the model
            folder, and is not one that `write_graph` writes.
    """
    import openvino

    xml, constants = stored.files[CELLS], stored.files[CONSTANTS]
    try:
        model = openvino.Core().read_model(checked_xml(xml, len(constants)) if is_foreign else xml, constants)
        if len(model.inputs) > 1:
            _fill(model, folder)
        if is_foreign:
            refuse_too_large(model)
            _refuse_other_cells(model, stored.facts["upscoring"]["classes"])
    except (ValueError, RuntimeError) as error:
        raise damaged(place, last_line(error)) from error
    return model


def _refuse_other_cells(model: Any, classes: int) -> None:
    cells = model.outputs[0].get_partial_shape()
    if cells.rank != 4 or not cells[1].is_static or cells[1].get_length() != classes:
        raise ValueError(f"it gives {cells}, and not cells of {classes} classes")


def _fill(model: Any, folder: Path) -> None:
    """Put the weights of a model folder in place of the inputs that have their names."""
    import openvino
    from openvino import opset13 as op

    tensors = read_arrays(folder)
    for parameter in model.get_parameters():
        name, shape = parameter.output(0).get_any_name(), parameter.get_partial_shape()
        if name == PIXELS:
            continue
        found = tensors.get(name)
        if found is None or not shape.compatible(openvino.PartialShape(found.shape)):
            told = "is missing" if found is None else f"is {found.shape} instead of {tuple(shape.to_shape())}"
            raise ModelError(f"{folder / WEIGHTS}: does not fit, {name} {told}; expected its {CONFIG}")
        if found.dtype.kind != "f":
            raise ModelError(f"{folder / WEIGHTS}: does not fit, {name} holds {found.dtype}; expected its {CONFIG}")
        numbers = found.astype(parameter.get_element_type().to_dtype(), copy=False)
        parameter.output(0).replace(op.constant(numbers, shared_memory=True).output(0))
        model.remove_parameter(parameter)


def read_arrays(folder: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Read tensors, by default all, of a model folder's weights without torch.

    Raises:
        ModelError: they cannot be read, or hold NaN or infinity.
    """
    from safetensors import SafetensorError, safe_open

    weights = folder / WEIGHTS
    try:
        with weights_file(folder), safe_open(weights, framework="numpy") as tensors:
            arrays = {name: tensors.get_tensor(name) for name in names or tensors.keys()}
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: numbers that NumPy does not know
        raise ModelError(f"{weights}: cannot be read as weights ({error}); copy or download it again") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise non_finite_weights(str(weights), name)
    return arrays


def _name(folder: Path) -> list[object]:
    return [_VERSION, graph_fingerprint(folder)]


def _digest(files: Mapping[str, bytes], facts: Mapping[str, Any]) -> str:
    """What follows from the content of all files, and from the facts but for the digest itself."""
    plain = {name: value for name, value in facts.items() if name != "digest"}
    digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16)
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _of(value: object, what: str) -> list[object]:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise ValueError(f"{what} must be a version and a name")
    return value


def _stride(value: object, what: str) -> int | None:
    return None if value is None else whole(value, what, 1, _MAX_STRIDE)


def _kernel(value: object, what: str) -> str | None:
    return None if value is None else text(value, what, 200)


def _reach(value: object, what: str) -> int | None:
    return None if value is None else one_of(value, what, range(0, _MAX_REACH + 1, ALIGNMENT))


def _upscoring(value: object, what: str) -> dict[str, Any]:
    return entries_of(
        value,
        what,
        {
            "classes": lambda value, what: whole(value, what, 1, 255),
            "stride": _stride,
            "kernel_size": lambda value, what: whole(value, what, 0, _MAX_KERNEL),
            "origin": lambda value, what: whole(value, what, 0, _MAX_ORIGIN),
        },
    )


def _footprint(value: object, what: str) -> dict[str, Any]:
    checks = {"reach": _reach, "bytes_per_pixel": lambda value, what: whole(value, what, 1, _MAX_PIXEL_BYTES)}
    return entries_of(value, what, checks)


def _checked_facts(value: object, what: str) -> dict[str, Any]:
    checks = {
        "of": _of,
        "upscoring": _upscoring,
        "kernel": _kernel,
        "footprint": _footprint,
        "digest": lambda value, what: text(value, what, 32),
    }
    return entries_of(value, what, checks)
