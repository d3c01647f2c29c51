"""The AlexNet of the authors' FCN-AlexNet: Caffe's, with its groups and response normalization, padded by 100."""

from torch import Tensor, nn
from torch.nn import functional

from maskpencil.models.backbones.base import RELEASED_MEAN, RELEASED_PADDING, RELEASED_STD, Backbone
from maskpencil.models.geometry import Grid


class ReleasedAlexNet(Backbone):
    """Features conv2, conv5 and fc7, under the published names; torchvision's weights do not fit.

    Source: Krizhevsky et al., NIPS 2012, as in voc-fcn-alexnet of the authors' release.

    Args:
        name: alexnet.
        dropout: probability that a number between fc6 and fc7 is dropped in training.
    """

    def __init__(self, name: str, *, dropout: float) -> None:
        super().__init__(
            name,
            channels={8: 256, 16: 256, 32: 4096},
            mean=RELEASED_MEAN,
            std=RELEASED_STD,
            channel_order="bgr",
        )
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4, padding=RELEASED_PADDING)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Conv2d(256, 4096, 6)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.drop6 = nn.Dropout(dropout)
        conv2 = Grid().through(self.conv1, self.pool, self.conv2)
        conv5 = conv2.through(self.pool, self.conv3, self.conv4, self.conv5)
        self.grids = {8: conv2, 16: conv5, 32: conv5.through(self.pool, self.fc6, self.fc7)}

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """See `Backbone`; images of any size, maps larger than the images ask for."""
        relu = functional.relu
        x = self.norm(self.pool(relu(self.conv1(images))))  # 1/8
        conv2 = relu(self.conv2(x))  # (N, 256, H/8, W/8)
        x = self.norm(self.pool(conv2))  # 1/16
        x = relu(self.conv4(relu(self.conv3(x))))
        conv5 = relu(self.conv5(x))  # (N, 256, H/16, W/16)
        x = self.drop6(relu(self.fc6(self.pool(conv5))))  # (N, 4096, H/32, W/32)
        return {8: conv2, 16: conv5, 32: relu(self.fc7(x))}
