"""Quantize a model to 8-bit integers (int8), which is faster on CPUs and slightly less exact."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.data.folder import DataFolder
from maskpencil.errors import ConfigError, ModelError
from maskpencil.evaluation import evaluate
from maskpencil.extras import needed_for
from maskpencil.files import folder_written_whole
from maskpencil.images import RGBImage
from maskpencil.model_folder import CARD, CONFIG, WEIGHTS, fingerprint, read_model_config
from maskpencil.pipeline import read_ahead
from maskpencil.predictor import QUEUE_DEPTH
from maskpencil.regular_files import read_regular
from maskpencil.runtimes.graph_cache import INT8, PreparedNetwork, of_weights, prepared_network
from maskpencil.runtimes.graph_files import GRAPH, XML, save_openvino, seal
from maskpencil.segmenter import Segmenter

CALIBRATION_IMAGES = 100
"""The number of images for calibrating the ranges of activations."""

_CARD_BYTES = 2**20

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Quantized:
    """The result of a quantization: the quantized model folder `out`, and the mean IoU before and after, 0..1."""

    out: Path
    before: float
    after: float

    @property
    def drop(self) -> float:
        """The drop of mean IoU in percentage points."""
        return 100 * (self.before - self.after)


def quantize(
    model: Path,
    data: DataFolder,
    *,
    out: Path,
    max_drop: float = 0.5,
    split: str = "val",
    calibration_images: int = CALIBRATION_IMAGES,
    report: Report | None = None,
) -> Quantized:
    """Write a copy of a model folder that runs in int8 on CPUs; on other devices the copy runs like the original.

    Args:
        model: the model folder to quantize.
        data: labeled images for calibration and scores.
        out: the folder to write.
        max_drop: the largest accepted drop of mean IoU, in percentage points.
        split: the split on which the original model and the quantized model are scored.
        calibration_images: the number of training images, evenly spaced, on which the ranges of activations are
            measured.
        report: called with (images scored, total), first for the original model, then for the quantized model.

    Raises:
        ConfigError: `max_drop` or `calibration_images` is out of range, or nncf is not installed.
        DataError: the data lack a split, or have other classes than the model.
        ModelError: mean IoU drops by more than `max_drop`, or the drop cannot be measured; nothing is written.
        OutputError: the folder cannot be written, or is not empty.
    """
    if max_drop < 0 or calibration_images < 1:
        raise ConfigError(
            f"max_drop must be 0 or more and calibration_images 1 or more, but got {max_drop} and {calibration_images}"
        )
    config = read_model_config(model)
    before = evaluate(
        Segmenter.from_pretrained(model, device="cpu", precision="auto"), data, split=split, report=report
    )
    prepared = prepared_network(model, "openvino")
    graph = _quantized(prepared, _spread(data, calibration_images), config.preprocessing.resize)
    with folder_written_whole(out, fresh=True) as folder:
        for name in (WEIGHTS, CONFIG):
            shutil.copy(model / name, folder / name)
        (folder / CARD).write_bytes(read_regular(model / CARD, limit=_CARD_BYTES) if (model / CARD).is_file() else b"")
        (folder / GRAPH).mkdir()
        prepared.stored.write(folder / GRAPH)
        (folder / INT8).mkdir()
        save_openvino(graph, folder / INT8 / XML)
        seal(folder / INT8, {**prepared.stored.facts, "of": of_weights(fingerprint(folder))}, "openvino")
        segmenter = Segmenter.from_pretrained(folder, runtime="openvino", device="cpu", precision="int8")
        after = evaluate(segmenter, data, split=split, report=report)
        result = Quantized(out, before.mean_iou, after.mean_iou)
        if math.isnan(result.drop):
            raise ModelError(
                f"{data.root}: no pixel of its {split} images is labeled, so the change by int8 cannot be "
                "measured; nothing was written; give a --split with labeled pixels"
            )
        if result.drop > max_drop:
            raise ModelError(
                f"{model}: loses {result.drop:.2f} points of mean IoU in int8 ({100 * before.mean_iou:.2f} to "
                f"{100 * after.mean_iou:.2f}), more than the {max_drop:g} that --max-drop allows; nothing was written; "
                "give more --calibration-images or a greater --max-drop"
            )
        _record_scores(folder, data.root.name, result)
    return result


def _quantized(prepared: PreparedNetwork, images: Iterator[RGBImage], resize: Callable[[RGBImage], RGBImage]) -> Any:
    with needed_for("quantizing"):
        import nncf
    samples = [np.ascontiguousarray(resize(image))[None] for image in images]
    return nncf.quantize(
        prepared.openvino_model(),
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
    )


def _spread(data: DataFolder, count: int) -> Iterator[RGBImage]:
    """Yield `count` evenly spaced training images, which a thread reads ahead."""
    with closing(
        read_ahead(map(data.read_pair, data.spread("train", count)), depth=QUEUE_DEPTH, step="reading images")
    ) as read:
        for image, _ in read:
            yield image


def _record_scores(folder: Path, data: str, result: Quantized) -> None:
    """Add the measured scores to the configuration and the model card; `data` is the name of the data folder."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    facts = {"data": data, "mean_iou_before": round(result.before, 4), "mean_iou": round(result.after, 4)}
    (folder / CONFIG).write_text(json.dumps(config | {"int8": facts}, indent=2) + "\n", encoding="utf-8")
    with (folder / CARD).open("a", encoding="utf-8") as card:
        card.write(f"\nOn CPUs it runs in int8: mean IoU {result.after:.4f} on {data}, {result.before:.4f} before.\n")
