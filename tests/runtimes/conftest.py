import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where converted networks are kept: each test has a cache of its own."""
    return tmp_path / "cache" / "maskpencil" / "openvino"


def noise(height: int, width: int, seed: int = 0) -> RGBImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def predicted_without_torch(folder: Path, tmp_path: Path) -> LabelMap:
    """The label map of `noise(40, 50)` by a model folder, made in a process of its own that must not import torch."""
    script = (
        "import sys, numpy as np; from maskpencil.segmenter import Segmenter;"
        f"s = Segmenter.from_pretrained({str(folder)!r}, device='cpu', precision='fp32');"
        "image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8);"
        f"np.save({str(tmp_path / 'labels.npy')!r}, s.predict(image).label_map); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
    return np.load(tmp_path / "labels.npy")
