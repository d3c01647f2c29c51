"""A model folder's network in the form that a runtime takes, converted once and kept in the cache."""

import shutil
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

from maskpencil.files import cache_folder
from maskpencil.model_folder import fingerprint
from maskpencil.runtimes.footprint import Footprint
from maskpencil.runtimes.graph import (
    CELLS,
    FACTS,
    GRAPH,
    GRAPHS,
    Form,
    carries_graph,
    filled_graph,
    read_facts,
    write_graph,
)
from maskpencil.runtimes.upscoring import Upscoring

VERSION = 3
"""Part of every cache name: a higher number makes all networks be converted anew."""

INT8 = "int8"
"""The folder, in a model folder, of its network in int8."""


@dataclass(frozen=True)
class PreparedNetwork:
    """A converted network: from pictures (N, H, W, 3) uint8 to cells by `graph`, and on by `upscoring`.

    It lies in the folder `place`, in that `form`. In the folder `compiled`, which is in the cache, OpenVINO keeps what
    it makes of the graph for this machine.
    """

    place: Path
    form: Form
    upscoring: Upscoring
    footprint: Footprint
    compiled: Path

    @property
    def graph(self) -> Path:
        """The graph's file."""
        return self.place / GRAPHS[self.form]


def quantized_network(folder: Path) -> PreparedNetwork | None:
    """The network of a model folder in int8, where it was quantized."""
    if not (folder / INT8 / FACTS).is_file():
        return None
    return _read(folder, folder / INT8, "openvino", compiled=cache_folder("openvino") / f"{fingerprint(folder)}-int8")


def prepared_network(folder: Path, form: Form) -> PreparedNetwork:
    """The network of a model folder, from the cache or made now; torch is needed unless the folder carries its graph.

    Where the cache cannot be written it is made for this process alone.

    Raises:
        ConfigError: what is needed to convert it is not installed.
        ModelError: the folder is damaged, its tensors do not fit, or the runtime cannot run the network.
    """
    converter = version("openvino" if form == "openvino" else "torch")
    place = cache_folder(form) / f"{fingerprint(folder)}-{converter}-{VERSION}"
    if not (place / FACTS).is_file():
        place = _made(folder, place, form)
    return _read(folder, place, form, compiled=place / "compiled")


def _read(folder: Path, place: Path, form: Form, *, compiled: Path) -> PreparedNetwork:
    return PreparedNetwork(place, form, *read_facts(place, folder), compiled)


def _made(folder: Path, place: Path, form: Form) -> Path:
    """Make a model folder's network; gives where it lies, `place` if that can be written."""
    make = _make_openvino if form == "openvino" else partial(write_graph, form=form)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # a name of its own: other processes may be making the same network
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
            ready = Path(temporary) / place.name
            ready.mkdir()
            make(folder, ready)
            if not place.is_dir():
                ready.rename(place)
    except OSError:
        if place.is_dir():  # another process was faster
            return place
        alone = Path(_process_folder().name) / place.name
        alone.mkdir(exist_ok=True)
        make(folder, alone)
        return alone
    return place


def _make_openvino(folder: Path, ready: Path) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as temporary:
        graph = folder / GRAPH
        if not carries_graph(folder):
            graph = Path(temporary)
            write_graph(folder, graph, "openvino")
        openvino.save_model(filled_graph(graph, folder), ready / CELLS, compress_to_fp16=False)
        shutil.copy(graph / FACTS, ready / FACTS)


@cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with the process."""
    return tempfile.TemporaryDirectory(prefix="maskpencil-")
