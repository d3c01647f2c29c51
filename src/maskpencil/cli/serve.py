"""`maskpencil serve`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.options import (
    NETWORK,
    SERVER,
    Device,
    ImageSize,
    Precision,
    RuntimeName,
    found_model,
    load_predictor,
    option,
    parse_bytes,
)
from maskpencil.parsing import read_duration
from maskpencil.plain_text import counted
from maskpencil.signals import stopped_by_signals
from maskpencil.terminal import RESULTS, say, show

POLL_SECONDS = 0.5
"""Seconds between two checks that the server still runs."""


def command(
    model: Annotated[
        str,
        Parameter(
            help="A model folder, such as runs/train/NAME/model, or a file from maskpencil export; with a name for it: "
            "NAME=PATH."
        ),
    ],
    /,
    *models: Annotated[
        str,
        Parameter(help="More models; requests choose one by its name, such as ?model=NAME; the first is the default."),
    ],
    port: Annotated[int, option("The port to listen at; 0 is any free port.", SERVER, "PORT")] = 8000,
    host: Annotated[
        str,
        option(
            "The address to listen at. Only programs on this computer reach 127.0.0.1; any other address, such as "
            "0.0.0.0, needs --token-file or --open.",
            SERVER,
            "ADDRESS",
        ),
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        option(
            "A file with a secret text of one line; requests must have the header Authorization: Bearer TEXT.",
            SERVER,
            "FILE",
        ),
    ] = None,
    open: Annotated[bool, option("Serve other computers without a token.", SERVER)] = False,  # noqa: A002
    allow_host: Annotated[
        list[str] | None,
        option(
            "More names under which clients reach the server; IP addresses and localhost are always allowed.",
            SERVER,
            "NAME",
            consume_multiple=True,
        ),
    ] = None,
    max_body: Annotated[str, option("The largest image file.", SERVER, "SIZE")] = "64MiB",
    max_pixels: Annotated[int, option("The largest number of pixels of an image.", SERVER, "N")] = 2**26,
    queue: Annotated[int, option("The largest number of images that wait for their turn.", SERVER, "N")] = 64,
    timeout: Annotated[
        str, option("The longest time that an image waits for its turn, such as 30s.", SERVER, "TIME")
    ] = "30s",
    max_video: Annotated[str, option("The largest video file.", SERVER, "SIZE")] = "2GiB",
    video_quota: Annotated[
        str, option("The largest size of all videos and their results together.", SERVER, "SIZE")
    ] = "20GiB",
    video_folder: Annotated[
        Path | None,
        option(
            "An existing folder in which the server makes its own folder for videos, which it removes when it stops; "
            "by default the system's folder for temporary files.",
            SERVER,
            "DIR",
        ),
    ] = None,
    keep: Annotated[
        str, option("The time for which the results of a video are kept after its end, such as 1h.", SERVER, "TIME")
    ] = "1h",
    image_size: ImageSize = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    memory: Annotated[
        str | None,
        option("The memory limit for the computation of images, such as 2GiB; by default 1GiB.", NETWORK, "SIZE"),
    ] = None,
) -> None:
    """Segment images and videos that are sent over HTTP: POST an image to /v1/mask, and get its mask.

    The form of the result is a parameter of the address: out=png (a mask, the default), out=overlay (a JPEG) or
    out=json (regions, and the shares of the classes). POST a video to /v1/videos, and follow it at the address in the
    answer; images are segmented before videos. Ctrl-C or SIGTERM stop the server; images that it has received are still
    answered, videos are canceled.
    """
    from maskpencil.server import ServeOptions, serve
    from maskpencil.server.models import named_models

    options = ServeOptions(
        host=host,
        port=port,
        token_file=token_file,
        open=open,
        allow_host=tuple(allow_host or ()),
        max_body=parse_bytes("--max-body", max_body),
        max_pixels=max_pixels,
        queue=queue,
        timeout=read_duration("--timeout", timeout),
        max_video=parse_bytes("--max-video", max_video),
        video_quota=parse_bytes("--video-quota", video_quota),
        video_folder=video_folder,
        keep=read_duration("--keep", keep),
    )
    options.read_token()  # before the model is loaded, which takes seconds
    predictors = {
        name: load_predictor(
            found_model(place, "serve"),
            runtime=runtime,
            device=device,
            precision=precision,
            image_size=image_size,
            memory=memory,
        )
        for name, place in named_models((model, *models)).items()
    }
    with (
        stopped_by_signals(lambda _: say("stopping; images that were received are answered first")) as stop,
        serve(predictors, options=options) as server,
    ):
        show(
            f"{server.url}  open it in a browser; programs: POST /v1/mask?out=png|overlay|json /v1/videos  "
            "GET /v1/models /openapi.json /healthz /readyz /metrics"
        )
        RESULTS.flush()
        for name, predictor in predictors.items():
            say(f"{name}: {predictor.title}")
        say(f"{counted(server.workers, 'image')} at the same time; Ctrl-C stops the server")
        while server.is_running() and not stop.wait(POLL_SECONDS):
            pass
    say(f"stopped; {counted(server.count(), 'image')} segmented")
