"""Disks that fill up, and what is left."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargen.model.saved import load_weights
from tests.conftest import Run, needs_torch, write
from tests.processes import running, wait_for

TRAIN = (
    "train",
    "text.txt",
    "--hidden",
    "32",
    "--batch-size",
    "4",
    "--threads",
    "1",
    "--name",
    "a",
)


@pytest.fixture
def small_disk(isolated: Path) -> Iterator[Path]:
    """A disk of twelve megabytes where the runs are kept."""
    disk = isolated / "checkpoints"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("this system has no mount")
    if done.returncode:
        pytest.skip("only the administrator can mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


@needs_torch
def test_a_full_disk_ends_a_run_in_one_line_and_loses_nothing(
    chargen: Run, prose: str, small_disk: Path
) -> None:
    write("text.txt", prose)
    command = [sys.executable, "-m", "chargen", *TRAIN, "--steps", "4000"]
    with running(command) as process:
        wait_for(small_disk / "a/model.safetensors", process)
        with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in told
    last = told.splitlines()[-1]
    assert last.startswith("chargen: cannot write 'checkpoints/a/")
    assert "No space left on device; make room" in last
    assert load_weights(small_disk / "a/model.safetensors")
    assert not [path for path in (small_disk / "a").iterdir() if path.name.startswith(".model")]
    (small_disk / "filler").unlink()
    done = chargen("train", "--resume", "--name", "a", "--steps", "5")
    assert done.returncode == 0, done.stderr


def test_what_a_text_is_like_is_told(chargen: Run) -> None:
    write("text.txt", "ab\ncde\n\x07é" + "a" * 30)
    told = chargen("corpus", "stats", "text.txt", "--json")
    assert told.returncode == 0, told.stderr
    for fact in ('"characters": 39', '"alphabet": 8', '"lines": 3', '"longest_line": 32'):
        assert fact in told.stdout
    assert '"control_characters": 1' in told.stdout
    assert '"supports": "none: ' in told.stdout
    table = chargen("corpus", "stats", "builtin:pydoc").stdout
    assert re.search(
        r"^ *supports +models up to \w+, \d x \d+, [\d,]+ parameters *$", table, re.MULTILINE
    )


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_damaged_files_are_named_with_what_mends_them(chargen: Run, prose: str) -> None:
    write("text.txt", prose)
    assert chargen(*TRAIN, "--steps", "12").returncode == 0
    run = Path("checkpoints/a")
    flip(run / "model.safetensors")
    refused = chargen("sample", "-n", "9")
    mend = "chargen train --resume --name a --time 10s"
    assert refused.stderr == (
        "chargen: 'checkpoints/a/model.safetensors' is damaged: its checksum does not match; "
        f"make it again: {mend}\n"
    )
    mended = chargen(*mend.split()[1:-1], "1s")
    assert mended.returncode == 0, mended.stderr
    assert "warning: model.safetensors was lost or damaged: made again" in mended.stderr
    assert chargen("sample", "-n", "9").returncode == 0
    for path in Path(os.environ["CHARGEN_CACHE"]).rglob("*.ids"):
        flip(path)
    flip(run / "resume.safetensors")
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event": "eval\xff\n')
    older = chargen("train", "--resume", "--name", "a", "--steps", "3")
    assert older.returncode == 0, older.stderr
    assert older.stderr.startswith(
        "chargen: 'checkpoints/a/resume.safetensors' is damaged: its checksum does not match: "
        "going on from the one before\n"
    )
    for name in ("resume.safetensors", "resume.previous.safetensors"):
        flip(run / name)
    lost = chargen("train", "--resume", "--name", "a", "--steps", "3")
    assert lost.returncode == 1
    assert lost.stderr.endswith("begin another from its model: chargen train CORPUS --base a\n")
    again = chargen("train", "text.txt", "--base", "a", "--steps", "3", "--name", "b")
    assert again.returncode == 0, again.stderr


def test_an_unwritable_cache_costs_time_and_is_said(
    chargen: Run, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("text.txt", prose)
    monkeypatch.setenv("CHARGEN_CACHE", "text.txt/cache")
    done = chargen(*TRAIN, "--steps", "3")
    assert done.returncode == 0
    assert "chargen: cannot write 'text.txt/cache/corpora'" in done.stderr
    assert "(the ids stay in memory)" in done.stderr
    assert chargen("sample", "-n", "9").returncode == 0
