"""Write a model as a page: one HTML file that contains everything, or a folder for a web server."""

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
"""The content of the meta element `generator` of a page."""

MARK = f'<meta name="generator" content="{GENERATOR}">'
"""The element in the head of a page by which a page is recognized, so that no other file is replaced."""

HEAD = 4096
"""The number of bytes at the start of a file that are searched for `MARK`."""

MAX_MODEL_BYTES = 100_000_000
"""The largest size in bytes of a network in one file, since browsers of phones give a page a few hundred megabytes."""

MAX_TITLE = 200
"""The largest number of characters of a title."""

INDEX, README = "index.html", "README.md"
MODEL, WASM, WORKER = "model.onnx", "runtime.wasm.gz", "worker.js"
"""The names of files of a site."""

RUNTIME = "ort.{}.bundle.min.mjs"
"""The name of the file of ONNX Runtime Web, with "webgpu" or "wasm"."""

SITE_FILES = {INDEX, README, MODEL, WASM, WORKER, *(RUNTIME.format(kind) for kind in ("webgpu", "wasm"))}
"""The names of all files that a site can have; a folder with any other file is not replaced."""

_SITE_README = """\
# {title}

A page that segments images, the camera and videos in the browser. The page needs no server program: put this folder on
any web host, or type `python -m http.server` in this folder and open the printed address. (A double click on index.html
shows nothing, since a page opened from a disk cannot load other files. To get one HTML file that opens by a double
click, leave out --folder.)

| File | What it is |
|---|---|
| index.html | the page |
| model.onnx | the network |
| runtime.wasm.gz, ort.*.mjs | ONNX Runtime Web |
| worker.js | runs the network beside the page |

## Threads

The network runs in several threads if the host sends these two headers with every file:

    Cross-Origin-Opener-Policy: same-origin
    Cross-Origin-Embedder-Policy: require-corp

Without these headers the network runs in one thread, and the page says so.
"""


@dataclass(frozen=True)
class PageSize:
    """The path and the size of a written page.

    Attributes:
        path: the HTML file or the folder.
        bytes: the size in bytes of the file, or of all files in the folder.

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
        out: the HTML file to write; an earlier page is replaced, any other file is not.
        title: the heading of the page; by default the name of the model.
        webgpu: include the code that runs the network on graphics cards, where that is faster; the code takes 4 MB.
        weights: the number format of the weights: fp16; or fp32, twice as large, which gives the model's labels except
            at nearly equal scores.

    Returns:
        The path and the size of the file.

    Example:
        >>> page = mp.write_page("runs/train/street/model", "street.html", title="Street")
        >>> page.bytes > 1_000_000
        True

    Raises:
        ConfigError: an argument has the wrong type or value, a required package is not installed, the scripts of the
            page cannot be built, or the network is too large for one file.
        ModelError: the model cannot be read or converted.
        OutputError: `out` is a folder or a file that is not an earlier page, or cannot be written.
    """
    model, out = read_path("model", model), read_path("out", out)
    read_choice("weights", weights, ("fp16", "fp32"))
    refuse_to_replace(out)
    config = read_model_config(model)
    heading = _heading(title, model)
    assets, network = page_assets(), _network(model, weights)
    if len(network) > MAX_MODEL_BYTES:
        raise ConfigError(
            f"{model}: the network takes {_megabytes(len(network))}, but browsers of phones can hold at most "
            f"{_megabytes(MAX_MODEL_BYTES)} in one file; write a folder for a web server with --folder"
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
    """Write a model as a folder for a web server: the page of `write_page`, with the network in a separate file.

    The file README.md in the folder says which HTTP headers let the network run in several threads.

    Args:
        model: a model folder.
        folder: the folder to write; a folder of an earlier page is replaced, any other folder only if it is empty.
        title: the heading of the page; by default the name of the model.
        webgpu: include the code that runs the network on graphics cards, where that is faster.
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
        OutputError: `folder` is a file or contains other files, or cannot be written.
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
    """Check that the HTML file `out` can be written, and that it is missing or an earlier page.

    Raises:
        OutputError: `out` is a folder or a file that is not an earlier page, or cannot be written.
    """
    if out.is_dir() or not out.name:
        raise OutputError(
            f"{out}: is a folder; give the name of a file, such as {out / 'page.html'}, or write a folder with "
            f"--folder {out}"
        )
    refuse_unwritable(out)
    if out.exists() and not _is_page(out):
        raise OutputError(f"{out}: is not from maskpencil page; move it, or give another name with --out")


def refuse_to_replace_folder(folder: Path) -> None:
    """Check that a folder is missing, empty, or a folder that `write_site` wrote, without other files.

    Raises:
        OutputError: `folder` is a file or contains other files.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; give the name of a folder with --folder, or write a file with --out")
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
    """Return the content of the ONNX file of a model, see `export.onnx_of`."""
    with needed_for("maskpencil page"):
        from maskpencil.export import onnx_of
    return onnx_of(model, weights)


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(HEAD)


def _heading(title: str | None, model: Path) -> str:
    """Return the heading of the page: the title, or the name of the model if the title is None.

    Raises:
        ConfigError: the title is not a text, is empty or is too long.
    """
    if title is None:
        return run_name(model)
    if not isinstance(title, str) or not title.strip():
        raise ConfigError(f"title must be a text that is not empty, but got {shown(title)}")
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
    """Fill the template of the page and return the HTML; texts of the user cannot end an element or begin a script.

    Args:
        assets: the folder of built scripts.
        config: the settings of the model.
        title: the heading.
        webgpu: whether the page contains the code for graphics cards.
        blocks: the parts of a page in one file: wasm, worker and model, in base64; empty for a folder.
        files: the names of the files with these parts in a folder; None for a page in one file.
    """
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
    """Return the content security policy, which allows only the page's own style, script, worker, images and videos.

    With `is_site`, the page may also load scripts and other files from its own origin.
    """
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
