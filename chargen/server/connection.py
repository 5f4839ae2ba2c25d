"""A connection of uvicorn with limits of its own: slow clients cannot hold it, or memory."""

from __future__ import annotations

import asyncio
import json
import socket
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from chargen.server.errors import RequestError

HEADER_SECONDS = 10.0  # from the first byte of a request to the end of its header
READ_SECONDS = 30.0  # in which a client has to read what stands in the buffer
READ_SIZE = 4096  # bytes parsed at once: as chunks of one byte each they take about 20 ms
MAX_CONNECTIONS = 900  # a process may have 1,024 files on many systems


class Connection(H11Protocol):
    """HTTP/1.1 of uvicorn; errors are error objects, and clients that stand still are left."""

    _heard = False  # whether a part of the next request has come
    _header: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; one connection too many is refused."""
        super().connection_made(transport)
        # asyncio does it only for sockets that name their protocol, which ours does not: each
        # answer on an open connection would wait 40 ms for the client's delayed ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.max_size = READ_SIZE  # type: ignore[attr-defined]  # asyncio reads 256 KiB
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(RequestError(503, "too many connections", code="too_many_connections"))
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the time for a header begins with its first byte."""
        if self.transport.is_closing():
            return
        self._heard = True
        super().data_received(data)
        if self._between_requests():
            self._await_header()
        else:
            self._cancel_header()

    def pause_writing(self) -> None:
        """Wait for the client, which has not read yet, but not for ever."""
        super().pause_writing()
        self._stalled = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        if self._stalled:
            self._stalled.cancel()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Wait for the next request of the same connection."""
        super().on_response_complete()
        self._heard = bool(self.conn.trailing_data[0])
        if not self.transport.is_closing() and self._heard:
            self._await_header()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(RequestError(400, "the request is not HTTP/1.1, or its header is too long"))

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_header(self) -> None:
        if self._header is None:
            self._header = self.loop.call_later(HEADER_SECONDS, self._late)

    def _cancel_header(self) -> None:
        if self._header:
            self._header.cancel()
        self._header = None

    def _stop_timers(self) -> None:
        self._cancel_header()
        if self._stalled:
            self._stalled.cancel()

    def _late(self) -> None:
        self._header = None
        if self._between_requests() and self._heard:
            self._refuse(RequestError(408, "the request did not come whole in time"))
        elif self._between_requests():  # browsers open connections ahead, and want no answer
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        """Answer with an error object, if nothing was answered yet, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_whole(error.status, error.to_json()))
        self.transport.close()


def _whole(status: int, data: dict[str, Any]) -> bytes:
    """Return an answer as it is sent."""
    body = json.dumps(data).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
