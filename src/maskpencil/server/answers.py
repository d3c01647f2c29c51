"""Segment one encoded image, and encode the result in the form that the client wants."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from starlette.requests import Request

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.images import encoded_size, image_bytes, read_pixels
from maskpencil.label_maps import label_map_png
from maskpencil.plain_text import json_text
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor
from maskpencil.regions import region_facts
from maskpencil.server.parameters import read_area, read_parameters
from maskpencil.server.refusals import RefusedError

Form = Literal["png", "overlay", "json"]

MEDIA_TYPES: Mapping[Form, str] = {"png": "image/png", "overlay": "image/jpeg", "json": "application/json"}
"""The forms of an answer, each with its media type; the first is the default."""

PARAMETERS = ("out", "min_area", "model")
"""The parameters in the address of a request."""

MAX_REGIONS = 20_000
"""The largest number of regions in JSON."""


@dataclass(frozen=True)
class Wish:
    """What a client wants.

    Attributes:
        form: the form of the answer.
        min_area: the least area of regions in pixels, for JSON.
        model: the name of the model; None for the first.
    """

    form: Form = "png"
    min_area: int = 1
    model: str | None = None

    @classmethod
    def of(cls, request: Request) -> "Wish":
        """Read the parameters, and the header Accept if there is no parameter `out`.

        Raises:
            RefusedError: a parameter is unknown or invalid, or no form has an accepted media type.
        """
        values = read_parameters(request, PARAMETERS)
        form = values.get("out")
        if form is not None and form not in MEDIA_TYPES:
            raise RefusedError(400, f"out must be one of {', '.join(MEDIA_TYPES)}, but got {form!r}", close=True)
        area = read_area(values)
        return cls(cast(Form, form or accepted_form(request.headers.get("accept", "*/*"))), area, values.get("model"))


@dataclass(frozen=True)
class Answer:
    """The content of an answer.

    Attributes:
        content: the encoded result.
        media_type: its type.
        timing: the milliseconds of each step.
    """

    content: bytes
    media_type: str
    timing: Mapping[str, float]


def accepted_form(accept: str) -> Form:
    """Return the form whose media type the header Accept prefers.

    Raises:
        RefusedError: it accepts none of them.
    """
    best: tuple[float, Form] | None = None
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((_weight(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        form = next((form for form, own in MEDIA_TYPES.items() if _fits(kind, own)), None)
        if form is not None and weight > (best[0] if best else 0):
            best = weight, form
    if best is None:
        raise RefusedError(406, f"the answer can be {', '.join(MEDIA_TYPES.values())}; accept one of them", close=True)
    return best[1]


def check_image(body: bytes, *, max_pixels: int) -> None:
    """Check an encoded image by its header, before any pixel is decoded.

    Raises:
        ImageError: it is not an image.
        RefusedError: it has more than `max_pixels` pixels.
    """
    height, width = encoded_size(body)
    if height * width > max_pixels:
        raise RefusedError(
            422, f"the image has {width} x {height} pixels, but this server takes at most {max_pixels}; scale it down"
        )


def answer(predictor: Predictor, body: bytes, wish: Wish) -> Answer:
    """Segment one encoded image.

    Raises:
        ImageError: the image is damaged.
    """
    times = [time.perf_counter()]
    pixels = read_pixels(body)
    times.append(time.perf_counter())
    (found,) = predictor.predict_batch([pixels.rgb], confidence=wish.form == "json")
    prediction = found.emptied(pixels.empty)
    times.append(time.perf_counter())
    if wish.form == "png":
        content = label_map_png(prediction.label_map, prediction.classes.colors)
    elif wish.form == "overlay":
        content = image_bytes(prediction.overlay(), ".jpg")
    else:
        content = f"{json_text(described(prediction, min_area=wish.min_area))}\n".encode("ascii")
    times.append(time.perf_counter())
    steps = ("read", "predict", "write")
    timing = {step: 1000 * (end - start) for step, start, end in zip(steps, times, times[1:], strict=False)}
    return Answer(content, MEDIA_TYPES[wish.form], timing)


def class_facts(classes: ClassSet) -> list[dict[str, Any]]:
    """Return the classes as plain values for JSON."""
    named = zip(classes.names, classes.palette, strict=True)
    return [{"index": index, "name": name, "color": list(color)} for index, (name, color) in enumerate(named)]


def described(prediction: Prediction, *, min_area: int) -> dict[str, Any]:
    """Return the share of each class and the regions of at least `min_area` pixels as plain values for JSON.

    Raises:
        RefusedError: there are more than `MAX_REGIONS` regions.
    """
    counts = np.bincount(prediction.label_map.ravel(), minlength=256).tolist()
    total = prediction.label_map.size
    classes = [
        {**facts, "pixels": counts[facts["index"]], "share": round(counts[facts["index"]] / total, 6)}
        for facts in class_facts(prediction.classes)
    ]
    regions = prediction.regions(min_area=min_area)
    if len(regions) > MAX_REGIONS:
        raise RefusedError(
            422, f"the mask has {len(regions)} regions, but JSON takes at most {MAX_REGIONS}; give a larger min_area"
        )
    return {
        "size": list(prediction.label_map.shape),
        "classes": classes,
        "no_class": {"pixels": counts[IGNORE_INDEX], "share": round(counts[IGNORE_INDEX] / total, 6)},
        "regions": [{**region_facts(region), "polygons": region.polygons} for region in regions],
    }


def _fits(kind: str, own: str) -> bool:
    return kind in ("*/*", own, f"{own.partition('/')[0]}/*")


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
