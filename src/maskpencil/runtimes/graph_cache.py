"""A model folder's network in the form that a runtime takes, converted once and kept in the cache.

The cache never decides what a network gives: its names follow from the content of all that is executed, and what it
holds is checked whenever it is read. So a model folder cannot change what another one predicts. Without torch, once a
network is converted.
"""

import hashlib
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskpencil.errors import ModelError, OutputError, last_line
from maskpencil.extras import how_to_install
from maskpencil.files import cache_folder
from maskpencil.model_folder import fingerprint
from maskpencil.runtimes.base import Cells, Footprint, Runtime
from maskpencil.runtimes.graph_files import (
    FACTS,
    GRAPH,
    GRAPHS,
    Form,
    StoredGraph,
    after_graph,
    carried_graph,
    is_sound,
    openvino_model,
    read_graph,
)
from maskpencil.runtimes.upsampling import Floats, Upscoring

if TYPE_CHECKING:
    import openvino

VERSION = 4
"""Part of every cache name: a higher number makes all networks be converted anew."""

COMPILED = "compiled"
"""The folder, in one of the cache, of what OpenVINO compiled for this machine."""

INT8 = "int8"
"""The folder, in a model folder, of its network in int8."""

Bytes = npt.NDArray[np.uint8]

_MARK = b"maskpencil kept "
_TRAILER = len(_MARK) + 8


@dataclass(frozen=True)
class PreparedNetwork:
    """A converted network: from images (N, H, W, 3) uint8 to cells by its graph, and on by `upscoring`.

    Args:
        weights: the `fingerprint` of the model folder.
        folder: the model folder.
        source: the folder that the graph was read from, for messages.
        stored: the graph.
        form: of the graph.
        upscoring: what comes after the cells.
        footprint: what the network needs.
        is_foreign: whether the graph came with the model folder, and was not made here.
        cache: where the cache keeps the graph and what OpenVINO compiled of it; None where there is no cache.
    """

    weights: str
    folder: Path
    source: Path
    stored: StoredGraph
    form: Form
    upscoring: Upscoring
    footprint: Footprint
    is_foreign: bool
    cache: Path | None

    @property
    def graph(self) -> bytes:
        """The content of the graph's file."""
        return self.stored.files[GRAPHS[self.form]]

    def openvino_model(self) -> Any:
        """Make an `openvino.Model` with its weights.

        Raises:
            ModelError: the graph is not one that a converter writes, or the weights do not fit it.
        """
        return openvino_model(self.stored, self.source, self.folder, is_foreign=self.is_foreign)

    def compiled_cells(self, core: "openvino.Core", settings: Mapping[str, Any]) -> "openvino.CompiledModel":
        """Compile the graph for this machine's CPU, or find it compiled in the cache.

        Raises:
            ModelError: as `openvino_model`, or OpenVINO cannot run the network.
        """

        def graph() -> Any:
            model = self.openvino_model()
            self.keep()
            return model

        return self.compiled("cells", core, graph, settings)

    def compiled(
        self, name: str, core: "openvino.Core", graph: Callable[[], Any], settings: Mapping[str, Any]
    ) -> "openvino.CompiledModel":
        """Compile what `graph` gives, which follows from this network and `name`, or find it compiled in the cache.

        Raises:
            ModelError: OpenVINO cannot run it.
        """
        path = None if self.cache is None else self.cache / COMPILED / f"{name}-{_machine(core, settings)}.blob"
        kept = None if path is None else _imported(core, path, settings)
        if kept is not None:
            return kept
        model = graph()
        try:
            compiled = core.compile_model(model, "CPU", dict(settings))
        except RuntimeError as error:
            raise ModelError(
                f"{self.folder}: cannot be run by openvino ({last_line(error)}); use --runtime torch"
            ) from error
        if path is not None:
            keep_bytes(path, compiled.export_model().getbuffer())
        return compiled

    def keep(self) -> None:
        """Keep the graph in the cache, after the weights were read.

        Raises:
            ModelError: the weights are no longer those that the cache's name follows from.
        """
        if fingerprint(self.folder) != self.weights:
            raise ModelError(f"{self.folder}: was changed while it was read; start again")
        if self.cache is not None and _kept(self.cache, self.form) is None:
            keep_folder(self.cache, self.stored.write)


class ConvertedRuntime(Runtime):
    """Runs, on the CPU, a network that was converted; its cells are arrays.

    Args:
        prepared: the converted network.
        precision: of the convolutions.
    """

    def __init__(self, prepared: PreparedNetwork, *, precision: str) -> None:
        super().__init__(prepared.upscoring, device="cpu", precision=precision)
        self.prepared = prepared

    def fetched(self, cells: Cells) -> Floats:
        """See `Runtime`."""
        values: Floats = cells.values
        return values

    @property
    def footprint(self) -> Footprint:
        """See `Runtime`."""
        return self.prepared.footprint

    @property
    def graph_digest(self) -> str:
        """See `Runtime`."""
        return self.prepared.stored.digest


def quantized_network(folder: Path) -> PreparedNetwork | None:
    """The network of a model folder in int8, where it was quantized.

    Raises:
        ModelError: what `quantize` wrote is damaged, or is of other weights.
    """
    place = folder / INT8
    if not (place / FACTS).exists():
        return None
    remedy = "quantize the model again with maskpencil quantize, or use --precision fp32"
    weights = fingerprint(folder)
    try:
        stored = read_graph(place, "openvino")
    except ModelError as error:
        raise ModelError(f"{str(error).partition(';')[0]}; {remedy}") from error
    if stored.facts["of"] != of_weights(weights):
        raise ModelError(f"{place}: is of other weights than {folder} holds; {remedy}")
    cache = _place(weights, stored.digest, "openvino")
    after = after_graph(stored, folder)
    return PreparedNetwork(weights, folder, place, stored, "openvino", *after, is_foreign=True, cache=cache)


def of_weights(weights: str) -> list[object]:
    """Say in the facts of an int8 graph of which weights, by their `fingerprint`, it was made."""
    return [INT8, weights]


def prepared_network(folder: Path, form: Form) -> PreparedNetwork:
    """The network of a model folder, from the cache or made now; torch is needed unless the folder carries its graph.

    Where the cache cannot be used it is made for this process alone.

    Raises:
        ModelError: the folder is damaged, its tensors do not fit, or the runtime cannot run the network.
        OutputError: there is no room for temporary files.
    """
    weights = fingerprint(folder)
    carried = _carried(folder, weights) if form == "openvino" else None
    # what is made of the weights' own folder alone, and not of files that came with it, needs no name of its own
    cache = _place(weights, "" if carried is None else carried.digest, form)
    kept = None if carried is not None or cache is None else _kept(cache, form)
    stored = carried or kept or _converted(folder, form)
    after, is_foreign = after_graph(stored, folder), carried is not None
    prepared = PreparedNetwork(weights, folder, folder / GRAPH, stored, form, *after, is_foreign, cache)
    if not is_foreign and kept is None:
        prepared.keep()
    return prepared


def _carried(folder: Path, weights: str) -> StoredGraph | None:
    """The graph that a model folder carries; None where that is none that could be used."""
    carried = carried_graph(folder)
    if carried is None:
        return None
    cache = _place(weights, carried.digest, "openvino")
    is_known = cache is not None and _kept(cache, "openvino") is not None
    return carried if is_known or is_sound(carried) else None


def _place(weights: str, graph: str, form: Form) -> Path | None:
    """Where the cache keeps a network with these weights and the graph of this digest; None where there is no cache."""
    cache = own_cache(form)
    name = hashlib.blake2b(f"{weights} {graph}".encode(), digest_size=16).hexdigest()
    converter = version("openvino" if form == "openvino" else "torch")
    return None if cache is None else cache / f"{name}-{converter}-{VERSION}"


def _kept(place: Path, form: Form) -> StoredGraph | None:
    """What the cache holds; None where that is nothing, or not what was kept."""
    try:
        return read_graph(place, form) if is_own(place) else None
    except (OSError, ModelError):
        return None


def _converted(folder: Path, form: Form) -> StoredGraph:
    try:
        from maskpencil.runtimes.export import write_graph  # needs torch

        with tempfile.TemporaryDirectory() as temporary:
            write_graph(folder, Path(temporary), form)
            return read_graph(Path(temporary), form)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{tempfile.gettempdir()}: cannot be written ({reason}); free some space") from error
    except ModuleNotFoundError as error:
        if error.name is None or (remedy := how_to_install(error.name)) is None:
            raise
        raise ModelError(
            f"{folder}: carries no graph of its network that is whole, and making one needs {remedy}, or copy the "
            "model folder again"
        ) from error


def _imported(core: "openvino.Core", path: Path, settings: Mapping[str, Any]) -> "openvino.CompiledModel | None":
    """What the cache holds compiled; None where that is nothing, or not what was kept."""
    import openvino

    size = kept_size(path)
    if not size:
        return None
    tensor = openvino.Tensor(openvino.Type.u8, openvino.Shape([size]))  # which OpenVINO holds as long as it needs it
    if not read_kept(path, tensor.data):
        return None
    try:
        return core.import_model(tensor, "CPU", dict(settings))
    except RuntimeError:  # of another build of OpenVINO
        return None


def _machine(core: "openvino.Core", settings: Mapping[str, Any]) -> str:
    """Name what a compiled graph depends on besides the graph: the CPU and the settings."""
    facts = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    described = repr((facts, sorted(settings.items())))
    return hashlib.blake2b(described.encode(), digest_size=8).hexdigest()


def own_cache(kind: str) -> Path | None:
    """Find or make the cache folder of a `kind`; None where there can be none that is this user's alone to write.

    A folder that is a link, belongs to somebody else, or that everybody may write into, is not used: what others put
    there would be run.
    """
    folder = cache_folder(kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder if is_own(folder.parent) and is_own(folder) else None
    except OSError:
        return None


def is_own(folder: Path) -> bool:
    """Whether a path is a folder, not a link, of this user, that not everybody may write into.

    Raises:
        OSError: it cannot be looked at.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return os.name == "nt" or (found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWOTH)


def keep_folder(place: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill the folder `place`, which appears whole or not at all, in place of a damaged one.

    Several processes may do so at the same time; where it cannot be written nothing is kept.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
            ready, old = Path(temporary) / place.name, Path(temporary) / "old"
            ready.mkdir()
            write(ready)
            if place.is_symlink() or place.is_file():
                place.unlink()
            elif place.exists():
                place.rename(old)
            ready.rename(place)
    except OSError:  # another process was faster, or the disk is full: it is made again when it is needed
        return


def keep_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file that `read_kept` finds whole, or nothing where it cannot be written."""
    try:
        path.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.write(_trailer(content))
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def kept_size(path: Path) -> int:
    """Say how many bytes `keep_bytes` wrote; 0 where there is nothing of its own that could be read."""
    try:
        found = path.lstat()
        return max(0, found.st_size - _TRAILER) if is_own(path.parent) and stat.S_ISREG(found.st_mode) else 0
    except OSError:
        return 0


def read_kept(path: Path, array: Bytes) -> bool:
    """Read what `keep_bytes` wrote into an array of `kept_size`; false where it is not what was written."""
    buffer = array.data
    try:
        with path.open("rb") as file:
            if file.readinto(buffer) != len(buffer):
                return False
            trailer = file.read(_TRAILER + 1)
    except OSError:
        return False
    return trailer == _trailer(buffer)


def _trailer(content: bytes | memoryview) -> bytes:
    return _MARK + zlib.crc32(content).to_bytes(4, "little") + (len(content) % 2**32).to_bytes(4, "little")
