"""Downloads from servers that are not trusted: bounded in size, in time and in redirects.

By the standard library: chargen depends on no HTTP library, and a few files need none. Whoever
reads what arrives verifies it; this module makes sure that it ends.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from chargen import __version__
from chargen.display.output import visible
from chargen.errors import ConfigError, DownloadError

BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without data
ANSWER = 60.0  # seconds until an answer has begun
MINUTE = 60.0  # seconds over which the speed is measured
SLOWEST = 1000  # bytes per second
REDIRECTS = 5
MOVED, GONE = (301, 302, 303, 307, 308), (404, 410)
LINE = 200  # characters of what a server says that are shown
SAFE = "/%:@!$&'()*+,;=-._~"  # of a path: these stay as they are

Progress = Callable[[int, int | None], None]
"""Called with the bytes read so far and the size, if that is known."""


class Stream(NamedTuple):
    """Something to read.

    Attributes:
        read: returns up to so many bytes as soon as there are some, and none at the end.
        size: bytes in all, if that is known.
    """

    read: Callable[[int], bytes]
    size: int | None


def limited(stream: Stream, limit: int, progress: Progress) -> Iterator[bytes]:
    """Yield what a stream holds.

    Args:
        stream: the stream.
        limit: most bytes that are taken.
        progress: is told how far it is.

    Raises:
        DownloadError: it is larger, it stops early, or it comes too slowly.
    """
    if stream.size is not None and stream.size > limit:
        raise DownloadError(f"it has {stream.size:,} bytes; allowed: up to {limit:,}")
    have = before = 0
    began = time.monotonic()
    while block := stream.read(BLOCK):
        have += len(block)
        if have > limit:
            raise DownloadError(f"it does not end after {limit:,} bytes, the most that is allowed")
        if time.monotonic() - began >= MINUTE:
            if have - before < SLOWEST * MINUTE:
                raise DownloadError(f"it comes too slowly: {have - before:,} bytes in a minute")
            before, began = have, time.monotonic()
        progress(have, stream.size)
        yield block
    if stream.size is not None and have < stream.size:
        raise DownloadError(f"it stopped after {have:,} of {stream.size:,} bytes")


def reading(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Let a function that reads raise a DownloadError when it cannot."""

    @functools.wraps(read)
    def told(size: int) -> bytes:
        try:
            return read(size)
        except (OSError, http.client.HTTPException) as error:
            raise failed(error) from None

    return told


def failed(error: Exception) -> DownloadError:
    """Return the reason for which something cannot be read."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return DownloadError(f"nothing came for {TIMEOUT:g} seconds")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(f"its certificate is not valid: {one_line(reason.verify_message)}")
    words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return DownloadError(one_line(words))


def one_line(words: str) -> str:
    """Return what a server says as one harmless line."""
    line = visible(" ".join(words.split()))
    return line if len(line) <= LINE else f"{line[:LINE]}..."


# -- addresses ----------------------------------------------------------------------------


def check_address(address: str, *, pinned: bool = False) -> str:
    """Return an address in the form in which it is requested.

    What comes by ``http://`` can be changed by anybody on the way. It is taken from this computer
    only, or where the checksum is known from elsewhere.

    Args:
        address: the address.
        pinned: the checksum is known, so that ``http://`` to other computers is allowed.

    Raises:
        ConfigError: it is no such address.
    """
    shown = shown_address(address)
    try:
        parts = urllib.parse.urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # also of a host that IDNA refuses
        raise ConfigError(f"{shown!r} is not a valid address") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the address has a user name or a password; leave them out")
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigError(f"address is {shown!r}; allowed: https://HOST/PATH")
    if parts.scheme == "http" and not pinned and not is_local(host):
        raise ConfigError(
            f"what comes from {shown!r} can be changed on the way; use https://, or give the "
            "checksum of the model with --sha256"
        )
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    path, query = (urllib.parse.quote(part, SAFE + "?") for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, place, path.replace("?", "%3F"), query, ""))


def shown_address(address: str) -> str:
    """Return an address for messages, without its query, which may hold a token."""
    return one_line(re.split("[?#]", address, maxsplit=1)[0])


def is_local(host: str) -> bool:
    """Tell whether a host is this computer."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


# -- requests -----------------------------------------------------------------------------


@contextlib.contextmanager
def opened(
    address: str, headers: dict[str, str] | None = None, *, pinned: bool = False
) -> Iterator[Stream]:
    """Open what an address names, through at most ``REDIRECTS`` redirects.

    Args:
        address: as ``check_address`` returns it.
        headers: for this server alone, since they may hold a token.
        pinned: the checksum is known, so that ``http://`` to other computers is allowed.

    Raises:
        FileNotFoundError: the server does not have it.
        DownloadError: the server cannot be reached, refuses, stalls or redirects astray.
    """
    own = headers or {}
    for _ in range(1 + REDIRECTS):
        answer = _answer(address, own)
        if isinstance(answer, http.client.HTTPResponse):
            with contextlib.closing(answer):
                yield Stream(reading(answer.read1), answer.length)
            return
        target = _redirected(address, answer, pinned=pinned)
        own = own if _server(target) == _server(address) else {}
        address = target
    raise DownloadError(f"the server redirects more than {REDIRECTS} times")


def _answer(address: str, headers: dict[str, str]) -> http.client.HTTPResponse | str:
    """Return the answer of a server, or where it redirects to."""
    named = {"User-Agent": f"chargen/{__version__}", **headers}
    request = urllib.request.Request(address, headers=named)
    try:
        opener = _opener(proxies=not is_local(urllib.parse.urlsplit(address).hostname or ""))
        answer: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT)
        return answer
    except urllib.error.HTTPError as error:
        error.close()  # unread: it may have no end
        target = error.headers.get("Location")
        if error.code in MOVED and target:
            return str(target)
        says = f"the server says {error.code} {one_line(str(error.reason))}"
        if error.code in GONE:
            raise FileNotFoundError(says) from None
        raise DownloadError(says) from None
    except (OSError, http.client.HTTPException) as error:
        raise failed(error) from None


def _redirected(address: str, target: str, *, pinned: bool) -> str:
    """Return the address to which a server redirects; what began as ``https://`` stays so."""
    try:
        checked = check_address(urllib.parse.urljoin(address, target), pinned=pinned)
    except (ConfigError, ValueError):
        checked = ""
    if not checked or (address.startswith("https:") and not checked.startswith("https:")):
        raise DownloadError(f"it redirects to {shown_address(target)!r}, which is not allowed")
    return checked


def _server(address: str) -> tuple[str, str]:
    return urllib.parse.urlsplit(address)[:2]


class _Hurried(http.client.HTTPConnection):
    """Connection that is cut if no answer has begun: a drip of bytes would reset a time-out."""

    def getresponse(self) -> http.client.HTTPResponse:
        timer = threading.Timer(ANSWER, self._cut)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()

    def _cut(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it is closed already
            self.sock.shutdown(socket.SHUT_RDWR)


class _HurriedTLS(_Hurried, http.client.HTTPSConnection):
    """The same with TLS."""


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Hurried, request)


class _TLSHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HurriedTLS, request, context=ssl.create_default_context())


def _opener(*, proxies: bool) -> urllib.request.OpenerDirector:
    """Return what opens ``http`` and ``https`` only, and follows no redirect by itself.

    Args:
        proxies: use those of the environment; what is for this computer must not leave it.
    """
    opener = urllib.request.OpenerDirector()
    proxy = urllib.request.ProxyHandler(None if proxies else {})
    handlers: list[Any] = [proxy, _Handler(), _TLSHandler()]
    handlers += [urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()]
    for handler in handlers:
        opener.add_handler(handler)
    return opener
