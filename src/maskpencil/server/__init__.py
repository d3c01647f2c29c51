"""Serve models over HTTP: segment the images and videos that clients send, with limits against overload and attacks.

No module of this package imports torch.

- `running`: start and stop a server
- `options`: the settings of a server, and the checks of their values
- `protocol`: uvicorn's HTTP protocol with deadlines and limits
- `guard`: the checks of host, origin and token, and the headers of every answer
- `models`: the models by name
- `parameters`: the query parameters of a request
- `body`: the reading of a request body within limits
- `turns`: the queue of images, which has a largest length
- `answers`: the segmentation of an image, from its bytes to a mask, an overlay, JSON or arrays
- `refusals`: the errors that a client gets
- `page`: the page that browsers show
- `app`: the routes
- `openapi`: the OpenAPI description of the routes
- `videos`: the jobs that segment videos
"""

from maskpencil.server.options import ServeOptions
from maskpencil.server.running import RunningServer, serve

__all__ = ["RunningServer", "ServeOptions", "serve"]
