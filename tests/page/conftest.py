import shutil
from pathlib import Path

import pytest

from maskpencil.classes import ClassSet
from maskpencil.model_folder import ModelParts, write_model_folder
from maskpencil.page import write
from maskpencil.preprocessing import Preprocessing
from maskpencil.web.assets import SOURCES


@pytest.fixture
def model(tmp_path: Path, smallest_backbone: str) -> Path:
    """A model folder of a network of random weights."""
    import torch

    from maskpencil.models import FCNConfig, build_fcn

    torch.manual_seed(0)
    network = build_fcn(FCNConfig(3, smallest_backbone), weights="none")
    parts = ModelParts(network, ClassSet(("sky", "road", "car")), Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2)))
    write_model_folder(tmp_path / "street" / "model", parts)
    return tmp_path / "street" / "model"


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The skeleton and the style of the page, with small contents in place of the built scripts and the network."""
    folder = tmp_path / "assets"
    shutil.copytree(SOURCES / "parts", folder / "parts")
    for name in ("index.html", "style.css"):
        shutil.copy(SOURCES / name, folder)
    (folder / "page.js").write_text("'the script'")
    (folder / "licenses.json").write_text('[{"name": "bunny", "version": "1", "license": "MIT", "text": "a < b"}]')
    for kind in ("webgpu", "wasm"):
        for name in (f"{kind}.wasm.gz", f"worker-{kind}.js.gz", f"site-worker-{kind}.js", f"ort.{kind}.bundle.min.mjs"):
            (folder / name).write_bytes(name.encode())
    monkeypatch.setattr(write, "page_assets", lambda: folder)
    monkeypatch.setattr(write, "_network", lambda *_: b"the network")
    return folder
