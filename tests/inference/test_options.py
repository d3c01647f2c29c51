import re
from typing import Any

import numpy as np
import pytest

from maskpencil.errors import ConfigError
from maskpencil.inference.options import PredictOptions, VideoOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every must be 1"),
        ({"start": -1.0}, "start must be 0 seconds or more"),
        ({"start": 5.0, "end": 5.0}, "end must be after start .second 5., but got 5"),
        ({"end": float("nan")}, "end must be a finite number"),
        ({"smooth": 1.0}, r"smooth must be from 0 \(off\) to below 1, but got 1"),
        ({"masks": "gif"}, "masks must be video or png, but got 'gif'"),
        ({"reconnect": -1}, "reconnect must be a number of attempts, 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VideoOptions(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"opacity": 1.5}, "opacity must be from 0 to 1, but got 1.5"),
        ({"min_area": 0, "regions": "json"}, "min_area must be at least 1 pixel, but got 0"),
        (
            {"min_area": 5},
            "min_area and region_classes select regions, but no regions are requested; add --regions json",
        ),
        ({"region_classes": ["a"]}, "min_area and region_classes select regions, but no regions are requested"),
        ({"regions": "json", "region_classes": "a"}, "region_classes must be a list of names, but got 'a'"),
        ({"regions": "jsn"}, "regions must be json, geojson or coco, but got 'jsn'"),
        ({"annotations": "paint"}, "annotations must be folder, voc, cvat, coco, labelme, yolo, but got 'paint'"),
        ({"overlays": "yes"}, "overlays must be True or False, but got 'yes'"),
        ({"video": {"smooth": 0.5}}, "video must be VideoOptions, but got {'smooth': 0.5}"),
    ],
)
def test_settings_of_prediction_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        PredictOptions(**settings)


def test_settings_become_plain_values() -> None:
    found = PredictOptions(
        opacity=np.float32(0.25), overlays=np.bool_(False), regions="json", min_area=np.int64(3), region_classes=["a"]
    )
    assert (found.opacity, found.overlays, found.min_area, found.region_classes) == (0.25, False, 3, ("a",))
    assert type(found.min_area) is int
    assert hash(found) == hash(PredictOptions(**vars(found)))


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("1m30s", 90.0), ("1:30", 90.0), (1.5, 1.5)])
def test_times_of_a_video_are_seconds_or_texts(text: Any, seconds: float) -> None:
    found = VideoOptions(start=text, end="1h")
    assert (found.start, found.end) == (seconds, 3600.0)


def test_a_time_that_cannot_be_read_names_its_option() -> None:
    with pytest.raises(ConfigError, match="--start must be a time such as 90"):
        VideoOptions(start="soon")
