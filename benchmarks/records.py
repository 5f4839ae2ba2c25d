"""Records: losses of a run on held-out ones, and how many of its samples are new.

::

    chargen train names.txt --records lines --name names --time 2m
    python -m benchmarks.records names [--samples 1000]

A sample is new if no record of the corpus, learned or held out, is the same. Half of the new ones
of a good model are as likely as records that exist, which ``median bits`` tells: the surprisal of a
whole record.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from chargen.evaluation.heldout import own_dataset
from chargen.evaluation.labelled import held_out_texts, learned_texts
from chargen.evaluation.lines import LineScorer
from chargen.model.saved import open_model
from chargen.sampling.sampler import load


def main() -> None:
    """Print the losses of the run, and a row for its samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--temp", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    saved, sampler = open_model(asked.run), load(asked.run)
    dataset, told = own_dataset(saved), saved.training
    learned, held_out = learned_texts(dataset).texts, held_out_texts(dataset).texts
    baseline = (saved.section("corpus").get("ngram_baseline") or {}).get("nats_per_token", math.nan)
    print(f"{len(learned):,} records learned, {len(held_out):,} held out")
    print(f"Kneser-Ney {baseline:.4f} nats per token, network {told['final_network_loss']:.4f}, ")
    print(f"with its counts {told['final_val_loss']:.4f}\n")
    texts = sampler.generate_batch(
        num_samples=asked.samples, temperature=asked.temp, seed=asked.seed
    )
    samples = [text.text for text in texts]
    known = {*learned, *held_out}
    new = [text for text in samples if text not in known]
    print("| records | number | new | different | median bits |\n|---|---|---|---|---|")
    seen, groups = {*learned}, (("samples", samples), ("new samples", new), ("held out", held_out))
    for name, own in groups:
        scored = LineScorer(sampler).score(f"{text}\n" for text in own)
        bits = np.median([line.bits for line in scored]) if own else math.nan
        unknown = sum(text not in seen for text in own) / max(1, len(own))
        print(f"| {name} | {len(own):,} | {unknown:.0%} | {len(set(own)):,} | {bits:.1f} |")


if __name__ == "__main__":
    main()
