"""Load and name the models of a server, and find the model that a request asks for."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import ConfigError
from maskpencil.files import run_name
from maskpencil.parsing import shown
from maskpencil.plain_text import json_text
from maskpencil.predictor import Predictor, model_digest, side_by_side
from maskpencil.segmenter import load_predictor
from maskpencil.server.answers import class_facts
from maskpencil.server.refusals import RefusedError

UNNAMED = "model"
"""The name of a predictor that was given without a name, and of a model whose path yields no name."""

ModelSource: TypeAlias = str | os.PathLike[str] | Predictor

MAX_HEADER = 4000
"""The largest number of characters of a header: proxies refuse answers with larger headers."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Models:
    """The models of a server; a request that names no model gets the first.

    Attributes:
        predictors: the models by name.
        at_once: the number of images that are computed at the same time.
    """

    predictors: Mapping[str, Predictor]
    at_once: int = 1

    def find(self, name: str | None) -> tuple[str, Predictor]:
        """Return the name and the model of this name, or those of the first model if the name is None.

        Raises:
            RefusedError: no model has this name.
        """
        if name is None:
            return next(iter(self.predictors.items()))
        if name not in self.predictors:
            raise RefusedError(
                400, f"model must be one of {', '.join(self.predictors)}, but got {name!r}; see /v1/models", close=True
            )
        return name, self.predictors[name]

    def facts(self) -> list[dict[str, Any]]:
        """Return what a client must know about each model, as plain values for JSON."""
        return [
            {
                "name": name,
                "runs": str(getattr(predictor, "title", type(predictor).__name__)),
                "classes": class_facts(predictor.classes),
                "ignore_index": IGNORE_INDEX,
                "image_size": getattr(getattr(predictor, "preprocessing", None), "image_size", None),
                "digest": self.digests[name],
            }
            for name, predictor in self.predictors.items()
        ]

    def headers(self, name: str) -> dict[str, str]:
        """Return the headers that say which model made an answer: its name, its digest and its classes.

        A header that would be empty, or longer than `MAX_HEADER`, is left out; `facts` has its content.
        """
        digest, classes = self.digests[name], json_text(self.predictors[name].classes.names)
        headers = {"X-Model": name, "X-Model-Digest": digest or "", "X-Classes": classes}
        return {key: value for key, value in headers.items() if 0 < len(value) <= MAX_HEADER}

    @cached_property
    def digests(self) -> Mapping[str, str | None]:
        """The digest of each model and its settings, by the model's name, or None, see `model_digest`.

        The first access reads the weights.
        """
        return {name: model_digest(predictor) for name, predictor in self.predictors.items()}


@contextmanager
def loaded_models(models: ModelSource | Mapping[str, ModelSource]) -> Iterator[Models]:
    """Load the models, prepare them for simultaneous predictions in the `with` block, and yield them.

    All models allow the yielded number of simultaneous images, since all images may be for the same model.

    Args:
        models: one model, or several by name.

    Raises:
        ConfigError: there is no model, a name is not allowed, or a value is not a model.
        ModelError: a model cannot be read.
    """
    named = models if isinstance(models, Mapping) else {default_name(models): models}
    if not named:
        raise ConfigError("models is empty; give a model folder, or several by name")
    for name in named:
        check_name(name)
    predictors = {name: load_predictor(model) for name, model in named.items()}
    with ExitStack() as stack:
        workers = [stack.enter_context(side_by_side(predictor)) for predictor in predictors.values()]
        yield Models(predictors, min(workers))


def named_models(words: Iterable[str | os.PathLike[str]]) -> dict[str, Path]:
    """Return the paths of models by name, from words such as `runs/train/street/model` or `roads=runs/train/street-2`.

    A word that is an existing path is not split.

    Raises:
        ConfigError: a name is not allowed, two models have the same name, or a path is missing after `=`.
    """
    found: dict[str, Path] = {}
    for given in words:
        word = os.fspath(given)
        before, sign, path = word.partition("=")
        is_named = bool(sign) and not os.path.lexists(word) and not set(before) & {"/", os.sep}
        name, place = (check_name(before), Path(path)) if is_named else (default_name(word), Path(word))
        if is_named and not path:
            raise ConfigError(f"{word}: has no path after the =; give that of a model: {before}=runs/train/NAME")
        if name in found:
            raise ConfigError(
                f"{place}: has the same name as {found[name]}, {name}; give one of them another name: OTHER={place}"
            )
        found[name] = place
    return found


def default_name(model: Any) -> str:
    """Return a name for a model without one: that of its run, export, folder or file, or else `UNNAMED`."""
    if not isinstance(model, str | os.PathLike):
        return UNNAMED
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", run_name(model)).lstrip("._-")[:100]
    return plain or UNNAMED


def check_name(name: Any) -> str:
    """Return the name of a model after checking that it can stand in addresses and headers.

    Raises:
        ConfigError: it is too long, holds other characters, or is not a text.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise ConfigError(
        f"a model's name must be 1 to 100 letters, digits and the signs . _ - and begin with a letter or a digit, but "
        f"got {shown(name)}; give another: NAME=PATH"
    )
