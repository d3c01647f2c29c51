"""Segment images that are sent over HTTP: a server that holds under load and attack, without torch.

- `running`: start and stop a server
- `options`: its settings, and what is refused
- `protocol`: the parser of uvicorn with deadlines and limits
- `guard`: hosts, origins, tokens and the headers of every answer
- `models`: the models by name
- `body`: the reading of a body within limits
- `turns`: the bounded queue of images
- `answers`: an image from its bytes to mask, overlay or JSON
- `page`: the document that people see
- `app`: the routes
- `openapi`: their description
"""

from maskpencil.server.options import ServeOptions
from maskpencil.server.running import RunningServer, serve

__all__ = ["RunningServer", "ServeOptions", "serve"]
