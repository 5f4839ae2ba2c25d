"""Errors of requests, as the objects that OpenAI's clients read."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from chargen.errors import ChargenError, ConfigError, TokenizerError
from chargen.server.jobs import Busy

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
RETRY = {429: "1", 503: "5"}  # Retry-After in seconds
LENGTH = re.compile("^length(?= )")  # what a client calls max_chars
SHOWN = 300  # characters of a message at most: values of a client are repeated in it


class RequestError(ChargenError):
    """A request that is refused.

    Attributes:
        status: HTTP status.
        param: the field that is wrong.
        code: for programs.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        retry = {"Retry-After": RETRY[status]} if status in RETRY else {}
        self.headers = retry | (headers or {})

    def to_json(self) -> dict[str, Any]:
        """Return the error object."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        message = str(self)
        shown = (
            message if len(message) <= 2 * SHOWN else f"{message[:SHOWN]} ... {message[-SHOWN:]}"
        )
        return {
            "error": {
                "message": shown,
                "type": TYPES.get(self.status, default),
                "param": self.param,
                "code": self.code,
            }
        }


def refusal(error: ChargenError, params: Collection[str] = ()) -> RequestError:
    """Return what a client is told of an error of a room below.

    Settings and texts are the client's; all else is the server's, and names files, so that only
    its log has the words.

    Args:
        error: the error.
        params: fields of the request, of which the message may begin with one.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, Busy):
        return RequestError(429, str(error), code="queue_full")
    if isinstance(error, ConfigError | TokenizerError):
        words = LENGTH.sub("max_chars", str(error))
        first = re.match(r"[\w-]+", words)
        name = first[0].replace("-", "_") if first else ""
        return RequestError(400, words, param=name if name in params else None)
    return RequestError(503, "the model cannot be used now; see the log of the server")
