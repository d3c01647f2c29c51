"""Find the weights that torchvision and timm publish: in the caches of torch and the Hugging Face hub, or by download.

A file in a cache is found without network access. A download first tries for a few seconds to reach the server, since
torch itself waits without limit, and the hub's client retries for half a minute.
"""

import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener

import torch
from torchvision import models

from maskpencil.errors import ModelError
from maskpencil.models.backbones.origin import NOT_STATED, Origin
from maskpencil.models.backbones.weights import reason_of

REACH_SECONDS = 4
"""The number of seconds that a server may take to answer; after this time, a download fails."""

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""The names of timm's weights in their repositories on the hub; the last file is pickled."""

_IMAGENET = re.compile(r"in\d+k")
"""A word of timm's tags: the weights were trained on ImageNet, such as in1k with its 1,000 classes."""

_OTHER_IMAGES = re.compile(
    r"\w*clip\d?|openai|laion\w*|datacomp\w*|dfn\w*|yfcc\w*|m3\dm|ig1b|swag|seer|s?wsl|ssl|jft|lvd\w+|webli|sa1b|bamboo|radio|indomain"
)
"""A word of timm's tags: the weights were trained on other images as well, such as those of CLIP or of JFT."""


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that a library publishes, on the Hugging Face hub or as a file.

    Args:
        title: the library and its name for the weights.
        license: the license that the library states.
        address: the URL of the file, which torch caches under its file name; "" if the file is only on the hub.
        repository: the repository on the hub, followed by `@` and a revision if it is not the latest; "" if the file is
            not on the hub.
        is_imagenet: whether the weights were trained on images of ImageNet alone.
    """

    title: str
    license: str
    address: str = ""
    repository: str = ""
    is_imagenet: bool = True

    @property
    def page(self) -> str:
        """The URL of the file's page on the hub, or else of the file itself."""
        return f"https://huggingface.co/{self.repository}" if self.repository else self.address

    @property
    def origin(self) -> Origin:
        """The title, license and URL of these weights, as stored in models that use them."""
        return Origin(self.title, self.license, self.page)

    def cached(self) -> Path | None:
        """Return the path of the file in a cache, without network access; None if no cache has the file."""
        from huggingface_hub import try_to_load_from_cache

        if self.repository:
            name, revision = self._revision
            for file_name in _HUB_FILES:
                file = try_to_load_from_cache(name, file_name, revision=revision)
                if isinstance(file, str):  # else it was not loaded yet, or does not exist on the hub
                    return Path(file)
        file = torch_cache(self.address)  # where older versions of timm kept their files, too
        return file if self.address and file.is_file() else None

    def download(self) -> Path:
        """Download the file into its cache, and return its path.

        Raises:
            OSError: the server cannot be reached, or has no such file.
            RuntimeError: the downloaded file does not have the expected checksum.
        """
        if self.repository:
            return self._from_hub()
        file = torch_cache(self.address)
        refuse_unreachable(self.address)
        file.parent.mkdir(parents=True, exist_ok=True)
        checksum = re.search(r"-([a-f0-9]{8,})\.", file.name)
        with redirect_stdout(sys.stderr):  # standard output is for results
            torch.hub.download_url_to_file(
                self.address, str(file), checksum[1] if checksum else None, progress=sys.stderr.isatty()
            )
        return file

    def _from_hub(self) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
        from huggingface_hub.errors import RemoteEntryNotFoundError

        if HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        refuse_unreachable(ENDPOINT)
        name, revision = self._revision
        safe, pickled = _HUB_FILES
        try:
            return Path(hf_hub_download(name, safe, revision=revision))
        except RemoteEntryNotFoundError:
            return Path(hf_hub_download(name, pickled, revision=revision))

    @property
    def _revision(self) -> tuple[str, str | None]:
        name, _, revision = self.repository.partition("@")
        return name, revision or None


def torchvision_weights(name: str) -> PublishedWeights:
    """Return the best weights that torchvision publishes for its network `name`."""
    best = models.get_model_weights(name).DEFAULT
    return PublishedWeights(f"torchvision's {best}", "BSD-3-Clause", address=best.url)


def timm_weights(model: str) -> PublishedWeights:
    """Return the weights that timm publishes for a model, whose name may end in a tag, such as resnet50.a1_in1k.

    Raises:
        ModelError: timm publishes no weights for the model.
    """
    import timm

    config: Any = timm.get_pretrained_cfg(model)
    if not config.has_weights:
        raise ModelError(f"timm has no weights for {model!r}; pass --weights FILE, or --weights none")
    title = f"timm's {config.architecture}" + (f".{config.tag}" if config.tag else "")
    # files with custom_load are those of other libraries; timm's own are on the hub
    address = "" if config.custom_load else config.url or ""
    license_ = config.license or NOT_STATED
    return PublishedWeights(
        title, license_, address, config.hf_hub_id or "", is_imagenet_tag(config.tag) and not model.startswith("beit3")
    )


def is_imagenet_tag(tag: str) -> bool:
    """Return whether the tag of timm's weights, such as a1_in1k, says that they were trained on ImageNet alone."""
    words = tag.split("_")
    return any(map(_IMAGENET.fullmatch, words)) and not any(map(_OTHER_IMAGES.fullmatch, words))


def torch_cache(address: str) -> Path:
    """Return the path of the file of a URL in torch's cache, whose folder the environment variable TORCH_HOME sets."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(address).path).name


def refuse_unreachable(address: str) -> None:
    """Check that the server of a URL answers, through the proxy of the environment if there is one.

    Raises:
        OSError: the server does not answer within `REACH_SECONDS`, which include the look-up of its host name.
    """
    failures: list[OSError] = []

    def reach() -> None:
        try:
            request = Request(address, method="HEAD")  # noqa: S310 - https
            build_opener().open(request, timeout=REACH_SECONDS).close()  # urlopen keeps the first call's proxies
        except HTTPError:
            pass  # it answers; the download says what is wrong
        except URLError as error:
            failures.append(error.reason if isinstance(error.reason, OSError) else OSError(error.reason))
        except (OSError, ValueError, HTTPException) as error:
            failures.append(OSError(reason_of(error)))

    thread = Thread(target=reach, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {REACH_SECONDS} seconds")
    if failures:
        raise failures[0]
