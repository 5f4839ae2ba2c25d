"""What a pull leaves: runs that were there before, and pulls that are killed."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from chargen.storage.runs import locked
from tests.conftest import Run, needs_torch, write
from tests.processes import run, running
from tests.sharing.servers import Web, half_then_waits
from tests.sharing.test_pull import AT, MODEL, RUN, flipped
from tests.sharing.test_push import small_files


def files_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}


@pytest.fixture
def old(with_model: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of a whole run ``small`` in ``checkpoints``."""
    shutil.copytree(with_model.parent, RUN)
    monkeypatch.setenv("CHARGEN_CHECKPOINTS", "checkpoints")
    return files_of(RUN)


def test_a_name_in_use_is_refused_and_forced(
    chargen: Run, pushed: Path, web: Web, old: dict[str, bytes]
) -> None:
    address = web.share(pushed)
    done = chargen("pull", address)
    assert done.stderr == (
        "chargen: run 'small' exists; give another --name, or replace it with --force\n"
    )
    assert files_of(RUN) == old
    assert chargen("pull", address, "--force").returncode == 0
    assert files_of(RUN).keys() == {MODEL, "card.md"}
    assert (RUN / MODEL).read_bytes() == (pushed / MODEL).read_bytes()


def test_a_pull_that_fails_leaves_the_old_run(
    chargen: Run, pushed: Path, web: Web, old: dict[str, bytes]
) -> None:
    address = web.share(pushed)
    web.pages[f"{AT}/{MODEL}"] = flipped((pushed / MODEL).read_bytes())
    assert chargen("pull", address, "--force").returncode == 1
    assert files_of(RUN) == old


def test_a_run_that_is_trained_is_not_replaced(
    chargen: Run, pushed: Path, old: dict[str, bytes]
) -> None:
    with locked(RUN):
        done = chargen("pull", "pushed", "--name", "small", "--force")
    assert done.returncode == 1
    assert "run 'small' is being trained by another process" in done.stderr
    assert files_of(RUN) == old


@needs_torch
def test_training_replaces_a_pulled_run_and_its_card(
    chargen: Run, pushed: Path, prose: str
) -> None:
    write("text.txt", prose[:3000])
    assert chargen("pull", "pushed", "--name", "a").returncode == 0
    train = ("train", "text.txt", "--name", "a", "--hidden", "8", "--steps", "3", "--threads", "1")
    assert chargen(*train).returncode == 1
    done = chargen(*train, "--force")
    assert done.returncode == 0, done.stderr
    assert "card.md" not in os.listdir("checkpoints/a")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_full_disk_leaves_nothing(chargen: Run, pushed: Path, web: Web) -> None:
    done = chargen("pull", web.share(pushed), preexec_fn=small_files)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert re.match(r"chargen: cannot write '.*': File too large; make room", done.stderr)
    assert not Path("checkpoints").exists()


# -- kills --------------------------------------------------------------------------------


def test_a_pull_that_is_killed_leaves_no_half_run(pushed: Path, with_model: Path) -> None:
    """At every operation on files, with and without an old run."""
    module = "tests.sharing.kills"
    command = [sys.executable, "-m", module, "pushed", str(with_model.parent)]
    root = Path(__file__).parents[2]  # not installed where torch is not
    done = run(command, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    verdicts = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(verdicts) > 40
    assert all(line.endswith("  ok") for line in verdicts), done.stdout
    assert sum("new" in line for line in verdicts) > 4


def test_a_pull_that_is_killed_while_it_waits_can_be_repeated(
    chargen: Run, pushed: Path, web: Web
) -> None:
    address = web.share(pushed)
    whole = (pushed / MODEL).read_bytes()
    web.pages[f"{AT}/{MODEL}"] = half_then_waits(whole)
    with running([sys.executable, "-m", "chargen", "pull", address]) as process:
        deadline = time.monotonic() + 60
        while not any(p.stat().st_size > 1000 for p in RUN.glob(".pull/*model*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait(30)
    assert chargen("runs").stdout == ""
    assert chargen("sample", "-m", "small").returncode == 1
    web.share(pushed)
    assert chargen("pull", address).returncode == 0
    assert sorted(os.listdir(RUN)) == [".lock", "card.md", MODEL]


def test_ctrl_c_leaves_nothing(pushed: Path, web: Web) -> None:
    import signal

    address = web.share(pushed)
    web.pages[f"{AT}/{MODEL}"] = half_then_waits((pushed / MODEL).read_bytes())
    with running([sys.executable, "-m", "chargen", "pull", address]) as process:
        deadline = time.monotonic() + 60
        while not any(path == f"{AT}/{MODEL}" for path, _ in web.asked):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "chargen: interrupted\n")
    assert not Path("checkpoints").exists()
