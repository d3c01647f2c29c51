"""Use a server of `maskpencil serve` as a model: images are sent to it, and its arrays become predictions.

- `address`: the address of a server, with the name of a model
- `connection`: the sending of one request within limits of time and size
- `retries`: the repetition of a request while the server does not answer
- `segmenter`: `RemoteSegmenter`
"""

from maskpencil.remote.address import Address, address_text
from maskpencil.remote.segmenter import RemoteSegmenter

__all__ = ["Address", "RemoteSegmenter", "address_text"]
