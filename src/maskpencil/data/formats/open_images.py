"""Refuse Open Images, which has one mask file per object, with numbers in the file names that look like classes.

Source: https://storage.googleapis.com/openimages/web/download_v7.html, "Segmentations"
"""

from pathlib import Path

from maskpencil.data.formats.base import Recognized
from maskpencil.errors import DataError

TABLE = "*-annotations-object-segmentation.csv"
PLACES = (".", "annotations", "csv", "labels", "metadata")
"""The folders, relative to the data set, where tools put its CSV tables."""


def recognize(root: Path) -> Recognized | None:
    """Raise an error if `root` holds a CSV file in which Open Images lists its masks; otherwise return None.

    The CSV file is searched in `root` and in the folders `PLACES` below it.

    Raises:
        DataError: `root` holds a CSV file that lists the masks of Open Images.
    """
    table = next((path for place in PLACES for path in sorted((root / place).glob(TABLE))), None)
    if table is None:
        return None
    raise DataError(
        f"{table}: lists masks of Open Images, one per object, which are not read; for each image in images/, save one "
        "PNG of class numbers in masks/, named as the image, and open the folder that holds images/ and masks/"
    )
