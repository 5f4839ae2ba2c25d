"""Who may use the server, and what one client can hold of it."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargen.errors import ConfigError
from chargen.sampling.sampler import Sampler, load
from tests.server.serving import JSON, Server

pytest.importorskip("uvicorn")

from chargen.server import connection, exchange, run
from chargen.server.app import App
from chargen.server.library import Library, Load
from chargen.server.settings import ServeConfig

KEY = "a-key-of-tests"
LOCAL = ServeConfig(port=0)
PATIENCE = 20.0


@contextmanager
def in_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch, config: ServeConfig, load: Load = load
) -> Iterator[Server]:
    """Serve the small run in a thread of this process; what it logs is an error."""
    monkeypatch.setenv("CHARGEN_CHECKPOINTS", str(folder))
    said = list[str]()
    library = Library(load, "small", {}, config, said.append)
    app, listening = App(config, library, said.append), run.listen(config)
    port, begun = listening.getsockname()[1], threading.Event()
    server = run.server(config, app, library, begun.set)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield Server(port)
    finally:
        server.handle_exit(0, None)
        thread.join(PATIENCE)
    assert not said


@pytest.fixture
def serve(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    yield lambda **settings: in_thread(trained, monkeypatch, replace(LOCAL, **settings))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- who may use it -----------------------------------------------------------------------


def test_foreign_hosts_and_pages_are_refused(serve: Callable[..., Any]) -> None:
    with serve(allowed_host=("my.lan",), cors_origin=("https://a.example",)) as server:
        for host in ("localhost", f"localhost:{server.port}", "my.lan", "MY.lan:80", "[::1]:5"):
            assert server.get("/health", host=host).status == 200
        for host in ("evil.example", "localhost.evil.example", "a b", "", "localhost:x"):
            answer = server.get("/health", host=host)
            assert (answer.status, answer.error["code"]) == (403, "wrong_host"), host
        own = server.url
        assert server.get("/health", origin=own).status == 200
        for origin in ("https://evil.example", "null", f"{own}1"):
            answer = server.get("/v1/models", origin=origin)
            assert (answer.status, answer.error["code"]) == (403, "wrong_origin")
            assert "access-control-allow-origin" not in answer.headers
        named = server.get("/v1/models", origin="https://a.example")
        assert named.headers["access-control-allow-origin"] == "https://a.example"
        asked = server.request("OPTIONS", "/v1/completions", origin="https://a.example")
        assert asked.status == 200
        assert "authorization" in asked.headers["access-control-allow-headers"]


def test_every_route_but_health_and_the_page_needs_the_key(serve: Callable[..., Any]) -> None:
    with serve(api_key=KEY) as server:
        paths = server.get("/openapi.json", authorization=f"Bearer {KEY}").data["paths"]
        for path, methods in paths.items():
            open_to_all = path in ("/", "/health", "/page/{name}")
            for method in methods:
                for headers in ({}, {"authorization": "Bearer no"}, {"authorization": KEY}):
                    answer = server.request(method.upper(), path, b"{}", **JSON, **headers)
                    assert (answer.status == 401) != open_to_all, (method, path)
        assert server.get("/v1/models").headers["www-authenticate"] == "Bearer"
        assert server.get("/v1/nothing").status == 401
        assert server.get("/v1/models", authorization=f"bearer  {KEY}").status == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "needs a key: set CHARGEN_API_KEY or --api-key"),
        ({"host": "::"}, "needs a key"),
        ({"host": "my.lan"}, "needs a key"),
        ({"api_key": "short"}, "api-key has a wrong form; allowed: 8 to 200"),
        ({"api_key": "with a space"}, "api-key has a wrong form"),
        ({"cors_origin": ("*",)}, "cors-origin is '*'; allowed: an origin"),
        ({"cors_origin": ("https://a.example/",)}, "cors-origin"),
        ({"allowed_host": ("a.example:80",)}, "allowed-host is 'a.example:80'"),
        ({"port": 70000}, "port is 70000; allowed: 0 to 65535"),
        ({"batch_size": 0}, "batch-size is 0; allowed: 1 to 4096"),
        ({"timeout": 0.0}, "timeout is 0.0"),
        ({"log_level": "all"}, "log-level is 'all'; allowed: warning, info"),
    ],
)
def test_settings_that_are_not_safe_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("*", "\\*")):
        ServeConfig(**settings)


def test_a_key_in_the_environment_opens_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGEN_API_KEY", KEY)
    assert ServeConfig(host="0.0.0.0").api_key == KEY


def test_an_address_in_use_is_one_line() -> None:
    with (
        run.listen(LOCAL) as first,
        pytest.raises(ConfigError, match=r"port \d+: Address already in use; give another --port"),
    ):
        run.listen(replace(LOCAL, port=first.getsockname()[1]))


# -- what one client can hold -------------------------------------------------------------


def test_bodies_have_a_limit(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(exchange, "LINGER", 0.1)
    with serve(max_prompt=1000) as server:
        limit = replace(LOCAL, max_prompt=1000).max_body
        answer = server.request("POST", "/v1/completions", b"x" * (limit + 1), **JSON)
        assert (answer.status, answer.error["message"]) == (
            413,
            f"the body is longer than {limit:,} bytes",
        )
        form = server.request("POST", "/v1/completions", b"prompt=The")
        assert form.status == 415
        assert "send Content-Type: application/json" in form.error["message"]
        squeezed = server.request("POST", "/v1/score", b"\x1f\x8b", content_encoding="gzip", **JSON)
        assert (squeezed.status, "is compressed" in squeezed.error["message"]) == (415, True)
        with server.open() as slow:
            head = (
                b"POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            )
            slow.sendall(head + b"content-length: 10\r\n\r\n{")
            assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
        with server.open() as endless:
            endless.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
            with pytest.raises(OSError, match="reset|[Bb]roken|closed"):
                for _ in range(100_000):
                    endless.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def test_slow_headers_and_what_is_no_http(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.3)
    with serve() as server:
        with server.open() as silent:
            assert silent.recv(100) == b""
        with server.open() as slow:
            slow.sendall(b"GET /health HTTP/1.1\r\nhost: loc")
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        with server.open() as second:  # of a connection that is kept
            whole = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
            second.sendall(whole + whole[:10])
            second.settimeout(PATIENCE)
            got = b""
            while part := second.recv(1000):
                got += part
            assert got.count(b"HTTP/1.1 200") == 1
            assert got.count(b"HTTP/1.1 408") == 1
        for wrong in (b"\x16\x03\x01\x00", b"GET / HTTP/1.1\r\nx: " + b"a" * 99_999):
            with server.open() as odd:
                odd.sendall(wrong + b"\r\n\r\n")
                got = odd.recv(2000)
                assert got.startswith(b"HTTP/1.1 400 ")
                assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_a_body_with_two_lengths_is_refused_and_the_connection_closed(
    serve: Callable[..., Any],
) -> None:
    hidden = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with serve() as server, server.open() as client:
        client.sendall(
            b"POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 80\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + hidden
        )
        got = b"".join(iter(lambda: client.recv(4096), b""))
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.count(b"HTTP/1.1") == 1
        assert b"both Content-Length and Transfer-Encoding" in got


def test_many_small_chunks_leave_others_their_turn(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, parse = list[int](), connection.Connection.data_received

    def recorded(self: connection.Connection, data: bytes) -> None:
        sizes.append(len(data))
        parse(self, data)

    monkeypatch.setattr(connection.Connection, "data_received", recorded)
    with serve() as server, server.open() as client:
        client.sendall(
            b"POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 2000 + b"0\r\n\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")  # it is no JSON
    assert max(sizes) <= 4096


def test_connections_have_a_limit(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 2)
    with serve() as server, server.open() as first, server.open() as second:
        for open_one in (first, second):
            open_one.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert open_one.recv(1000).startswith(b"HTTP/1.1 200 ")
        with server.open() as third:
            assert b'"code": "too_many_connections"' in third.recv(1000)


def test_a_client_that_leaves_frees_its_row(serve: Callable[..., Any]) -> None:
    with serve() as server:
        streams = [server.stream(max_tokens=60_000, seed=n) for n in range(3)]
        assert server.metric("chargen_rows") == 3
        whole = server.send(max_tokens=60_000, n=2)
        until(lambda: server.metric("chargen_rows") == 5)
        for client in [*streams, whole]:
            client.close()
        until(lambda: server.metric("chargen_rows") == 0)
        assert server.metric("chargen_requests_running") == 0


def test_a_full_queue_says_when_to_come_back(serve: Callable[..., Any]) -> None:
    with serve(batch_size=1, queue=1) as server:
        clients = [server.stream(max_tokens=60_000), server.send(max_tokens=60_000, stream=True)]
        until(lambda: server.metric("chargen_waiting") == 1)
        answer = server.complete(max_tokens=1)
        assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
        assert answer.headers["retry-after"] == "1"
        for client in clients:
            client.close()
        until(lambda: server.metric("chargen_rows") == 0)
        assert server.complete(max_tokens=1).status == 200


def test_a_model_that_is_trained_anew_is_loaded_anew(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("small", "other"):
        shutil.copytree(trained / "small", tmp_path / name)
    loads = list[str]()

    def counted(path: Path) -> Sampler:
        loads.append(path.parent.name)
        return load(path)

    limits = replace(LOCAL, models_in_memory=1)
    with in_thread(tmp_path, monkeypatch, limits, counted) as server:
        assert [server.complete(max_tokens=1).status for _ in range(2)] == [200, 200]
        assert loads == ["small"]
        stream = server.stream(max_tokens=60_000)
        busy = server.complete(model="other", max_tokens=1)
        assert (busy.status, busy.error["code"]) == (429, "models_busy")
        os.utime(tmp_path / "small/model.safetensors")
        until(lambda: server.complete(max_tokens=1).status == 200 and loads[1:])
        assert loads == ["small", "small"]
        stream.settimeout(PATIENCE)
        assert stream.recv(1000)  # the old one goes on for those that use it
        stream.close()
        until(lambda: server.complete(model="other", max_tokens=1).status == 200)
        assert loads == ["small", "small", "other"]


def test_a_reader_that_stands_still_is_left(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 0.2)
    with serve() as server:
        client = server.stream(max_tokens=2000, n=8, logprobs=50)
        until(lambda: server.metric("chargen_rows") == 0)
        client.close()


def test_a_request_has_a_time(serve: Callable[..., Any]) -> None:
    with serve(timeout=0.3) as server:
        answer = server.complete(max_tokens=60_000, n=64)
        assert (answer.status, answer.error["code"]) == (504, "timeout")
        events = server.complete(max_tokens=60_000, n=64, stream=True)
        last = events.body.decode().split("\n\n")[-2]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
        until(lambda: server.metric("chargen_rows") == 0)


def test_answers_tell_nothing_of_the_machine(serve: Callable[..., Any], trained: Path) -> None:
    damaged = trained / "damaged"
    damaged.mkdir()
    (damaged / "model.safetensors").write_bytes(b"nothing")
    try:
        with pytest.raises(AssertionError, match="cannot load 'damaged'"), serve() as server:
            answer = server.complete(model="damaged")
            assert answer.status == 503
            assert str(trained) not in answer.error["message"]
    finally:
        (damaged / "model.safetensors").unlink()
        damaged.rmdir()


def test_files_of_the_page_are_those_of_the_page(serve: Callable[..., Any]) -> None:
    with serve() as server:
        page = server.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        again = server.get("/page/index.html", if_none_match=page.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        for name in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "", "nothing"):
            assert server.get(f"/page/{name}").status == 404


def test_routes_and_methods(serve: Callable[..., Any]) -> None:
    with serve() as server:
        unknown, wrong = server.get("/v2/x"), server.get("/v1/completions")
        assert (unknown.status, wrong.status, wrong.headers["allow"]) == (404, 405, "POST")
        assert "/v1/completions" in unknown.error["message"]
        assert "takes POST only" in wrong.error["message"]
        head = server.request("HEAD", "/health")
        assert (head.status, head.body) == (200, b"")
        assert server.get("/health").data == {"status": "ok"}
        assert server.metric("chargen_requests_total") == 4
