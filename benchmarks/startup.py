"""Time from a command to its first character, and to the help.

    python -m benchmarks.startup [--hidden 512] [--layers 2] [--times 9]

Medians of several starts on an idle machine. "first use" builds the graph of a new checkpoint; the
other starts find it in the cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chargen.model.language_model import LanguageModel
from chargen.model.saved import save_model
from chargen.model.spec import LayerConfig, ModelConfig
from chargen.tokenizers import build_tokenizer

ALPHABET = "\n" + "".join(chr(code) for code in range(32, 96))
COMMAND = [str(Path(sys.executable).parent / "chargen")]


def first_byte(arguments: list[str], environment: dict[str, str]) -> float:
    """Return the seconds from starting a command to its first byte on stdout."""
    began = time.perf_counter()
    with subprocess.Popen(
        COMMAND + arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        byte = os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - began
        process.stdout.read()
    assert byte
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build_tokenizer("char", ALPHABET, 0)
        layers = (LayerConfig("lstm", options.hidden),) * options.layers
        config = ModelConfig(tokenizer.vocab_size, layers)
        path = Path(folder) / "model.safetensors"
        save_model(path, LanguageModel(config).weights(), config, tokenizer, {})
        environment = {**os.environ, "CHARGEN_CACHE": folder}
        sample = ["sample", "-m", str(path), "-n", "20"]
        first = first_byte(sample, environment)
        rows = {
            "chargen sample, first use of a checkpoint": [first],
            "chargen sample, cached": [
                first_byte(sample, environment) for _ in range(options.times)
            ],
            "chargen --help": [first_byte(["--help"], environment) for _ in range(options.times)],
        }
    print(f"{options.layers} x {options.hidden} LSTM, seconds to the first character")
    for name, times in rows.items():
        print(f"{name:44} median {statistics.median(times):.3f}  worst {max(times):.3f}")


if __name__ == "__main__":
    main()
