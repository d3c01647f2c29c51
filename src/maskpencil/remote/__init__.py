"""Use a server of `maskpencil serve` as a model: images are sent to it, and its arrays become predictions.

- `address`: what the user typed, as the address of a server and the name of a model
- `connection`: one request within limits of time and size
- `retries`: a request again and again while the server is away
- `segmenter`: `RemoteSegmenter`
"""

from maskpencil.remote.address import Address, address_text
from maskpencil.remote.segmenter import RemoteSegmenter

__all__ = ["Address", "RemoteSegmenter", "address_text"]
