"""Other projects' weights: one reader a file format, one mapping a project.

- `caffemodel`: the weights files of Caffe
- `wire_format`: protobuf's wire format, in which Caffe writes
- `published`: state dicts under the published layer names, the authors' nets
- `torchvision_fcn`: torchvision's own fully convolutional networks
- `recognize`: from a file to the network it holds
"""
