"""Build HTML as a tree of elements, so that all text is escaped, and make a page from it that loads no other files."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from io import BytesIO
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.plain_text import visible

Child = Element | str | int | float | None
"""A child of an element: None is left out; a string or number becomes escaped text."""

GENERATOR = "maskpencil report"
"""The content of the meta element `generator` of a report."""

MARK = f'<meta name="generator" content="{GENERATOR}">'
"""The element in the head of a page by which a report is recognized, so that no other file is replaced."""

_LONG_WORD = 24
"""Names get a place for a line break after each run of this number of characters without a space."""


def element(tag: str, *children: Child | Iterable[Child], **attributes: object) -> Element:
    """Build an HTML element.

    Text passes through `plain_text.visible`, since names of files and classes may contain any characters.

    Args:
        tag: the name of the element.
        children: elements, text and numbers, or lists of them; None is left out.
        attributes: the attributes by name, where `_` is written as `-` and a `_` at the end is left out (`class_`).
            None and False leave the attribute out; True gives an attribute with an empty value.
    """
    node = Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            shown = "" if value is True else f"{value:g}" if isinstance(value, float) else visible(str(value))
            node.set(name.removesuffix("_").replace("_", "-"), shown)
    add(node, *children)
    return node


def add(node: Element, *children: Child | Iterable[Child]) -> None:
    """Append elements, text and numbers, or lists of them, to an element; None is left out."""
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            node.append(child)
        elif isinstance(child, str | int | float):
            text = visible(str(child))
            if len(node):
                node[-1].tail = (node[-1].tail or "") + text
            else:
                node.text = (node.text or "") + text
        else:
            add(node, *child)


def name_of(text: str) -> Element:
    """Return an element for a name that the user chose, such as a file or class name.

    Its direction does not affect the text around it (`bdi`), and long words in it can be broken (`wbr`).
    """
    node = Element("bdi")
    for part in re.split(rf"(\S{{{_LONG_WORD}}})", visible(text)):
        add(node, part)
        if len(part) == _LONG_WORD:
            SubElement(node, "wbr")
    return node


def with_options(text: str) -> list[Child]:
    """Split a text into children, with each command line option, and its number if any, in a `code` element."""
    parts = re.split(r"(--[a-z-]+(?: \d+(?:\.\d+)?)?)", text)
    return [element("code", part, class_="option") if part.startswith("--") else part for part in parts if part]


def embedded_image(pixels: npt.NDArray[np.uint8], alternative: str, *, quality: int) -> Element:
    """Return an `img` element that contains an image (H, W, 3) as WebP.

    Args:
        pixels: (H, W, 3) RGB.
        alternative: the description for people who do not see the image.
        quality: the quality of the WebP encoding, 0..100.
    """
    height, width = pixels.shape[:2]
    return element("img", src=data_address(pixels, quality), alt=alternative, width=width, height=height)


def data_address(pixels: npt.NDArray[np.uint8], quality: int) -> str:
    """Encode an image (H, W, 3) RGB as WebP with a `quality` of 0..100, and return it as a data: URL."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=1)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def page(title: str, facts: Mapping[str, str], *children: Child | Iterable[Child]) -> str:
    """Return an HTML page whose security policy allows only its own style, script and data: images.

    Args:
        title: the title of the page.
        facts: the contents of further meta elements by their names.
        children: the children of the body.
    """
    style, script = _resource("style.css"), _resource("script.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    root = element("html", lang="en")
    head = SubElement(root, "head")
    add(
        head,
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy + "; base-uri 'none'; form-action 'none'"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=GENERATOR),
        *(element("meta", name=name, content=content) for name, content in facts.items()),
        element("title", title),
    )
    SubElement(head, "style").text = style
    body = SubElement(root, "body")
    add(body, *children)
    SubElement(body, "script").text = script
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


@cache
def _resource(name: str) -> str:
    return files("maskpencil.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
