"""Every message of the data part that names an option or a command: typed, it does as it says."""

import ast
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import maskpencil
from maskpencil.cli import main

pytestmark = pytest.mark.slow

SOURCE = Path(maskpencil.__file__).parent / "data"
RANDOM = np.random.default_rng(11)
SIZE = 32, 48

COUNT = 6


def photo() -> npt.NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def boxes(*values: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SIZE, dtype=np.uint8)
    for place, value in enumerate(values):
        top, left = RANDOM.integers(0, 8), 12 * place + RANDOM.integers(0, 3)
        mask[top : top + 18, left : left + 9] = value
    return mask


def save(path: Path, pixels: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pairs(root: Path, *values: int, count: int = COUNT) -> None:
    """Write images and masks in which boxes have these values."""
    for number in range(count):
        save(root / "images" / f"{number}.png", photo())
        save(root / "masks" / f"{number}.png", boxes(*values))


def numbered(root: Path) -> None:
    pairs(root)
    for number in range(COUNT):
        save(root / "masks" / f"{number}.png", boxes(*range(1, 2 + number % 4)))


def two_kinds_of_masks(root: Path) -> None:
    pairs(root, 255)
    for number in range(COUNT):
        save(root / "edges" / f"{number}.png", boxes(0, 0, 255))


def two_kinds_of_images(root: Path) -> None:
    for number in range(COUNT):
        for folder in ("left", "right"):
            save(root / folder / f"{number}.png", photo())
        save(root / "gt" / f"{number}.png", boxes(1, 2))


def a_broken_polygon(root: Path) -> None:
    entries = [{"id": number, "file_name": f"{number}.png", "height": 32, "width": 48} for number in range(COUNT)]
    polygons: list[dict[str, Any]] = []
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", photo())
        whole = [2, 2, 20, 2, 20, 20, 2, 20]
        polygons.append(
            {"id": number, "image_id": number, "category_id": 1, "segmentation": [whole if number else whole[:7]]}
        )
    content = {"images": entries, "annotations": polygons, "categories": [{"id": 1, "name": "leaf"}]}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(content))


def apart(file_format: str) -> Callable[[Path], None]:
    """Write annotations in a format, with their images in the folder `photos` beside the data."""

    def write(root: Path) -> None:
        pairs(root.parent / "whole", 1, 2)
        assert main(["convert", str(root.parent / "whole"), "--to", file_format, "--out", str(root)]) == 0
        take_images_away(root)

    return write


def take_images_away(root: Path) -> None:
    photos = root.parent / "photos"
    photos.mkdir(exist_ok=True)
    for path in [path for path in root.rglob("*.png") if path.is_file()]:
        path.rename(photos / path.name)


def datumaro(root: Path) -> None:
    items = []
    for number in range(COUNT):
        save(root.parent / "photos" / f"{number}.png", photo())
        shape = {"id": 0, "type": "polygon", "label_id": 0, "points": [2, 2, 20, 2, 20, 20, 2, 20], "attributes": {}}
        items.append({"id": str(number), "annotations": [shape], "image": {"path": f"{number}.png", "size": [*SIZE]}})
    (root / "annotations").mkdir(parents=True)
    content = {"info": {}, "categories": {"label": {"labels": [{"name": "leaf"}]}}, "items": items}
    (root / "annotations" / "default.json").write_text(json.dumps(content))


def label_studio(root: Path) -> None:
    tasks = []
    for number in range(COUNT):
        save(root.parent / "photos" / f"{number}.png", photo())
        value = {"points": [[5, 5], [50, 5], [50, 50]], "polygonlabels": ["leaf"], "closed": True}
        result = {"type": "polygonlabels", "value": value, "original_width": 48, "original_height": 32}
        annotation = {"id": number, "result": [result | {"from_name": "label", "to_name": "image"}]}
        tasks.append({"id": number, "annotations": [annotation], "data": {"image": f"/data/upload/1/{number}.png"}})
    root.mkdir(exist_ok=True)
    (root / "project.json").write_text(json.dumps(tasks))


def label_studio_brushes(root: Path) -> None:
    tasks = []
    for number in range(COUNT):
        save(root.parent / "photos" / f"{number}.png", photo())
        save(root / f"task-{number}-annotation-{number}-by-1-tag-leaf-0.png", boxes(255))
        task = {"id": number, "annotations": [{"id": number, "result": []}]}
        tasks.append(task | {"data": {"image": f"/data/upload/1/{number}.png"}})
    (root / "project.json").write_text(json.dumps(tasks))


def cvat_xml(root: Path) -> None:
    images = ""
    for number in range(COUNT):
        save(root.parent / "photos" / f"{number}.png", photo())
        shape = '<polygon label="leaf" source="manual" occluded="0" points="2,2;20,2;20,20;2,20" z_order="0"></polygon>'
        images += f'<image id="{number}" name="{number}.png" width="48" height="32">{shape}</image>'
    root.mkdir(exist_ok=True)
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")


def alike_names(root: Path) -> None:
    pairs(root, 1, 2, 3)
    (root / "classes.yaml").write_text("names: [background, leaf, Leaf, stem]")


def from_one(root: Path) -> None:
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", photo())
        save(root / "masks" / f"{number}.png", np.maximum(boxes(2, 3), 1))
    (root / "classes.yaml").write_text("names: [ground, leaf, stem]")


def from_one_without_names(root: Path) -> None:
    from_one(root)
    (root / "classes.yaml").unlink()


def gaps(root: Path) -> None:
    pairs(root, 2, 5)


def gaps_in_red(root: Path) -> None:
    gaps(root)
    for path in sorted((root / "masks").iterdir()):
        numbers = np.array(Image.open(path))
        save(path, np.stack([numbers, 0 * numbers, 0 * numbers], axis=-1))


def masks_alike(root: Path) -> None:
    frame = np.full(SIZE, 255, dtype=np.uint8)
    frame[:4] = frame[:, :6] = 0
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", photo())
        save(root / "masks" / f"{number}.png", frame)
        save(root / "true" / "inner" / f"{number}_leaf.png", boxes(255, 0, 255))


def doubtful(root: Path) -> None:
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", photo())
        mask = np.array([(0, 0, 0), (200, 0, 0), (0, 0, 200)], dtype=np.uint8)[boxes(1, 2)]
        noise = RANDOM.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        save(root / "masks" / f"{number}.png", np.where(RANDOM.random((*SIZE, 1)) < 0.07, noise, mask))
    (root / "classes.yaml").write_text("names: [a, b, c]\npalette: [[0, 0, 0], [200, 0, 0], [0, 0, 200]]")


def copies_across(root: Path) -> None:
    for split, numbers in (("train", range(6)), ("val", range(4, 9))):
        for number in numbers:
            random = np.random.default_rng(number)
            save(root / "images" / split / f"{number}.png", random.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
            save(root / "masks" / split / f"{number}.png", boxes(1, 2))


def copies_within(root: Path) -> None:
    pairs(root, 1, 2)
    shutil.copy(root / "images" / "0.png", root / "images" / "again.png")
    shutil.copy(root / "masks" / "0.png", root / "masks" / "again.png")


def another_size(root: Path) -> None:
    pairs(root, 1, 2)
    save(root / "masks" / "1.png", boxes(1, 2)[::2, ::2])
    save(root / "masks" / "2.png", boxes(1, 2)[:20])


def unreadable(root: Path) -> None:
    pairs(root, 1, 2)
    for number in (1, 2):
        (root / "masks" / f"{number}.png").write_bytes(b"\x89PNG nothing")


def two_forms(root: Path) -> None:
    for number in range(COUNT):
        mask = boxes(1, 2)
        colors = np.array([(0, 0, 0), (200, 0, 0), (0, 0, 200)], dtype=np.uint8)
        save(root / "GT" / "LABELS" / f"{number}.png", mask)
        save(root / "GT" / "COLOR" / f"{number}.png", colors[mask])
        save(root.parent / "photos" / f"{number}.png", photo())


def for_validation(root: Path) -> None:
    for number in range(COUNT):
        save(root / "images" / "val" / f"{number}.png", photo())
        save(root / "masks" / "val" / f"{number}.png", boxes(1, 2))
    splits = [f"{number} {'val' if number < 2 else 'train'}" for number in range(COUNT)]
    (root.parent / "splits.txt").write_text("\n".join(splits))


def sparse(root: Path) -> None:
    pairs(root / "data", 1, 2)
    with (root / "data" / "images" / "0.png").open("r+b") as file:
        file.truncate(2**20)
    subprocess.run(["tar", "--sparse", "-cf", root / "data.tar", "-C", root, "data"], check=True)


def linked_masks(root: Path) -> None:
    for number in range(COUNT):
        save(root / "images" / f"{number}.png", photo())
        save(root / "truth" / f"{number}.png", boxes(1, 2))
    (root / "masks").symlink_to(root / "images")


def masks_beside_annotations(root: Path) -> None:
    for number in range(COUNT):
        save(root / f"{number}.jpg", photo())
        save(root / f"{number}.png", boxes(1, 2))
        shape = {"label": "leaf", "points": [[2, 2], [20, 2], [20, 20]], "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": f"{number}.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (root / f"{number}.json").write_text(json.dumps(content))


@dataclass(frozen=True)
class Remedy:
    """A phrase of a message, data that brings it about, what is typed then, and what must be said of the result.

    In what is typed, DATA is the folder, CLEAN and OUT a new one, and FOLDER that of the images. `then` is what
    `maskpencil check` says of the new folder, or of the data with the typed options; `not_then` what it does not say.
    """

    phrase: str
    make: Callable[[Path], None]
    typed: str
    then: str = "fit for training: "
    not_then: str = "not fit for training"


FIX = "check DATA --fix CLEAN"
IMAGES = "check DATA --images FOLDER"

REMEDIES = [
    Remedy("check DATA --fix CLEAN writes a copy with two classes", numbered, FIX, "2 classes"),
    Remedy("--masks {name}", two_kinds_of_masks, "check DATA --masks edges", "2 classes"),
    Remedy("--images {rival} --masks {masks}", two_kinds_of_images, "check DATA --images left --masks gt", "3 classes"),
    Remedy(
        "check DATA --fix OUT writes the data without", a_broken_polygon, FIX, "5 pairs (4 train, 1 val), 2 classes"
    ),
    Remedy("{files[0].image!r}); put the images beside the files, or say", apart("labelme"), IMAGES, "6 pairs"),
    Remedy("their images is below {known.place}; put them there, or say", label_studio_brushes, IMAGES, "6 pairs"),
    Remedy("an export with images, or say where they are", label_studio, IMAGES, "6 pairs"),
    Remedy("or say where the images are: --images FOLDER", cvat_xml, IMAGES, "6 pairs"),
    Remedy("put them into images/, or say where they are: --images FOLDER", datumaro, IMAGES, "6 pairs"),
    Remedy("put them there, or say where they are: --images FOLDER", apart("coco"), IMAGES, "6 pairs"),
    Remedy("--images FOLDER --masks {other}", two_forms, "check DATA --images FOLDER --masks LABELS", "3 classes"),
    Remedy("each image in a file: --split-file FILE", for_validation, "check DATA --split-file SPLITS", "6 pairs"),
    Remedy("writes a copy in which these names are one class", alike_names, FIX, "3 classes", "differ only in case"),
    Remedy("subtract 1 from all class numbers{', as --fix does,'", from_one, FIX, "3 classes"),
    Remedy(
        "subtract 1 from all class numbers{', as --fix does,'", from_one_without_names, FIX, "3 classes", "start at 1"
    ),
    Remedy("writes a copy without them, renumbered", gaps, FIX, "3 classes", "never occur"),
    Remedy("writes a copy without them, renumbered", gaps_in_red, FIX, "3 classes", "never occur"),
    Remedy("name their folder with --masks", masks_alike, "check DATA --masks true", "fit", "are the same"),
    Remedy("--fix gives each pixel the nearest class", doubtful, FIX, "fit", "in the color of no class"),
    Remedy("writes a copy of the data without them", copies_across, FIX, "fit", "also in train"),
    Remedy("as --fix does", copies_across, FIX, "fit", "in several splits"),
    Remedy("keep one copy of each image, as --fix does", copies_within, FIX, "6 pairs", "more than once"),
    Remedy("--fix does so for equal aspect ratios", another_size, FIX, "5 pairs"),
    Remedy("CLEAN writes a copy in which such masks are scaled", another_size, FIX, "5 pairs"),
    Remedy("masks are: --images FOLDER --masks FOLDER", linked_masks, "check DATA --masks truth", "3 classes"),
    Remedy("to read them: --images", masks_beside_annotations, "check DATA --images DATA --masks DATA", "3 classes"),
    Remedy("maskpencil check lists all, with remedies", unreadable, "check DATA", "cannot be read: 2", "nothing"),
    Remedy("run maskpencil check for all faults", from_one, "check DATA", "not fit for training", "nothing"),
]


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.phrase[:50])
def test_a_remedy_does_what_it_says(remedy: Remedy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, clean = tmp_path / "data", tmp_path / "clean"
    if not remedy.make.__qualname__.startswith("apart"):
        data.mkdir()
    remedy.make(data)
    capsys.readouterr()
    names = {"DATA": data, "CLEAN": clean, "FOLDER": tmp_path / "photos", "SPLITS": tmp_path / "splits.txt"}
    words = [str(names.get(word, word)) for word in shlex.split(remedy.typed)]
    code = main([*words, "--out", str(tmp_path / "sheet")])
    if "CLEAN" in remedy.typed:
        assert clean.is_dir(), capsys.readouterr()
        capsys.readouterr()
        main(["check", str(clean), "--out", str(tmp_path / "sheet2")])
    elif remedy.not_then != "nothing":
        assert code == 0, capsys.readouterr()
    said = "".join(capsys.readouterr())
    assert remedy.then in said
    assert remedy.not_then not in said


def test_an_archive_packed_again_without_sparse_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sparse(tmp_path)
    assert main(["check", str(tmp_path / "data.tar")]) == 1
    assert "pack it again without --sparse" in capsys.readouterr().err
    subprocess.run(["tar", "-cf", tmp_path / "again.tar", "-C", tmp_path, "data"], check=True)
    assert main(["check", str(tmp_path / "again.tar"), "--out", str(tmp_path / "sheet")]) == 0


def texts(tree: ast.AST) -> Sequence[str]:
    """Return the texts in a module, except docstrings; what is filled in stays in braces."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)} | docstrings
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in alone:
            continue
        if isinstance(node, ast.JoinedStr):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            found.append(node.value)
    return found


NAMES_AN_OPTION = re.compile(r"--[a-z]|\bmaskpencil (check|convert|train|evaluate|info|import|predict)\b")


def test_every_message_that_names_an_option_or_a_command_is_tried() -> None:
    phrases = [remedy.phrase for remedy in REMEDIES] + ["pack it again without --sparse"]
    named = {
        f"{path.relative_to(SOURCE)}: {text}"
        for path in SOURCE.rglob("*.py")
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if NAMES_AN_OPTION.search(text)
    }
    assert len(named) >= len(REMEDIES) - 3
    assert [text for text in named if not any(phrase in text for phrase in phrases)] == []
