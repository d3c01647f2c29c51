"""List the classes of published data sets, in their published order and colors."""

from collections.abc import Mapping

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color

_BITS = 8

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def voc_color(index: int) -> Color:
    """Return the color of the class `index` in Pascal VOC's masks.

    Bits 0, 3 and 6 of the index become bits 7, 6 and 5 of red; bits 1, 4 and 7 become bits 7, 6 and 5 of green; bits 2
    and 5 become bits 7 and 6 of blue. The colors of consecutive indices are therefore very different.
    """
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (_BITS - 1 - place) for place in range(_BITS))
        for channel in range(3)
    )
    return red, green, blue


def _colors(text: str) -> tuple[Color, ...]:
    """Parse colors such as "0 0 0, 128 0 0"."""
    colors = []
    for entry in text.split(","):
        red, green, blue = (int(level) for level in entry.split())
        colors.append((red, green, blue))
    return tuple(colors)


def _table(text: str) -> ClassSet:
    """Parse classes from lines such as "128 64 128 traffic light"."""
    rows = [line.split(maxsplit=3) for line in text.strip().splitlines()]
    return ClassSet(tuple(row[3] for row in rows), tuple((int(row[0]), int(row[1]), int(row[2])) for row in rows))


VOC = ClassSet(VOC_NAMES, tuple(voc_color(index) for index in range(len(VOC_NAMES))))
"""Pascal VOC's 21 classes, which torchvision's segmentation networks use as well.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

CAMVID_11 = _table(
    """
    128 128 128 sky
    128 0 0     building
    192 192 128 pole
    128 64 128  road
    60 40 222   pavement
    128 128 0   tree
    192 128 128 sign
    64 64 128   fence
    64 0 128    car
    64 64 0     pedestrian
    0 128 192   bicyclist
    """
)
"""CamVid's 11 classes of the SegNet paper, in the order and colors of its tutorial, where 11 marks unlabeled pixels.

https://github.com/alexgkendall/SegNet-Tutorial, Scripts/test_segmentation_camvid.py
"""

CAMVID_32 = _table(
    """
    64 128 64   Animal
    192 0 128   Archway
    0 128 192   Bicyclist
    0 128 64    Bridge
    128 0 0     Building
    64 0 128    Car
    64 0 192    CartLuggagePram
    192 128 64  Child
    192 192 128 Column_Pole
    64 64 128   Fence
    128 0 192   LaneMkgsDriv
    192 0 64    LaneMkgsNonDriv
    128 128 64  Misc_Text
    192 0 192   MotorcycleScooter
    128 64 64   OtherMoving
    64 192 128  ParkingBlock
    64 64 0     Pedestrian
    128 64 128  Road
    128 128 192 RoadShoulder
    0 0 192     Sidewalk
    192 128 128 SignSymbol
    128 128 128 Sky
    64 128 192  SUVPickupTruck
    0 0 64      TrafficCone
    0 64 64     TrafficLight
    192 64 128  Train
    128 128 0   Tree
    192 128 192 Truck_Bus
    64 0 64     Tunnel
    192 192 0   VegetationMisc
    0 0 0       Void
    64 192 0    Wall
    """
)
"""CamVid's 32 labels in the order of its label_colors.txt and of fastai's codes.txt.

http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/
"""

CAMVID_VOID = "Void"

CAMVID_31 = ClassSet(
    tuple(name for name in CAMVID_32.names if name != CAMVID_VOID),
    tuple(color for name, color in zip(CAMVID_32.names, CAMVID_32.palette, strict=True) if name != CAMVID_VOID),
)
"""CamVid's labels without Void, which marks ignored pixels."""

CITYSCAPES = _table(
    """
    128 64 128  road
    244 35 232  sidewalk
    70 70 70    building
    102 102 156 wall
    190 153 153 fence
    153 153 153 pole
    250 170 30  traffic light
    220 220 0   traffic sign
    107 142 35  vegetation
    152 251 152 terrain
    70 130 180  sky
    220 20 60   person
    255 0 0     rider
    0 0 142     car
    0 0 70      truck
    0 60 100    bus
    0 80 100    train
    0 0 230     motorcycle
    119 11 32   bicycle
    """
)
"""The 19 classes of Cityscapes that are evaluated, in the order of their trainId.

https://github.com/mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py
"""

CITYSCAPES_LABELS = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
"""Cityscapes' 34 labels in the order of their id, 0 to 33; a 35th, "license plate", has the id -1."""

CITYSCAPES_TRAIN_IDS: Mapping[int, int] = {
    -1: IGNORE_INDEX,
    **{
        label_id: CITYSCAPES.names.index(name) if name in CITYSCAPES.names else IGNORE_INDEX
        for label_id, name in enumerate(CITYSCAPES_LABELS)
    },
}
"""The trainId of each label id of Cityscapes; `IGNORE_INDEX` for labels that are not evaluated."""

ADE20K = ClassSet(
    (
        *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet"),
        *("sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water"),
        *("painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk"),
        *("rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard"),
        *("chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand"),
        *("path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
        *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove"),
        *("palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus"),
        *("towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television"),
        *("airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle"),
        *("buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything"),
        *("swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven"),
        *("ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake"),
        *("dishwasher", "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray"),
        *("ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator"),
        *("glass", "clock", "flag"),
    ),
    _colors(
        "120 120 120, 180 120 120, 6 230 230, 80 50 50, 4 200 3, 120 120 80, 140 140 140, 204 5 255, 230 230 230,"
        "4 250 7, 224 5 255, 235 255 7, 150 5 61, 120 120 70, 8 255 51, 255 6 82, 143 255 140, 204 255 4, 255 51 7,"
        "204 70 3, 0 102 200, 61 230 250, 255 6 51, 11 102 255, 255 7 71, 255 9 224, 9 7 230, 220 220 220, 255 9 92,"
        "112 9 255, 8 255 214, 7 255 224, 255 184 6, 10 255 71, 255 41 10, 7 255 255, 224 255 8, 102 8 255, 255 61 6,"
        "255 194 7, 255 122 8, 0 255 20, 255 8 41, 255 5 153, 6 51 255, 235 12 255, 160 150 20, 0 163 255,"
        "140 140 140, 250 10 15, 20 255 0, 31 255 0, 255 31 0, 255 224 0, 153 255 0, 0 0 255, 255 71 0, 0 235 255,"
        "0 173 255, 31 0 255, 11 200 200, 255 82 0, 0 255 245, 0 61 255, 0 255 112, 0 255 133, 255 0 0, 255 163 0,"
        "255 102 0, 194 255 0, 0 143 255, 51 255 0, 0 82 255, 0 255 41, 0 255 173, 10 0 255, 173 255 0, 0 255 153,"
        "255 92 0, 255 0 255, 255 0 245, 255 0 102, 255 173 0, 255 0 20, 255 184 184, 0 31 255, 0 255 61, 0 71 255,"
        "255 0 204, 0 255 194, 0 255 82, 0 10 255, 0 112 255, 51 0 255, 0 194 255, 0 122 255, 0 255 163, 255 153 0,"
        "0 255 10, 255 112 0, 143 255 0, 82 0 255, 163 255 0, 255 235 0, 8 184 170, 133 0 255, 0 255 92, 184 0 255,"
        "255 0 31, 0 184 255, 0 214 255, 255 0 112, 92 255 0, 0 224 255, 112 224 255, 70 184 160, 163 0 255,"
        "153 0 255, 71 255 0, 255 0 163, 255 204 0, 255 0 143, 0 255 235, 133 255 0, 255 0 235, 245 0 255, 255 0 122,"
        "255 245 0, 10 190 212, 214 255 0, 0 204 255, 20 0 255, 255 255 0, 0 153 255, 0 41 255, 0 255 204, 41 0 255,"
        "41 255 0, 173 0 255, 0 245 255, 71 0 255, 122 0 255, 0 255 184, 0 92 255, 184 255 0, 0 133 255, 255 214 0,"
        "25 194 194, 102 255 0, 92 0 255"
    ),
)
"""ADE20K's 150 classes of the scene parsing benchmark, each by the first of its published names.

https://github.com/CSAILVision/sceneparsing, objectInfo150.txt and visualizationCode/color150.mat
"""

KNOWN: Mapping[str, ClassSet] = {
    "Pascal VOC": VOC,
    "Cityscapes": CITYSCAPES,
    "CamVid's 11 classes": CAMVID_11,
    "CamVid": CAMVID_31,
}
"""Class sets that are recognized by their colors; without ADE20K, in which road and skyscraper have the same color."""
