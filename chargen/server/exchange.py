"""One request and its answer, on top of ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from chargen.server.errors import RequestError
from chargen.server.schema import Schema, parse

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 30.0  # within which a client has to send its request
LINGER = 1.0  # seconds for which the body of a refused request is read on
SLICE, SLICES = 256, 4  # entries of a list written at once; parts between two turns of others
PART = 1 << 16  # bytes of an answer handed to the transport at once
SURROGATES = re.compile("[\ud800-\udfff]")  # in the text of a byte model: no UTF-8
SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


class ClientGone(Exception):  # noqa: N818  (an event, which no one can mend)
    """The client has closed the connection."""


class Exchange:
    """A request and the answer to it.

    Args:
        scope: of the request, see ASGI.
        receive: returns the next message of the client.
        send: sends a message to the client.

    Attributes:
        headers: of the request, names in lower case.
        extra: headers of the answer in addition to those of each.
        status: of the answer; 0 until it is begun.
        route: for the metrics, one of a few.
    """

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.method, self.path = str(scope["method"]), str(scope["path"])
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.hosts = [value for name, value in scope["headers"] if name == b"host"]
        self.extra: dict[str, str] = {}
        self.status, self.route = 0, "other"
        self._receive, self._send = receive, send
        self._unread = "transfer-encoding" in self.headers or (
            self.headers.get("content-length", "0") != "0"
        )
        self._events = self._ended = False

    # -- the request ----------------------------------------------------------------------

    async def fields(self, schema: Schema, most: int) -> dict[str, Any]:
        """Return the fields of the request, as the schema has them.

        Args:
            schema: of the request.
            most: bytes of the body at most.

        Raises:
            RequestError: it is not JSON, too long, too slow, or not as the schema says.
            ClientGone: the client has left.
        """
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also what keeps forms of foreign pages out
            raise RequestError(415, "the body must be JSON; send Content-Type: application/json")
        if self.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise RequestError(415, "the body is compressed; send it without Content-Encoding")
        try:
            body = await asyncio.wait_for(self._body(most), BODY_SECONDS)
        except TimeoutError:
            raise RequestError(408, "the request did not come whole in time") from None
        return parse(body, schema)

    async def _body(self, most: int) -> bytes:
        parts, size = list[bytes](), 0
        while self._unread or not parts:
            parts.append(await self._part())
            size += len(parts[-1])
            if size > most:
                raise RequestError(413, f"the body is longer than {most:,} bytes")
        return b"".join(parts)

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._unread = message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def _discard(self) -> None:
        """Read what is left of a body for a while: closed at once, the answer would be lost."""
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(LINGER):
                while self._unread:
                    await self._part()
        if self._unread:
            self.extra["Connection"] = "close"

    async def left(self) -> None:
        """Return when the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    # -- the answer -----------------------------------------------------------------------

    async def json(self, data: Any, status: int = 200) -> None:
        """Answer with data as JSON; between the parts of a long one others have their turn."""
        parts = list[str]()
        for part in json_parts(data):
            parts.append(part)
            if len(parts) % SLICES == 0:
                await asyncio.sleep(0)
        await self.data("".join(parts).encode(), "application/json", status)

    async def data(self, body: bytes, kind: str, status: int = 200) -> None:
        """Answer with bytes; a slow reader makes this wait, not the transport grow."""
        await self._start(status, {"Content-Type": kind, "Content-Length": str(len(body))})
        for start in range(0, len(body) - PART, PART):
            await self._write(body[start : start + PART])
        await self._write(body[max(0, (len(body) - 1) // PART * PART) :], more=False)

    async def begin_events(self) -> None:
        """Begin an answer of server-sent events."""
        await self._start(200, EVENTS)
        self._events = True

    async def event(self, data: Any) -> None:
        """Send an event."""
        words = data if isinstance(data, str) else to_json(data)
        await self._write(f"data: {words}\n\n".encode())

    async def end_events(self) -> None:
        """End an answer of events."""
        await self._write(b"", more=False)

    async def fail(self, error: RequestError) -> None:
        """Answer with an error object; where events have begun, it is the last one."""
        if self._ended:
            return
        if self._events:
            await self.event(error.to_json())
            await self.end_events()
        elif not self.status:
            await self._discard()
            self.extra |= error.headers
            await self.json(error.to_json(), error.status)

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        together = {**SAFETY, **headers, **self.extra}
        pairs = [(name.lower().encode(), value.encode()) for name, value in together.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        self._ended = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def to_json(data: Any) -> str:
    """Return data as one line of JSON; what is no Unicode text is replaced."""
    words = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return words if words.isascii() else SURROGATES.sub("\ufffd", words)


def json_parts(data: Any) -> Iterator[str]:
    """Yield data as JSON in parts that each take little time."""
    if isinstance(data, dict):
        yield "{"
        for number, (key, value) in enumerate(data.items()):
            yield f"{',' * (number > 0)}{to_json(key)}:"
            yield from json_parts(value)
        yield "}"
    elif isinstance(data, list) and len(data) > SLICE:
        yield "["
        for start in range(0, len(data), SLICE):
            yield "," * (start > 0) + to_json(data[start : start + SLICE])[1:-1]
        yield "]"
    elif isinstance(data, list):
        yield "["
        for number, value in enumerate(data):
            yield "," * (number > 0)
            yield from json_parts(value)
        yield "]"
    else:
        yield to_json(data)
