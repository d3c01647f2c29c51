"""A network that torch.compile has made one program of; on a GPU it is replayed as one CUDA graph."""

from collections.abc import Callable
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor

from maskpencil.errors import ConfigError, first_line

MOST_SHAPES = 8
"""Each takes time to compile, and memory of its own."""

_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {"triton.cudagraphs": True, "freezing": True}


class CompiledCells:
    """From normalized images (N, 3, H, W) to cells (N, K, h, w), as the function `cells` gives them.

    A shape is compiled when it comes again: what comes once, as the last few images of a folder do, does not pay for
    it. The first `MOST_SHAPES` that come again are compiled, others are run as they are. The weights become part of
    what is compiled, so the network must not learn any more. May be used from several threads.
    """

    def __init__(self, cells: Callable[[Tensor], Tensor]) -> None:
        self._plain = cells
        self._compiled = cast(Callable[[Tensor], Tensor], torch.compile(cells, dynamic=False, options=_OPTIONS))
        self._seen: set[torch.Size] = set()
        self.shapes: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Run the network.

        Raises:
            ConfigError: torch cannot compile it on this machine.
        """
        if not self._is_compiled(images.shape):
            return self._plain(images)
        from torch._dynamo.exc import TorchDynamoException  # slow to import

        with self._lock:
            try:
                return self._compiled(images).clone()  # the next replay of the graph writes into the same memory
            except TorchDynamoException as error:
                raise ConfigError(
                    f"torch cannot compile the network here ({first_line(error)}); leave --compile out"
                ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies compile anew: a compiled program and a lock belong to one process."""
        return CompiledCells, (self._plain,)

    def _is_compiled(self, shape: torch.Size) -> bool:
        with self._lock:
            if shape in self._seen and len(self.shapes) < MOST_SHAPES:
                self.shapes.add(shape)
            self._seen.add(shape)
            return shape in self.shapes
