"""Signals: what stops a run, what does not, and what is left."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from chargen.cli.train import Signals
from chargen.storage.checkpoint import load_resume
from tests.conftest import start_training

RUN = Path("checkpoints/a")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_other_signals_save_and_stop_as_well(prose: str, number: signal.Signals) -> None:
    with start_training(prose) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "and saved; go on with: chargen train --resume --name a" in errors
    assert load_resume(RUN).header["step"] > 0


def test_a_hangup_that_was_ignored_at_the_start_stays_ignored(prose: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; children inherit it
    try:
        with start_training(prose) as process:
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert process.poll() is None
            process.terminate()
            process.communicate(timeout=30)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.returncode == 143


def test_a_second_ctrl_c_leaves_at_once_and_tears_nothing(prose: str) -> None:
    with start_training(prose) as process:
        for _ in range(5):
            process.send_signal(signal.SIGINT)
            time.sleep(0.002)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)  # the latter while Python takes itself apart
    assert "Traceback" not in errors
    assert load_resume(RUN).passed_over is None
    for line in (RUN / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def test_signals_are_remembered_once_and_leave_at_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        signals = Signals()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)  # torchrun's SIGTERM may come first
        assert signals.received == signal.SIGINT
        assert left == []
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [130]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
