"""Define `RemoteSegmenter`, which lets a server of `maskpencil serve` compute the predictions."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, overload
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from maskpencil import array_files
from maskpencil.array_files import Form
from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError, DataError, ImageError
from maskpencil.images import ImageSource, RGBImage, quick_png, read_pixels
from maskpencil.parsing import did_you_mean, read_path, read_whole
from maskpencil.pipeline import in_parallel
from maskpencil.plain_text import visible
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor
from maskpencil.regular_files import mapping, parse_json, text, whole
from maskpencil.remote.address import Address, address_text
from maskpencil.remote.connection import Connections, Reply, Request
from maskpencil.remote.retries import MAX_ERROR_BYTES, Asker
from maskpencil.runtimes.upsampling import Floats
from maskpencil.terminal import say
from maskpencil.tokens import read_token

MORE_REQUESTS = 2
"""The number of requests in addition to those that the server computes at the same time; they are on their way."""

MAX_AT_ONCE = 64
"""The largest number of simultaneous requests."""

MAX_FACTS_BYTES = 2**22
"""The largest size of the description of the models in bytes."""

ROUNDING = 1e-3
"""How far a probability may lie outside of 0..1 because of rounding."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST = re.compile("[0-9a-f]{16,128}")


@dataclass(frozen=True)
class Served:
    """What a server says about itself and one of its models.

    Attributes:
        name: the name of the model.
        runs: the device, runtime and precision, in words.
        classes: the classes of the label maps.
        digest: a digest of the model and its settings; None if the server cannot compute one.
        at_once: the number of images that the server computes at the same time.
        max_body: the largest size of an encoded image in bytes.
        max_pixels: the largest number of pixels of an image.
    """

    name: str
    runs: str
    classes: ClassSet
    digest: str | None
    at_once: int
    max_body: int
    max_pixels: int


class RemoteSegmenter(Predictor):
    """A model on a server of `maskpencil serve`; it can replace a `Segmenter`, and may be used from several threads.

    Images are sent without loss, so that the predictions are those of the server's model, pixel by pixel. While the
    server is away or busy, requests are sent again for up to two minutes.

    Args:
        address: http://HOST:PORT or https://HOST:PORT for the first model of the server, or http://HOST:PORT/NAME.
        token_file: the file with the token, if the server demands one.

    Attributes:
        served: what the server says about itself and the model.

    Example:
        >>> with mp.serve("runs/train/street/model", options=mp.ServeOptions(port=0)) as server:
        ...     segmenter = mp.RemoteSegmenter(server.url)
        ...     prediction = segmenter.predict("photo.jpg")
        >>> prediction.label_map.shape, segmenter.classes.names[:2]
        ((64, 96), ('sky', 'building'))

    Raises:
        ConfigError: `address` is not that of a server, the token is missing or wrong, or there is no such model.
        ModelError: the server does not answer, or not as maskpencil serve of this version.
    """

    def __init__(self, address: str, *, token_file: str | os.PathLike[str] | None = None) -> None:
        self._address = Address.of(address_text(address) or address)
        headers = {"User-Agent": f"maskpencil/{version('maskpencil')}"}
        if token_file is not None:
            path = read_path("--token-file", token_file)
            headers["Authorization"] = f"Bearer {read_token(path, 'copy that of the server')}"
        self._connections = Connections(self._address, headers)
        self._asker = Asker(self._connections, self._address.url, say)
        self.served = self._asker.once(Request("/v1/models", MAX_FACTS_BYTES), self._read_facts)

    @property
    def classes(self) -> ClassSet:
        """The classes of the label maps."""
        return self.served.classes

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.served.name

    @property
    def title(self) -> str:
        """The address of the server, the name of the model, and its device, runtime and precision, in words."""
        return f"{self._address.url}/{self.served.name} ({self.served.runs})"

    @property
    def retries(self) -> int:
        """The number of requests that were sent again."""
        return self._asker.retries

    def tell_to(self, tell: Callable[[str], None]) -> None:
        """Send messages about the server, such as that it is away, to a function instead of to standard error."""
        self._asker.tell = tell

    def origin(self) -> dict[str, object] | None:
        """Return plain values that identify the model and its settings; None if the server has no digest of them."""
        return None if self.served.digest is None else {"served": self.served.digest}

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """Yield the number of simultaneous requests that keeps the server busy; close idle connections at the end."""
        try:
            yield min(self.served.at_once + MORE_REQUESTS, MAX_AT_ONCE)
        finally:
            self._connections.close_idle()

    @overload
    def predict(self, image: ImageSource) -> Prediction: ...
    @overload
    def predict(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Prediction]: ...
    def predict(self, image: Any) -> Prediction | list[Prediction]:
        """Segment one image or several, of any sizes, see `Segmenter.predict`.

        Raises:
            ImageError: an image is not readable, or the server refuses it.
            ModelError: the server does not answer any more.
        """

        def predicted(one: ImageSource) -> Prediction:
            pixels = read_pixels(one)
            return self.predict_batch([pixels.rgb], confidence=True)[0].emptied(pixels.empty)

        found: Prediction | list[Prediction] = self._each(image, predicted)
        return found

    @overload
    def probabilities(self, image: ImageSource) -> Floats: ...
    @overload
    def probabilities(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Floats]: ...
    def probabilities(self, image: Any) -> Floats | list[Floats]:
        """Compute the probabilities (K, H, W) float32 of one image or several, see `Segmenter.probabilities`.

        Raises:
            ImageError: an image is not readable, or the server refuses it.
            ModelError: the server does not answer any more.
        """

        def computed(one: ImageSource) -> Floats:
            probabilities: Floats = self.probabilities_batch([read_pixels(one).rgb])[0]
            return probabilities

        found: Floats | list[Floats] = self._each(image, computed)
        return found

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images, see `Segmenter.predict_batch`."""
        asked = ["label_map", *["confidence"] * confidence, *["entropy"] * entropy]
        return [self._prediction(image, self._arrays(image, asked)) for image in images]

    def predict_class(
        self, images: Sequence[RGBImage], index: int, *, confidence: bool = False
    ) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images and compute the probability of one class, see `Segmenter.predict_class`."""
        index = read_whole("index", index, least=0, most=len(self.classes) - 1)
        asked = ["label_map", *["confidence"] * confidence, "probability"]
        found = [(image, self._arrays(image, asked, index)) for image in images]
        return [(self._prediction(image, arrays), arrays["probability"]) for image, arrays in found]

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Floats:
        """Compute the probabilities (N, K, H, W) of images of one size, see `Segmenter.probabilities_batch`."""
        found: Floats = np.stack([self._arrays(image, ["probabilities"])["probabilities"] for image in images])
        return found

    def _each(self, image: Any, call: Any) -> Any:
        if not (isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4):
            return call(image)
        with self.side_by_side() as workers, closing(in_parallel(call, image, workers=workers)) as found:
            return list(found)

    def _prediction(self, image: RGBImage, arrays: Mapping[str, npt.NDArray[Any]]) -> Prediction:
        return Prediction(
            image, arrays["label_map"], arrays.get("confidence"), self.classes, entropy=arrays.get("entropy")
        )

    def _arrays(
        self, image: RGBImage, asked: Sequence[str], class_index: int | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Send an image, and return the arrays named in `asked`.

        Raises:
            ImageError: the image exceeds the limits that the server states, or the server refuses it.
            ModelError: the server does not answer any more.
            ConfigError: the server's model has changed, or the server refuses the client.
        """
        height, width = image.shape[:2]
        if height * width > self.served.max_pixels:
            raise ImageError(
                f"the image has {width} x {height} pixels, but the server at {self._address.url} takes at most "
                f"{self.served.max_pixels}; scale it down, or start the server with a larger --max-pixels"
            )
        is_short = self._address.is_here and image.nbytes + 2**16 < self.served.max_body
        body = quick_png(np.ascontiguousarray(image), compressed=not is_short)
        if len(body) > self.served.max_body:
            raise ImageError(
                f"the image has {len(body)} bytes as PNG, but the server at {self._address.url} takes at most "
                f"{self.served.max_body}; scale it down, or start the server with a larger --max-body"
            )
        parameters = {"out": "arrays", "arrays": ",".join(asked), "model": self.served.name}
        if class_index is not None:
            parameters["class"] = str(class_index)
        forms = _forms(asked, (height, width), len(self.classes))
        request = Request(
            f"/v1/mask?{urlencode(parameters)}", max(array_files.largest_npz(forms), MAX_ERROR_BYTES), body
        )

        def read(reply: Reply) -> dict[str, npt.NDArray[Any]]:
            if reply.headers.get("x-model-digest") != self.served.digest:
                raise ConfigError(
                    f"{self._address.url}: the model {self.served.name} has changed since the start; run the command "
                    "again"
                )
            return _checked(array_files.read_npz(reply.content, forms), len(self.classes))

        return self._asker.until_answered(request, read)

    def _read_facts(self, reply: Reply) -> Served:
        """Read the server's description of its models, and return that of the wanted model.

        Raises:
            ConfigError: the server has no model of the wanted name.
            ValueError: the description is not that of a maskpencil server of this version.
        """
        facts = mapping(parse_json(reply.content), "/v1/models")
        theirs = visible(text(facts.get("version"), "version", 40))
        try:
            return self._read_models(facts)
        except (ValueError, DataError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ValueError(
                f"{error}; the server has maskpencil {theirs}, this computer {version('maskpencil')}"
            ) from error

    def _read_models(self, facts: Mapping[str, Any]) -> Served:
        listed = facts.get("models")
        if not isinstance(listed, list) or not listed:
            raise ValueError("it lists no models")
        models = {text(mapping(each, "model").get("name"), "name", 100): each for each in listed}
        if not all(_NAME.fullmatch(name) for name in models):  # they become names of folders
            raise ValueError("the name of a model holds other characters than letters, digits and . _ -")
        name = self._address.model or next(iter(models))
        if name not in models:
            hint = did_you_mean(name, models) or f"; give {self._address.url}/{visible(next(iter(models)))}"
            names = ", ".join(visible(each) for each in models)
            raise ConfigError(f"{self._address.url}: has no model {name!r}; its models are {names[:500]}{hint}")
        chosen = models[name]
        classes = chosen.get("classes")
        if not isinstance(classes, list):
            raise ValueError("its model has no list of classes")
        digest = chosen.get("digest")
        if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise ValueError("the digest of its model is not 16 to 128 hexadecimal digits")
        return Served(
            name,
            visible(text(chosen.get("runs"), "runs", 200)),
            ClassSet(
                tuple(text(mapping(each, "class").get("name"), "name", 1000) for each in classes),
                tuple(_color(each.get("color")) for each in classes),
            ),
            digest,
            whole(facts.get("at_once"), "at_once", 1, 10**6),
            whole(facts.get("max_body"), "max_body", 1, 2**40),
            whole(facts.get("max_pixels"), "max_pixels", 1, 2**40),
        )


def _color(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("the color of a class is not a list of 3 numbers")
    red, green, blue = (whole(each, "color", 0, 255) for each in value)
    return red, green, blue


def _forms(asked: Sequence[str], size: tuple[int, int], classes: int) -> dict[str, Form]:
    """Return the dtypes and shapes of the arrays of an image of `size` (H, W)."""
    forms: dict[str, Form] = dict.fromkeys(asked, (np.float32, size))
    if "label_map" in forms:
        forms["label_map"] = np.uint8, size
    if "probabilities" in forms:
        forms["probabilities"] = np.float32, (classes, *size)
    return forms


def _checked(arrays: dict[str, npt.NDArray[Any]], classes: int) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays after checking their values.

    Raises:
        ValueError: `label_map` holds a value that is not a class, or another array a value outside of 0..1.
    """
    for name, array in arrays.items():
        if name == "label_map":
            if ((array >= classes) & (array != IGNORE_INDEX)).any():
                raise ValueError(f"label_map holds {array.max()}, which is not a class")
        elif not (array.min() >= -ROUNDING and array.max() <= 1 + ROUNDING):  # False for NaN as well
            raise ValueError(f"{name} holds values outside of 0 to 1")
    return arrays
