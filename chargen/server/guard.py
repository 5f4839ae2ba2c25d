"""Who may use the server: host, origin and key of a request are checked before anything else.

A page of a foreign site can make the browser send requests to this machine. The Host header shows
a name that leads here only by its DNS (rebinding), the Origin header a page of another site.
"""

from __future__ import annotations

import hmac

from chargen.server.errors import RequestError
from chargen.server.exchange import Exchange
from chargen.server.settings import ServeConfig, host_name, is_address

OPEN = ("/health", "/")  # without a key; the page and its files hold nothing, and ask for the key
PAGE = "/page/"
METHODS = "GET, POST"


class Guard:
    """Checks of each request.

    Args:
        config: settings of the server.
    """

    def __init__(self, config: ServeConfig) -> None:
        names = ("localhost", config.host, *config.allowed_host)
        self._hosts = {name.lower() for name in names}
        self._origins, self._key = set(config.cors_origin), config.api_key

    def check(self, exchange: Exchange) -> None:
        """Refuse a request that may not use the server.

        Raises:
            RequestError: its host or origin is foreign, its key is wrong, or its length is given
                in two ways.
        """
        if {"content-length", "transfer-encoding"} <= exchange.headers.keys():
            # A proxy that goes by the other one would see a second request in the body.
            words = "the request has both Content-Length and Transfer-Encoding; send one of them"
            raise RequestError(400, words, headers={"Connection": "close"})
        self._check_host(exchange)
        self._check_origin(exchange)
        if exchange.method != "OPTIONS" and not self._has_key(exchange):
            raise RequestError(
                401,
                "the API key is missing or wrong; send it as Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _check_host(self, exchange: Exchange) -> None:
        header = exchange.headers.get("host", "")
        name = host_name(header) if len(exchange.hosts) == 1 else None
        # An address needs no DNS, so nobody can let it lead here.
        if name is None or not (name in self._hosts or is_address(name)):
            words = f"the host {header[:100]!r} is not one of this server"
            raise RequestError(403, f"{words}; start it with --allowed-host", code="wrong_host")

    def _check_origin(self, exchange: Exchange) -> None:
        origin = exchange.headers.get("origin")
        if origin is None:
            return
        if origin in self._origins:
            exchange.extra |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        elif not _same_origin(origin, exchange.headers["host"]):
            words = f"pages of {origin[:100]!r} may not use this server"
            raise RequestError(403, f"{words}; start it with --cors-origin", code="wrong_origin")

    def _has_key(self, exchange: Exchange) -> bool:
        path = exchange.path
        if self._key is None or path in OPEN or path.startswith(PAGE):
            return True
        scheme, _, key = exchange.headers.get("authorization", "").partition(" ")
        given = key.strip().encode("utf-8", "replace")
        return hmac.compare_digest(given, self._key.encode()) and scheme.lower() == "bearer"


def _same_origin(origin: str, host: str) -> bool:
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


async def preflight(exchange: Exchange) -> None:
    """Answer the question of a browser whether a page of another origin may send a request."""
    exchange.extra |= {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Max-Age": "600",
        "Allow": f"{METHODS}, OPTIONS",
    }
    await exchange.data(b"", "text/plain")
