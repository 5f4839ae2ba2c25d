"""Speed while other programs keep cores busy.

    python -m benchmarks.busy [CORPUS] [--stack lstm:256] [--time 25s] [--times 3]

The other programs are endless loops, each in a session of its own (``setsid``) and at normal
priority: schedulers divide cores among sessions, so that a program started from the same shell
would not count. "training" is a whole ``chargen train``: characters per second of the steps with
their evaluations, and the time of the whole command. "sampling" is ``chargen sample`` from its
first character to its last, with a 2 x 512 LSTM of random weights. "key" is the time from a key to
the ghost text after it, the median and the worst of 66 keys (``benchmarks.session``). Figures are
medians of several rounds; a round goes through all loads, so that the ratios are of one minute.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.session import ALPHABET, sampler, screen_times
from chargen.machine import count_cores, processor_name
from chargen.model.language_model import LanguageModel
from chargen.model.saved import save_model
from chargen.model.spec import LayerConfig, ModelConfig
from chargen.storage.checkpoint import read_metrics
from chargen.tokenizers import build_tokenizer

SPIN = [sys.executable, "-c", "while True: pass"]
CHARGEN = [sys.executable, "-m", "chargen"]
LENGTH = 6000  # characters of a sample


@contextlib.contextmanager
def others(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    programs = [subprocess.Popen(SPIN, start_new_session=True) for _ in range(count)]
    time.sleep(0.5 * bool(count))
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def training(corpus: str, stack: str, budget: str, folder: Path) -> tuple[float, float]:
    """Return characters per second and the seconds of the whole command."""
    began = time.monotonic()
    options = ["--stack", stack, "--time", budget, "--name", "a", "--force", "--quiet"]
    environment = {**os.environ, "CHARGEN_CHECKPOINTS": str(folder)}
    subprocess.run([*CHARGEN, "train", corpus, *options], check=True, env=environment)
    seconds = time.monotonic() - began
    return read_metrics(folder / "a")[-1]["characters_per_second"], seconds


def sampling(model: Path, *options: str) -> float:
    """Return the characters per second of a sample, from its first character on."""
    command = [*CHARGEN, "sample", "-m", str(model), "-n", str(LENGTH), "--seed", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        began = time.monotonic()
        process.stdout.read()
        return LENGTH / (time.monotonic() - began)


def measured(options: argparse.Namespace, folder: Path, model: Path) -> dict[str, float]:
    """Return all figures at the present load."""
    speed, seconds = training(options.corpus, options.stack, options.time, folder)
    keys = screen_times(sampler(2, 512, None))
    return {
        "training, characters/s": speed,
        "  whole command, s": seconds,
        "sampling float32, characters/s": sampling(model),
        "sampling int8, characters/s": sampling(model, "--int8"),
        "key, ms": 1000 * statistics.median(keys),
        "  worst key, ms": 1000 * max(keys),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", nargs="?", default="builtin:pydoc")
    parser.add_argument("--stack", default="lstm:256")
    parser.add_argument("--time", default="25s")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    rounds: list[list[dict[str, float]]] = [[], [], []]
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model.safetensors"
        config = ModelConfig(len(ALPHABET) + 1, (LayerConfig("lstm", 512),) * 2)
        tokenizer = build_tokenizer("char", ALPHABET, 0)
        save_model(model, LanguageModel(config).weights(), config, tokenizer, {})
        for _ in range(options.times):
            for load, results in enumerate(rounds):
                with others(load):
                    results.append(measured(options, Path(name), model))
    medians = [
        {what: statistics.median(result[what] for result in results) for what in results[0]}
        for results in rounds
    ]
    print(f"{processor_name()}, {count_cores()} cores")
    print(f"{'':32}{'idle':>10}{'one busy':>18}{'two busy':>18}")
    for what, idle in medians[0].items():
        ratios = (f"{m[what]:>10,.0f} ({m[what] / idle:4.0%})" for m in medians[1:])
        print(f"{what:32}{idle:>10,.0f}{''.join(f'{words:>18}' for words in ratios)}")


if __name__ == "__main__":
    main()
