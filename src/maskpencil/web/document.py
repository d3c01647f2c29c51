"""Make HTML documents from the built skeletons, such that no text of the user ends an element or begins a script."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

_PART = re.compile(r"\{\{>(\w+)\}\}\n")
_VALUE = re.compile(r"\{\{(\w+)\}\}")


def document(assets: Path, name: str, values: Mapping[str, str]) -> str:
    """Return the skeleton of a page with its parts and values.

    Args:
        assets: the folder of built scripts.
        name: the file of the skeleton. `{{>NAME}}` in it stands for the file parts/NAME.html, and `{{NAME}}` for a
            value.
        values: the values, each as HTML.
    """
    skeleton = _PART.sub(lambda found: asset(assets, f"parts/{found[1]}.html"), asset(assets, name))
    # in one pass, so that braces in a value stay what they are
    return _VALUE.sub(lambda found: values[found[1]], skeleton)


def asset(assets: Path, name: str) -> str:
    """Return the text of a built file."""
    return (assets / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return the source of a content security policy that allows the inline script or style with this text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"


def data_block(name: str, text: str) -> str:
    """Return an element that holds data, which browsers neither run nor show."""
    return f'<script type="application/octet-stream" id="{name}">{text}</script>'


def json_data(value: object) -> str:
    """Return ASCII JSON in which no `<` can end the element around it."""
    return json.dumps(value).replace("<", "\\u003c")
