import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from maskpencil.data.folder import open_folder
from maskpencil.data.packed import hugging_face, unpacked
from maskpencil.data.packed.hugging_face import Columns, Shard, choose_columns, classes_in, find_shards
from maskpencil.errors import DataError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Row = Mapping[str, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def photo(number: int, kind: str = "JPEG") -> bytes:
    return encoded(np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8), kind)


def label_map(number: int) -> npt.NDArray[np.uint8]:
    values = np.zeros((32, 48), dtype=np.uint8)
    values[number % 8 :, 5:] = 1
    values[20:, 30 + number % 8 :] = 2
    values[:2] = 255
    return values


def rows(*numbers: int, image: str = "image", mask: str = "label") -> list[Row]:
    return [
        {image: {"bytes": photo(n), "path": f"{n}.jpg"}, mask: {"bytes": encoded(label_map(n)), "path": None}, "id": n}
        for n in numbers
    ]


def table(rows: Sequence[Row], metadata: Any = None) -> pa.Table:
    fields = [(name, IMAGE if isinstance(value, dict) else pa.infer_type([value])) for name, value in rows[0].items()]
    made = pa.Table.from_pylist(list(rows), schema=pa.schema(fields))
    return made.replace_schema_metadata({"huggingface": json.dumps(metadata)}) if metadata else made


def write_parquet(path: Path, rows: Sequence[Row], metadata: Any = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(rows, metadata), path, **options)
    return path


def write_arrow(path: Path, rows: Sequence[Row], metadata: Any = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = table(rows, metadata)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, made.schema) as stream:
        stream.write_table(made, max_chunksize=2)


def save_to_disk(folder: Path, shards: Sequence[Sequence[Row]], metadata: Any = None) -> Path:
    """What `Dataset.save_to_disk` writes."""
    names = [f"data-{i:05}-of-{len(shards):05}.arrow" for i in range(len(shards))]
    for name, some in zip(names, shards, strict=True):
        write_arrow(folder / name, some, metadata)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps((metadata or {}).get("info", {})))
    return folder


def check(root: Path, expected: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Open it and compare every image and mask with what was packed; returns the notes."""
    folder = open_folder(root)
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {s: len(n) for s, n in expected.items()}
    for split, numbers in expected.items():
        for index, (number, pair) in enumerate(zip(numbers, folder.pairs(split), strict=True)):
            assert pair.name == f"{index:06}"
            assert pair.image.read_bytes() == photo(number)
            assert pair.image.suffix == ".jpg"
            _, found = folder.read_pair(pair)
            np.testing.assert_array_equal(found, label_map(number))
    return folder.notes


def test_the_shards_of_the_hub_are_read_in_order_and_by_split(tmp_path: Path) -> None:
    data = tmp_path / "set" / "data"
    write_parquet(data / "train-00001-of-00002-5d1f.parquet", rows(3, 4))
    write_parquet(data / "train-00000-of-00002-5d1f.parquet", rows(0, 1, 2), row_group_size=2)
    write_parquet(data / "validation-00000-of-00001.parquet", rows(5, 6))
    write_parquet(data / "test-00000-of-00001.parquet", rows(7))
    notes = check(tmp_path / "set", {"train": range(5), "val": (5, 6), "test": (7,)})
    assert "images are from the column 'image', masks from 'label'" in notes
    assert any(note.startswith("unpacked once, into ") and "/set-" in note for note in notes)


@pytest.mark.parametrize(
    "names", [("train.parquet", "dev.parquet"), ("default/train/0000.parquet", "default/validation/0000.parquet")]
)
def test_splits_are_known_by_the_names_of_files_and_folders(tmp_path: Path, names: tuple[str, str]) -> None:
    write_parquet(tmp_path / "set" / names[0], rows(0, 1))
    write_parquet(tmp_path / "set" / names[1], rows(2))
    check(tmp_path / "set", {"train": (0, 1), "val": (2,)})


def test_one_file_without_a_split_is_shared_out(tmp_path: Path) -> None:
    folder = open_folder(write_parquet(tmp_path / "roads.parquet", rows(*range(5))))
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 4, "val": 1}


def test_a_saved_dictionary_of_splits_is_read(tmp_path: Path) -> None:
    root = tmp_path / "saved"
    save_to_disk(root / "train", [rows(0, 1, 2), rows(3)])
    save_to_disk(root / "validation", [rows(4, 5)])
    write_arrow(root / "train" / "cache-0123.arrow", rows(9))  # left by map(), and no part of the data set
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    check(root, {"train": range(4), "val": (4, 5)})


def test_a_saved_data_set_without_splits_is_shared_out(tmp_path: Path) -> None:
    folder = open_folder(save_to_disk(tmp_path / "saved", [rows(*range(5))]))
    assert sorted(pair.name for pairs in folder.splits.values() for pair in pairs) == [f"{n:06}" for n in range(5)]


def test_a_packed_folder_of_packed_images_is_read(tmp_path: Path) -> None:
    import shutil

    write_parquet(tmp_path / "set" / "data" / "train.parquet", rows(0, 1))
    write_parquet(tmp_path / "set" / "data" / "val.parquet", rows(2))
    path = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    notes = check(Path(path), {"train": (0, 1), "val": (2,)})
    assert len([note for note in notes if note.startswith("unpacked once")]) == 2


def test_bytes_alone_are_images_too(tmp_path: Path) -> None:
    bare = [{name: row[name]["bytes"] for name in ("image", "label")} for row in rows(0, 1, 2)]
    write_parquet(tmp_path / "set" / "train.parquet", bare[:2])
    write_parquet(tmp_path / "set" / "val.parquet", bare[2:])
    check(tmp_path / "set", {"train": (0, 1), "val": (2,)})


def test_rows_that_lack_one_of_the_two_are_left_out_and_reported(tmp_path: Path) -> None:
    train = rows(0, 1, 2, 3)
    train[1] = {**train[1], "label": None}
    train[2] = {**train[2], "image": {"bytes": None, "path": None}}
    write_parquet(tmp_path / "set" / "train.parquet", train)
    write_parquet(tmp_path / "set" / "val.parquet", rows(4))
    assert "2 rows without image or mask left out" in check(tmp_path / "set", {"train": (0, 3), "val": (4,)})


def test_files_of_other_splits_are_left_out_and_reported(tmp_path: Path) -> None:
    for name, numbers in (("train", (0, 1)), ("val", (2,)), ("unlabeled", (3,))):
        write_parquet(tmp_path / "set" / f"{name}.parquet", rows(*numbers))
    notes = check(tmp_path / "set", {"train": (0, 1), "val": (2,)})
    assert "1 file of other splits left out (unlabeled.parquet)" in notes


def test_several_data_sets_in_one_folder_are_an_error_that_names_them(tmp_path: Path) -> None:
    for name in ("instances", "scenes"):
        write_parquet(tmp_path / "set" / name / "train-00000-of-00001.parquet", rows(0))
    with pytest.raises(DataError, match=r"holds several data sets \(instances, scenes\); open one of these folders"):
        unpacked(tmp_path / "set")
    assert find_shards(tmp_path / "set" / "scenes")


def test_folders_of_images_are_left_to_others(tmp_path: Path, tiny_folder: Path, save_files) -> None:
    root = save_files({f"{side}/train/1.png": np.zeros((4, 6), np.uint8) for side in ("images", "masks")})
    write_parquet(root / "train.parquet", rows(0))
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / "metadata.parquet").touch()
    (tmp_path / "side" / "state.json").write_text('{"epoch": 3}')
    for folder in (root, tiny_folder, tmp_path / "side", tmp_path / "nowhere"):
        assert find_shards(folder) == ()


def test_a_folder_of_very_many_files_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").touch()
    write_parquet(tmp_path / "train.parquet", rows(0))
    assert find_shards(tmp_path) == (Shard(tmp_path / "train.parquet", "train"),)
    monkeypatch.setattr(hugging_face, "MAX_ENTRIES", 5)
    assert find_shards(tmp_path) == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("pixel_values", "label"), Columns("pixel_values", "label")),
        (("annotation", "image"), Columns("image", "annotation")),
        (("image", "segmentation_mask"), Columns("image", "segmentation_mask")),
        (("image", "semantic_segmentation", "depth_map"), Columns("image", "semantic_segmentation")),
        (("image", "mask", "instance_mask", "mask_overlay"), Columns("image", "mask")),
        (("photo", "b"), Columns("photo", "b")),
        (("b", "mask"), Columns("b", "mask")),
    ],
)
def test_names_distinguish_images_from_masks(names: tuple[str, ...], expected: Columns) -> None:
    assert choose_columns(Path("set"), {name: [] for name in names}) == expected


def test_looks_distinguish_images_from_masks_where_names_do_not() -> None:
    photos, masks = [photo(n) for n in range(2)], [encoded(label_map(n)) for n in range(2)]
    assert choose_columns(Path("set"), {"a": photos, "b": masks}) == Columns("a", "b")
    assert choose_columns(Path("set"), {"image_a": masks, "image_b": photos}) == Columns("image_b", "image_a")
    for samples in ({"a": photos, "b": photos}, {"a": masks, "b": masks}, {"a": photos, "b": masks, "c": masks}):
        with pytest.raises(DataError, match=r"set: has images in the columns a, b.*name them 'image' and 'mask'"):
            choose_columns(Path("set"), samples)


def test_a_data_set_without_masks_is_an_error_that_names_its_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "cats.parquet", [{"image": {"bytes": photo(0), "path": None}, "label": 3}])
    with pytest.raises(
        DataError, match=r"has 1 column with images; expected two.*'mask' \(found image: .*, label: int"
    ):
        unpacked(path)


def test_the_metadata_names_the_classes(tmp_path: Path) -> None:
    metadata = {
        "info": {"features": {"label": {"_type": "Image", "id2label": {"0": "ground", "1": "box", "2": "ball"}}}}
    }
    folder = open_folder(write_parquet(tmp_path / "a.parquet", rows(0, 1, 2), metadata))
    assert folder.classes.names == ("ground", "box", "ball")


def test_names_that_do_not_fit_the_masks_are_left_out_and_reported(tmp_path: Path) -> None:
    metadata = {"info": {"features": {"objects": [{"kind": {"names": ["cat", "dog"], "_type": "ClassLabel"}}]}}}
    folder = open_folder(write_parquet(tmp_path / "a.parquet", rows(0, 1, 2), metadata))
    assert len(folder.classes) == 3
    assert "the metadata names 2 classes that do not fit the masks; not used" in folder.notes


LABELS = {"names": ["ground", "box"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"info": {"features": {"mask": {"_type": "Image", "names": ["a", "b"]}}}}, ("a", "b")),
        ({"id2label": {"0": "a", "2": "c"}}, ("a", "class_1", "c")),
        ({"info": {"features": {"objects": {"feature": LABELS, "_type": "List"}}}}, ("ground", "box")),
        ({"info": {"features": {"objects": [{"kind": LABELS}]}}}, ("ground", "box")),
        ({"info": {"features": {"scene": LABELS}}}, None),  # of the whole image
        ({"info": {"features": [1, {"mask": 2}]}}, None),
        ({"info": {"features": {"mask": {"id2label": {"999": "a"}}}}}, None),
        ({"info": {"features": {"mask": {"names": ["a", "a"]}}}}, None),
        ([], None),
    ],
)
def test_class_names_are_found_where_the_metadata_has_them(content: Any, names: tuple[str, ...] | None) -> None:
    classes = classes_in(json.dumps(content).encode(), "mask")
    assert (classes and classes.names) == names


def test_metadata_that_is_none_names_no_classes() -> None:
    for metadata in (b"", b"\xff", b"{", b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900):
        assert classes_in(metadata, "mask") is None


def test_a_class_file_beside_the_data_set_counts_and_a_change_of_it_too(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "set" / "data" / "train.parquet", rows(0, 1, 2)).parents[1]
    (root / "id2label.json").write_text('{"0": "ground", "1": "box", "2": "ball"}')
    assert open_folder(root).classes.names == ("ground", "box", "ball")
    (root / "classes.yaml").write_text("names: [a, b, c]")
    assert open_folder(root).classes.names == ("a", "b", "c")


def test_without_pyarrow_the_remedy_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(0))
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        DataError, match=r"a\.parquet: .*not installed; install it with pip install 'maskpencil\[parquet\]'$"
    ):
        unpacked(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, share: float) -> None:
    saved = save_to_disk(tmp_path / "saved", [rows(*range(6))])
    for file in (write_parquet(tmp_path / "a.parquet", rows(*range(6))), saved / "data-00000-of-00001.arrow"):
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
        with pytest.raises(DataError, match=f"{file.name}: is damaged") as refused:
            unpacked(file if file.suffix == ".parquet" else saved)
        assert "\n" not in str(refused.value)


def test_images_that_are_somewhere_else_are_an_error(tmp_path: Path) -> None:
    row = {"image": {"bytes": None, "path": "/etc/passwd"}, "label": {"bytes": None, "path": "../secret"}}
    with pytest.raises(
        DataError, match="row 0 of the column 'image' names the file '/etc/passwd', but does not hold its bytes"
    ):
        unpacked(write_parquet(tmp_path / "a.parquet", [row]))


@pytest.mark.parametrize("name", ["../a.arrow", "/etc/a.arrow", "nowhere.arrow", "state.json", 3, None])
def test_a_state_that_names_files_elsewhere_is_refused(tmp_path: Path, name: object) -> None:
    write_arrow(tmp_path / "a.arrow", rows(0))
    saved = save_to_disk(tmp_path / "saved", [rows(0)])
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(DataError, match=r"state\.json: names the file .*, which is missing"):
        unpacked(saved)


@pytest.mark.parametrize("name", ["../train", "/etc", "nowhere", 3])
def test_a_dictionary_that_names_splits_elsewhere_is_refused(tmp_path: Path, name: object) -> None:
    save_to_disk(tmp_path / "train", [rows(0)])
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(DataError, match=r"dataset_dict\.json: names the split .*, but there is no such folder"):
        unpacked(tmp_path / "saved")


def test_an_image_stored_once_for_very_many_rows_is_refused(tmp_path: Path) -> None:
    large = {"bytes": encoded(np.zeros((32, 48, 3), np.uint8)) + bytes(2**20), "path": None}
    path = write_parquet(tmp_path / "a.parquet", [{"image": large, "mask": large}] * 40, compression="zstd")
    assert path.stat().st_size < 2**16
    with pytest.raises(DataError, match=r"a\.parquet: unpacks to more than 64 MiB, over 100 times its size"):
        unpacked(path)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_dir() and "a-" in file.name]
