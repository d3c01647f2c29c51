"""Write the page: one HTML file that holds everything, or a folder for a web server."""

import base64
import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from maskpencil.errors import ConfigError, OutputError
from maskpencil.extras import needed_for
from maskpencil.files import folder_written_whole, named, refuse_unwritable, run_name, written_whole
from maskpencil.model_folder import ModelConfig, read_model_config
from maskpencil.parsing import read_choice, read_path, shown
from maskpencil.plain_text import counted, visible
from maskpencil.web.assets import page_assets
from maskpencil.web.document import asset, data_block, digest, document, json_data

GENERATOR = "maskpencil page"

MARK = f'<meta name="generator" content="{GENERATOR}">'
"""The element in the page's head by which an earlier page is recognized."""

HEAD = 4096
"""The number of bytes in which the mark is looked for."""

MAX_MODEL_BYTES = 100_000_000
"""The largest network in one file: browsers of phones give a page a few hundred megabytes."""

MAX_TITLE = 200

INDEX, README = "index.html", "README.md"
MODEL, WASM, WORKER = "model.onnx", "runtime.wasm.gz", "worker.js"
RUNTIME = "ort.{}.bundle.min.mjs"
SITE_FILES = {INDEX, README, MODEL, WASM, WORKER, *(RUNTIME.format(kind) for kind in ("webgpu", "wasm"))}
"""The names of all files of a site; a folder with another file is not replaced."""

_SITE_README = """\
# {title}

A page that segments images, the camera and videos in the browser. It needs no server program: put this folder on any
web host, or try it with `python -m http.server` in this folder and the address it prints. (Opened by a double click
it shows nothing, since browsers give no files to pages of the file system; for that, leave --folder out.)

| File | What it is |
|---|---|
| index.html | the page |
| model.onnx | the network |
| runtime.wasm.gz, ort.*.mjs | ONNX Runtime Web |
| worker.js | runs the network beside the page |

## Threads

The network runs in several threads, if the host sends these two headers with every file:

    Cross-Origin-Opener-Policy: same-origin
    Cross-Origin-Embedder-Policy: require-corp

Without them the page works with one thread, and says so.
"""


@dataclass(frozen=True)
class PageSize:
    """What was written.

    Attributes:
        path: the HTML file, or the folder.
        bytes: the size of all that was written.

    Example:
        >>> f"{mp.PageSize('street.html', 13_000_000).bytes / 1e6:.0f} MB"
        '13 MB'
    """

    path: Path
    bytes: int


def write_page(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    title: str | None = None,
    webgpu: bool = True,
    weights: Literal["fp16", "fp32"] = "fp16",
) -> PageSize:
    """Write a model as one HTML file that segments images, the camera and videos in a browser.

    The file needs no server and sends no request. Nothing leaves the computer on which it is opened.

    Args:
        model: a model folder.
        out: the HTML file to write; an earlier page is replaced, another file is not.
        title: the heading of the page; by default the name of the model.
        webgpu: include what runs the network on graphics cards, where that is faster; 4 MB.
        weights: the number format of the weights; fp32 gives the model's labels up to near ties, and takes twice the
            space.

    Returns:
        The path and the size of the file.

    Example:
        >>> page = mp.write_page("runs/train/street/model", "street.html", title="Street")
        >>> page.bytes > 1_000_000
        True

    Raises:
        ConfigError: an argument has the wrong type or value, a required package is not installed, or the scripts of the
            page cannot be built.
        ModelError: the model cannot be read or converted, or is too large for one file.
        OutputError: another file is in the way, or the file cannot be written.
    """
    model, out = read_path("model", model), read_path("out", out)
    read_choice("weights", weights, ("fp16", "fp32"))
    refuse_to_replace(out)
    config = read_model_config(model)
    heading = _heading(title, model)
    assets, network = page_assets(), _network(model, weights)
    if len(network) > MAX_MODEL_BYTES:
        raise ConfigError(
            f"{model}: the network has {_megabytes(len(network))}, more than the {_megabytes(MAX_MODEL_BYTES)} that "
            "browsers of phones can hold in one file; write a folder for a web server with --folder"
        )
    kind = "webgpu" if webgpu else "wasm"
    blocks = {
        "wasm": _encoded((assets / f"{kind}.wasm.gz").read_bytes()),
        "worker": _encoded((assets / f"worker-{kind}.js.gz").read_bytes()),
        "model": _encoded(network),
    }
    text = _page(assets, config, heading, webgpu=webgpu, blocks=blocks, files=None)
    content = text.encode("utf-8")
    with written_whole(out) as place:
        place.write_bytes(content)
    return PageSize(out, len(content))


def write_site(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    title: str | None = None,
    webgpu: bool = True,
    weights: Literal["fp16", "fp32"] = "fp16",
) -> PageSize:
    """Write a model as a folder for a web server: the same page as `write_page`, with the network in a file of its own.

    The README.md in it says which headers allow several threads.

    Args:
        model: a model folder.
        folder: the folder to write; an earlier one is replaced, any other that is not empty is not.
        title: the heading of the page; by default the name of the model.
        webgpu: include what runs the network on graphics cards, where that is faster.
        weights: the number format of the weights, see `write_page`.

    Returns:
        The path and the size of the folder.

    Example:
        >>> site = mp.write_site("runs/train/street/model", "site")
        >>> sorted(path.name for path in site.path.iterdir())[:2]
        ['README.md', 'index.html']

    Raises:
        ConfigError: an argument has the wrong type or value, a required package is not installed, or the scripts of the
            page cannot be built.
        ModelError: the model cannot be read or converted.
        OutputError: other files are in the way, or the folder cannot be written.
    """
    model, folder = read_path("model", model), named(read_path("folder", folder))
    read_choice("weights", weights, ("fp16", "fp32"))
    refuse_to_replace_folder(folder)
    config = read_model_config(model)
    heading = _heading(title, model)
    assets, network = page_assets(), _network(model, weights)
    kind = "webgpu" if webgpu else "wasm"
    files = {"wasm": WASM, "model": MODEL, "worker": WORKER}
    runtime = RUNTIME.format(kind)
    contents = {
        INDEX: _page(assets, config, heading, webgpu=webgpu, blocks={}, files=files).encode("utf-8"),
        README: _SITE_README.format(title=visible(heading)).encode("utf-8"),
        MODEL: network,
        WASM: (assets / f"{kind}.wasm.gz").read_bytes(),
        WORKER: (assets / f"site-worker-{kind}.js").read_bytes(),
        runtime: (assets / runtime).read_bytes(),
    }
    with folder_written_whole(folder) as place:
        for name, content in contents.items():
            (place / name).write_bytes(content)
    return PageSize(folder, sum(map(len, contents.values())))


def refuse_to_replace(out: Path) -> None:
    """Refuse to replace what is not an earlier page of this package.

    Raises:
        OutputError: such a file is in the way, or the file cannot be written.
    """
    if out.is_dir() or not out.name:
        raise OutputError(
            f"{out}: is a folder; give the name of a file, such as {out / 'page.html'}, or --folder {out}"
        )
    refuse_unwritable(out)
    if out.exists() and not _is_page(out):
        raise OutputError(f"{out}: is not from maskpencil page; move it, or give another name with --out")


def refuse_to_replace_folder(folder: Path) -> None:
    """Refuse to replace a folder that is neither empty nor an earlier one of this package.

    Raises:
        OutputError: such a folder or a file is in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; give the name of a folder with --folder, or write it with --out")
    if not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir())
    if names and not _is_page(folder / INDEX):
        raise OutputError(f"{folder}: is not from maskpencil page; move it, or give another name with --folder")
    for name in names:
        if name not in SITE_FILES:
            raise OutputError(
                f"{folder}: holds {name}, which is not from maskpencil page; move it, or give another --folder"
            )


def _network(model: Path, weights: Literal["fp16", "fp32"]) -> bytes:
    """Return the ONNX file of a model, see `export.onnx_of`."""
    with needed_for("maskpencil page"):
        from maskpencil.export import onnx_of
    return onnx_of(model, weights)


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(HEAD)


def _heading(title: str | None, model: Path) -> str:
    """Return the heading of the page."""
    if title is None:
        return run_name(model)
    if not isinstance(title, str) or not title.strip():
        raise ConfigError(f"title must be a text, but got {shown(title)}")
    if len(title) > MAX_TITLE:
        raise ConfigError(f"title must have at most {MAX_TITLE} characters, but got {len(title)}")
    return title


def _page(
    assets: Path,
    config: ModelConfig,
    title: str,
    *,
    webgpu: bool,
    blocks: Mapping[str, str],
    files: Mapping[str, str] | None,
) -> str:
    """Fill the skeleton of the page. No text of the user can end an element or begin a script."""
    style, script = asset(assets, "style.css"), asset(assets, "page.js")
    names = [visible(name) for name in config.classes.names]
    facts: dict[str, Any] = {
        "title": visible(title),
        "network": config.title,
        "names": names,
        "palette": config.classes.palette,
        "imageSize": config.preprocessing.image_size,
        "webgpu": webgpu,
        "version": version("maskpencil"),
        "files": files,
    }
    many = counted(len(names), "class")
    values = {
        "policy": _policy(style, script, is_site=files is not None),
        "title": html.escape(visible(title)),
        "lead": html.escape(f"Finds {many} in images and videos, pixel by pixel."),
        "numbered": html.escape(", ".join(f"{number} {name}" for number, name in enumerate(names))),
        "version": html.escape(version("maskpencil")),
        "network": html.escape(config.title),
        "licenses": _licenses(assets),
        "style": style,
        "script": script,
        "blocks": "\n".join(
            [data_block("model-facts", json_data(facts)), *(data_block(name, text) for name, text in blocks.items())]
        ),
    }
    return document(assets, "index.html", values)


def _policy(style: str, script: str, *, is_site: bool) -> str:
    """Return the content security policy: nothing is allowed but the page's own script, worker, and images."""
    own = " 'self'" if is_site else ""
    rules = [
        "default-src 'none'",
        f"script-src {digest(script)} 'wasm-unsafe-eval'{own}",
        f"style-src {digest(style)}",
        f"worker-src blob:{own}",
        *(["connect-src 'self'"] if is_site else []),
        "img-src blob: data:",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def _licenses(assets: Path) -> str:
    parts = []
    for each in json.loads(asset(assets, "licenses.json")):
        name, number, terms, text = (html.escape(each[key].strip()) for key in ("name", "version", "license", "text"))
        parts.append(f"<h2>{name} {number} ({terms})</h2>")
        parts.append(f'<pre tabindex="0" aria-label="License of {name}">{text}</pre>')
    return "\n".join(parts)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
