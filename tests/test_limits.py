"""No test waits for a process without a limit."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import processes
from tests.processes import finish, reap, running, wait_for

HERE = Path(__file__).parent
RUNS = {"run", "call", "check_call", "check_output"}  # of subprocess; they take a timeout
WAITS = {"wait", "communicate", "join"}  # with nothing given they wait for ever
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DIE = [sys.executable, "-c", "raise SystemExit('died of this')"]


def unlimited(tree: ast.AST, starts: bool = False) -> Iterator[str]:
    """Yield the waits that have no limit, and processes that are not started by ``processes``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.While) and ".exists()" in ast.unparse(node.test) and not starts:
            yield f"{node.lineno}: use wait_for, which looks whether the process is alive"
        if isinstance(node, ast.ImportFrom) and node.module == "subprocess":
            yield f"{node.lineno}: import subprocess as a whole, that its calls can be found"
        if not isinstance(node, ast.Call):
            continue
        call, given = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
        owner, _, name = call.rpartition(".")
        # ``**settings`` has no name: the two places that use it hold the limit in there.
        if (owner == "subprocess" and name in RUNS and not given & {"timeout", None}) or (
            owner and name in WAITS and not node.args and "timeout" not in given
        ):
            yield f"{node.lineno}: {call} without a timeout"
        if call == "subprocess.Popen" and not starts:
            yield f"{node.lineno}: use running, which kills what it starts"
        if call == "os.waitpid" and "WNOHANG" not in ast.unparse(node):
            yield f"{node.lineno}: use reap, which has a limit"


@pytest.mark.parametrize(
    "path", sorted(HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(HERE))
)
def test_every_wait_for_a_process_has_a_limit(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    starts = path.name in ("processes.py", "forked.py")  # the limits of all others
    assert not list(unlimited(tree, starts=starts))


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['x'], check=True)",
        "subprocess.check_output('x')",
        "process.communicate()",
        "process.wait()",
        "thread.join()",
        "subprocess.Popen(['x'])",
        "os.waitpid(pid, 0)",
        "from subprocess import run",
        "while not Path('x').exists(): pass",
    ],
)
def test_a_wait_without_a_limit_is_found(line: str) -> None:
    assert len(list(unlimited(ast.parse(line)))) == 1


def test_what_never_comes_ends_with_what_the_process_said() -> None:
    with (
        running(DIE) as process,
        pytest.raises(AssertionError, match="ended with 1 without never: died of this"),
    ):
        wait_for(Path("never"), process)
    with pytest.raises(AssertionError, match="ended with 1: died of this"):
        finish(DIE, text=True)


def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LIMIT", 0.2)
    began = time.monotonic()
    with running(SLEEP) as process, pytest.raises(AssertionError, match="ended with -9 without"):
        wait_for(Path("never"), process)
    with pytest.raises(AssertionError, match="timed out after"):
        finish(SLEEP)
    pid = os.posix_spawn(SLEEP[0], SLEEP, os.environ)
    with pytest.raises(AssertionError, match="was killed"):
        reap(pid, 0.2)
    assert time.monotonic() - began < 30


def test_the_block_ends_its_process() -> None:
    with running(SLEEP, stdout=subprocess.DEVNULL) as process:
        assert process.poll() is None
    assert process.returncode
