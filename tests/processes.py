"""Processes that a test starts and waits for: each has a limit, and none outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIMIT = 90.0  # seconds; less than pytest's own limit, which could not tell what a process said

Command = str | Sequence[str | Path]


def run(command: Command, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a process to its end; fail with its stderr if it takes too long."""
    settings = {"capture_output": True, "timeout": LIMIT, **options}
    try:
        return subprocess.run(command, check=False, **settings)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{late}: {late.stderr!r}") from None


def finish(command: Command, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a process to its end; fail with its stderr if it does not succeed or takes too long."""
    done = run(command, **options)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done


@contextmanager
def running(command: Command, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process with its stderr in a pipe; it is killed after the limit or the block."""
    settings = {"stderr": subprocess.PIPE, "text": True, **options}
    process = subprocess.Popen(command, **settings)
    watchdog = threading.Timer(LIMIT, process.kill)  # ends reads of its pipes as well
    watchdog.daemon = True
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        watchdog.join(10)
        process.kill()
        process.communicate(timeout=30)


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait until a running process has made a file; fail with its stderr as soon as it has died."""
    alive = True
    while not path.exists():
        assert alive, f"ended with {process.returncode} without {path}: {said(process)}"
        alive = process.poll() is None  # if not, the file is looked for once more
        time.sleep(0.02)


def said(process: subprocess.Popen[Any]) -> Any:
    """Return what a dead process has left on stderr."""
    return process.communicate(timeout=30)[1]


def reap(pid: int, seconds: float = LIMIT) -> int:
    """Return the status of a forked child when it has ended; kill it and fail if it does not."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"process {pid} was killed: it did not end in {seconds:g} s")
        time.sleep(0.01)
