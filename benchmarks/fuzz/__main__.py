"""Random input for all that a user can give.

    python -m benchmarks.fuzz [--kind KIND] [--cases 10000] [--seed 1]

Kinds: ``parsers``, all that parses text or files (hypothesis reduces what breaks it); ``options``
beside ``--resume`` and ``--base``; ``readings`` of one text by every command; ``places`` to
write to. Each case has a seed of its own, with which it is repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzz import cases


def _options() -> cases.Kind:
    from benchmarks.fuzz.options import Options

    return Options()


def _readings() -> cases.Kind:
    from benchmarks.fuzz.readings import Readings

    return Readings()


def _places() -> cases.Kind:
    from benchmarks.fuzz.places import Places

    return Places()


KINDS: dict[str, Callable[[], cases.Kind]] = {
    "options": _options,
    "readings": _readings,
    "places": _places,
}


def _run(name: str, count: int, seed: int) -> int:
    """Run the cases of a kind in a folder of their own; return how many were broken."""
    if name == "parsers":
        from benchmarks.fuzz.parsers import run_targets

        run_targets(count, seed)
        return 0
    return cases.run(name, KINDS[name](), count, seed, lambda words: print(words, flush=True))


def main() -> None:
    """Run one kind or all of them, and print a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["parsers", *KINDS], action="append")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rows = []
    for name in given.kind or ["parsers", *KINDS]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.environ["CHARGEN_CACHE"] = f"{folder}/cache"
            broken = _run(name, given.cases, given.seed)
            os.chdir(Path(__file__).parent)
        rows.append((name, given.cases, broken, time.monotonic() - began))
    print(f"{'kind':10} {'cases':>9} {'broken':>7} {'seconds':>8}")
    for name, count, broken, seconds in rows:
        print(f"{name:10} {count:9,} {broken:7,} {seconds:8.0f}")
    sys.exit(any(broken for _, _, broken, _ in rows))


if __name__ == "__main__":
    main()
