"""Lines scored side by side, beside the same lines one by one.

    python -m benchmarks.lines tinyshakespeare.txt names.txt [-m english] [--threads 1]

Lines are cut to 40 characters. "log" are made-up lines of a web server, in order of time, all of
40 characters. Each is scored by ``chargen.load(...).score(line)``, one after the other, and by
``score_lines(lines)``, in one process and in alternation; the median of the rounds counts. Lines
per second of processor time are to be believed on a busy machine as well. The last column is the
largest difference between the two, in bits of a line.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import chargen
from chargen import Model

Rate = tuple[float, float]  # lines per second, and per second of processor time


def log_lines(count: int) -> list[str]:
    """Return made-up lines of a log, a few in each second."""
    draw, lines = random.Random(1), []
    for number in range(count):
        seconds = number // 5
        clock = f"2026-11-28 {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        path = draw.choice(("index", "login", "search", "images", "about"))
        code = draw.choice((200, 200, 200, 304, 404))
        lines.append(f"{clock} GET /{path} {code} {draw.randrange(9999)}".ljust(39)[:39] + "\n")
    return lines


def read(file: str, length: int) -> list[str]:
    """Return the lines of a file, cut to a length, without empty ones."""
    lines = Path(file).read_text("utf-8").splitlines()
    return [f"{line[: length - 1]}\n" for line in lines if line]


def timed(work: Callable[[list[str]], list[float]], lines: list[str]) -> tuple[Rate, list[float]]:
    """Return how fast some work is, and what it found."""
    began, cpu = time.perf_counter(), time.process_time()
    found = work(lines)
    took = time.perf_counter() - began, time.process_time() - cpu
    return (len(lines) / took[0], len(lines) / took[1]), found


def compare(model: Model, lines: list[str], few: int, rounds: int) -> str:
    """Return a row of the table: a part of the lines one by one, all of them side by side."""
    works: list[tuple[Callable[[list[str]], list[float]], list[str]]] = [
        (lambda part: [model.score(line).bits for line in part], lines[:few]),
        (lambda part: [line.bits for line in model.score_lines(part)], lines),
    ]
    rates: tuple[list[Rate], list[Rate]] = ([], [])
    for _ in range(rounds):
        found = []
        for own, (work, part) in zip(rates, works, strict=True):
            rate, bits = timed(work, part)
            own.append(rate)
            found.append(bits)
    apart = max(abs(a - b) for a, b in zip(found[0], found[1][:few], strict=True))
    one, many = ([statistics.median(column) for column in zip(*own, strict=True)] for own in rates)
    return (
        f"{one[0]:9,.0f} {many[0]:12,.0f} {many[0] / one[0]:7.1f}   "
        f"{one[1]:9,.0f} {many[1]:12,.0f} {many[1] / one[1]:7.1f}   {apart:9.1e}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*")
    parser.add_argument("-m", "--model", default="english")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--lines", type=int, default=4096)
    parser.add_argument("--one-by-one", type=int, default=64, help="of the lines, one by one")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = chargen.load(options.model, threads=options.threads)
    texts = {Path(file).name: read(file, options.length) for file in options.files}
    print(f"{'lines/s':20} one by one side by side   ratio     of processor time: the same")
    for name, lines in {**texts, "log": log_lines(options.lines)}.items():
        part = lines[: options.lines]
        print(f"{name:20} {compare(model, part, options.one_by_one, options.rounds)}", flush=True)


if __name__ == "__main__":
    main()
