"""What the runtimes of converted networks have in common. Without torch."""

from maskpencil.runtimes.base import Cells, Runtime
from maskpencil.runtimes.footprint import Footprint
from maskpencil.runtimes.prepared import PreparedNetwork
from maskpencil.runtimes.upscoring import Floats


class ConvertedRuntime(Runtime):
    """Runs, on the CPU, a network that was converted; its cells are arrays.

    Args:
        prepared: the converted network.
        precision: of the convolutions.
    """

    def __init__(self, prepared: PreparedNetwork, *, precision: str) -> None:
        super().__init__(prepared.upscoring, device="cpu", precision=precision)
        self.prepared = prepared

    def fetched(self, cells: Cells) -> Floats:
        """See `Runtime`."""
        values: Floats = cells.values
        return values

    @property
    def footprint(self) -> Footprint:
        """See `Runtime`."""
        return self.prepared.footprint

    @property
    def graph_digest(self) -> str:
        """See `Runtime`."""
        return self.prepared.stored.digest
