"""Large texts: speed of tokenising, and memory of training.

    python -m benchmarks.large [--size 2G] [--time 60s]

Writes a text of random words into a temporary folder, tokenises it, and trains on it with the
command itself, while the anonymous memory of that process is sampled (Linux).
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chargen.config import ReadConfig
from chargen.data.dataset import read_text, tokenize

UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


def make_text(path: Path, size: int) -> None:
    """Write a text of this many bytes: lines of words from a random list."""
    draw = random.Random(1)
    letters = "etaoinshrdlcumwfgypbvkjxqz"
    words = ["".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(5000)]
    block = "".join(" ".join(draw.choices(words, k=9)) + "\n" for _ in range(20_000)).encode()
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: size - start])


def tokenising_speed(path: Path, name: str) -> float:
    """Return the megabytes that are tokenised per second."""
    text = read_text(ReadConfig((str(path),), name))
    began = time.perf_counter()
    tokenize(text, 0.1)
    return path.stat().st_size / 1e6 / (time.perf_counter() - began)


def peak_memory(path: Path, folder: str, budget: str) -> tuple[int, float]:
    """Return the peak of anonymous memory in bytes, and the seconds until the first step."""
    command = [sys.executable, "-m", "chargen", "train", str(path), "--name", "run", "-q"]
    began, peak, first = time.monotonic(), 0, 0.0
    run = Path(folder, "checkpoints/run/resume.safetensors")
    with subprocess.Popen([*command, "--time", budget], cwd=folder) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            row = next((line for line in status.splitlines() if line.startswith("RssAnon")), "x 0")
            peak = max(peak, int(row.split()[1]) * 1024)
            first = first or (time.monotonic() - began) * run.exists()
            time.sleep(0.05)
    return peak, first


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="2G")
    parser.add_argument("--time", default="60s")
    arguments = parser.parse_args()
    size = int(float(arguments.size[:-1]) * UNITS[arguments.size[-1]])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARGEN_CACHE"] = f"{folder}/cache"
        small, large = Path(folder, "small.txt"), Path(folder, "large.txt")
        make_text(small, 100_000_000)
        for name in ("char", "byte", "unigram", "bpe"):
            speed = tokenising_speed(small, name)
            print(f"{name:6} {speed:8.0f} MB/s, learning the alphabet included")
        make_text(large, size)
        peak, first = peak_memory(large, folder, arguments.time)
        print(f"a text of {size / 1e9:.2f} GB: {peak / 1e6:,.0f} MB of anonymous memory at most, ")
        print(f"{first:.0f} s to the first step, --time {arguments.time}")


if __name__ == "__main__":
    main()
