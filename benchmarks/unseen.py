"""How well a model knows texts that it has never seen, beside n-grams of what it learned.

::

    python -m benchmarks.unseen english TEXT [TEXT ...] --learned FILE [FILE ...]

Bits per character over the whole of each text, stateful. The n-grams (interpolated modified
Kneser-Ney) are counted in all files of ``--learned``, in the order that does best on the text.
Characters that the model does not know cost both alike.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from chargen.config import ReadConfig
from chargen.data.dataset import Segment, read_text
from chargen.engine import make_engine
from chargen.evaluation.baselines import LONGEST
from chargen.evaluation.ngram import KneserNey
from chargen.evaluation.protocols import stateful
from chargen.model.saved import SavedModel, open_model

ORDER = LONGEST - 1  # of the n-grams: memory, for 19 million characters


def main() -> None:
    """Print a row per text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--learned", nargs="+", required=True)
    asked = parser.parse_args()
    saved = open_model(asked.model)
    vocab_size, learned = saved.config.vocab_size, _ids(saved, *asked.learned)
    counted = KneserNey(learned.astype(np.int64), vocab_size, ORDER)
    engine = make_engine(saved.weights(), saved.config, "cpu")
    print("| text | characters | Kneser-Ney | order | model |")
    print("|---|---|---|---|---|")
    for name in asked.texts:
        ids = _ids(saved, name)
        losses = [float(nll.mean()) for nll in counted.nll(ids.astype(np.int64), 1)]
        best = min(losses)
        own = stateful(engine, Segment(saved.tokenizer, ids[1:], ids[:1], len(ids) - 1)).nll
        rows = best, float(own.mean())
        kneser_ney, network = (f"{nats / math.log(2):.4f}" for nats in rows)
        order = 1 + losses.index(best)
        print(
            f"| {Path(name).name} | {len(ids):,} | {kneser_ney} | {order} | {network} |", flush=True
        )


def _ids(saved: SavedModel, *names: str) -> np.ndarray:
    text = read_text(ReadConfig(names, tokenizer=saved.tokenizer.kind))
    return np.concatenate([saved.tokenizer.encode(str(piece)) for piece in text.pieces()])


if __name__ == "__main__":
    main()
