"""Define every error that a user can cause, as one tree.

    MaskPencilError
    ├── ConfigError        a setting that cannot work (also a ValueError)
    ├── DataError          images, masks or class files that do not fit together
    │   └── ImageError     a file that is not a readable image
    │       └── VideoError a file that is not a readable video
    ├── ModelError         model folders and weights
    ├── OutputError        a file or folder that cannot be written
    ├── TrainingError      training went wrong (a loss that is not a number, ...)
    └── StalledError       a step, such as reading, that made no progress for minutes

A message names the file, what was found, what was expected and the remedy, in one line. The command line prints it
as `error: MESSAGE` and exits with 1.
"""


class MaskPencilError(Exception):
    """The base class of all errors that this package raises on purpose.

    Example:
        >>> try:
        ...     mp.Segmenter.from_pretrained("nowhere")
        ... except mp.MaskPencilError as error:
        ...     print(error)
        nowhere: there is no such model folder; ...
    """


class ConfigError(MaskPencilError, ValueError):
    """A setting is out of range or contradicts another setting.

    Example:
        >>> mp.TrainConfig(dropout=2)
        Traceback (most recent call last):
            ...
        maskpencil.errors.ConfigError: --dropout must be a number from 0 to 0.99, but got 2.0
    """


class DataError(MaskPencilError):
    """Images, masks or class files are missing or damaged, or do not fit together.

    Example:
        >>> mp.check("nowhere")
        Traceback (most recent call last):
            ...
        maskpencil.errors.DataError: nowhere: there is no such folder; ...
    """


class ImageError(DataError):
    """An image or a mask cannot be read, or cannot be used because of its size or content.

    Example:
        >>> segmenter = mp.Segmenter.from_pretrained("runs/train/street/model")
        >>> segmenter.predict("nowhere.jpg")
        Traceback (most recent call last):
            ...
        maskpencil.errors.ImageError: nowhere.jpg: there is no such file
    """


class VideoError(ImageError):
    """A video cannot be read.

    Example:
        >>> issubclass(mp.VideoError, mp.ImageError)
        True
    """


class ModelError(MaskPencilError):
    """A model folder or a weights file is missing or damaged, or does not fit the network.

    Example:
        >>> mp.Segmenter.from_pretrained("street")
        Traceback (most recent call last):
            ...
        maskpencil.errors.ModelError: street: ...
    """


class OutputError(MaskPencilError):
    """A result cannot be written.

    Example:
        >>> segmenter = mp.Segmenter.from_pretrained("runs/train/street/model")
        >>> segmenter.predict("photo.jpg").save("photo.jpg/mask.png")
        Traceback (most recent call last):
            ...
        maskpencil.errors.OutputError: photo.jpg...
    """


class TrainingError(MaskPencilError):
    """Training cannot continue.

    Example:
        >>> try:
        ...     run = mp.train("street", learning_rate=1e30, optimizer="sgd", quiet=True)
        ... except mp.TrainingError as error:
        ...     print("lower the learning rate")
        lower the learning rate
    """


class StalledError(MaskPencilError):
    """A step, such as reading or writing, made no progress for minutes.

    The thread of the step cannot be stopped; it ends with the process at the latest.

    Example:
        >>> issubclass(mp.StalledError, mp.MaskPencilError)
        True
    """


def non_finite_weights(source: str, name: str) -> ModelError:
    """Return the error for the tensor `name`, of the file `source`, that contains NaN or infinity."""
    return ModelError(
        f"{source}: {name} holds values that are not finite (NaN or infinite), so the network's scores would be "
        "meaningless; train again with a lower learning rate, or use an earlier model"
    )


def first_line(error: BaseException) -> str:
    """Return the first line of the message of another package's error, cut to 200 characters.

    If the error has no message, return the name of its class.
    """
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def last_line(error: BaseException) -> str:
    """Return the last line of the message of an error, in which OpenVINO gives the reason, cut to 200 characters.

    If the error has no message, return the name of its class.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]
