"""Open the argument DATA of a command: a folder of images and masks with the classes of a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from maskpencil.classes import ClassSet
from maskpencil.cli.options import is_model
from maskpencil.errors import DataError
from maskpencil.progress import ProgressBar

if TYPE_CHECKING:
    from maskpencil.data.folder import DataFolder
    from maskpencil.data.layout import Places


def labeled_data(data: Path, command: str, classes: ClassSet, places: "Places") -> "DataFolder":
    """Open a folder with a progress bar, and renumber its classes in the order of a model, see `match_classes`.

    Args:
        data: the folder.
        command: the name of the command, such as "evaluate".
        classes: the classes of the model.
        places: where images and masks are.

    Raises:
        DataError: the folder cannot be read, is a model, or has other classes.
    """
    from maskpencil.data.folder import open_folder  # slow to import
    from maskpencil.evaluation import match_classes

    refuse_model_as_data(data, command)
    with ProgressBar("reading masks", 1) as bar:  # the first report brings their number
        folder, line = match_classes(open_folder(data, classes=classes, places=places, report=bar.update_of), classes)
        if line:
            bar.say(line)
    return folder


def refuse_model_as_data(data: Path, command: str) -> None:
    """Raise `DataError` if a model or a run is given instead of images and masks.

    Args:
        data: the argument DATA of the command.
        command: the name of the command, such as "evaluate", for the remedy in the message.

    Raises:
        DataError: `data` is a model or a run.
    """
    if is_model(data):
        remedy = (
            f"to start from it, type maskpencil train DATA --init {data}"
            if command == "train"
            else f"expected a folder of images and masks; to see what the model holds, type maskpencil info {data}"
        )
        raise DataError(f"{data}: is a model, not data; {remedy}")
    if is_model(data / "model") or (data / "checkpoints").is_dir():
        remedy = (
            f"to continue it, type maskpencil train --resume {data}"
            if command == "train"
            else "expected a folder of images and masks, such as the data that the run was trained on"
        )
        raise DataError(f"{data}: is a training run, not data; {remedy}")
