from typing import Any

import pytest

from maskpencil.errors import ConfigError
from maskpencil.inference.options import VideoOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every must be 1"),
        ({"start": -1.0}, "start must be 0 seconds or more"),
        ({"start": 5.0, "end": 5.0}, "end must be after start, which is second 5, but got 5"),
        ({"end": float("nan")}, "end must be a finite number"),
        ({"smooth": 1.0}, r"smooth must be from 0 \(off\) to below 1, but got 1"),
        ({"masks": "gif"}, "masks must be video or png, but got 'gif'"),
        ({"reconnect": -1}, "reconnect must be 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VideoOptions(**settings)
