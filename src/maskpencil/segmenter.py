"""`Segmenter`: a network with its classes and preprocessing, ready to use."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.hardware import autocast, choose_device, choose_precision
from maskpencil.images import ImageSource, RGBImage, read_image
from maskpencil.imported import PREFIX, published_model
from maskpencil.model_folder import ModelParts, read_model_folder, write_model_folder
from maskpencil.models.architectures import Network
from maskpencil.prediction import Prediction
from maskpencil.preprocessing import Preprocessing, stacked


class Segmenter:
    """A network that colours every pixel of any picture.

    Args:
        model: gives logits (N, K, H, W) for normalized images (N, 3, H, W); it is moved to the device.
        classes: its K classes.
        preprocessing: what its images went through in training.
        training: where the weights come from, as plain values for the model folder.
        device: auto, cpu, cuda or mps; see `hardware.choose_device`.
        precision: auto, fp32, bf16 or fp16; see `hardware.choose_precision`.

    Raises:
        ConfigError: the parts do not fit each other, or the machine lacks the device.
    """

    def __init__(
        self,
        model: Network,
        classes: ClassSet,
        preprocessing: Preprocessing,
        *,
        training: Mapping[str, Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> None:
        if model.config.num_classes != len(classes):
            raise ConfigError(f"the model has {model.config.num_classes} classes, but {len(classes)} are named")
        if model.config.in_channels != 3:
            raise ConfigError(f"pictures have 3 channels, but the model takes {model.config.in_channels}")
        self.device = device if isinstance(device, torch.device) else choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.classes = classes
        self.preprocessing = preprocessing
        self.training = dict(training or {})

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> "Segmenter":
        """Load a model folder, or torchvision's network of that name: torchvision/fcn_resnet50.

        Raises:
            ConfigError: torchvision has no such network.
            ModelError: the folder is missing, damaged or does not fit, or the weights cannot be had.
        """
        name = Path(path).as_posix()
        published = name.startswith(PREFIX) and not Path(path).is_dir()
        parts = published_model(name) if published else read_model_folder(name)
        return cls(
            parts.model,
            parts.classes,
            parts.preprocessing,
            training=parts.training,
            device=device,
            precision=precision,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model folder, whole or not at all; a folder of that name is replaced.

        Raises:
            OutputError: the folder cannot be written.
        """
        write_model_folder(os.fspath(path), ModelParts(self.model, self.classes, self.preprocessing, self.training))

    def predict(self, image: ImageSource) -> Prediction:
        """Colour one picture: a path, encoded bytes, a Pillow image or an array, of any size.

        Raises:
            ImageError: it is not a readable picture.
        """
        return self.predict_batch([read_image(image)], confidence=True)[0]

    def predict_batch(self, images: Sequence[RGBImage], *, confidence: bool = False) -> list[Prediction]:
        """Colour pictures of one size, (H, W, 3) uint8 each, in one pass.

        `confidence` also gives the probability of the chosen class.
        """
        return self._predictions(images, self.logits(stacked(images)), confidence=confidence)

    def predict_class(self, images: Sequence[RGBImage], index: int) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Colour pictures of one size and tell the probability of one class, in one pass.

        Each prediction is that of `predict_batch`; the probability is (H, W) float32 in 0..1.
        """
        logits = self.logits(stacked(images))
        probabilities = logits.softmax(dim=1)[:, index].cpu().numpy()
        return list(zip(self._predictions(images, logits, confidence=False), probabilities, strict=True))

    def _predictions(self, images: Sequence[RGBImage], logits: torch.Tensor, *, confidence: bool) -> list[Prediction]:
        best, label_maps = logits.max(dim=1)  # (N, H, W)
        labels = label_maps.to(torch.uint8).cpu().numpy()
        # the softmax of the greatest logit, without a second (N, K, H, W) map
        sure = (best - logits.logsumexp(dim=1)).exp().cpu().numpy() if confidence else [None] * len(images)
        return [
            Prediction(image, label_map, certainty, self.classes)
            for image, label_map, certainty in zip(images, labels, sure, strict=True)
        ]

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network on uint8 RGB images (N, 3, H, W); float32 logits (N, K, H, W) of the same size."""
        self.model.eval()
        height, width = images.shape[-2:]
        normalized = self.preprocessing.normalize(self.preprocessing.resize(images.to(self.device)))
        with autocast(self.device, self.precision):
            logits: torch.Tensor = self.model(normalized)
        logits = logits.float()
        if logits.shape[-2:] != (height, width):
            logits = functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        return logits
