from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.server.clients import Brightness, Served

from maskpencil.server import ServeOptions, serve


@contextmanager
def starting() -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:

        def started(predictor: Any = None, **settings: Any) -> Served:
            predictor = predictor or Brightness()
            server = stack.enter_context(serve(predictor, options=ServeOptions(port=0, **settings)))
            if isinstance(predictor, Brightness):
                stack.callback(predictor.may_run.set)
            return Served(predictor, server.url, server.count)

        yield started


@pytest.fixture
def start() -> Iterator[Callable[..., Served]]:
    """Start servers with the given options at free ports of this computer; they stop after the test."""
    with starting() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server that all tests of a module ask."""
    with starting() as started:
        yield started()
