"""The classes of published data sets, in their published order and colours."""

from maskpencil.classes import ClassSet

_BITS = 8

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def voc_color(index: int) -> tuple[int, int, int]:
    """The colour of a class in Pascal VOC's masks: the bits of its index, dealt to red, green and blue in turn.

    The lowest three bits become the highest of the channels, so that neighbouring classes differ most.
    """
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (_BITS - 1 - place) for place in range(_BITS))
        for channel in range(3)
    )
    return red, green, blue


VOC = ClassSet(VOC_NAMES, tuple(voc_color(index) for index in range(len(VOC_NAMES))))
"""Pascal VOC's 21 classes, also those of torchvision's nets."""
