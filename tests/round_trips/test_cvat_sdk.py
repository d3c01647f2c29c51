"""CVAT's masks, as its own library encodes them."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from tests.round_trips.pairs import EXAMPLES, Pair, assert_reads_as, empty_folder, library, masks, two_pairs

coding = library("cvat_sdk.masks")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the library


def write(root: Path, pairs: Sequence[Pair]) -> None:
    """Write "CVAT for images 1.1" with masks encoded by the library: runs, and the corners of their box."""
    lines = ["<annotations><version>1.1</version>"]
    for number, pair in enumerate(pairs):
        pair.save(root / "images")
        height, width = pair.label_map.shape
        lines.append(f'<image id="{number}" name={quoteattr(pair.file)} width="{width}" height="{height}">')
        for name, mask in masks(pair.label_map).items():
            *runs, left, top, right, bottom = coding.encode_mask(mask)
            box = f'left="{left}" top="{top}" width="{right - left + 1}" height="{bottom - top + 1}"'
            lines.append(f'<mask label="{name}" rle="{", ".join(map(str, runs))}" {box} z_order="0"></mask>')
        lines.append("</image>")
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]), encoding="utf-8")


@given(two_pairs())
@EXAMPLES
def test_masks_of_cvat_are_read(pairs: list[Pair]) -> None:
    with empty_folder() as root:
        write(root, pairs)
        assert_reads_as(root, pairs)
