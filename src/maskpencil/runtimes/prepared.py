"""A model folder's network in OpenVINO's form, converted once and kept in the cache."""

import json
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.errors import ModelError, OutputError
from maskpencil.files import cache_folder, written_whole
from maskpencil.model_folder import fingerprint, read_model_folder
from maskpencil.runtimes.footprint import Footprint
from maskpencil.runtimes.upscoring import Upscoring

VERSION = 1
"""Part of every cache name: a higher number makes all networks be converted anew."""

GRAPH, FACTS, KERNEL = "cells.xml", "network.json", "last_kernel.npy"
COMPILED, FOOTPRINT = "compiled", "footprint.json"

INT8 = "int8"
"""The folder, in a model folder, of its network in int8."""


@dataclass(frozen=True)
class PreparedNetwork:
    """A converted network: from pictures (N, H, W, 3) uint8 to cells by `graph`, and on by `upscoring`.

    It lies in the folder `place`, of the model folder `source`. In the folder `compiled` OpenVINO keeps what it makes
    of the graph for this machine.
    """

    source: Path
    place: Path
    upscoring: Upscoring

    @property
    def graph(self) -> Path:
        """The graph's file."""
        return self.place / GRAPH

    @property
    def compiled(self) -> Path:
        """The folder of what is compiled."""
        return self.place / COMPILED

    def footprint(self) -> Footprint:
        """The network's footprint: kept beside the graph, or measured now, for which torch is needed."""
        kept = self.place / FOOTPRINT
        if kept.is_file():
            return Footprint(**json.loads(kept.read_text(encoding="utf-8")))
        from maskpencil.runtimes.probe import footprint_of

        footprint = footprint_of(read_model_folder(self.source).model)
        # where it cannot be kept it is measured again next time
        with suppress(OutputError), written_whole(kept) as temporary:
            temporary.write_text(json.dumps(asdict(footprint)), encoding="utf-8")
        return footprint


def quantized_network(folder: Path) -> PreparedNetwork | None:
    """The network of a model folder in int8, where it was quantized."""
    return _read(folder, folder / INT8) if (folder / INT8 / FACTS).is_file() else None


def prepared_network(folder: Path) -> PreparedNetwork:
    """The network of a model folder, from the cache or converted now, for which torch is needed.

    Where the cache cannot be written it is converted for this process alone.

    Raises:
        ModelError: the folder is damaged, its tensors do not fit, or OpenVINO cannot run the network.
    """
    place = cache_folder("openvino") / f"{fingerprint(folder)}-{version('openvino')}-{VERSION}"
    if not (place / FACTS).is_file():
        place = _converted(folder, place)
    return _read(folder, place)


def _read(folder: Path, place: Path) -> PreparedNetwork:
    facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
    kernel = np.load(place / KERNEL) if (place / KERNEL).is_file() else None
    return PreparedNetwork(folder, place, Upscoring(**facts["upscoring"], kernel=kernel))


def write_prepared(place: Path, graph: Any, upscoring: Upscoring) -> None:
    """Write a converted network, an openvino.Model, into an empty folder."""
    import openvino

    openvino.save_model(graph, place / GRAPH, compress_to_fp16=False)
    if upscoring.kernel is not None:
        np.save(place / KERNEL, upscoring.kernel)
    facts = {"upscoring": {name: value for name, value in asdict(upscoring).items() if name != "kernel"}}
    (place / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _converted(folder: Path, place: Path) -> Path:
    """Convert a model folder's network; gives where it lies, `place` if that can be written."""
    from maskpencil.runtimes.conversion import convert_network

    parts = read_model_folder(folder)
    try:
        graph, upscoring = convert_network(parts.model, parts.preprocessing)
    except RuntimeError as error:  # what OpenVINO raises for layers that it does not know
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{folder}: {parts.model.config.title} cannot be run by openvino ({reason[:200]}); use --runtime torch"
        ) from error
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # a name of its own: other processes may be converting the same network
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
            ready = Path(temporary) / place.name
            ready.mkdir()
            write_prepared(ready, graph, upscoring)
            if not place.is_dir():
                ready.rename(place)
    except OSError:
        if place.is_dir():  # another process was faster
            return place
        alone = Path(_process_folder().name) / place.name
        alone.mkdir(exist_ok=True)
        write_prepared(alone, graph, upscoring)
        return alone
    return place


@cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with the process."""
    return tempfile.TemporaryDirectory(prefix="maskpencil-")
