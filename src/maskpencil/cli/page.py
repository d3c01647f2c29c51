"""`maskpencil page`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.options import MODEL, OUTPUT, found_model, option
from maskpencil.errors import ConfigError
from maskpencil.terminal import say, show


def command(
    model: Annotated[Path, Parameter(help="A model folder, such as runs/train/NAME/model, or a run.")],
    /,
    *,
    out: Annotated[Path | None, option("The HTML file to write; page.html by default.", OUTPUT, "FILE")] = None,
    title: Annotated[
        str | None, option("The heading of the page; the name of the model by default.", OUTPUT, "TEXT")
    ] = None,
    folder: Annotated[
        Path | None,
        option("Write a folder for a web server instead, where the network can run in several threads.", OUTPUT, "DIR"),
    ] = None,
    weights: Annotated[
        Literal["fp16", "fp32"],
        option(
            "The number format of the weights: fp16; or fp32, twice as large, which gives the model's labels except at "
            "nearly equal scores.",
            MODEL,
        ),
    ] = "fp16",
    no_webgpu: Annotated[
        bool, option("Leave out the code that runs the network on graphics cards, which saves 4 MB.", OUTPUT)
    ] = False,
) -> None:
    """Write a model as one HTML file that segments images, the camera and videos in a browser.

    The file opens by a double click, needs no server and sends nothing: mail it, or put it on any web host.
    """
    from maskpencil.page import write_page, write_site

    if out is not None and folder is not None:
        raise ConfigError("--out writes one file, but --folder writes a folder for a web server; leave out one of them")
    model = found_model(model, "page")
    say("converting the model")
    if folder is not None:
        written = write_site(model, folder, title=title, webgpu=not no_webgpu, weights=weights)
        show(
            f"{written.path}, {written.bytes / 1e6:.0f} MB: put it on any web host; {written.path / 'README.md'} says "
            "how it computes in several threads"
        )
        return
    written = write_page(model, out or Path("page.html"), title=title, webgpu=not no_webgpu, weights=weights)
    show(
        f"{written.path}, {written.bytes / 1e6:.0f} MB: double-click it, mail it, put it on any web host. Nothing "
        "leaves the computer that opens it."
    )
