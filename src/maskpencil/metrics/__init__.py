"""Compute scores over a whole data set from counts that are summed over its images."""

from maskpencil.metrics.confusion import ClassScores, ConfusionMatrix, Scores
from maskpencil.metrics.detailed import DetailedClassScores, DetailedCounts, DetailedScores, ImageScores, ObjectScores
from maskpencil.metrics.thresholds import THRESHOLDS, RoadScores, ThresholdCounts

__all__ = [
    "THRESHOLDS",
    "ClassScores",
    "ConfusionMatrix",
    "DetailedClassScores",
    "DetailedCounts",
    "DetailedScores",
    "ImageScores",
    "ObjectScores",
    "RoadScores",
    "Scores",
    "ThresholdCounts",
]
