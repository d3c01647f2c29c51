"""`maskpencil demo`."""

import time
from itertools import islice
from pathlib import Path
from typing import Annotated

from maskpencil.cli.evaluate import table
from maskpencil.cli.options import LENGTH, OUTPUT, Device, option
from maskpencil.errors import MaskPencilError
from maskpencil.files import numbered_folder
from maskpencil.progress import ProgressBar
from maskpencil.terminal import say, show

SIZE = (192, 320)
"""The height and width of the training images."""

IMAGES = {"train": 220, "val": 20, "test": 40}
EPOCHS = 11
VIDEO_SIZE, VIDEO_SECONDS, VIDEO_RATE = (240, 400), 4, 24
DRIVE_SEED = 9007
"""The seed of the street in the video; the images show streets with other seeds."""


def command(
    *,
    out: Annotated[Path, option("The folder to write; if it exists, a number is appended.", OUTPUT, "FOLDER")] = Path(
        "runs/demo"
    ),
    epochs: Annotated[
        int | None, option(f"The number of passes over the training images; by default {EPOCHS}.", LENGTH, "N")
    ] = None,
    device: Device = "auto",
) -> None:
    """Try everything: draw street scenes, train a small FCN-8s on them from scratch, score it, and segment a video.

    Everything runs on this machine and takes a few minutes; nothing is downloaded.
    """
    from maskpencil.data.folder import open_folder
    from maskpencil.inference.predict import predict
    from maskpencil.inference.sources import find_sources
    from maskpencil.inference.video.writers import write_video
    from maskpencil.page import write_page
    from maskpencil.report import ReportOptions, write_report
    from maskpencil.scenes import drive, write_scenes
    from maskpencil.segmenter import Segmenter
    from maskpencil.training.config import TrainConfig
    from maskpencil.training.logbook import write_preview
    from maskpencil.training.run_folder import write_json
    from maskpencil.training.train import train
    from maskpencil.web.assets import are_built

    started = time.monotonic()
    folder = numbered_folder(out)
    say(f"1/4 drawing {sum(IMAGES.values())} street scenes with their masks: {folder / 'data'}")
    with ProgressBar("drawing", sum(IMAGES.values())) as bar:
        write_scenes(folder / "data", **IMAGES, size=SIZE, progress=bar.update)

    say("2/4 training an FCN-8s on them, from scratch")
    config = TrainConfig(
        backbone="resnet10t",
        weights="none",
        stride=8,
        epochs=epochs or EPOCHS,
        crop_size=f"{SIZE[0]}x{SIZE[1]}",
        coarse_share=0.54,
        scale=(0.9, 1.2),
        color_jitter=0.0,
        dropout=0.0,
        class_weights="none",
        validate_every=epochs or EPOCHS,
        device=device,
    )
    run = train(folder / "data", out=folder / "train", config=config)

    say(f"3/4 scoring the network on {IMAGES['test']} test scenes")
    segmenter = Segmenter.from_pretrained(run.model, device=device)
    data = open_folder(folder / "data")
    scores = write_report(segmenter, data, folder / "report.html", options=ReportOptions(split="test"))
    write_json(folder / "scores.json", scores.to_dict())
    write_preview(folder / "unseen.png", segmenter, data, data.pairs("test"))

    video = folder / "drive.mp4"
    say(f"4/4 segmenting unseen scenes and a video of an unseen street: {video}")
    scenes = drive(DRIVE_SEED, VIDEO_SECONDS * VIDEO_RATE, VIDEO_SIZE, frame_rate=VIDEO_RATE)
    write_video(video, (scene.image for scene in scenes), frame_rate=VIDEO_RATE)
    images = [pair.image for pair in islice(data.pairs("test"), 12)]
    predict(segmenter, find_sources([*images, video]), out=folder)
    page = folder / "page.html"
    if not are_built():
        say(f"note: {page} was not written, since its scripts are not built; build them with make page-assets")
    else:
        try:
            write_page(run.model, page, title="A drawn street")
        except MaskPencilError as error:  # such as a package that is not installed
            say(f"note: {page} was not written: {error}")

    show(*table(scores), "", f"Done in {time.monotonic() - started:.0f} s. Look at")
    show(f"  {folder / 'overlays' / 'drive.mp4'}   the drive, segmented by the network")
    show(f"  {folder / 'report.html'}           how good the network is, and where it fails: open it in a browser")
    if page.is_file():
        show(f"  {page}             segments your own images, camera and videos in a browser: double-click it")
    show(f"  {folder / 'unseen.png'}            unseen scenes, their masks, and the predictions")
    show(f"  {run.folder / 'preview'}         how the predictions improved during training")
    show(f"  {folder / 'data'}                  the training data, laid out as your own data can be")
    show("", "To train on your own data, put it into DATA/images/ and DATA/masks/ and type")
    show("  maskpencil train DATA")
    show("To segment another image or video of such a street, type", f"  maskpencil predict {run.model} FILE")
