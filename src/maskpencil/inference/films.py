"""Films, streams and cameras through the network, one after the other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from maskpencil.errors import ConfigError, DataError
from maskpencil.inference.film_options import FilmOptions
from maskpencil.inference.mask_writer import refuse_used_folder
from maskpencil.inference.protocols import PredictsImages, SideBySide
from maskpencil.inference.smoothing import GivesProbabilities
from maskpencil.inference.sources import Source
from maskpencil.inference.tally import Tally
from maskpencil.prediction import Prediction
from maskpencil.regions import Region


def predict_films(
    segmenter: PredictsImages,
    films: Sequence[Source],
    *,
    out: Path,
    options: FilmOptions,
    overlays: bool,
    opacity: float,
    find_boxes: Callable[[Prediction], Sequence[Region]] | None,
    side_by_side: SideBySide,
    tally: Tally,
    tell: Callable[[str], None],
    stop: Event,
) -> None:
    """Colour films, see `predict`; what cannot be read is tallied, as those are that were not begun before `stop`.

    Raises:
        KeyboardInterrupt: `stop` was set within a film, which is dropped.
        OutputError: a result cannot be written.
    """
    for source in films:
        if stop.is_set():
            tally.warnings.append(f"{source.name}: was not begun, as the work was stopped before")
            continue
        number = tally.begin()

        def on_frame(frame: int, total: int | None, source: Source = source, number: int = number) -> None:
            tally.tell(source, number, frame=frame, frames=total)

        from maskpencil.inference.video import predict_video  # FFmpeg, which pictures do not need

        try:
            done = predict_video(
                segmenter,
                source,
                out / "overlays" / f"{source.stem}.mp4" if overlays else None,
                masks=_mask_place(out, source, options),
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


def check_films(
    segmenter: PredictsImages, films: Sequence[Source], options: FilmOptions, *, out: Path, overlays: bool
) -> None:
    """Refuse what cannot be asked of films, before anything is done.

    Raises:
        ConfigError: nothing is asked for, one output is for several films, or the segmenter cannot smooth.
        OutputError: the folder of a film's masks is in use.
    """
    if not films:
        return
    if not (overlays or options.masks or options.show or options.stdout):
        raise ConfigError(
            f"{films[0].name}: without its overlay nothing is asked for of a film; leave overlays on, or ask for "
            "--masks video, --show or --stdout"
        )
    if options.stdout and len(films) > 1:
        raise ConfigError(
            f"standard output takes the frames of one film, but got {len(films)}, {films[0].name} and "
            f"{films[1].name} among them; give one"
        )
    if options.smooth and not isinstance(segmenter, GivesProbabilities):
        raise ConfigError("smoothing needs the probabilities of all classes; leave --smooth out, or --class")
    for source in films if options.masks == "png" else ():
        refuse_used_folder(out / "masks" / source.stem)


def _mask_place(out: Path, source: Source, options: FilmOptions) -> Path | None:
    if options.masks is None:
        return None
    return out / "masks" / (f"{source.stem}.mkv" if options.masks == "video" else source.stem)
