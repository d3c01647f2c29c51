"""Write the predictions of a video to an overlay, masks, a window or a pipe; threads draw and encode them."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np
from av.audio.stream import AudioStream
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.files import written_whole
from maskpencil.images import RGBImage
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.video.writers import MaskFrames, MaskVideo, MaskWriter, RawFrames, RegionLines, VideoWriter
from maskpencil.pipeline import WriteBehind
from maskpencil.prediction import Prediction
from maskpencil.regions import Region
from maskpencil.visualize import MAX_LEGEND_CLASSES, PAPER, with_legend

if TYPE_CHECKING:
    from PIL.ImageTk import PhotoImage

_SCREEN_SHARE = 0.9  # leaves room for the frame and the desktop's bars


class Window:
    """A window that shows the newest image; images that arrive too fast are skipped.

    The window must be created, refreshed and closed in the main thread; any thread may call `offer`.

    Raises:
        ConfigError: the window toolkit or a screen is missing.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter as tk  # on some systems a package separate from Python

            from PIL import ImageTk
        except ImportError as error:
            raise ConfigError(
                "--show needs Python's window toolkit tkinter, which is not installed; install it (Debian and "
                "Ubuntu: python3-tk), or leave --show out and pipe --stdout into a player"
            ) from error
        try:
            self._root = tk.Tk()
        except tk.TclError as error:
            raise ConfigError(
                f"--show needs a screen, but there is none ({error}); leave --show out, or pipe --stdout to a machine "
                "with a screen"
            ) from error
        self._photo_image = ImageTk.PhotoImage
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._leave)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self._leave())
        self._label = tk.Label(self._root, borderwidth=0)
        self._label.pack()
        self._lock = threading.Lock()
        self._newest: RGBImage | None = None
        self._shown: PhotoImage | None = None  # keeps the image alive, which Tk does not do
        self.is_closed = False
        """Whether the user has closed the window, by its button, Escape or q."""

    def offer(self, page: RGBImage) -> None:
        """Set the image (H, W, 3) uint8 that the next `refresh` shows."""
        with self._lock:
            self._newest = page

    def refresh(self) -> None:
        """Show the newest image, and handle keys and the window's button."""
        if self.is_closed:
            return
        with self._lock:
            page, self._newest = self._newest, None
        if page is not None:
            image = Image.fromarray(page)
            image.thumbnail(
                (
                    int(self._root.winfo_screenwidth() * _SCREEN_SHARE),
                    int(self._root.winfo_screenheight() * _SCREEN_SHARE),
                )
            )
            self._shown = self._photo_image(image, master=self._root)
            self._label.configure(image=self._shown)
        self._root.update()

    def close(self) -> None:
        """Close the window."""
        self._shown = None
        if not self.is_closed:
            self._leave()

    def _leave(self) -> None:
        self.is_closed = True
        self._root.destroy()


QUEUE_DEPTH = 4
"""The largest number of frames that wait before each step: the network, drawing, encoding."""


@dataclass(frozen=True)
class VideoForm:
    """Properties that all outputs of a video share.

    `size` is (height, width), the other fields are as in `VideoWriter`.
    """

    name: str
    size: tuple[int, int]
    frame_rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction
    is_live: bool


@dataclass(frozen=True)
class VideoFiles:
    """The files to write for a video; those that are None are not written.

    Attributes:
        overlay: the MP4 with the classes drawn over the frames.
        masks: the .mkv file or the folder of PNGs for the label maps, as `VideoOptions.masks` says.
        regions: the JSON lines of the regions.
        min_area: the smallest number of pixels of a region in `regions`.
    """

    overlay: str | os.PathLike[str] | None = None
    masks: str | os.PathLike[str] | None = None
    regions: str | os.PathLike[str] | None = None
    min_area: int = 1


class VideoOutputs:
    """A writer of the predictions of a video; a context manager that completes all files, or removes them on an error.

    Args:
        classes: the classes of the predictions.
        legend: the indices of the classes to name in the legend of the overlay.
        form: the properties that all outputs share.
        options: the settings; `options.video` requests the window and the raw frames, and says whether the masks are a
            file or a folder.
        files: the files to write.
        sound: the audio streams that are copied into the overlay, see `VideoWriter`.
        tell: called with messages for the user.

    Raises:
        ConfigError: there is no screen for a window.
        OutputError: a file cannot be written.
    """

    def __init__(
        self,
        classes: ClassSet,
        legend: Sequence[int],
        form: VideoForm,
        options: PredictOptions,
        *,
        files: VideoFiles,
        sound: Sequence[AudioStream],
        tell: Callable[[str], None],
    ) -> None:
        self._classes, self._form, self._options, self._sound = classes, form, options, sound
        self._files, self._tell = files, tell
        self._sheet = Sheet(classes, legend, form.size)
        self._overlay: VideoWriter | None = None
        self._masks: MaskWriter | None = None
        self._regions: RegionLines | None = None
        self._window: Window | None = None
        self._pipe: RawFrames | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._options.video.show:
                self._window = stack.enter_context(closing(Window(self._form.name)))
            if self._files.overlay is not None:
                self._overlay = self._overlay_writer(stack, self._files.overlay)
            if self._files.masks is not None:
                self._masks = self._mask_writer(stack, self._files.masks)
            if self._files.regions is not None:
                self._regions = stack.enter_context(
                    RegionLines(
                        stack.enter_context(written_whole(self._files.regions)),
                        time_base=self._form.time_base,
                        min_area=self._files.min_area,
                    )
                )
            if self._options.video.stdout:
                self._pipe = stack.enter_context(closing(RawFrames()))
                height, width = self._form.size
                self._tell(
                    f"{self._form.name}: raw rgb24 frames are written to standard output: {width}x{height} (width "
                    f"x height), {float(self._form.frame_rate):g} frames per second on average"
                )
            # the program that reads standard output may pause without limit
            step = None if self._pipe else f"{self._form.name}: writing frames"
            self._encoding = stack.enter_context(WriteBehind(depth=QUEUE_DEPTH, step=step))
            # its last frames are drawn while the encoding thread still accepts frames
            self._painting = stack.enter_context(WriteBehind(depth=QUEUE_DEPTH, step=step))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def submit(self, prediction: Prediction, *, pts: int, duration: int) -> None:
        """Add the next frame; wait while too many earlier frames are unfinished."""
        self._painting.submit(self._paint, prediction, pts, duration)

    def submit_sound(self, packet: "av.Packet[Any]") -> None:
        """Add a packet of an audio stream that the overlay copies; it is written after the frames added before."""
        if self._overlay:
            self._painting.submit(self._encoding.submit, self._overlay.write_sound, packet)

    def refresh(self) -> None:
        """Show the newest frame in the window, if there is one; must be called often, from the main thread."""
        if self._window:
            self._window.refresh()

    @property
    def is_left(self) -> bool:
        """Whether the work can end early: all viewers (window, pipe) are closed, and no file needs further frames.

        The files of a live source never need further frames.
        """
        viewers = [viewer for viewer in (self._window, self._pipe) if viewer]
        written = self._overlay or self._masks or self._regions
        return bool(viewers) and all(v.is_closed for v in viewers) and (self._form.is_live or not written)

    def _overlay_writer(self, stack: ExitStack, path: str | os.PathLike[str]) -> VideoWriter:
        return stack.enter_context(
            VideoWriter(
                stack.enter_context(written_whole(path)),
                size=self._sheet.size,
                frame_rate=self._form.frame_rate,
                time_base=self._form.time_base,
                pixel_aspect=self._form.pixel_aspect,
                sound=self._sound,
                is_live=self._form.is_live,
            )
        )

    def _mask_writer(self, stack: ExitStack, path: str | os.PathLike[str]) -> MaskWriter:
        if self._options.video.masks == "png":
            return stack.enter_context(MaskFrames(path, self._classes.colors))
        return stack.enter_context(
            MaskVideo(
                stack.enter_context(written_whole(path)),
                size=self._form.size,
                frame_rate=self._form.frame_rate,
                time_base=self._form.time_base,
                is_live=self._form.is_live,
            )
        )

    def _paint(self, prediction: Prediction, pts: int, duration: int) -> None:
        if self._masks:
            self._masks.write(prediction.label_map, pts=pts, duration=duration)
        if self._regions:
            self._regions.write(prediction, pts=pts)
        if not (self._overlay or self._window or self._pipe):
            return
        boxes = self._options.find_regions(prediction, polygons=False)
        page = self._sheet.paint(prediction, self._options.opacity, boxes)
        if self._window:
            self._window.offer(page)
        if self._pipe:
            self._encoding.submit(self._pipe.write, self._sheet.image(page))
        if self._overlay:
            self._encoding.submit(self._overlay.write, page, pts=pts, duration=duration)


class Sheet:
    """A painter of pages: each page is a frame with its classes drawn over it, and the legend below the frame."""

    def __init__(self, classes: ClassSet, legend: Sequence[int], size: tuple[int, int]) -> None:
        empty: RGBImage = np.full((*size, 3), PAPER, dtype=np.uint8)
        self._page = empty if len(classes) > MAX_LEGEND_CLASSES else with_legend(empty, classes, indices=legend)
        left = (self._page.shape[1] - size[1]) // 2  # as with_legend centers narrow images
        self._place = slice(0, size[0]), slice(left, left + size[1])

    @property
    def size(self) -> tuple[int, int]:
        """The size (height, width) of the page."""
        height, width, _ = self._page.shape
        return height, width

    def paint(self, prediction: Prediction, opacity: float, boxes: Sequence[Region]) -> RGBImage:
        """Draw the page (H, W, 3) uint8 of one frame, with boxes around the given regions."""
        page = self._page.copy()
        self.image(page)[:] = prediction.overlay(opacity=opacity, legend=False, boxes=boxes)
        return page

    def image(self, page: RGBImage) -> RGBImage:
        """Return a view of the part of a page that shows the frame, without the legend."""
        return page[self._place]
