from types import SimpleNamespace

import av
import pytest

from maskpencil.errors import VideoError
from maskpencil.inference.sources import camera_number
from maskpencil.inference.video import opening
from maskpencil.inference.video.opening import find_camera


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("12", 12), ("/dev/video3", 3), ("-1", None), ("a", None), ("²", None)]
)
def test_numbers_and_device_files_are_cameras(text: str, number: int | None) -> None:
    assert camera_number(text) == number


def test_a_missing_camera_is_one_line() -> None:
    with pytest.raises(VideoError, match=r"camera 987: ") as caught:
        find_camera(987, platform="linux")
    assert "\n" not in str(caught.value)


def test_each_system_has_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_need_format", lambda *_: None)
    mac = find_camera(1, platform="darwin")
    assert (mac.name, mac.input_format, mac.options) == ("1:none", "avfoundation", {"framerate": "30"})
    devices = [SimpleNamespace(name="Micro", media_types=["audio"]), SimpleNamespace(name="Cam", media_types=["video"])]
    monkeypatch.setattr(av, "enumerate_input_devices", lambda _: devices)
    assert find_camera(0, platform="win32").name == "video=Cam"
    with pytest.raises(VideoError, match="no such camera; the numbers here are 0"):
        find_camera(1, platform="win32")


def test_a_build_without_the_systems_cameras_is_one_line() -> None:
    unknown = "win32" if "dshow" not in av.formats_available else "darwin"
    with pytest.raises(VideoError, match="this build of PyAV does not include"):
        find_camera(0, platform=unknown)
