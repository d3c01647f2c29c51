"""Other projects' weights: one reader a file format, one mapping a project.

- `caffemodel`: the weights files of Caffe
- `wire_format`: protobuf's wire format, in which Caffe writes
"""
