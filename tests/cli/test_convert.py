from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from maskpencil.cli import main
from maskpencil.data.convert import convert
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import WRITERS
from maskpencil.errors import ConfigError
from maskpencil.inference.options import AnnotationFormat


def test_the_command_offers_every_format() -> None:
    assert set(get_args(AnnotationFormat)) == set(WRITERS)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", WRITERS)
def test_a_data_set_is_the_same_in_every_format(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file_format: str
) -> None:
    out = tmp_path / file_format
    assert main(["convert", str(tiny_folder), "--to", file_format, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"9 images: {out}\n"
    before, after = open_folder(tiny_folder), open_folder(out)
    assert after.classes.names == before.classes.names
    assert after.classes.palette == before.classes.palette
    for split in ("train", "val"):
        twins = {pair.name: pair for pair in after.pairs(split)}
        assert len(twins) == len(before.pairs(split))
        for pair in before.pairs(split):
            twin = twins.get(pair.name) or twins[f"{split}_{pair.name}"]  # where all splits are in one folder
            for one, other in zip(before.read_pair(pair), after.read_pair(twin), strict=True):
                np.testing.assert_array_equal(one, other)


def test_an_unknown_format_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be one of folder, voc, cvat, coco, labelme, yolo, but got 'paint'"):
        convert(open_folder(tiny_folder), tmp_path, "paint")
