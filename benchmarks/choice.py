"""What decides whether a text is learned from a base model: losses before any training.

::

    python -m benchmarks.choice TEXT [TEXT ...]

Nats per character of n-grams that are counted in a little of each text, and of every base model, on
the same few held-out characters; and the base that ``chargen train`` takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chargen.config import ReadConfig
from chargen.data.dataset import read_text, tokenize
from chargen.storage.bases import base_models
from chargen.training.base import find_base, first_losses


def main() -> None:
    """Print a row per text."""
    print(f"| text | n-grams | {' | '.join(base_models())} | taken |")
    print("|---" * (3 + len(base_models())) + "|")
    for name in sys.argv[1:]:
        reading = ReadConfig((name,))
        dataset = tokenize(read_text(reading), 0.1)
        counted, nats = first_losses(dataset)
        taken, _ = find_base(reading, dataset)
        losses = " | ".join(f"{loss:.2f}" for loss in (counted, *nats.values()))
        print(f"| {Path(name).name} | {losses} | {taken.name if taken else 'none'} |", flush=True)


if __name__ == "__main__":
    main()
