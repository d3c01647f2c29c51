"""List the optional packages and the extra of maskpencil that installs each."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from maskpencil.errors import ConfigError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("torch", "torchvision", "timm", "accelerate", "tensorboard", "h5py"),
    "export": ("nncf", "onnx", "onnxruntime"),
    "geo": ("rasterio",),
    "heic": ("pi_heif",),
    "parquet": ("pyarrow",),
    "serve": ("httptools", "starlette", "uvicorn"),
}
"""The extras of pyproject.toml, each with the modules of its packages."""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Raise an error that names the extra to install if the `with` block fails to import an optional package.

    Args:
        what: the beginning of the error, before "needs torch; install it with ...".

    Raises:
        ConfigError: the `with` block imports a package of an extra that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:  # also raised if a package's metadata is missing
        if error.name is None or (remedy := how_to_install(error.name)) is None:
            raise
        raise ConfigError(f"{what} needs {remedy}") from error


def how_to_install(module: str) -> str | None:
    """Return "MODULE; install it with ..." for a missing module; None if no extra of maskpencil installs it.

    MODULE is torch if the same extra installs torch and torch is missing too; otherwise it is `module`.
    """
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return None
    named = "torch" if extra == "train" and not is_installed("torch") else module
    return f"{named}; install it with pip install 'maskpencil[{extra}]'"


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return find_spec(module) is not None
