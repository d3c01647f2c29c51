"""Train segmentation networks on folders of images and masks, and apply them to any image or video.

    import maskpencil as mp

    run = mp.train("data/road")
    segmenter = mp.Segmenter.from_pretrained(run.model)
    prediction = segmenter.predict("photo.jpg")
    mp.predict(segmenter, "photos/", out="masks", options=mp.PredictOptions(confidence=True))
    scores = mp.evaluate(segmenter, "data/road")

Names are loaded when they are first used, so that importing the package is quick.
"""

import maskpencil._startup  # isort: skip  # noqa: F401 - before anything else is imported
import importlib
from typing import TYPE_CHECKING, Any

from maskpencil.errors import (
    ConfigError,
    DataError,
    ImageError,
    MaskPencilError,
    ModelError,
    OutputError,
    StalledError,
    TrainingError,
    VideoError,
)
from maskpencil.extras import needed_for

if TYPE_CHECKING:
    from maskpencil.classes import IGNORE_INDEX, ClassSet
    from maskpencil.data.check import CheckReport, Fault, check
    from maskpencil.data.layout import Places
    from maskpencil.evaluation import evaluate
    from maskpencil.export import ExportedFiles, ExportOptions, export_model, verify_export
    from maskpencil.exported import ExportedModel
    from maskpencil.inference.options import PredictOptions, VideoOptions
    from maskpencil.inference.predict import predict
    from maskpencil.inference.report import PredictionReport
    from maskpencil.metrics import (
        ClassScores,
        ConfusionMatrix,
        DetailedClassScores,
        DetailedScores,
        ImageScores,
        ObjectScores,
        RoadScores,
        Scores,
    )
    from maskpencil.page import PageSize, write_page, write_site
    from maskpencil.prediction import Prediction
    from maskpencil.predictor import Predictor
    from maskpencil.regions import Region
    from maskpencil.report import ReportOptions, write_report
    from maskpencil.segmenter import Segmenter
    from maskpencil.server import ServeOptions, serve
    from maskpencil.training.config import TrainConfig
    from maskpencil.training.train import Run, train

__all__ = [
    "IGNORE_INDEX",
    "CheckReport",
    "ClassScores",
    "ClassSet",
    "ConfigError",
    "ConfusionMatrix",
    "DataError",
    "DetailedClassScores",
    "DetailedScores",
    "ExportOptions",
    "ExportedFiles",
    "ExportedModel",
    "Fault",
    "ImageError",
    "ImageScores",
    "MaskPencilError",
    "ModelError",
    "ObjectScores",
    "OutputError",
    "PageSize",
    "Places",
    "PredictOptions",
    "Prediction",
    "PredictionReport",
    "Predictor",
    "Region",
    "RemoteSegmenter",
    "ReportOptions",
    "RoadScores",
    "Run",
    "Scores",
    "Segmenter",
    "ServeOptions",
    "StalledError",
    "TrainConfig",
    "TrainingError",
    "VideoError",
    "VideoOptions",
    "check",
    "evaluate",
    "export_model",
    "predict",
    "serve",
    "train",
    "verify_export",
    "write_page",
    "write_report",
    "write_site",
]

_HOMES = {
    "IGNORE_INDEX": "classes",
    "CheckReport": "data.check",
    "ClassScores": "metrics",
    "ClassSet": "classes",
    "ConfusionMatrix": "metrics",
    "DetailedClassScores": "metrics",
    "DetailedScores": "metrics",
    "ExportOptions": "export",
    "ExportedFiles": "export",
    "ExportedModel": "exported",
    "Fault": "data.check",
    "ImageScores": "metrics",
    "ObjectScores": "metrics",
    "PageSize": "page",
    "Places": "data.layout",
    "PredictOptions": "inference.options",
    "Prediction": "prediction",
    "PredictionReport": "inference.report",
    "Predictor": "predictor",
    "Region": "regions",
    "RemoteSegmenter": "remote",
    "ReportOptions": "report",
    "RoadScores": "metrics",
    "Run": "training.train",
    "Scores": "metrics",
    "Segmenter": "segmenter",
    "ServeOptions": "server",
    "TrainConfig": "training.config",
    "VideoOptions": "inference.options",
    "check": "data.check",
    "evaluate": "evaluation",
    "export_model": "export",
    "predict": "inference.predict",
    "serve": "server",
    "train": "training.train",
    "verify_export": "export",
    "write_page": "page",
    "write_report": "report",
    "write_site": "page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maskpencil' has no attribute {name!r}")
    with needed_for(f"maskpencil.{name}"):
        return getattr(importlib.import_module(f"maskpencil.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
