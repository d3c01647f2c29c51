"""Describe the routes of the server as an OpenAPI document, from the table of endpoints that also makes the routes."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from maskpencil.classes import MAX_CLASSES
from maskpencil.server.answers import ARRAYS, MEDIA_TYPES
from maskpencil.server.parameters import MAX_AREA

VERSION = "3.1.0"

_REASONS = {
    "400": "The request is not valid.",
    "401": "The token is missing or wrong.",
    "403": "The request comes from the page of another site.",
    "404": "There is no such video.",
    "405": "The path does not allow this method.",
    "406": "No form of the result has an accepted media type.",
    "408": "The request came too slowly.",
    "409": "There are no results, since the video is not done.",
    "413": "The file is too large.",
    "415": "The body has a Content-Encoding.",
    "416": "The file ends before the range.",
    "421": "The header Host names another server.",
    "422": "The image is damaged, of an unknown format, or has too many pixels.",
    "500": "The server failed.",
    "503": "The server is busy or stopping.",
}

_DONE = {
    "200": "Done.",
    "202": "The video waits for its turn; the header Location has the address of its state.",
    "204": "Done; there is no content.",
    "206": "The part of the file that the header Range asks for.",
}

EVERYWHERE = ("400", "401", "403", "405", "408", "421", "500")
"""The status codes of errors that any route may return."""


@dataclass(frozen=True)
class Endpoint:
    """A route, and its description for clients.

    Attributes:
        path: the path.
        answer: the function that answers a request.
        summary: what it does, in a sentence.
        content: the media types of the answer, each with the JSON schema of its content.
        method: GET, POST or DELETE.
        done: the status codes of success.
        refusals: the status codes of errors in addition to `EVERYWHERE`.
        takes: what the body is: an image, with the parameters of `answers.Wish`, or a video; None without a body.
        needs_token: whether the token is demanded, if the server has one.
    """

    path: str
    answer: Callable[[Request], Awaitable[Response]]
    summary: str
    content: Mapping[str, Mapping[str, Any]]
    method: str = "GET"
    done: Sequence[str] = ("200",)
    refusals: Sequence[str] = field(default=())
    takes: Literal["image", "video"] | None = None
    needs_token: bool = True


def document(endpoints: Sequence[Endpoint], version: str, models: Sequence[str]) -> dict[str, Any]:
    """Return the OpenAPI document of the routes of a server with these models."""
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, models)
    schemes = {"token": {"type": "http", "scheme": "bearer", "description": "Needed if the server has a token."}}
    return {
        "openapi": VERSION,
        "info": {"title": "maskpencil", "version": version, "summary": "Segment images and videos."},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}, "securitySchemes": schemes},
    }


def _operation(endpoint: Endpoint, models: Sequence[str]) -> dict[str, Any]:
    content = {kind: {"schema": dict(schema)} for kind, schema in endpoint.content.items()}
    done = {code: {"description": _DONE[code], **({"content": content} if content else {})} for code in endpoint.done}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    codes = sorted({*EVERYWHERE, *endpoint.refusals})
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}{re.sub('[^a-z0-9]+', '_', endpoint.path).rstrip('_')}",
        "summary": endpoint.summary,
        "responses": {**done, **{code: {"description": _REASONS[code], "content": error} for code in codes}},
        "security": [{}, {"token": []}] if endpoint.needs_token else [],
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": TEXT}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    if endpoint.takes is not None:
        binary: dict[str, Any] = {"application/octet-stream": {}, f"{endpoint.takes}/*": {}}
        operation["requestBody"] = {
            "description": f"The {endpoint.takes} file.",
            "required": True,
            "content": binary,
        }
        model = {**MODEL_NAME, "schema": {"type": "string", "enum": list(models)}}
        parameters += [*([OUT, ARRAYS_WANTED, CLASS_WANTED] if endpoint.takes == "image" else []), MIN_AREA, model]
    if parameters:
        operation["parameters"] = parameters
    return operation


def closed_object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an object that has all of these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def array(items: Mapping[str, Any], length: int | None = None) -> dict[str, Any]:
    """Return the JSON schema of an array whose entries have the schema `items`; None allows any `length`."""
    size = {} if length is None else {"minItems": length, "maxItems": length}
    return {"type": "array", "items": dict(items), **size}


TEXT: Mapping[str, Any] = {"type": "string"}
OUT: dict[str, Any] = {
    "name": "out",
    "in": "query",
    "description": "The form of the result; by default that of the header Accept.",
    "schema": {"type": "string", "enum": list(MEDIA_TYPES)},
}
ARRAYS_WANTED: dict[str, Any] = {
    "name": "arrays",
    "in": "query",
    "description": "The arrays of an .npz file, for out=arrays: label_map (H, W) uint8, confidence (H, W), "
    "entropy (H, W), probability (H, W) and probabilities (K, H, W), all others float32.",
    "schema": {"type": "array", "items": {"type": "string", "enum": list(ARRAYS)}, "default": ["label_map"]},
    "style": "form",
    "explode": False,
}
CLASS_WANTED: dict[str, Any] = {
    "name": "class",
    "in": "query",
    "description": "The index of the class of arrays=probability, which needs it.",
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_CLASSES - 1},
}
MIN_AREA: dict[str, Any] = {
    "name": "min_area",
    "in": "query",
    "description": "The least area of a region in pixels, in results that list regions.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_AREA, "default": 1},
}
MODEL_NAME: dict[str, Any] = {
    "name": "model",
    "in": "query",
    "description": "The name of the model, one of those of /v1/models; by default the first.",
}
WHOLE: Mapping[str, Any] = {"type": "integer", "minimum": 0}
SHARE: Mapping[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
ERROR = closed_object(error=TEXT)
CLASS: Mapping[str, Mapping[str, Any]] = {"index": WHOLE, "name": TEXT, "color": array(WHOLE, 3)}

REGION = closed_object(
    **{"class": TEXT},
    class_index=WHOLE,
    number=WHOLE,
    box=array(WHOLE, 4),
    area=WHOLE,
    centroid=array({"type": "number"}, 2),
    confidence={"type": ["number", "null"]},
    polygons=array(array(array(array(WHOLE, 2)))),
)
"""The schema of a region as JSON."""

LINES: Mapping[str, Any] = {"type": "string", "description": "A line of JSON for each region.", "x-line": REGION}
"""The schema of regions as lines of JSON, each with the schema `x-line`."""

PREDICTION = closed_object(
    size=array(WHOLE, 2),
    classes=array(closed_object(**CLASS, pixels=WHOLE, share=SHARE)),
    no_class=closed_object(pixels=WHOLE, share=SHARE),
    regions=array(REGION),
)
"""The schema of a result as JSON."""

MODELS = closed_object(
    version=TEXT,
    models=array(
        closed_object(
            name=TEXT,
            runs=TEXT,
            classes=array(closed_object(**CLASS)),
            ignore_index=WHOLE,
            image_size={"oneOf": [{"type": "null"}, WHOLE, array(WHOLE, 2)]},
            digest={"type": ["string", "null"]},
        )
    ),
    at_once=WHOLE,
    max_body=WHOLE,
    max_pixels=WHOLE,
    max_video=WHOLE,
)
"""The schema of the description of the models and of the server's limits."""

JOB = closed_object(
    id=TEXT,
    state={"type": "string", "enum": ["waiting", "running", "done", "failed", "canceled"]},
    model=TEXT,
    frames=WHOLE,
    total={"oneOf": [{"type": "null"}, WHOLE]},
    error={"type": ["string", "null"]},
    warnings=array(TEXT),
    files=array(TEXT),
)
"""The schema of the state of a video."""

EVENT: Mapping[str, Any] = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentMediaType": "application/json", "contentSchema": JOB}},
    "required": ["data"],
}
"""The schema of a server-sent event, whose data is the state of a video."""
