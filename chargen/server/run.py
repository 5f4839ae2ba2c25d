"""The server as a process: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from chargen.errors import ConfigError
from chargen.server.app import App
from chargen.server.connection import Connection
from chargen.server.library import Library
from chargen.server.settings import ServeConfig

KEEP_ALIVE = 30  # seconds for which a connection without a request stays open
LARGEST_HEADER = 32 << 10  # bytes
MARGIN = 5  # seconds after the grace, in which answers that are cut still go out


def listen(config: ServeConfig) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConfigError: the address is in use, or is none of this machine.
    """
    host = config.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, config.port), family=family, backlog=256)
    except OSError as error:
        why = (
            error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        )
        words = f"cannot listen on {host!r}, port {config.port}: {why}"
        raise ConfigError(f"{words}; give another --port, 0 for a free one, or --host") from None


def address(listening: socket.socket) -> str:
    """Return the address of a socket as browsers take it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server(
    config: ServeConfig, app: App, library: Library, started: Callable[[], None]
) -> uvicorn.Server:
    """Return the server; its ``run`` takes a list of sockets, and ends at SIGTERM or SIGINT.

    Args:
        config: settings of the server.
        app: answers the requests.
        library: the models, which are closed at the end.
        started: is called when requests are answered.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of clients that leave
    settings = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(config.grace) + MARGIN,
        h11_max_incomplete_event_size=LARGEST_HEADER,
    )
    return _Server(settings, app, library, config.grace, started)


class _Server(uvicorn.Server):
    """uvicorn with our end: requests are finished within a time, then cut."""

    def __init__(
        self,
        settings: uvicorn.Config,
        app: App,
        library: Library,
        grace: float,
        started: Callable[[], None],
    ) -> None:
        super().__init__(settings)
        self._app, self._library, self._grace, self._told = app, library, grace, started
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the default model, begin to listen, and say so."""
        self._loop = asyncio.get_running_loop()
        await self._library.warm()
        await super().startup(sockets)
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal, with time for what runs; at the second one at once."""
        grace = 0.0 if self.should_exit else self._grace
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._loop.call_later, grace, self._app.cut)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what runs, and close the models."""
        await super().shutdown(sockets)
        await self._library.close(0.0)
