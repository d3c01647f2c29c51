"""Import the weights of other projects: one reader per file format, one mapping per project.

- `caffe`: the weights files of Caffe
- `published`: state dicts with the published layer names, for the authors' networks
- `torchvision_fcn`: torchvision's own fully convolutional networks
"""
