"""Colors by which the classes of written masks can be told."""

from dataclasses import replace

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color
from maskpencil.known_classes import voc_color
from maskpencil.label_maps import IGNORE_COLOR


def told_apart(classes: ClassSet) -> ClassSet:
    """The classes in colors that are all different, and different from that of ignored pixels; ignored is 255.

    Of classes of one color the first keeps it. The others, and one in `IGNORE_COLOR`, get the first of Pascal VOC's
    colors that no class has: programs that read masks by color would take them for each other, as ADE20K's road and
    skyscraper.
    """
    spare = (voc_color(index) for index in range(256))  # one more than there can be classes and colors taken
    taken = {IGNORE_COLOR, *classes.palette}
    palette: list[Color] = []
    for color in classes.palette:
        if color in palette or color == IGNORE_COLOR:
            color = next(other for other in spare if other not in taken)
            taken.add(color)
        palette.append(color)
    return replace(classes, palette=tuple(palette), ignore_index=IGNORE_INDEX)
