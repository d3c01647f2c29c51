"""Convert torch networks to graphs for OpenVINO and ONNX Runtime, and add them to model folders."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError, ModelError, OutputError, first_line
from maskpencil.extras import needed_for
from maskpencil.files import folder_written_whole
from maskpencil.model_folder import ModelParts, read_model_folder
from maskpencil.models.build import Network
from maskpencil.models.fcn import LAST_UPSCORE
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.base import NetworkProfile
from maskpencil.runtimes.graph_files import GRAPH, GRAPHS, PIXELS, Form, graph_name, save_openvino, seal
from maskpencil.runtimes.torch_runtime import measure_profile, upsampling_of

_EXAMPLE = (2, 64, 96, 3)


def add_graph(folder: Path, *, warn: Callable[[str], None]) -> None:
    """Convert the network of a model folder and add its graph to the folder; on failure call `warn` with a message."""
    try:
        with folder_written_whole(folder / GRAPH) as place:
            write_graph(folder, place, "openvino")
    except (ConfigError, ModelError, OutputError) as error:  # the model folder is complete without a graph
        warn(f"warning: the model folder has no graph for CPUs, so its first prediction on a CPU takes longer: {error}")


def write_graph(folder: Path, place: Path, form: Form) -> None:
    """Convert the network of a model folder, and write the graph and `network.json` into the folder `place`.

    A graph for OpenVINO is written without the weights, a graph for ONNX Runtime with the weights.

    Raises:
        ConfigError: a required package is not installed.
        ModelError: the model folder is damaged, or the form does not support the layers of the network.
    """
    parts = read_model_folder(folder)
    facts = facts_of(parts.model, of=folder)
    convert_network(parts, place / GRAPHS[form], form=form, source=folder)
    seal(place, facts, form)


def facts_of(network: Network, *, of: Path) -> dict[str, Any]:
    """Return the content of `network.json` for the graph of a network, see `graph_files`; `of` is the model folder."""
    upsampling = upsampling_of(network)
    # if coarse scores are not in place, images are never cut into tiles, so nothing is measured
    profile = measure_profile(network) if upsampling.in_place else NetworkProfile(None, 1)
    plain = {name: value for name, value in asdict(upsampling).items() if name != "kernel"}
    learned = upsampling.kernel is not None and upsampling.stride
    kernel = f"{LAST_UPSCORE[learned]}.weight" if learned else None
    return {
        "of": graph_name(of),
        "upscoring": plain,
        "kernel": kernel,
        "footprint": {"reach": profile.receptive_radius, "bytes_per_pixel": profile.bytes_per_pixel},
    }


class _Normalized(nn.Module):
    """A module that computes coarse scores (N, K, h, w) of images (N, H, W, 3) uint8, normalization included."""

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network.coarse_scores(self.preprocessing.normalize(pixels.permute(0, 3, 1, 2)))
        return scores


class _Weightless(nn.Module):
    """A module that computes the same as `_Normalized`, but takes the tensors with the given names as inputs."""

    def __init__(self, normalized: _Normalized, names: Sequence[str]) -> None:
        super().__init__()
        self.hidden = (normalized,)  # in a tuple, so torch does not register it and tracing does not record its tensors
        self.names = names

    def forward(self, pixels: Tensor, *tensors: Tensor) -> Tensor:
        (normalized,) = self.hidden
        for name, tensor in zip(self.names, tensors, strict=True):
            place, _, leaf = name.rpartition(".")
            layer = normalized.network.get_submodule(place)
            layer._parameters.pop(leaf, None)
            layer._buffers.pop(leaf, None)
            object.__setattr__(layer, leaf, tensor)
        scores: Tensor = normalized(pixels)
        return scores


def convert_network(parts: ModelParts, path: Path, *, form: Form, source: Path) -> None:
    """Convert a network to a graph from images (N, H, W, 3) uint8 of any size to coarse scores, and write it to `path`.

    The graph includes the normalization. A graph for OpenVINO has the weights as inputs, each with its name in the
    state dict; a graph for ONNX Runtime contains the weights. The network in `parts` cannot be used afterwards.
    `source` is the model folder, for error messages.

    Raises:
        ConfigError: a required package is not installed.
        ModelError: the form does not support the layers of the network.
    """
    normalized = _Normalized(parts.model.cpu().eval(), parts.preprocessing)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # about values that tracing fixes; image sizes stay dynamic
            (_to_openvino if form == "openvino" else _to_onnx)(normalized, path)
    except RuntimeError as error:  # raised by the converters for unsupported layers
        raise ModelError(
            f"{source}: {parts.model.config.title} cannot be run by {form} ({first_line(error)}); use --runtime torch"
        ) from error


def _to_openvino(normalized: _Normalized, path: Path) -> None:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise ConfigError("openvino is not installed; install it with pip install openvino") from error
    tensors = _numbers(normalized.network)
    inputs = (torch.zeros(_EXAMPLE, dtype=torch.uint8), *tensors.values())
    graph = openvino.convert_model(_Weightless(normalized, list(tensors)), example_input=inputs)
    graph.reshape(dict(enumerate([[-1, -1, -1, 3], *(list(tensor.shape) for tensor in tensors.values())])))
    for port, name in zip(graph.inputs, [PIXELS, *tensors], strict=True):
        port.get_tensor().set_names({name})
    save_openvino(graph, path)


def _numbers(network: Network) -> Mapping[str, Tensor]:
    """Return the floating-point tensors of a network by name; integer tensors are fixed by the architecture."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def _to_onnx(normalized: _Normalized, path: Path) -> None:
    with needed_for("--runtime onnx"):
        import onnx  # noqa: F401 - the runtime needs it
    sides = {0: "images", 1: "height", 2: "width"}
    torch.onnx.export(
        normalized,
        (torch.zeros(_EXAMPLE, dtype=torch.uint8),),
        os.fspath(path),
        dynamo=False,  # dynamo's symbolic shapes grow without end in networks that pad by the size of their features
        opset_version=18,
        input_names=[PIXELS],
        output_names=["cells"],
        dynamic_axes={PIXELS: sides, "cells": {0: "images", 2: "rows", 3: "columns"}},
    )
