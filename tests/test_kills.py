"""A run survives being killed at any moment; see ``kills`` for what is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import needs_torch

ROOT = Path(__file__).parent.parent


@needs_torch
def test_a_run_killed_at_thirty_moments_ends_as_if_it_had_never_been() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lines) == 32
    assert sum("nothing was saved" in line for line in lines) <= 4
