"""The end of a server: by a signal, by kill -9, and what is left."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.server.serving import SECONDS, serving

pytest.importorskip("uvicorn")


def rest_of(connection: socket.socket) -> bytes:
    """Return what a server still sends, up to its end."""
    parts = list[bytes]()
    with connection:
        connection.settimeout(SECONDS)
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def contents(folder: Path) -> dict[str, str]:
    """Return the checksums of all files, by name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_sigterm_finishes_what_is_short_and_cuts_the_rest(trained: Path) -> None:
    with serving(trained, "--grace", "1") as server:
        long = server.stream(max_tokens=60_000, n=8)
        short = server.stream(max_tokens=100)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        finished, cut = rest_of(short), rest_of(long)
        assert server.process.wait(timeout=SECONDS) == 0
        assert time.monotonic() - began < 10
        assert b"data: [DONE]\n\n" in finished
        assert finished.endswith(b"0\r\n\r\n")
        assert b'"code":"stopping"' in cut
        assert b"[DONE]" not in cut
        assert cut.endswith(b"0\r\n\r\n")  # a whole answer of HTTP, with an error at its end


def test_a_second_signal_ends_it_at_once(trained: Path) -> None:
    with serving(trained, "--grace", "1000") as server:
        long = server.stream(max_tokens=60_000, n=8)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGINT)
        assert b'"code":"stopping"' in rest_of(long)
        assert server.process.wait(timeout=SECONDS) == 0


def test_kill_and_restart_under_load(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(trained / "small", folder / "small")
    before = contents(folder / "small")
    port = "0"
    for _ in range(2):
        with serving(folder, "--port", port) as server:
            port = str(server.port)
            streams = [server.stream(max_tokens=60_000, n=8) for _ in range(4)]
            server.process.kill()
            for stream in streams:
                text = b""
                with stream, contextlib.suppress(ConnectionResetError):
                    text = rest_of(stream)
                assert b"[DONE]" not in text  # a client sees that it was cut
                assert not text.endswith(b"0\r\n\r\n")
            server.process.wait(timeout=SECONDS)
            with pytest.raises(OSError, match="refused"):
                server.get("/health")
    assert contents(folder / "small") == before
    with serving(folder, "--port", port) as server:
        assert server.complete(max_tokens=5).status == 200


def test_it_says_what_it_serves(chargen: Run, with_model: Path) -> None:
    done = chargen("serve", "--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("chargen: host '0.0.0.0' can be reached from other machines")
    done = chargen("serve", "-m", "nothing")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("chargen: no model 'nothing'")
