"""Files of the page, from the package: a name is looked up in their list, so no path leads out."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from chargen.server.errors import RequestError
from chargen.server.exchange import Exchange

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in FOLDER.iterdir() if path.suffix in KINDS)


async def page_file(exchange: Exchange, name: str) -> None:
    """Answer with a file of the page, or that it has not changed.

    Raises:
        RequestError: there is no such file.
    """
    if name not in _names():
        raise RequestError(404, f"no file {name[:100]!r} of the page", code="not_found")
    body = (FOLDER / name).read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    exchange.extra |= {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        "ETag": tag,
    }
    if exchange.headers.get("if-none-match") == tag:
        await exchange.data(b"", KINDS[Path(name).suffix], 304)
    else:
        await exchange.data(body, KINDS[Path(name).suffix])
