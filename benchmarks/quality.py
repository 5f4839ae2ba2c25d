"""How good a model a time budget buys, on texts given by name.

    python -m benchmarks.quality --time 100s tinyshakespeare [alice29 ...] [--seed 1] [-- OPTIONS]

Trains each text by the command itself, with no other option than time and seed (and those
after ``--``), in a folder that is removed again. The validation loss is that of the last
10 % in nats per character: carried state, and fresh windows of 256 characters. Texts come from
``CHARGEN_TEST_CORPORA`` (default ``../shared/corpora``); a path or a built-in name is taken as
it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def find_text(name: str) -> str:
    """Return the path of a text by its name."""
    folder = Path(os.environ.get("CHARGEN_TEST_CORPORA", "../shared/corpora"))
    found = [path for path in sorted(folder.glob(f"{name}*")) if path.is_file()]
    return str(found[0].absolute()) if found else name


def train(text: str, budget: str, seed: int, options: list[str]) -> dict[str, Any]:
    """Train in a fresh folder and return the last line of the metrics, and the time it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "chargen", "train", text, "--name", "run", "-q"]
        command += ["--time", budget, "--seed", str(seed), *options]
        began = time.monotonic()
        subprocess.run(command, cwd=folder, check=True)
        seconds = time.monotonic() - began
        lines = (Path(folder) / "checkpoints/run/metrics.jsonl").read_text().splitlines()
        return {**json.loads(lines[-1]), "command_seconds": seconds}


def main() -> None:
    """Print a row a text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--time", default="100s")
    parser.add_argument("--seed", type=int, default=1)
    ours, options = sys.argv[1:], []
    if "--" in ours:
        ours, options = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    arguments = parser.parse_args(ours)
    heads = f"{'text':24} {'carried':>9} {'windows':>9} {'steps':>7} {'chars/s':>9}"
    print(f"{heads} {'seconds':>8} {'MB':>6}")
    for name in arguments.texts:
        end = train(find_text(name), arguments.time, arguments.seed, options)
        print(
            f"{name:24} {end['final_val_loss']:9.4f} {end['final_window_loss']:9.4f} "
            f"{end['steps']:7,} "
            f"{end['characters_per_second']:9,} {end['command_seconds']:8.1f} "
            f"{end['peak_memory_bytes'] / 1e6:6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
