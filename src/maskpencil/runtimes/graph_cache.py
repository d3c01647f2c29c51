"""Convert and compile the networks of model folders, and keep the results in the user's cache.

Names in the cache are digests of everything that is executed. Cached files are verified whenever they are read, and
damaged files are replaced. A model folder therefore cannot change the predictions of another model folder. The cache is
used only if no other user can write to it. Torch is imported only to convert networks.
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
from maskpencil.runtimes.base import CoarseScores, NetworkProfile, Runtime
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
from maskpencil.runtimes.upsampling import Floats, Upsampling

if TYPE_CHECKING:
    import openvino

VERSION = 4
"""The version of the cache, part of every name in the cache; a higher version converts all networks again."""

COMPILED = "compiled"
"""The folder in the cache for networks that OpenVINO compiled for this machine."""

INT8 = "int8"
"""The subfolder of a model folder for the quantized network (int8)."""

Bytes = npt.NDArray[np.uint8]

_MARK = b"maskpencil kept "
_TRAILER = len(_MARK) + 8


@dataclass(frozen=True)
class PreparedNetwork:
    """A converted network: a graph from images (N, H, W, 3) uint8 to coarse scores, and the last upsampling.

    Args:
        weights: the `fingerprint` of the model folder: a digest of its weights and architecture.
        folder: the model folder.
        source: the folder from which the graph was read, for messages.
        stored: the graph.
        form: the form of the graph: openvino or onnx.
        upsampling: the last upsampling.
        profile: the receptive field and memory use of the network.
        is_foreign: whether the graph came with the model folder, so that another machine may have written it.
        cache: the folder in the cache for the graph and its compiled forms; None without a cache.
    """

    weights: str
    folder: Path
    source: Path
    stored: StoredGraph
    form: Form
    upsampling: Upsampling
    profile: NetworkProfile
    is_foreign: bool
    cache: Path | None

    @property
    def graph(self) -> bytes:
        """The content of the graph's XML or ONNX file."""
        return self.stored.files[GRAPHS[self.form]]

    def openvino_model(self) -> Any:
        """Return an `openvino.Model` of the graph with the weights of the model folder.

        Raises:
            ModelError: the weights do not fit the graph or are not numbers; or the graph came with the model folder
                and is not a graph that `write_graph` writes.
        """
        return openvino_model(self.stored, self.source, self.folder, is_foreign=self.is_foreign)

    def compiled_network(self, core: "openvino.Core", settings: Mapping[str, Any]) -> "openvino.CompiledModel":
        """Read the network, compiled for this machine's CPU, from the cache, or compile the graph.

        Raises:
            ModelError: see `openvino_model`; or OpenVINO cannot run the network.
        """

        def graph() -> Any:
            model = self.openvino_model()
            self.keep()
            return model

        return self.compiled("cells", core, graph, settings)

    def compiled(
        self, name: str, core: "openvino.Core", graph: Callable[[], Any], settings: Mapping[str, Any]
    ) -> "openvino.CompiledModel":
        """Read the compiled graph `name` from the cache, or compile the graph that `graph()` returns.

        A newly compiled graph is kept in the cache.

        Raises:
            ModelError: OpenVINO cannot run the graph.
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
        """Check that the weights, which were read before, have not changed, and store the graph in the cache.

        Raises:
            ModelError: the weights have changed since their `fingerprint` was computed.
        """
        if fingerprint(self.folder) != self.weights:
            raise ModelError(f"{self.folder}: was changed while it was read; start again")
        if self.cache is not None and _kept(self.cache, self.form) is None:
            keep_folder(self.cache, self.stored.write)


class ConvertedRuntime(Runtime):
    """The base class of runtimes that run a converted network on the CPU and return coarse scores as NumPy arrays.

    Args:
        prepared: the converted network.
        precision: the number format of the convolutions: fp32, bf16 or int8.
    """

    def __init__(self, prepared: PreparedNetwork, *, precision: str) -> None:
        super().__init__(prepared.upsampling, device="cpu", precision=precision)
        self.prepared = prepared

    def fetched(self, scores: CoarseScores) -> Floats:
        """Return the values of coarse scores, see `Runtime.fetched`."""
        values: Floats = scores.values
        return values

    @property
    def profile(self) -> NetworkProfile:
        """The receptive field and the memory use of the network."""
        return self.prepared.profile

    @property
    def graph_digest(self) -> str:
        """The digest of the graph."""
        return self.prepared.stored.digest


def quantized_network(folder: Path) -> PreparedNetwork | None:
    """Return the quantized network (int8) of a model folder; None if the model was not quantized.

    Raises:
        ModelError: the int8 network is damaged, or belongs to other weights.
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
        raise ModelError(f"{place}: was not made from the weights in {folder}; {remedy}")
    cache = _place(weights, stored.digest, "openvino")
    after = after_graph(stored, folder)
    return PreparedNetwork(weights, folder, place, stored, "openvino", *after, is_foreign=True, cache=cache)


def of_weights(weights: str) -> list[object]:
    """Return the entry "of" in the `network.json` of an int8 graph, which identifies the network: ["int8", weights].

    `weights` is the `fingerprint` of the model folder.
    """
    return [INT8, weights]


def prepared_network(folder: Path, form: Form) -> PreparedNetwork:
    """Return the network of a model folder, with the graph from the folder or from the cache, else with a new graph.

    A new graph is kept in the cache; if the cache cannot be used, the graph is lost when this process ends.

    Raises:
        ConfigError: a package that the conversion needs, such as onnx, is not installed.
        ModelError: the folder is damaged, its tensors do not fit its config, or the runtime cannot run the network; or
            the network must be converted, but torch is not installed.
        OutputError: there is no room for temporary files.
    """
    weights = fingerprint(folder)
    carried = _carried(folder, weights) if form == "openvino" else None
    # a graph converted here from the weights alone, not one that came with the folder, needs no separate name
    cache = _place(weights, "" if carried is None else carried.digest, form)
    kept = None if carried is not None or cache is None else _kept(cache, form)
    stored = carried or kept or _converted(folder, form)
    after, is_foreign = after_graph(stored, folder), carried is not None
    prepared = PreparedNetwork(weights, folder, folder / GRAPH, stored, form, *after, is_foreign, cache)
    if not is_foreign and kept is None:
        prepared.keep()
    return prepared


def _carried(folder: Path, weights: str) -> StoredGraph | None:
    """Return the graph that a model folder contains; None if it contains no usable graph."""
    carried = carried_graph(folder)
    if carried is None:
        return None
    cache = _place(weights, carried.digest, "openvino")
    is_known = cache is not None and _kept(cache, "openvino") is not None
    return carried if is_known or is_sound(carried) else None


def _place(weights: str, graph: str, form: Form) -> Path | None:
    """Return the folder in the cache for a network with these weights and this graph; None without a cache."""
    cache = own_cache(form)
    name = hashlib.blake2b(f"{weights} {graph}".encode(), digest_size=16).hexdigest()
    converter = version("openvino" if form == "openvino" else "torch")
    return None if cache is None else cache / f"{name}-{converter}-{VERSION}"


def _kept(place: Path, form: Form) -> StoredGraph | None:
    """Read a graph from the cache; return None if it is missing or damaged."""
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
            f"{folder}: has no complete graph of its network, and making one needs {remedy}, or copy the model "
            "folder again"
        ) from error


def _imported(core: "openvino.Core", path: Path, settings: Mapping[str, Any]) -> "openvino.CompiledModel | None":
    """Read a compiled graph from the cache; return None if it is missing or damaged."""
    import openvino

    size = kept_size(path)
    if not size:
        return None
    tensor = openvino.Tensor(openvino.Type.u8, openvino.Shape([size]))  # OpenVINO keeps a reference to it
    if not read_kept(path, tensor.data):
        return None
    try:
        return core.import_model(tensor, "CPU", dict(settings))
    except RuntimeError:  # it was compiled by another build
        return None


def _machine(core: "openvino.Core", settings: Mapping[str, Any]) -> str:
    """Return a digest of the CPU and the settings, since a compiled graph is valid only for these."""
    facts = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    described = repr((facts, sorted(settings.items())))
    return hashlib.blake2b(described.encode(), digest_size=8).hexdigest()


def own_cache(kind: str) -> Path | None:
    """Find or create the cache's subfolder `kind`, such as openvino; return None if it is not private to this user.

    The content of the folder is executed, so a folder that is a link, belongs to another user or is writable by all
    users is not used.
    """
    folder = cache_folder(kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder if is_own(folder.parent) and is_own(folder) else None
    except OSError:
        return None


def is_own(folder: Path) -> bool:
    """Return whether a path is a folder, not a link, that belongs to this user and is not writable by all users.

    Raises:
        OSError: the properties of the path cannot be read.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return os.name == "nt" or (found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWOTH)


def keep_folder(place: Path, write: Callable[[Path], None]) -> None:
    """Create the folder `place` atomically with the files that `write` creates; an existing folder is replaced.

    Several processes may do this at the same time. If the folder cannot be written, nothing is stored.
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
    except OSError:  # another process was faster, or the disk is full: the folder is made again when it is needed
        return


def keep_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` and a checksum to a file, atomically, for `read_kept`; if that fails, nothing is stored."""
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
    """Return the size in bytes of the content that `keep_bytes` wrote; 0 if the file is missing or not private."""
    try:
        found = path.lstat()
        return max(0, found.st_size - _TRAILER) if is_own(path.parent) and stat.S_ISREG(found.st_mode) else 0
    except OSError:
        return 0


def read_kept(path: Path, array: Bytes) -> bool:
    """Fill `array` with the content of a file that `keep_bytes` wrote; return False if the file is missing or damaged.

    The size of `array` must be that returned by `kept_size`.
    """
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
