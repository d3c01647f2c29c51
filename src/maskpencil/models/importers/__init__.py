"""Weights of other projects: one reader a file format, one mapping a project.

- `caffe`: the weights files of Caffe
- `published`: state dicts under the published layer names, the authors' nets
- `torchvision_fcn`: torchvision's own fully convolutional networks
"""
