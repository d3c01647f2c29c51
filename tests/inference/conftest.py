import pytest
from tests.helpers import BrightnessSegmenter


@pytest.fixture
def segmenter() -> BrightnessSegmenter:
    return BrightnessSegmenter()
