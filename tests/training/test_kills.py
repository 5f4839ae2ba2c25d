"""A run survives being killed at any moment; see ``kills`` for what is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import needs_torch
from tests.processes import run

ROOT = Path(__file__).parents[2]


@needs_torch
@pytest.mark.timeout(300)
def test_a_run_killed_at_thirty_moments_ends_as_if_it_had_never_been() -> None:
    done = run([sys.executable, "-m", "tests.training.kills"], text=True, cwd=ROOT, timeout=240)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lines) == 32
    assert sum("nothing was saved" in line for line in lines) <= 4
