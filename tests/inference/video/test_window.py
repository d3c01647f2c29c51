import builtins
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tests.helpers import draw_image

from maskpencil.errors import ConfigError
from maskpencil.inference.video.outputs import Window


class NoScreenError(Exception):
    pass


def test_a_missing_toolkit_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments, **more):
        if name == "tkinter":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="needs Python's window toolkit tkinter") as caught:
        Window("video")
    assert "\n" not in str(caught.value)


class Root:
    def __init__(self) -> None:
        self.updates, self.destroyed, self.on_leave = 0, False, None

    def title(self, _: str) -> None: ...
    def bind(self, *_: object) -> None: ...

    def protocol(self, _: str, call) -> None:
        self.on_leave = call

    def winfo_screenwidth(self) -> int:
        return 100

    def winfo_screenheight(self) -> int:
        return 100

    def update(self) -> None:
        self.updates += 1

    def destroy(self) -> None:
        self.destroyed = True


class Label:
    def __init__(self, *_: object, **__: object) -> None:
        self.shown = None

    def pack(self) -> None: ...

    def configure(self, *, image) -> None:
        self.shown = image


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    from PIL import Image, ImageTk

    made = SimpleNamespace(Tk=Root, TclError=NoScreenError, Label=Label)
    monkeypatch.setitem(sys.modules, "tkinter", made)
    monkeypatch.setattr(ImageTk, "PhotoImage", lambda image, **_: Image.Image.copy(image))
    return made


def test_a_missing_screen_is_one_line(toolkit: SimpleNamespace) -> None:
    def no_screen() -> None:
        raise NoScreenError("no display name and no $DISPLAY environment variable")

    toolkit.Tk = no_screen
    with pytest.raises(ConfigError, match="needs a screen, but there is none \\(no display name") as caught:
        Window("video")
    assert "\n" not in str(caught.value)


def test_the_newest_image_is_shown_and_fits_the_screen(toolkit: SimpleNamespace) -> None:
    window = Window("video")
    window.offer(draw_image((48, 64), 1))
    window.offer(draw_image((48, 64), 2))
    window.refresh()
    assert np.array_equal(np.asarray(window._label.shown), draw_image((48, 64), 2))
    window.offer(draw_image((480, 640)))
    window.refresh()
    assert window._label.shown.size == (90, 68)
    window.close()
    assert window._root.destroyed


def test_a_window_that_its_viewer_closed_stays_closed(toolkit: SimpleNamespace) -> None:
    window = Window("video")
    window._root.on_leave()
    assert window.is_closed
    window.offer(draw_image((48, 64)))
    window.refresh()
    window.close()
    assert window._root.updates == 0
