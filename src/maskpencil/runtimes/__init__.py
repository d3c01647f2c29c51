"""Runtimes: what runs a network on a machine.

- `base`: `Runtime`, from images to cells and from cells to label maps
- `upscoring`: the last upsampling, a block of pixels at a time
- `torch_runtime`: by torch, on GPUs and in training
- `openvino_runtime`: by OpenVINO, on CPUs, without torch
- `prepared`: a network in OpenVINO's form, kept in the cache
- `conversion`: from torch to that form
"""
