"""Fixtures: a server, a browser, and the page in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # what these import is missing on some machines, where the modules are skipped
    from tests.server.page.writer import Server, Writer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.server.page.writer import Server

    server = Server(tmp_path_factory.mktemp("served"))
    with server.stack:
        yield server


@pytest.fixture
def server(served: Server) -> Server:
    served.renew()
    return served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def make_writer(browser: Any) -> Iterator[Callable[..., Writer]]:
    """Open the page with a storage of its own; at the end nothing may have gone wrong on it."""
    from tests.server.page.writer import Writer

    writers = []

    def make(**options: Any) -> Writer:
        context = browser.new_context(**options)
        writers.append(Writer(context.new_page()))
        return writers[-1]

    yield make
    for writer in writers:
        writer.page.context.close()
        writer.check()


@pytest.fixture
def writer(make_writer: Callable[..., Writer], server: Server) -> Writer:
    return make_writer().open(server.url)
