"""Record where pretrained weights come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_STATED = "license not stated"

_ENTRIES = ("weights_from", "weights_license", "weights_address")


@dataclass(frozen=True)
class Origin:
    """Where pretrained weights come from, and under which license.

    Args:
        title: what the weights were read from, such as a package with its version.
        license: the license that the publisher states, or `NOT_STATED`.
        address: the URL where the weights are published; "" if it is not known.
    """

    title: str
    license: str = NOT_STATED
    address: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.title, self.license, self.address)))

    def to_dict(self) -> dict[str, str]:
        """Return the record as entries of a JSON file, such as config.json of a model folder."""
        return dict(zip(_ENTRIES, (self.title, self.license, self.address), strict=True))

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Origin | None":
        """Read the record from its entries in a JSON file; return None if the file does not have them."""
        title, license_, address = (entries.get(name) for name in _ENTRIES)
        return cls(str(title), str(license_ or NOT_STATED), str(address or "")) if title else None
