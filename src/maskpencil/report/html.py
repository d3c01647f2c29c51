"""Build HTML as a tree of elements, so that every text is escaped, and write it as one page that loads nothing."""

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
"""A child of an element: None is left out; everything but elements becomes text."""

GENERATOR = "maskpencil report"

MARK = f'<meta name="generator" content="{GENERATOR}">'
"""The element in the page's head by which an earlier report is recognized."""

_LONG_WORD = 24


def element(tag: str, *children: Child | Iterable[Child], **attributes: object) -> Element:
    """Build an element.

    Texts become `plain_text.visible`, since names of files and classes may hold any characters. In the names of
    attributes, `_` stands for `-`, and a `_` at the end is left out (`class_`). Attributes that are None or False are
    left out; True gives an attribute without a value.
    """
    node = Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            shown = "" if value is True else f"{value:g}" if isinstance(value, float) else visible(str(value))
            node.set(name.removesuffix("_").replace("_", "-"), shown)
    add(node, *children)
    return node


def add(node: Element, *children: Child | Iterable[Child]) -> None:
    """Add children to an element; the children may be given in lists."""
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
    """Return a name given by the user: apart from the direction of the text around it, and breakable if it is long."""
    node = Element("bdi")
    for part in re.split(rf"(\S{{{_LONG_WORD}}})", visible(text)):
        add(node, part)
        if len(part) == _LONG_WORD:
            SubElement(node, "wbr")
    return node


def with_options(text: str) -> list[Child]:
    """Return a text as children in which the names of command line options are code, and not broken."""
    parts = re.split(r"(--[a-z-]+(?: [\d.]+)?)", text)
    return [element("code", part, class_="option") if part.startswith("--") else part for part in parts if part]


def embedded_image(pixels: npt.NDArray[np.uint8], alternative: str, *, quality: int) -> Element:
    """Return an image (H, W, 3) as an element that holds the pixels as WebP; `alternative` describes it in words."""
    height, width = pixels.shape[:2]
    return element("img", src=data_address(pixels, quality), alt=alternative, width=width, height=height)


def data_address(pixels: npt.NDArray[np.uint8], quality: int) -> str:
    """Return an image (H, W, 3) as WebP in a data: address."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=1)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def page(title: str, facts: Mapping[str, str], *children: Child | Iterable[Child]) -> str:
    """Return a whole page, which can load nothing and run no script but its own.

    `facts` are names and contents of further meta elements.
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
