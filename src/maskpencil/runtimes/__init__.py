"""Runtimes: run a network on a machine.

A network first computes coarse scores: the logits before its last upsampling. A runtime computes label maps from them,
one block of pixels at a time.

- `base`: `Runtime`, from images to coarse scores, and from coarse scores to label maps
- `upsampling`: the last upsampling of a network as products with interpolation matrices
- `tiling`: segment images that are too large for the memory limit in tiles
- `torch_runtime`: run networks by torch; measure their receptive field and memory use
- `openvino_runtime`: run by OpenVINO, on CPUs, without torch
- `onnx_runtime`: run by ONNX Runtime, on CPUs, without torch
- `graph_files`: a network's graph in a model folder: read, check, write
- `graph_cache`: the cache of converted and compiled networks
- `export`: convert a torch network to a graph
"""
