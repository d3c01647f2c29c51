"""Show images in a window while they are made."""

import threading
from typing import TYPE_CHECKING

from PIL import Image

from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage

if TYPE_CHECKING:
    from PIL.ImageTk import PhotoImage

_SCREEN_SHARE = 0.9  # leaves room for the frame and the desktop's bars


class Window:
    """Show the newest offered image; images that come too fast are skipped.

    Made, refreshed and closed in one thread, the main one; images may come from any.

    Raises:
        ConfigError: there is no window toolkit, or no screen.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter as tk  # some systems leave it out of Python

            from PIL import ImageTk
        except ImportError as error:
            raise ConfigError(
                "--show needs Python's window toolkit tkinter, which is not here; install it (Debian and Ubuntu: "
                "python3-tk), or leave --show out and pipe --stdout into a player"
            ) from error
        try:
            self._root = tk.Tk()
        except tk.TclError as error:
            raise ConfigError(
                f"--show needs a screen, and there is none ({error}); leave it out, or pipe --stdout to where one is"
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
        self._shown: PhotoImage | None = None  # Tk drops an image without another reference
        self.is_closed = False
        """Whether the viewer has closed it, by its button, Escape or q."""

    def offer(self, page: RGBImage) -> None:
        """Set the newest image, (H, W, 3)."""
        with self._lock:
            self._newest = page

    def refresh(self) -> None:
        """Show the newest image and handle the viewer's keys."""
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
