"""Every option of ``chargen serve`` changes what the server does."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.processes import run
from tests.server.serving import SECONDS, serving

pytest.importorskip("uvicorn")

KEY = "a-key-of-tests"
OPTIONS = (
    *("--host", "127.0.0.2", "--api-key", KEY, "--allowed-host", "my.lan"),
    *("--cors-origin", "https://a.example", "--models-in-memory", "1", "--batch-size", "2"),
    *("--queue", "1", "--max-prompt", "50", "--max-length", "40", "--timeout", "0.5"),
    *("--grace", "0.1", "--log-level", "info", "-m", "other", "--threads", "1", "--int8"),
)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_each_option_has_its_effect(trained: Path, tmp_path: Path) -> None:
    for name in ("small", "other"):
        shutil.copytree(trained / "small", tmp_path / name)
    port = free_port()
    with serving(tmp_path, *OPTIONS, "--port", port) as server:
        assert (server.url, str(server.port)) == (f"http://127.0.0.2:{port}", port)
        assert server.get("/v1/models").status == 401
        server.headers["authorization"] = f"Bearer {KEY}"
        assert server.get("/v1/models", host="my.lan").data["data"][0]["id"] == "other"
        allowed = server.get("/health", origin="https://a.example").headers
        assert allowed["access-control-allow-origin"] == "https://a.example"
        assert "allowed: up to 50" in server.complete("x" * 51).error["message"]
        assert "allowed: 0 to 40" in server.complete(max_tokens=41).error["message"]
        assert server.complete().data["usage"]["completion_tokens"] == 40  # less than usual
        assert "allowed: 1 to 2" in server.complete(n=3).error["message"]
        assert server.complete(max_tokens=2, model="small").status == 200
        assert server.metric("chargen_models_in_memory") == 1
        busy = server.post("/v1/completions", prompt=["a", "b"], n=2, max_tokens=40)
        assert busy.status == 429  # four texts: two rows, one place in the queue
        server.process.terminate()
        assert server.process.wait(timeout=SECONDS) == 0
        assert server.process.stderr
        said = server.process.stderr.read()
        assert "chargen: POST '/v1/completions' 200 " in said
        assert list(tmp_path.glob("cache/graphs/*int8*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--device cuda --int8", "device is 'cuda'; allowed: cpu, where int8 runs"),
        ("--host 0.0.0.0", "host '0.0.0.0' can be reached from other machines, so it needs a key"),
        ("-m nothing", "no model 'nothing'"),
    ],
)
def test_what_cannot_be_is_one_line(
    chargen: Run, with_model: Path, options: str, words: str
) -> None:
    done = chargen("serve", "--port", "0", *options.split())
    assert done.stderr.startswith(f"chargen: {words}")
    assert done.stderr.count("\n") == 1


def test_without_the_extra_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from chargen.cli import main; main()"
    done = run([sys.executable, "-W", "error", "-c", program, "serve"], text=True)
    told = "chargen: the server needs uvicorn; install it: pip install 'chargen[serve]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
