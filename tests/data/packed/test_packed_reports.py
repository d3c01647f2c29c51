"""Tables like those in reports of users of Hugging Face data sets, named by repository and number."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

pytestmark = pytest.mark.slow

SIZE = (32, 48)
Map = npt.NDArray[np.uint8]
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = ("background", "car", "road")


class Report(NamedTuple):
    """What a table must give: the masks by their classes, whose names are `names`; or an error."""

    number: str
    table: pa.Table
    files: Mapping[str, Any] = {}
    maps: list[Map] | None = None
    names: tuple[str, ...] = ()
    error: str = ""


def photo(number: int) -> Map:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def stripes(first: int) -> Map:
    found = np.repeat(np.arange(3, dtype=np.uint8), 16)[None].repeat(32, axis=0)
    found[: 6 + first] = 0
    return found


MAPS = [stripes(first) for first in range(4)]
BINARY = [(label_map > 0).astype(np.uint8) for label_map in MAPS]


def encoded(image: Image.Image | Map, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind)
    return file.getvalue()


def cell(content: bytes | None, path: str | None = None) -> Mapping[str, Any]:
    return {"bytes": content, "path": path}


def table(
    write: Callable[[Map], bytes] = encoded,
    image: str = "image",
    mask: str = "label",
    metadata: Any = None,
    **others: tuple[pa.DataType, Callable[[int], Any]],
) -> pa.Table:
    rows = [
        {image: cell(encoded(photo(n), "JPEG"), f"{n}.jpg"), mask: cell(write(label_map))}
        | {name: value(n) for name, (_, value) in others.items()}
        for n, label_map in enumerate(MAPS)
    ]
    kinds = {image: CELL, mask: CELL} | {name: kind for name, (kind, _) in others.items()}
    made = pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))
    return made.replace_schema_metadata({"huggingface": json.dumps(metadata)}) if metadata else made


def white(label_map: Map) -> bytes:
    return encoded(np.where(label_map > 0, 255, 0).astype(np.uint8))


def pixels_as_arrays(label_map: Map) -> bytes:
    file = io.BytesIO()
    np.save(file, label_map)
    return file.getvalue()


LESION = {"0": "BACKGROUND", "255": "LESION"}
ID2LABEL = {"id2label.json": json.dumps(dict(enumerate(NAMES)))}
PATHS = pa.Table.from_pylist(
    [{"image": cell(None, f"/home/me/{n}.jpg"), "label": cell(None, f"/home/me/{n}.png")} for n in range(4)],
    schema=pa.schema([("image", CELL), ("label", CELL)]),
)
TEXTS = pa.table({"image": ["images/0.jpg"], "mask": ["masks/0.png"]})
IN_FEATURES = {"info": {"features": {"image": {"bytes": {"_type": "Value"}}, "label": {"_type": "Image"}}}}
ANNOTATIONS = pa.list_(pa.struct([("id", pa.int32())])), lambda _: [{"id": 1}]
REPORTS = [
    Report("segments-ai/segments-ai#62", table(image="pixel_values"), ID2LABEL, MAPS, NAMES),
    Report(
        "segments-ai/segments-ai#62 with columns of the tool",
        table(mask="label.segmentation_bitmap", **{"label.annotations": ANNOTATIONS}),
        ID2LABEL,
        MAPS,
        NAMES,
    ),
    Report(
        "huggingface/transformers#27224",
        table(white),
        {"id2label.json": json.dumps(LESION)},
        BINARY,
        ("BACKGROUND", "LESION"),
    ),
    Report(
        "huggingface/transformers#27224 in the metadata",
        table(white, metadata={"id2label": LESION}),
        {},
        BINARY,
        ("BACKGROUND", "LESION"),
    ),
    Report("huggingface/datasets#4196", PATHS, error="names the file .* does not hold its bytes; save .* push_to_hub"),
    Report("huggingface/datasets#6360", table().drop_columns("label"), error="1 column with images; expected two"),
    Report("Roblox/FAI-RL#81", TEXTS, error=r"no column with images; expected two, .* \(found image: string"),
    Report("huggingface/lerobot#2715", table(metadata=IN_FEATURES), {}, MAPS),
    Report("huggingface/datasets#3607", table(mask="annotation", scene_category=(pa.int64(), int)), {}, MAPS),
    Report("huggingface/datasets#7715", table(lambda m: encoded(m.astype(np.float32), "TIFF")), {}, MAPS),
    Report("wkentaro/labelme#13", table(lambda m: encoded(m.astype(np.uint16))), {}, MAPS),
    Report(
        "CompVis/taming-transformers#8",
        table(lambda m: encoded(Image.fromarray(np.dstack([m, np.full_like(m, 255)]), "LA"))),
        {},
        MAPS,
    ),
    Report("romi/plant-3d-vision#140", table(lambda m: encoded(m, "JPEG")), error="do not look like class numbers"),
    Report("intel/BigDL#3895", table(pixels_as_arrays), error="the column 'label' holds NumPy arrays"),
    Report("huggingface/datasets#4987", table(), {"README.md": "text", "preview.png": photo(9)}, error=r"data/ \(Hugg"),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.number.replace(" ", "-"))
def test_what_users_have_reported_is_read_or_refused_with_a_reason(report: Report, save_files) -> None:
    root = save_files({"data/.keep": "", **report.files})
    pq.write_table(report.table, root / "data" / "train-00000-of-00001.parquet")
    if report.error:
        with pytest.raises(DataError, match=report.error) as caught:
            open_folder(root)
        assert "\n" not in str(caught.value)
        return
    folder = open_folder(root)
    folder.check_images()
    pairs = {pair.image.stem: pair for pairs in folder.splits.values() for pair in pairs}
    for number, expected in enumerate(report.maps or ()):
        np.testing.assert_array_equal(folder.read_pair(pairs[f"{number:06}"])[1], expected)
    assert folder.classes.names == report.names or not report.names
