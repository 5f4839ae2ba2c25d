"""Fetching from a real server that is slow, breaks off, lies, or sends something else."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from chargen.data import catalogue as module
from chargen.data.catalogue import CatalogueEntry, catalogue, fetch
from chargen.errors import CorpusError, DownloadError
from tests.conftest import Run

TEXT = b"".join(b"line %d of a published text\n" % number for number in range(9000))
HERE = Path("corpora/it.txt")
PART = Path("corpora/.it.part")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``body`` in a manner, and remembers which ranges were asked for."""

    body: ClassVar[bytes] = TEXT
    manner: ClassVar[str] = "good"
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        if self.manner == "missing":
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.manner != "whole" else 0
        if start >= len(self.body):
            self.send_error(416)
            return
        body = self.body[start:]
        self.send_response(206 if start else 200)
        length = {"short": len(body) // 2, "long": len(body) + 999}.get(self.manner, len(body))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self._send(body)

    def _send(self, body: bytes) -> None:
        if self.manner == "breaks":
            self.wfile.write(body[: len(body) // 2])
            self.connection.shutdown(socket.SHUT_RDWR)
        elif self.manner == "stalls":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            time.sleep(1)
        else:
            for start in range(0, len(body), 50_000):
                self.wfile.write(body[start : start + 50_000])
                time.sleep(0.05 if self.manner == "slow" else 0)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "manner", "good")
    monkeypatch.setattr(Handler, "body", TEXT)
    monkeypatch.setattr(Handler, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = False  # closing waits for them
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/it"
        running.shutdown()


def entry(url: str, **fields: str) -> CatalogueEntry:
    checksum = fields or {"sha256": hashlib.sha256(TEXT).hexdigest()}
    return CatalogueEntry("it", "a text", url, len(TEXT), "public domain", **checksum)


def get(url: str, manner: str = "good") -> list[int]:
    """Fetch and return the progress that was told."""
    Handler.manner = manner
    told: list[int] = []
    assert fetch(entry(url), told.append) == HERE
    assert HERE.read_bytes() == TEXT
    assert not PART.exists()
    return told


@pytest.mark.parametrize("manner", ["good", "slow"])
def test_a_text_comes_whole_and_progress_is_told(server: str, manner: str) -> None:
    told = get(server, manner)
    assert told == sorted(told)
    assert told[-1] == len(TEXT)


def test_what_is_here_is_not_fetched_again_unless_it_is_damaged(server: str) -> None:
    get(server)
    assert get(server) == []
    HERE.write_bytes(TEXT[:-1] + b"x")
    assert get(server) != []


@pytest.mark.parametrize("then", ["good", "whole"])
def test_a_download_that_broke_off_is_continued(server: str, then: str) -> None:
    half = len(TEXT) // 2
    with pytest.raises(DownloadError, match="stopped after|resume with: chargen corpus fetch it"):
        get(server, "breaks")
    assert not HERE.exists()
    assert PART.stat().st_size == half
    told = get(server, then)
    assert Handler.asked == [None, f"bytes={half}-"]
    assert told[0] > half if then == "good" else told[0] <= 65536


def test_a_part_that_is_whole_already_is_used(server: str) -> None:
    PART.parent.mkdir()
    PART.write_bytes(TEXT)
    assert get(server) == []


@pytest.mark.parametrize("manner", ["short", "long", "missing", "stalls"])
def test_a_lying_or_silent_server_is_an_error_in_one_line(
    server: str, manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    with pytest.raises(DownloadError) as error:
        get(server, manner)
    assert str(error.value).startswith((f"cannot fetch it from {server}", f"{server} is not the"))
    assert "\n" not in str(error.value)
    assert not HERE.exists()


@pytest.mark.parametrize("body", [b"<html>not found</html>", TEXT + b"!", TEXT[:-1] + b"?"])
def test_another_file_is_not_kept(
    server: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "body", body)
    with pytest.raises(DownloadError, match="is not the published it"):
        get(server)
    assert not HERE.exists()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil", b"x")
        archive.writestr(name, content)
    return buffer.getvalue()


def test_an_archive_gives_its_one_member_and_writes_nothing_else(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "body", zipped("inner", TEXT))
    wanted = entry(server, md5=hashlib.md5(TEXT).hexdigest(), member="inner")
    fetch(wanted, lambda count: None)
    assert HERE.read_bytes() == TEXT
    assert [path.name for path in Path("corpora").iterdir()] == ["it.txt"]
    assert not list(Path("..").glob("evil"))


@pytest.mark.parametrize("body", [b"no zip", zipped("other", TEXT), zipped("inner", TEXT * 99)])
def test_a_wrong_archive_is_not_kept(
    server: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "body", body)
    wanted = entry(server, md5=hashlib.md5(TEXT).hexdigest(), member="inner")
    with pytest.raises(DownloadError, match="is not the published it"):
        fetch(wanted, lambda count: None)
    assert not HERE.exists()


def test_nobody_at_home_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/it"
    with pytest.raises(DownloadError, match="cannot fetch it from .*refused"):
        get(url)


def test_a_text_that_cannot_be_read_is_one_line(server: str) -> None:
    HERE.mkdir(parents=True)
    with pytest.raises(CorpusError, match="cannot read 'corpora/it.txt': Is a directory; make it"):
        fetch(entry(server), lambda _: None)


def test_every_entry_can_be_trusted() -> None:
    for name, published in catalogue().items():
        assert published.name == name
        assert published.url.startswith("https://")
        assert published.bytes > 100_000
        assert re.fullmatch(r"[0-9a-f]{64}", published.sha256) or re.fullmatch(
            r"[0-9a-f]{32}", published.md5
        )
        assert published.licence


def test_the_list_and_a_wrong_name(chargen: Run) -> None:
    listed = chargen("corpus", "list").stdout
    for name in (*catalogue(), "builtin:pydoc"):
        assert name in listed
    wrong = chargen("corpus", "fetch", "no-such")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("chargen: corpus is 'no-such'; allowed: tinyshakespeare, ")
