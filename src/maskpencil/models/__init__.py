"""Define networks: a backbone computes features, a head turns them into logits.

- `surgery`: conversion of fully connected layers to convolutions, bilinear upsampling, other input channels
- `backbones`: classifier trunks, one family per file
- `geometry`: the image positions of the cells of feature maps, and crops
- `fcn`: the fully convolutional network
- `build`: networks from a configuration, from a model folder, from the tensors of another network
- `dense_classifier`: a classifier applied to a whole image, before any training
- `importers`: weights of other projects
"""

from maskpencil.models.backbones import Backbone, create_backbone, list_backbones
from maskpencil.models.build import build_fcn
from maskpencil.models.fcn import FCN, FCNConfig

__all__ = ["FCN", "Backbone", "FCNConfig", "build_fcn", "create_backbone", "list_backbones"]
