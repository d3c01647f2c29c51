"""Videos, streams and cameras through the network, one after the other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from maskpencil.errors import ConfigError, DataError
from maskpencil.inference.sources import Source
from maskpencil.inference.tally import Tally
from maskpencil.inference.video_options import MaskFormat, VideoOptions
from maskpencil.pipeline import SideBySide
from maskpencil.prediction import Prediction
from maskpencil.regions import Region
from maskpencil.results import recorded_results
from maskpencil.segmenter import Predictor, supports


def predict_videos(
    segmenter: Predictor,
    videos: Sequence[Source],
    *,
    out: Path,
    options: VideoOptions,
    overlays: bool,
    opacity: float,
    find_boxes: Callable[[Prediction], Sequence[Region]] | None,
    side_by_side: SideBySide,
    tally: Tally,
    tell: Callable[[str], None],
    stop: Event,
) -> None:
    """Segment videos, see `predict`; what cannot be read is tallied, as those are that were not begun before `stop`.

    Raises:
        KeyboardInterrupt: `stop` was set within a video, which is dropped.
        OutputError: a result cannot be written.
    """
    for source in videos:
        if stop.is_set():
            tally.warnings.append(f"{source.name}: was not begun, as the work was stopped before")
            continue
        number = tally.begin()

        def on_frame(frame: int, total: int | None, source: Source = source, number: int = number) -> None:
            tally.tell(source, number, frame=frame, frames=total)

        masks = _mask_place(out, source, options.masks) if options.masks else None
        from maskpencil.inference.video import predict_video  # FFmpeg, which images do not need

        try:
            with recorded_results(out):
                done = predict_video(
                    segmenter,
                    source,
                    _overlay_file(out, source) if overlays else None,
                    masks=masks,
                    options=options,
                    opacity=opacity,
                    find_boxes=find_boxes,
                    side_by_side=side_by_side,
                    on_frame=on_frame,
                    tell=tell,
                    stop=stop,
                )
        except DataError as error:
            tally.tell(source, number, frame=0, frames=None, error=error)
        else:
            tally.videos += 1
            tally.frames += done.frames
            tally.warnings.extend(done.warnings)
            tally.notes.extend(done.notes)


def check_videos(segmenter: Predictor, videos: Sequence[Source], options: VideoOptions, *, overlays: bool) -> None:
    """Refuse what cannot be asked of videos, before anything is done.

    Raises:
        ConfigError: nothing is asked for, one output is for several videos, or the segmenter cannot smooth.
    """
    if not videos:
        return
    if not (overlays or options.masks or options.show or options.stdout):
        raise ConfigError(
            f"{videos[0].name}: without its overlay nothing is asked for of a video; leave overlays on, or ask for "
            "--masks video, --show or --stdout"
        )
    if options.stdout and len(videos) > 1:
        raise ConfigError(
            f"standard output takes the frames of one video, but got {len(videos)}, {videos[0].name} and "
            f"{videos[1].name} among them; give one"
        )
    if options.smooth and not supports(segmenter, "probabilities_batch"):
        raise ConfigError("smoothing needs the probabilities of all classes; leave --smooth out, or --class")


def video_files(out: Path, videos: Sequence[Source], options: VideoOptions, *, overlays: bool) -> list[Path]:
    """Return all files that are written of videos, but for those in `frame_folders`."""
    files = [_overlay_file(out, source) for source in videos] if overlays else []
    if options.masks == "video":
        files += [_mask_place(out, source, "video") for source in videos]
    return files


def frame_folders(out: Path, videos: Sequence[Source], options: VideoOptions) -> list[Path]:
    """Return the folders that hold the masks of a video's frames, where these are asked for."""
    return [_mask_place(out, source, "png") for source in videos] if options.masks == "png" else []


def _overlay_file(out: Path, source: Source) -> Path:
    return out / "overlays" / f"{source.stem}.mp4"


def _mask_place(out: Path, source: Source, mask_format: MaskFormat) -> Path:
    return out / "masks" / (f"{source.stem}.mkv" if mask_format == "video" else source.stem)
