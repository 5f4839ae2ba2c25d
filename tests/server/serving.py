"""``chargen serve`` as a process of its own, and clients of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.processes import running

SECONDS = 30.0  # for an answer, on a busy machine
JSON = {"content-type": "application/json"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, which has the form that clients expect."""
        error = self.data["error"]
        assert set(self.data) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert "Traceback" not in error["message"]
        return dict(error)


class Server:
    """A server, and requests to it."""

    def __init__(
        self, port: int, process: subprocess.Popen[str] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.host, self.port, self._process = host, port, process
        self.url = f"http://{host}:{port}"
        self.headers: dict[str, str] = {}  # of every request

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def request(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> Answer:
        """Send a request; underscores of a header's name stand for hyphens."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        own = {name.replace("_", "-"): value for name, value in (self.headers | headers).items()}
        try:
            connection.request(method, path, body, own)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def post(self, path: str, **fields: Any) -> Answer:
        return self.request("POST", path, json.dumps(fields), **JSON)

    def complete(self, prompt: Any = "The", **fields: Any) -> Answer:
        return self.post("/v1/completions", prompt=prompt, **fields)

    def open(self) -> socket.socket:
        """Return a connection on which nothing was sent."""
        return socket.create_connection((self.host, self.port), timeout=SECONDS)

    def send(self, **fields: Any) -> socket.socket:
        """Return a connection on which completions are asked for."""
        connection = self.open()
        body = json.dumps({"prompt": "The", **fields}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
        )
        connection.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + body)
        return connection

    def stream(self, **fields: Any) -> socket.socket:
        """Return a connection on which a text is streamed, when it has begun."""
        connection = self.send(stream=True, **fields)
        connection.recv(64)
        return connection

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.get("/metrics").body.decode(), re.M)
        return sum(map(float, found))


@contextmanager
def serving(checkpoints: Path, *options: str, **env: str) -> Iterator[Server]:
    """Start a server on a free port; it listens when the block begins."""
    command = [sys.executable, "-W", "error", "-m", "chargen", "serve", "--port", "0", *options]
    own = {"CHARGEN_CHECKPOINTS": str(checkpoints), "CHARGEN_CACHE": str(checkpoints / "cache")}
    with running(command, env={**os.environ, **own, **env}) as process:
        assert process.stderr
        line = process.stderr.readline()
        found = re.search(r"http://(\S+):(\d+)", line)
        assert found, f"{line}{process.stderr.read()}"
        yield Server(int(found[2]), process, found[1])
