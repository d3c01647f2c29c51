"""Runtimes: run a network on a machine.

A network first computes coarse scores: the logits before its last upsampling. A runtime computes label maps from the
coarse scores, one block of pixels at a time.

- `base`: `Runtime`, the interface: compute coarse scores from images, and label maps from coarse scores
- `upsampling`: the last upsampling of a network as products with interpolation matrices
- `tiling`: segment images that are too large for the memory limit in tiles
- `torch_runtime`: run networks by torch; measure their receptive field and memory use
- `openvino_runtime`: run networks by OpenVINO, on CPUs, without torch
- `onnx_runtime`: run networks by ONNX Runtime, on CPUs, without torch
- `graph_files`: read, check and write the graph of a network in a model folder
- `graph_cache`: convert and compile networks, and keep the results in a cache
- `export`: convert a torch network to a graph
"""
