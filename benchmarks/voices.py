"""Whose voice samples have, by a classifier that never saw them.

::

    python -m benchmarks.voices RUN [--samples 100] [--length 300] [--temp 0.8]

The model writes as many texts of each of its labels, without a prompt. The classifier is the
logistic regression of ``chargen classify --baselines`` on character n-grams: it learns passages of
the same length of the training part, and names the label of each sample.
"""

from __future__ import annotations

import argparse

import numpy as np

from chargen.evaluation.classification import confusion, wilson
from chargen.evaluation.classifiers import KINDS, baseline_predictions
from chargen.evaluation.heldout import own_dataset
from chargen.evaluation.labelled import learned_texts
from chargen.model.saved import open_model
from chargen.sampling.sampler import load


def main() -> None:
    """Print how many samples of each label are taken for which."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=100, help="in all")
    parser.add_argument("--length", type=int, default=300)
    parser.add_argument("--temp", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    saved, sampler = open_model(asked.run), load(asked.run)
    names = saved.config.labels
    wanted = np.arange(asked.samples) % len(names)
    samples = [
        text.text
        for label, name in enumerate(names)
        for text in sampler.labelled(name).generate_batch(
            num_samples=int((wanted == label).sum()),
            length=asked.length,
            temperature=asked.temp,
            seed=asked.seed,
        )
    ]
    learned = learned_texts(own_dataset(saved)).with_labels()
    learned = learned.cut(asked.length) if saved.reading.end is None else learned
    found = baseline_predictions(KINDS[-1], learned.texts, learned.labels, samples).labels
    right = np.sort(wanted)
    low, high = wilson(int((found == right).sum()), len(right))
    print(
        f"{(found == right).mean():.0%} of {len(right)} samples of {asked.length} characters are "
        f"named as asked (95 % interval {low:.0%} to {high:.0%}), by {KINDS[-1]} on "
        f"{len(learned.texts):,} passages\n"
    )
    table = confusion(right, found, len(names))
    print("| asked for | " + " | ".join(names) + " |\n|" + "---|" * (1 + len(names)))
    for name, row in zip(names, table.tolist(), strict=True):
        print(f"| {name} | {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
