"""Train ultralytics' smallest semantic model on a folder of images and masks, for benchmarks/transfer.py.

Its pretrained weights can only be downloaded, so it learns from scratch. Its recipe is its own, with all validations
but the last left out; the images are read from PNG files and masks of one channel, as it wants them.
"""

import tempfile
from pathlib import Path

import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from maskpencil.data.folder import DataFolder

MODEL = "yolo26n-sem.yaml"


class Normalized(nn.Module):
    """The trained network as `training.score` wants it: normalized images (N, 3, H, W) to logits (N, K, H, W)."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        logits = self.network(images * self.std + self.mean)  # of colors from 0 to 1
        logits = logits[0] if isinstance(logits, tuple) else logits
        return nn.functional.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def train(data: DataFolder, seconds: float, *, seed: int, mean: list[float], std: list[float]) -> nn.Module:
    """Train for `seconds`; return the network, which takes normalized images."""
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for split in ("train", "val"):
            for kind in ("images", "masks"):
                (root / kind / split).mkdir(parents=True)
            for number, pair in enumerate(data.pairs(split)):
                image, target = data.read_pair(pair)
                Image.fromarray(image).save(root / "images" / split / f"{number:06}.png", compress_level=1)
                Image.fromarray(target).save(root / "masks" / split / f"{number:06}.png")
        facts = {
            "path": str(root),
            "train": "images/train",
            "val": "images/val",
            "masks_dir": "masks",
            "names": dict(enumerate(data.classes.names)),
        }
        (root / "data.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")
        height, width = target.shape
        model = YOLO(MODEL, task="semantic")
        model.train(
            data=str(root / "data.yaml"),
            time=seconds / 3600,
            imgsz=max(height, width),
            batch=8,
            device="cpu",
            workers=2,
            val=False,
            plots=False,
            pretrained=False,
            seed=seed,
            project=str(root / "runs"),
            exist_ok=True,
        )
        best = YOLO(str(root / "runs" / "train" / "weights" / "last.pt"))
    return Normalized(best.model.float().eval(), mean, std)
