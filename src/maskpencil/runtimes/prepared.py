"""A model folder's network in the form that a runtime takes, converted once and kept in the cache."""

import json
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from maskpencil.errors import ModelError, OutputError
from maskpencil.files import cache_folder, written_whole
from maskpencil.model_folder import fingerprint, read_model_folder
from maskpencil.runtimes.footprint import Footprint
from maskpencil.runtimes.upscoring import Upscoring

VERSION = 1
"""Part of every cache name: a higher number makes all networks be converted anew."""

Form = Literal["openvino", "onnx"]

GRAPHS: dict[Form, str] = {"openvino": "cells.xml", "onnx": "cells.onnx"}
FACTS, KERNEL = "network.json", "last_kernel.npy"
FOOTPRINT = "footprint.json"

INT8 = "int8"
"""The folder, in a model folder, of its network in int8."""


@dataclass(frozen=True)
class PreparedNetwork:
    """A converted network: from pictures (N, H, W, 3) uint8 to cells by `graph`, and on by `upscoring`.

    It lies in the folder `place`, of the model folder `source`, in that `form`. In the folder `compiled`, which is in
    the cache, OpenVINO keeps what it makes of the graph for this machine.
    """

    source: Path
    place: Path
    form: Form
    upscoring: Upscoring
    compiled: Path

    @property
    def graph(self) -> Path:
        """The graph's file."""
        return self.place / GRAPHS[self.form]

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
    if not (folder / INT8 / FACTS).is_file():
        return None
    return _read(folder, folder / INT8, "openvino", compiled=cache_folder("openvino") / f"{fingerprint(folder)}-int8")


def prepared_network(folder: Path, form: Form) -> PreparedNetwork:
    """The network of a model folder, from the cache or converted now, for which torch is needed.

    Where the cache cannot be written it is converted for this process alone.

    Raises:
        ConfigError: what is needed to convert it is not installed.
        ModelError: the folder is damaged, its tensors do not fit, or the runtime cannot run the network.
    """
    converter = version("openvino" if form == "openvino" else "torch")
    place = cache_folder(form) / f"{fingerprint(folder)}-{converter}-{VERSION}"
    if not (place / FACTS).is_file():
        place = _converted(folder, place, form)
    return _read(folder, place, form, compiled=place / "compiled")


def _read(folder: Path, place: Path, form: Form, *, compiled: Path) -> PreparedNetwork:
    facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
    kernel = np.load(place / KERNEL) if (place / KERNEL).is_file() else None
    return PreparedNetwork(folder, place, form, Upscoring(**facts["upscoring"], kernel=kernel), compiled)


def write_upscoring(place: Path, upscoring: Upscoring) -> None:
    """Write, beside a converted graph, what comes after it."""
    if upscoring.kernel is not None:
        np.save(place / KERNEL, upscoring.kernel)
    facts = {"upscoring": {name: value for name, value in asdict(upscoring).items() if name != "kernel"}}
    (place / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _converted(folder: Path, place: Path, form: Form) -> Path:
    """Convert a model folder's network; gives where it lies, `place` if that can be written."""
    from maskpencil.runtimes.conversion import convert_network
    from maskpencil.runtimes.torch_runtime import upscoring_of

    parts = read_model_folder(folder)

    def convert(ready: Path) -> None:
        try:
            convert_network(parts.model, parts.preprocessing, ready / GRAPHS[form], form=form)
        except RuntimeError as error:  # what the converters raise for layers that they do not know
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ModelError(
                f"{folder}: {parts.model.config.title} cannot be run by {form} ({reason[:200]}); use --runtime torch"
            ) from error
        write_upscoring(ready, upscoring_of(parts.model))

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # a name of its own: other processes may be converting the same network
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
            ready = Path(temporary) / place.name
            ready.mkdir()
            convert(ready)
            if not place.is_dir():
                ready.rename(place)
    except OSError:
        if place.is_dir():  # another process was faster
            return place
        alone = Path(_process_folder().name) / place.name
        alone.mkdir(exist_ok=True)
        convert(alone)
        return alone
    return place


@cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with the process."""
    return tempfile.TemporaryDirectory(prefix="maskpencil-")
