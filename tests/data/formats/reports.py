"""What inputs like those in public reports must give: label maps by image, or an error of one line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.errors import DataError

Files = Mapping[str, Any]
"""Images as arrays, texts and bytes as they are, by path."""


class Report(NamedTuple):
    """A report by repository and number, with a few words about it; files like its own, and what they must give.

    `maps` are the true label maps by the name of the image, `classes` the names of their numbers; without `maps` the
    files must be refused. `says` is a part of a note or of the error, by regular expression.
    """

    number: str
    about: str
    files: Files
    maps: Mapping[str, npt.ArrayLike] | None = None
    classes: tuple[str, ...] = ()
    says: str = ""

    def __str__(self) -> str:
        return f"{self.number}: {self.about}"


def write(save_files: Any, files: Files) -> Path:
    root: Path = save_files({name: content for name, content in files.items() if not isinstance(content, bytes)})
    for name, content in files.items():
        if isinstance(content, bytes):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return root


def read(root: Path) -> tuple[DataFolder, dict[str, npt.NDArray[np.uint8]]]:
    """Read a folder: the data set, and its label maps by the names of the images."""
    data = open_folder(root)
    data.check_images()
    return data, {pair.image.name: data.read_pair(pair)[1] for pairs in data.splits.values() for pair in pairs}


def check(save_files: Any, report: Report) -> DataFolder | None:
    """Read the files of a report and compare what is read with the truth."""
    root = write(save_files, report.files)
    if report.maps is None:
        with pytest.raises(DataError, match=report.says) as caught:
            read(root)
        assert "\n" not in str(caught.value)
        assert report.says
        return None
    data, found = read(root)
    assert found.keys() == report.maps.keys()
    if report.classes:
        assert data.classes.names == report.classes
    for name, expected in report.maps.items():
        np.testing.assert_array_equal(found[name], np.asarray(expected), err_msg=name)
    if report.says:
        assert any(re.search(report.says, note) for note in data.notes), data.notes
    return data
