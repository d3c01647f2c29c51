"""Make HTML documents from the built templates, so that no text of the user ends an element or begins a script."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

_PART = re.compile(r"\{\{>(\w+)\}\}\n")
_VALUE = re.compile(r"\{\{(\w+)\}\}")


def document(assets: Path, name: str, values: Mapping[str, str]) -> str:
    """Fill the template of a page with its parts and values, and return the HTML.

    Args:
        assets: the folder of built scripts.
        name: the file name of the template. In the template, a line `{{>NAME}}` is replaced by the file
            parts/NAME.html, and `{{NAME}}` by a value.
        values: the values by their names, each as HTML; text must be escaped already.
    """
    skeleton = _PART.sub(lambda found: asset(assets, f"parts/{found[1]}.html"), asset(assets, name))
    # one pass, so that braces within a value are not replaced
    return _VALUE.sub(lambda found: values[found[1]], skeleton)


def asset(assets: Path, name: str) -> str:
    """Return the text of a file in the folder `assets` of built scripts."""
    return (assets / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return the hash of an inline script or style, as written in the content security policy that allows it."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"


def data_block(name: str, text: str) -> str:
    """Return a script element with the id `name` that contains data; browsers neither run nor show the data.

    The text must not contain `<`.
    """
    return f'<script type="application/octet-stream" id="{name}">{text}</script>'


def json_data(value: object) -> str:
    """Return ASCII JSON with `<` escaped, so that the JSON cannot end the element that contains it."""
    return json.dumps(value).replace("<", "\\u003c")
