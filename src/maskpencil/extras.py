"""The packages that not every installation has, each with the extra of this one that installs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from maskpencil.errors import ConfigError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("torch", "torchvision", "timm", "accelerate", "tensorboard"),
    "export": ("nncf", "onnx", "onnxruntime", "onnxscript"),
    "geo": ("rasterio",),
    "parquet": ("pyarrow",),
}
"""The extras of pyproject.toml, each with the modules of its packages."""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Turn the import of a package that is not installed into an error that says which extra to install for `what`.

    Raises:
        ConfigError: a package of an extra was imported, and is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:  # which that of a package's metadata is, too
        if error.name is None or (remedy := how_to_install(error.name)) is None:
            raise
        raise ConfigError(f"{what} needs {remedy}") from error


def how_to_install(module: str) -> str | None:
    """Name a missing module and how to install it; None where no extra brings it.

    Where torch itself is missing it stands for all that comes with it.
    """
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return None
    named = "torch" if extra == "train" and not is_installed("torch") else module
    return f"{named}; install it with pip install 'maskpencil[{extra}]'"


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return find_spec(module) is not None
