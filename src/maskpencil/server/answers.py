"""Segment one encoded image, and encode the result in the form that the client wants."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from starlette.requests import Request

from maskpencil.array_files import npy_bytes, npz_bytes
from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import Pixels, encoded_size, image_bytes, read_pixels
from maskpencil.label_maps import label_map_png
from maskpencil.plain_text import json_text
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, supports
from maskpencil.regions import region_facts
from maskpencil.server.parameters import read_area, read_parameters
from maskpencil.server.refusals import RefusedError

Form = Literal["png", "overlay", "json", "regions", "probabilities", "arrays"]

MEDIA_TYPES: Mapping[Form, str] = {
    "png": "image/png",
    "overlay": "image/jpeg",
    "json": "application/json",
    "regions": "application/x-ndjson",
    "probabilities": "application/x-npy",
    "arrays": "application/x-npz",
}
"""The forms of an answer, each with its media type; the first is the default."""

ARRAYS = ("label_map", "confidence", "entropy", "probability", "probabilities")
"""The arrays that a client may ask for."""

PARAMETERS = ("out", "min_area", "model", "arrays", "class")
"""The query parameters of a request for a mask."""

MAX_REGIONS = 20_000
"""The largest number of regions in an answer."""

MAX_ARRAY_BYTES = 2**29
"""The largest size of the arrays of an answer in bytes."""


@dataclass(frozen=True)
class Wish:
    """What a client wants as the answer.

    Attributes:
        form: the form of the answer.
        min_area: the smallest area in pixels of regions that are listed.
        model: the name of the model; None for the first.
        arrays: the names of the arrays; empty unless the form is arrays or probabilities.
        class_index: the index of the class whose probability is wanted; None if none is.
    """

    form: Form = "png"
    min_area: int = 1
    model: str | None = None
    arrays: tuple[str, ...] = ()
    class_index: int | None = None

    @classmethod
    def of(cls, request: Request) -> "Wish":
        """Read the wish from the query parameters, and from the header Accept if there is no parameter `out`.

        Raises:
            RefusedError: a parameter is unknown or invalid, or no form has an accepted media type.
        """
        values = read_parameters(request, PARAMETERS)
        form = values.get("out")
        if form is not None and form not in MEDIA_TYPES:
            raise RefusedError(400, f"out must be one of {', '.join(MEDIA_TYPES)}, but got {form!r}", close=True)
        area = read_area(values)
        chosen = cast(Form, form or accepted_form(request.headers.get("accept", "*/*")))
        arrays, index = _wanted_arrays(chosen, values.get("arrays"), values.get("class"))
        return cls(chosen, area, values.get("model"), arrays, index)

    def refuse_unfit(self, predictor: Predictor) -> None:
        """Raise an error if a model cannot compute what is wanted; called before the image is read.

        Raises:
            RefusedError: the model does not have the wanted class, or does not compute probabilities.
        """
        count = len(predictor.classes)
        if self.class_index is not None and self.class_index >= count:
            raise RefusedError(
                400,
                f"class must be the index of a class of the model, 0 to {count - 1}, but got {self.class_index}",
                close=True,
            )
        if ("probabilities" in self.arrays and not supports(predictor, "probabilities_batch")) or (
            "probability" in self.arrays and not supports(predictor, "predict_class")
        ):
            raise RefusedError(
                400, "this model does not compute probabilities of classes; ask for another form or arrays", close=True
            )

    def array_bytes(self, size: tuple[int, int], predictor: Predictor) -> int:
        """Return the size in bytes of the wanted arrays of an image of `size` (H, W).

        Raises:
            RefusedError: they are larger than `MAX_ARRAY_BYTES`, or the probabilities of all classes are wanted and the
                model would compute the image in tiles.
        """
        height, width = size
        counts = {"label_map": 1, "probabilities": 4 * len(predictor.classes)}
        total = height * width * sum(counts.get(name, 4) for name in self.arrays)
        if total > MAX_ARRAY_BYTES:
            raise RefusedError(
                422,
                f"the arrays of an image of {width} x {height} pixels have {total >> 20} MiB, but an answer has at "
                f"most {MAX_ARRAY_BYTES >> 20} MiB; scale the image down, or ask for fewer arrays",
            )
        tile_for = getattr(predictor, "tile_for", None)
        if "probabilities" in self.arrays and tile_for and tile_for(size) is not None:
            raise RefusedError(
                422,
                f"the model computes an image of {width} x {height} pixels in parts, and then gives no probabilities "
                "of all classes; scale the image down, or start the server with more --memory",
            )
        return total


def _wanted_arrays(form: Form, named: str | None, index: str | None) -> tuple[tuple[str, ...], int | None]:
    """Return the names of the wanted arrays, and the index of the class whose probability is wanted.

    Raises:
        RefusedError: a name is unknown or given twice, the index is invalid or missing, or a parameter has no effect.
    """
    if form != "arrays" and not (named is None and index is None):
        raise RefusedError(400, "arrays and class are for out=arrays; leave them out, or give out=arrays", close=True)
    if form == "probabilities":
        return ("probabilities",), None
    if form != "arrays":
        return (), None
    names = ("label_map",) if named is None else tuple(named.split(","))
    if len(set(names)) < len(names) or not set(names) <= set(ARRAYS):
        raise RefusedError(
            400,
            f"arrays must be one or more of {','.join(ARRAYS)}, each once, separated by commas, but got {named!r}",
            close=True,
        )
    if (index is None) == ("probability" in names):
        raise RefusedError(400, "arrays=probability and class=INDEX must be given together", close=True)
    if index is not None and not (index.isascii() and index.isdecimal() and len(index) < 4):
        raise RefusedError(400, f"class must be the index of a class, but got {index!r}", close=True)
    return names, None if index is None else int(index)


@dataclass(frozen=True)
class Answer:
    """The content of an answer.

    Attributes:
        content: the encoded result.
        media_type: the media type of the content.
        timing: the milliseconds that each step took, by its name.
    """

    content: bytes
    media_type: str
    timing: Mapping[str, float]


def accepted_form(accept: str) -> Form:
    """Return the form whose media type the header Accept prefers.

    Raises:
        RefusedError: the header accepts none of `MEDIA_TYPES`.
    """
    best: tuple[float, Form] | None = None
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((_weight(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        form = next((form for form, own in MEDIA_TYPES.items() if _fits(kind, own)), None)
        if form is not None and weight > (best[0] if best else 0):
            best = weight, form
    if best is None:
        types = ", ".join(MEDIA_TYPES.values())
        raise RefusedError(406, f"the header Accept must allow one of {types}, but got {accept[:100]!r}", close=True)
    return best[1]


def check_image(body: bytes, *, max_pixels: int) -> tuple[int, int]:
    """Return the size (height, width) of an encoded image from its header, before any pixel is decoded.

    Raises:
        ImageError: `body` is not an image.
        RefusedError: the image has more than `max_pixels` pixels.
    """
    height, width = encoded_size(body)
    if height * width > max_pixels:
        raise RefusedError(
            422, f"the image has {width} x {height} pixels, but this server takes at most {max_pixels}; scale it down"
        )
    return height, width


def answer(predictor: Predictor, body: bytes, wish: Wish) -> Answer:
    """Segment one encoded image, and return the encoded result.

    Pixels without image data, such as those that are fully transparent, have no class (255), the confidence 0, the
    entropy 1 and the probability 0 of every class.

    Raises:
        ImageError: the image is damaged.
        RefusedError: the model does not compute what is wanted, or there are too many regions.
    """
    times = [time.perf_counter()]
    pixels = read_pixels(body)
    times.append(time.perf_counter())
    arrays = dict[str, npt.NDArray[Any]]()
    if wish.arrays:
        arrays = computed_arrays(predictor, pixels, wish)
    else:
        (found,) = predictor.predict_batch([pixels.rgb], confidence=wish.form in ("json", "regions"))
        prediction = found.emptied(pixels.empty)
    times.append(time.perf_counter())
    if wish.form == "arrays":
        content = npz_bytes(arrays)
    elif wish.form == "probabilities":
        content = npy_bytes(arrays["probabilities"])
    elif wish.form == "png":
        content = label_map_png(prediction.label_map, prediction.classes.colors)
    elif wish.form == "overlay":
        content = image_bytes(prediction.overlay(), ".jpg")
    elif wish.form == "regions":
        lines = region_lines(prediction, min_area=wish.min_area)
        content = "".join(f"{json_text(line)}\n" for line in lines).encode("ascii")
    else:
        content = f"{json_text(described(prediction, min_area=wish.min_area))}\n".encode("ascii")
    times.append(time.perf_counter())
    steps = ("read", "predict", "write")
    timing = {step: 1000 * (end - start) for step, start, end in zip(steps, times, times[1:], strict=False)}
    return Answer(content, MEDIA_TYPES[wish.form], timing)


def computed_arrays(predictor: Predictor, pixels: Pixels, wish: Wish) -> dict[str, npt.NDArray[Any]]:
    """Compute the arrays that a client asks for, and return them by name.

    Raises:
        RefusedError: the model does not compute one of them.
    """
    images, asked, found = [pixels.rgb], set(wish.arrays), dict[str, npt.NDArray[Any]]()
    sure = "confidence" in asked
    prediction: Prediction | None = None
    try:
        if wish.class_index is not None:
            ((prediction, found["probability"]),) = predictor.predict_class(images, wish.class_index, confidence=sure)
        if "probabilities" in asked:
            (found["probabilities"],) = predictor.probabilities_batch(images)
        if "entropy" in asked or (prediction is None and asked & {"label_map", "confidence"}):
            (prediction,) = predictor.predict_batch(images, confidence=sure, entropy="entropy" in asked)
    except ConfigError as error:
        raise RefusedError(400, str(error)) from error
    if pixels.empty is not None:
        found = {name: np.where(pixels.empty, np.float32(0), array) for name, array in found.items()}
    if prediction is not None:
        whole = prediction.emptied(pixels.empty)
        maps = {"label_map": whole.label_map, "confidence": whole.confidence, "entropy": whole.entropy}
        found |= {name: array for name, array in maps.items() if array is not None}
    return {name: found[name] for name in wish.arrays}


def class_facts(classes: ClassSet) -> list[dict[str, Any]]:
    """Return the classes as plain values for JSON."""
    named = zip(classes.names, classes.palette, strict=True)
    return [{"index": index, "name": name, "color": list(color)} for index, (name, color) in enumerate(named)]


def described(prediction: Prediction, *, min_area: int) -> dict[str, Any]:
    """Return the image size, the pixels of each class and the regions of at least `min_area` pixels, for JSON.

    Raises:
        RefusedError: there are more than `MAX_REGIONS` regions.
    """
    counts = np.bincount(prediction.label_map.ravel(), minlength=256).tolist()
    total = prediction.label_map.size
    classes = [
        {**facts, "pixels": counts[facts["index"]], "share": round(counts[facts["index"]] / total, 6)}
        for facts in class_facts(prediction.classes)
    ]
    return {
        "size": list(prediction.label_map.shape),
        "classes": classes,
        "no_class": {"pixels": counts[IGNORE_INDEX], "share": round(counts[IGNORE_INDEX] / total, 6)},
        "regions": region_lines(prediction, min_area=min_area),
    }


def region_lines(prediction: Prediction, *, min_area: int) -> list[dict[str, Any]]:
    """Return the regions of at least `min_area` pixels as plain values for JSON.

    Raises:
        RefusedError: there are more than `MAX_REGIONS` regions.
    """
    regions = prediction.regions(min_area=min_area)
    if len(regions) > MAX_REGIONS:
        raise RefusedError(
            422, f"the mask has {len(regions)} regions, but JSON takes at most {MAX_REGIONS}; give a larger min_area"
        )
    return [{**region_facts(region), "polygons": region.polygons} for region in regions]


def _fits(kind: str, own: str) -> bool:
    return kind in ("*/*", own, f"{own.partition('/')[0]}/*")


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
