import numpy as np
import pytest

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.images import write_image
from maskpencil.label_maps import write_label_map


@pytest.fixture(autouse=True, scope="module")
def _models_stay_as_they_are():
    """Add no graphs to models after runs, which would take longer than most of the runs here."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("train", "trainer"):
            patch.setattr(f"maskpencil.training.{module}.add_graph", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def odd_folder(tmp_path_factory):
    """Five images of five sizes, down to one pixel; the masks of the first three are ignored throughout."""
    root = tmp_path_factory.mktemp("odd")
    classes = ClassSet(("dark", "light"))
    write_classes(root / "classes.yaml", classes)
    for i, size in enumerate([(33, 65), (1, 1), (64, 20), (40, 48), (57, 31)]):
        levels = np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8)
        label_map = np.full(size, IGNORE_INDEX, dtype=np.uint8) if i < 3 else (levels > 127).astype(np.uint8)
        for split in ("train", "val"):
            write_image(root / "images" / split / f"{i}.png", np.stack([levels] * 3, axis=-1))
            write_label_map(root / "masks" / split / f"{i}.png", label_map, classes.colors)
    return root
