"""Who wrote a passage of 200 characters: baselines on character n-grams, and models with labels.

::

    python -m benchmarks.authorship OUT [--characters 300000] [--step 200] [--model RUN]

Five authors of books and three groups of modules of the standard library are the labels, each with
as many characters. ``OUT/train`` gets their texts as AUTHOR/PART.txt, but for the last tenth of
each part: this is cut into passages that do not overlap, which ``OUT/heldout.jsonl`` gets, with the
fields text and label. The baselines learn passages of the same length, one every ``--step``
characters; below 200 they overlap. ``kneser-ney`` is Bayes' rule with an n-gram model of each
label's parts. A model is a run, trained on ``OUT/train`` with ``--label folder --base none``: the
built-in models have learned these texts, the held-out tenths too. All labels have the same prior
probability.

The temperature is fitted on one half of the passages. The columns after it are of the other half:
cross-entropy at this temperature, and the expected calibration error without and with it. Below
the table, the others are compared with the logistic regression on the same passages.

Books come from ``CHARGEN_TEST_CORPORA`` (default ``../shared/corpora``), and modules from the
Python that runs this, without their tests: another version has other texts.

Legend of shapes: N passages, L labels.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from chargen import load
from chargen.errors import ConfigError, CorpusError
from chargen.evaluation.classification import (
    Floats,
    Labels,
    calibrate,
    compare,
    judge,
    log_posterior,
)
from chargen.evaluation.classifiers import KINDS, LONGEST, baseline_predictions
from chargen.evaluation.labels import log_label_probabilities
from chargen.evaluation.ngram import KneserNey
from chargen.model.saved import open_model

BOOKS = {
    "austen": "austen-*.txt",
    "chesterton": "chesterton-*.txt",
    "dickens": "dickens.txt",
    "melville": "melville-*.txt",
    "whitman": "whitman-*.txt",
}
MODULES = {
    "asyncio": ("asyncio", "concurrent", "multiprocessing"),
    "email": ("email", "http", "urllib"),
    "tkinter": ("tkinter", "idlelib"),
}
PASSAGE = 200  # characters
SHORTEST = 10 * PASSAGE  # part: a tenth of it is one passage
PIECES = 10  # of a file of which less than one in so many characters is taken: many works in one
SEED = 1  # of the halves for the temperature
COMPARED = KINDS[-1]
ORDER = LONGEST  # of Kneser-Ney: the n-grams of the others
COLUMNS = (
    *("classifier", "accuracy", "95 % interval", "macro F1", "nats", "temperature"),
    *("nats at it", "ECE at 1", "ECE at it", "CPU s"),
)


@dataclass(frozen=True)
class Author:
    """Texts of one label.

    Attributes:
        name: of the label.
        learned: parts to learn from.
        held_out: what followed each of them.
    """

    name: str
    learned: list[str]
    held_out: list[str]


# -- texts --------------------------------------------------------------------------------


def read_authors() -> dict[str, list[str]]:
    """Return the texts by author, without short ones."""
    books = Path(os.environ.get("CHARGEN_TEST_CORPORA", "../shared/corpora")) / "english"
    files = {name: sorted(books.glob(pattern)) for name, pattern in BOOKS.items()}
    files |= {name: list(_modules(packages)) for name, packages in MODULES.items()}
    if missing := [name for name, found in files.items() if not found]:
        raise CorpusError(f"no texts of {', '.join(missing)}; set CHARGEN_TEST_CORPORA")
    texts = {name: [path.read_text("utf-8") for path in found] for name, found in files.items()}
    return {name: [t for t in found if len(t) >= SHORTEST] for name, found in texts.items()}


def _modules(packages: Sequence[str]) -> Iterator[Path]:
    for package in packages:
        folder = Path(sysconfig.get_path("stdlib"), package)
        for path in sorted(folder.rglob("*.py")):
            if "test" not in str(path.relative_to(folder)):
                yield path


def portion(texts: dict[str, list[str]], most: int) -> list[Author]:
    """Return as many characters of each author, of each text in proportion."""
    total = {name: sum(map(len, own)) for name, own in texts.items()}
    wanted = min(most, *total.values())
    authors = []
    for name, own in texts.items():
        parts = [p for text in own for p in pieces(text, len(text) * wanted // total[name])]
        ends = [len(part) * 9 // 10 for part in parts]
        learned = [part[:end] for part, end in zip(parts, ends, strict=True)]
        held_out = [part[end:] for part, end in zip(parts, ends, strict=True)]
        authors.append(Author(name, learned, held_out))
    return authors


def pieces(text: str, wanted: int) -> list[str]:
    """Return the beginning of a text, or pieces of one that is much longer than what is wanted."""
    if wanted * PIECES >= len(text):
        return [text[:wanted]]
    starts = [i * len(text) // PIECES for i in range(PIECES)]
    return [text[start : start + wanted // PIECES] for start in starts]


def passages(parts: Sequence[Sequence[str]], step: int) -> tuple[list[str], Labels]:
    """Return passages of the parts of each label, one every so many characters, and labels (N,)."""
    found = [
        (part[start : start + PASSAGE], label)
        for label, own in enumerate(parts)
        for part in own
        for start in range(0, len(part) - PASSAGE + 1, step)
    ]
    return [text for text, _ in found], np.array([label for _, label in found], np.int64)


def write(authors: Sequence[Author], folder: Path) -> None:
    """Write what a model learns and what it is asked."""
    for author in authors:
        own = folder / "train" / author.name
        own.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(author.learned, 1):
            (own / f"{number:03}.txt").write_text(text, "utf-8")
    texts, labels = passages([author.held_out for author in authors], PASSAGE)
    rows = zip(texts, labels.tolist(), strict=True)
    lines = [json.dumps({"text": text, "label": authors[i].name}) + "\n" for text, i in rows]
    (folder / "heldout.jsonl").write_text("".join(lines), "utf-8")


# -- the table ----------------------------------------------------------------------------


def row(name: str, logprobs: Floats, labels: Labels, seconds: float) -> str:
    """Return a row of the table from ln P of the labels (N, L) and the right ones (N,)."""
    whole, halves = judge(logprobs, labels), calibrate(logprobs, labels, SEED)
    before, after = halves.before, halves.after
    return (
        f"| {name} | {whole.accuracy:.4f} | {whole.interval.low:.4f} to {whole.interval.high:.4f} "
        f"| {whole.macro_f1:.4f} | {whole.cross_entropy:.3f} | {halves.temperature:.2f} "
        f"| {after.cross_entropy:.3f} | {before.calibration_error:.3f} "
        f"| {after.calibration_error:.3f} | {seconds:.0f} |"
    )


def difference(name: str, logprobs: Floats, other: Floats, labels: Labels) -> str:
    """Return how another classifier differs from the logistic regression."""
    found = compare(labels, logprobs.argmax(axis=1), other.argmax(axis=1))
    low, high = found.interval
    return (
        f"{name} less {COMPARED}: accuracy {found.accuracy:+.4f} ({low:+.4f} to {high:+.4f}), "
        f"only one of them right {found.only_first} : {found.only_second}, p = {found.p_value:.2g}"
    )


def by_baseline(kind: str, authors: Sequence[Author], step: int) -> Floats:
    """Return ln P of the labels of all passages (N, L) by a baseline."""
    known, labels = passages([author.learned for author in authors], step)
    unseen, _ = passages([author.held_out for author in authors], PASSAGE)
    return baseline_predictions(kind, known, labels, unseen).logprobs


def by_kneser_ney(authors: Sequence[Author]) -> Floats:
    """Return ln P of the labels of all passages (N, L) by an n-gram model of each label."""
    texts, _ = passages([author.held_out for author in authors], PASSAGE)
    learned = ["\n".join(author.learned) for author in authors]
    numbers = {
        character: i for i, character in enumerate(sorted(set("\n".join([*learned, *texts]))))
    }
    asked = [_numbered(f"\n{text}", numbers) for text in texts]
    columns = []
    for text in learned:
        model = KneserNey(_numbered(text, numbers), len(numbers), ORDER)
        columns.append([-model.nll(ids, 1)[-1].sum() for ids in asked])
    return _evenly(np.array(columns).T)


def _numbered(text: str, numbers: dict[str, int]) -> Labels:
    return np.array([numbers[character] for character in text], np.int64)


def _evenly(log_likelihoods: Floats) -> Floats:
    """Return ln P of the labels (N, L), all as likely before."""
    labels = log_likelihoods.shape[1]
    return log_posterior(log_likelihoods, np.full(labels, -math.log(labels)))


def by_model(run: str, authors: Sequence[Author], threads: int | None) -> Floats:
    """Return ln P of the labels of all passages (N, L) by a trained model.

    Raises:
        ConfigError: the model does not have these labels.
    """
    saved, sampler = open_model(run), load(run, threads=threads).sampler
    names = [author.name for author in authors]
    if set(sampler.labels) != set(names):
        has = ", ".join(sampler.labels) or "none"
        raise ConfigError(f"the labels of {run} are {has}; needed are {', '.join(names)}")
    texts, _ = passages([author.held_out for author in authors], PASSAGE)
    columns = [sampler.labels.index(name) for name in names]
    found = log_label_probabilities(saved, sampler, texts, prior="uniform", whole=False)
    return found[:, columns]


def main() -> None:
    """Write the texts and print a row per classifier."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--characters", type=int, default=300_000, help="of each author, at most")
    parser.add_argument("--step", type=int, default=PASSAGE, help="between passages to learn")
    parser.add_argument("--model", action="append", default=[], help="a run; again for more")
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    authors = portion(read_authors(), asked.characters)
    write(authors, asked.folder)
    works: dict[str, Callable[[], Floats]] = {
        kind: partial(by_baseline, kind, authors, asked.step) for kind in KINDS
    }
    works["kneser-ney"] = partial(by_kneser_ney, authors)
    works |= {run: partial(by_model, run, authors, asked.threads) for run in asked.model}
    print_table(works, passages([author.held_out for author in authors], PASSAGE)[1])


def print_table(works: Mapping[str, Callable[[], Floats]], labels: Labels) -> None:
    """Print a row per classifier, and how others differ from the logistic regression."""
    print(f"{len(labels):,} passages, at most {np.bincount(labels).max()} of a label\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    found = {}
    for name, work in works.items():
        began = time.process_time()
        found[name] = work()
        print(row(name, found[name], labels, time.process_time() - began), flush=True)
    for name in found.keys() - KINDS:
        print("\n" + difference(name, found[name], found[COMPARED], labels))


if __name__ == "__main__":
    main()
