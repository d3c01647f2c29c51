"""Refuse Open Images: its masks are one file per object, and the numbers in their names look like classes.

Source: https://storage.googleapis.com/openimages/web/download_v7.html, "Segmentations"
"""

from pathlib import Path

from maskpencil.data.formats.base import Recognized
from maskpencil.errors import DataError

TABLE = "*-annotations-object-segmentation.csv"
PLACES = (".", "annotations", "csv", "labels", "metadata")
"""The folders where tools put the tables of the data set."""


def recognize(root: Path) -> Recognized | None:
    """Refuse `root` if it holds a CSV file in which Open Images lists its masks; otherwise return None.

    Raises:
        DataError: `root` holds such a file.
    """
    table = next((path for place in PLACES for path in sorted((root / place).glob(TABLE))), None)
    if table is None:
        return None
    raise DataError(
        f"{table}: lists masks of Open Images, one for each object, which are not read; save for each image one PNG of "
        "class numbers in masks/, named as the image in images/, and open the folder of these two"
    )
