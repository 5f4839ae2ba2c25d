"""The page of the server in a browser, and what a writer does with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser import expect
from tests.processes import LIMIT, running
from tests.server import serving

pytest.importorskip("uvicorn", reason="no uvicorn")

PATIENCE = 15.0  # seconds until something must have happened
START = 60.0  # until a server answers
expect.set_options(timeout=PATIENCE * 1000)


class Server(serving.Server):
    """``chargen serve`` on one port; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            super().__init__(free.getsockname()[1])
        self.folder, self.stack = folder, ExitStack()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "chargen", "serve", "--port", str(self.port)]
        env = {**os.environ, "CHARGEN_CHECKPOINTS": str(self.folder)}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.since = time.monotonic()
        self._process = self.stack.enter_context(running(command, env=env, **silent))
        until(self.answers, "the server did not start", START)

    def renew(self) -> None:
        """Start the server again before its time is up, which is that of one test."""
        if time.monotonic() - self.since > LIMIT / 2:
            self.stack.close()
            self.start()

    def answers(self) -> bool:
        assert self.process.poll() is None, "the server ended"
        try:
            return self.get("/health").status == 200
        except OSError:
            return False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Kill the server, and start it again after the block."""
        self.process.send_signal(signal.SIGKILL)
        self.stack.close()
        try:
            yield
        finally:
            self.start()


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Writer:
    """A page, and what a writer does with it."""

    def __init__(self, page: Any) -> None:
        self.page, self.problems, self.expected = page, list[str](), tuple[str, ...]()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def open(self, url: str) -> Writer:
        self.page.goto(url)
        self.page.locator("#model:not([disabled])").wait_for()
        return self

    def type(self, text: str) -> None:
        self.page.locator("#text").focus()
        self.page.keyboard.type(text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def text(self) -> str:
        return str(self.page.input_value("#text"))

    def put(self, text: str, cursor: int | None = None) -> None:
        """Replace the text as a paste does, and place the cursor."""
        self.page.locator("#text").fill(text)
        self.place(len(text) if cursor is None else cursor)

    def place(self, cursor: int) -> None:
        self.page.locator("#text").evaluate("(t, n) => t.setSelectionRange(n, n)", cursor)

    def set(self, name: str, value: float) -> None:
        slider = self.page.locator(f"[name={name}]")
        slider.evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input', {bubbles: true})) }", value
        )

    def finish(self) -> None:
        """Wait until nothing is generated any more."""
        expect(self.page.locator("#generate")).to_have_text("Generate")

    def see(self, selector: str, text: str) -> None:
        expect(self.page.locator(selector)).to_contain_text(text)

    def tempt(self, text: str, grey: str) -> None:
        """Type a text until so much grey text follows; a busy server may have time for less."""
        ghost = self.page.locator("#ghost")
        self.type(text)
        for _ in range(10):
            try:
                expect(ghost).to_contain_text(grey, timeout=1500)
                return
            except AssertionError:
                self.press("Backspace", text[-1])
        raise AssertionError(f"no grey text {grey!r} after {self.text[-80:]!r}")

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.id"))

    def branches(self) -> list[str]:
        return [str(text) for text in self.page.locator(".branch").all_inner_texts()]

    def check(self) -> None:
        """Fail for errors of the script, violations of the policy and what the console says."""
        found = [p for p in self.problems if not any(known in p for known in self.expected)]
        assert not found, found
