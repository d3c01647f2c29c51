from pathlib import Path

import numpy as np
import pytest

from maskpencil.images import RGBImage


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where converted networks are kept: each test has a cache of its own."""
    return tmp_path / "cache" / "maskpencil" / "openvino"


def noise(height: int, width: int, seed: int = 0) -> RGBImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
