"""Runtimes: run a network on a machine.

- `base`: `Runtime`, from images to coarse scores, and from coarse scores to label maps
- `upsampling`: the last upsampling as matrices, a block of pixels at a time
- `tiling`: segment images that are too large for the memory limit in tiles
- `torch_runtime`: run networks by torch; measure how far a network looks and how much memory a pixel takes
- `openvino_runtime`: run by OpenVINO, on CPUs, without torch
- `onnx_runtime`: run by ONNX Runtime, on CPUs, without torch
- `graph_files`: a network's graph in a model folder: read, check, write
- `graph_cache`: the cache of converted and compiled networks
- `export`: from a torch network to a graph
"""
