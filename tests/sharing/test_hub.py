"""The hub, by its own library, against a server on this computer that answers like it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargen.model.saved import read_model
from chargen.sharing import hub
from tests.conftest import Run
from tests.processes import run
from tests.sharing.servers import Hub, Web, serving

MODEL, README, SUMS = "model.safetensors", "README.md", "SHA256SUMS"
TOKEN = "hf_secret"

needs_library = pytest.mark.usefixtures("library")


@pytest.fixture
def library() -> None:
    pytest.importorskip("huggingface_hub")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(Hub, "repos", {})
    monkeypatch.setattr(Hub, "uploaded", {})
    with serving(Hub) as running:
        settings = {
            "HF_ENDPOINT": running.address,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "localhost",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield running


def files_of(repo: str) -> dict[str, bytes]:
    known = Hub.repos[repo]
    files: dict[str, bytes] = known["commits"][known["head"]]
    return files


def is_private(repo: str) -> bool:
    """Tell what a request for a new repository asked for, in this or an older form."""
    wanted = Hub.repos[repo]["created"]
    return wanted.get("visibility") == "private" or bool(wanted.get("private"))


@needs_library
def test_a_model_goes_to_the_hub_and_comes_back(
    chargen: Run, server: Web, with_model: Path
) -> None:
    done = chargen("push", "small", "hf:me/it", "--licence", "mit")
    assert (done.returncode, done.stdout) == (0, f"{server.address}/me/it\n"), done.stderr
    files = files_of("me/it")
    assert sorted(files) == [README, SUMS, MODEL]
    assert files[README].startswith(b"---\nlibrary_name: chargen\n")
    assert is_private("me/it")
    done = chargen("pull", "hf:me/it")
    assert done.returncode == 0, done.stderr
    run_folder = with_model.parent.parent / "it"
    assert (run_folder / MODEL).read_bytes() == files[MODEL]
    assert (run_folder / "card.md").read_bytes() == files[README]
    assert chargen("sample", "-m", "it", "-n", "9", "--seed", "1").returncode == 0


@needs_library
def test_a_model_is_public_when_that_is_said(chargen: Run, server: Web, with_model: Path) -> None:
    assert chargen("push", "small", "hf:me/it", "--public").returncode == 0
    assert not is_private("me/it")


@needs_library
def test_what_is_there_is_replaced_with_force_and_kept_in_the_history(
    chargen: Run, server: Web, with_model: Path
) -> None:
    assert chargen("push", "small", "hf:me/it").returncode == 0
    first = Hub.repos["me/it"]["head"]
    done = chargen("push", "small", "hf:me/it", "--with-text")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "chargen: hf:me/it has README.md, SHA256SUMS, model.safetensors; replace them with --force"
    )
    assert Hub.repos["me/it"]["head"] == first
    assert chargen("push", "small", "hf:me/it", "--with-text", "--force").returncode == 0
    assert Hub.repos["me/it"]["head"] != first
    runs = with_model.parent.parent
    assert chargen("pull", "hf:me/it", "--name", "new").returncode == 0
    assert (runs / "new" / MODEL).read_bytes() == with_model.read_bytes()
    assert chargen("pull", f"hf:me/it@{first}", "--name", "old").returncode == 0
    assert read_model(runs / "old" / MODEL).mixture is None


@needs_library
def test_the_files_of_a_pull_are_of_one_commit(chargen: Run, server: Web, with_model: Path) -> None:
    assert chargen("push", "small", "hf:me/it").returncode == 0
    server.asked.clear()
    assert chargen("pull", "hf:me/it", "--name", "a").returncode == 0
    head = Hub.repos["me/it"]["head"]
    resolved = [path for path, _ in server.asked if "/resolve/" in path]
    assert resolved == [f"/me/it/resolve/{head}/{name}" for name in (SUMS, README, MODEL)]


@needs_library
def test_what_the_hub_refuses_is_one_clear_line(
    chargen: Run, server: Web, with_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = "check the name, and if it is private, log in with `hf auth login`, or set HF_TOKEN"
    done = chargen("pull", "hf:me/gone")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"chargen: cannot pull hf:me/gone: the hub says 401; {advice}\n"
    Hub.repos["me/it"] = {"head": "0" * 40, "commits": {"0" * 40: {}}}
    done = chargen("pull", "hf:me/it@v2")
    assert done.stderr == f"chargen: cannot pull hf:me/it: the hub says 404; {advice}\n"
    done = chargen("pull", "hf:me/it")
    assert done.stderr == (
        "chargen: cannot pull 'hf:me/it': SHA256SUMS: the server says 404 Not Found; is it what "
        "`chargen push` wrote?\n"
    )
    monkeypatch.delenv("HF_TOKEN")
    done = chargen("push", "small", "hf:me/new")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"chargen: cannot push to hf:me/new: the hub says 401; {advice}"
    )
    assert "me/new" not in Hub.repos


@needs_library
@pytest.mark.parametrize("arguments", [("pull", "hf:me/it"), ("push", "small", "hf:me/it")])
def test_a_hub_that_is_not_there_is_one_clear_line(
    chargen: Run, with_model: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
    done = chargen(*arguments, env={**os.environ, "HF_TOKEN": TOKEN, "NO_PROXY": "localhost"})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"chargen: cannot {arguments[0]}")
    assert "refused" in last
    assert "Traceback" not in done.stderr


@needs_library
def test_another_hub_by_http_is_refused(
    chargen: Run, server: Web, with_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of a user would be sent in the clear."""
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example.org")
    done = chargen("pull", "hf:me/it")
    assert done.returncode == 2
    assert done.stderr.startswith("chargen: HF_ENDPOINT is 'http://hub.example.org'; allowed: http")
    assert chargen("push", "small", "hf:me/it").returncode == 2


@pytest.mark.parametrize("line", ["pull hf:me/it", "push small hf:me/it"])
def test_without_the_library_one_line_says_how_to_get_it(line: str, with_model: Path) -> None:
    program = "import sys; sys.modules['huggingface_hub'] = None; import chargen.cli as it; "
    done: subprocess.CompletedProcess[str] = run(
        [sys.executable, "-W", "error", "-c", program + "it.main()", *line.split()], text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "chargen: hf: needs huggingface_hub, which is not installed: pip install 'chargen[hub]'"
    )


def test_names_on_the_hub() -> None:
    assert hub.parse("hf:me/it") == ("me", "it", None)
    assert hub.parse("hf:me/it@refs/pr/1") == ("me", "it", "refs/pr/1")


@needs_library
def test_json_says_where(chargen: Run, server: Web, with_model: Path) -> None:
    done = chargen("push", "small", "hf:me/it", "--json")
    facts = json.loads(done.stdout)
    assert facts["destination"] == f"{server.address}/me/it"
    assert facts["bytes"] == len(files_of("me/it")[MODEL])
