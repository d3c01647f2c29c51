"""`maskpencil check`."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.classes import ClassSet
from maskpencil.cli.data import refuse_model_as_data
from maskpencil.cli.options import OTHER, OUTPUT, DataImages, DataMasks, SplitFile, option
from maskpencil.errors import ConfigError
from maskpencil.files import new_folder, numbered_folder, short_name, written_whole
from maskpencil.plain_text import counted, json_text, visible
from maskpencil.progress import ProgressBar
from maskpencil.results import recorded_results, refuse_to_replace_file
from maskpencil.terminal import Line, say, show

JSON_KEYS = ("classes", "data", "faults", "notes", "splits", "usable", "verdict")
"""The keys by which a report file written by this command is recognized."""


def command(
    data: Annotated[Path, Parameter(help="A folder of images and masks, or an archive of it.")],
    /,
    *,
    fix: Annotated[
        Path | None,
        option("Also write a copy without the faults to this new folder; DATA is not changed.", OUTPUT, "FOLDER"),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "The folder for a PNG file of examples with their masks drawn over them; by default a new folder in "
            "runs/check.",
            OUTPUT,
            "FOLDER",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, option("Also write the whole report to this JSON file.", OUTPUT, "FILE", name="--json")
    ] = None,
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    processes: Annotated[
        int | None, option("The number of processes that read files; by default one per CPU core.", OTHER, "N")
    ] = None,
) -> int:
    """Show how a folder of images and masks is read, and list its faults.

    The exit code is 1 if the data cannot be used for training, or, with --fix, if the copy cannot be written.
    """
    from maskpencil.data.check import check, overlay_sheet
    from maskpencil.data.convert import LOG, write_fixed
    from maskpencil.data.layout import Places
    from maskpencil.images import write_image

    refuse_model_as_data(data, "check")
    if json_file:
        refuse_to_replace_file(json_file, keys=JSON_KEYS)  # before minutes are spent
    with ProgressBar("checking", 1) as bar:  # the first report brings the number of pairs
        report = check(
            data,
            places=Places(images, masks, split_file),
            processes=processes_for(processes),
            report=bar.update_of,
        )
    for note in report.notes:
        say(f"{data}: {note}")
    for fault in report.faults:
        show(fault.line)
    if report.faults:
        show("")
    if report.encoding and report.classes:
        shown = {name: (count.pixels, count.masks, count.share) for name, count in report.classes.items()}
        show(*class_table(shown, report.encoding.classes))
        if report.ignored.pixels:
            where = f"in {report.ignored.masks:,} of {counted(len(report.seen), 'image')}"
            show(f"ignored pixels: {report.ignored.pixels:,}, {report.ignored.share:.2%} of all pixels, {where}")
        show("")
    if json_file:
        with written_whole(json_file) as temporary:
            temporary.write_text(json_text(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    sheet = overlay_sheet(report)
    if sheet is not None:
        folder = numbered_folder(out or Path("runs/check") / short_name(data))
        with recorded_results(folder):
            write_image(folder / "overlays.png", sheet)
        show(f"overlays: {folder / 'overlays.png'}")
    show(report.verdict)
    if fix is None:
        return 0 if report.usable else 1
    with new_folder(fix) as folder, ProgressBar("writing", len(report.seen)) as bar:
        changes = write_fixed(report, folder, progress=bar.update_of)
    show(f"fixed: {folder}, {counted(len(changes), 'change')}, see {folder / LOG}")
    return 0


def class_table(counts: dict[str, tuple[int, int, float]], classes: ClassSet) -> list[Line]:
    """Format a table of aligned lines, with the color and the `counts` of each class.

    `counts` are the number of pixels, the number of images and the share of all labeled pixels, 0..1, by class name.
    """
    width = max(len(visible(name)) for name in (*counts, "class"))
    lines: list[Line] = [f"{'class':<{width}}  {'color':<9}  {'pixels':>14}  {'images':>7}  {'share':>7}"]
    for (name, (pixels, images, share)), color in zip(counts.items(), classes.palette, strict=True):
        facts = f"#{bytes(color).hex()}  {pixels:>14,}  {images:>7,}  {share:>7.2%}"
        lines.append((f"{visible(name):<{width}}  ", color, facts))
    return lines


def processes_for(asked: int | None) -> int:
    """Return the number of processes that read files: the given number, or by default one process per core.

    Raises:
        ConfigError: the given number is below 1.
    """
    from maskpencil.data.check import MAX_PROCESSES

    if asked is not None and asked < 1:
        raise ConfigError(f"--processes must be 1 or more, but got {asked}")
    return min(MAX_PROCESSES, asked or os.cpu_count() or 1)
