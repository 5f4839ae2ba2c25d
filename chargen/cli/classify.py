"""Command ``chargen classify``: which label texts have, and how often that is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side
from chargen.cli.corpus import fetch_missing
from chargen.config import require
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.data.dataset import Dataset
    from chargen.evaluation.classification import Calibrated, Classified
    from chargen.evaluation.labelled import LabelledTexts
    from chargen.evaluation.nll import Floats
    from chargen.model.saved import SavedModel

PASSAGE = 200  # characters, where the texts of a corpus are no records
MOST = 10_000  # held-out texts that are classified
SHOWN = 3  # labels of a text in a line
SEED = 1  # of the halves by which probabilities are calibrated
WIDEST = 12  # labels of a confusion matrix that is shown
FEWEST = 2  # texts with labels that are judged: one fits a temperature, one is left
COLUMNS = ("", "accuracy", "95 % interval", "macro F1", "nats", "ECE")


def classify(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Files or - ; default: the held-out texts of the model."),
    ] = None,
    model: common.Model = None,
    lines: Annotated[bool, typer.Option("--lines", help="Classify each line.")] = False,
    passage: Annotated[
        int | None, typer.Option(help="Classify passages of N characters of each text.")
    ] = None,
    prior: Annotated[
        str,
        typer.Option(help="P(label): training, as often as in the training part, or uniform."),
    ] = "training",
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Beside it, classifiers of scikit-learn on n-grams."),
    ] = False,
    encoding: common.Encoding = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Tell the labels of texts by Bayes' rule: P(label | text) from P(text | label).

    Where the labels of the texts are known, as those of the held-out texts are, it shows how often
    they are told rightly; of other texts it shows the probabilities of the labels.
    """
    common.check_machine(device, threads)
    _check(files, lines, passage, baselines, encoding)
    fetch_missing(files or [])
    from chargen.cli.console import Meter, waiting
    from chargen.engine import open_engine
    from chargen.evaluation.heldout import own_dataset
    from chargen.evaluation.labelled import check_labels, held_out_texts, texts_of_files
    from chargen.evaluation.labels import PRIORS, log_label_probabilities
    from chargen.model.saved import open_model
    from chargen.sampling.sampler import Sampler

    require(prior in PRIORS, "prior", prior, ", ".join(PRIORS))
    saved = open_model(model)
    check_labels(saved)
    with waiting("reading the texts"):
        dataset = None if files else own_dataset(saved)
        found = held_out_texts(dataset) if dataset else texts_of_files(saved, files or [], encoding)
    for note in found.notes:
        common.warn(note)
    size = passage or (PASSAGE if dataset and saved.reading.end is None else None)
    texts = _parts(found, lines, size)
    engine = open_engine(saved, device, threads, int8=int8)
    sampler = Sampler(saved.tokenizer, engine, saved)
    with Meter("texts", len(texts.texts)) as progress:
        logprobs = log_label_probabilities(
            saved, sampler, texts.texts, prior=prior, whole=size is None, progress=progress
        )
    if len(texts.with_labels().texts) < FEWEST:
        _write_each(saved, texts, logprobs, as_json=as_json)
        return
    others = _baselines(dataset, texts, size) if dataset and baselines else {}
    _report(saved, texts, {"chargen": logprobs, **others}, as_json=as_json)


def _check(
    files: list[str] | None,
    lines: bool,
    passage: int | None,
    baselines: bool,
    encoding: str | None,
) -> None:
    """Refuse options that contradict each other or have no effect."""
    require(passage is None or passage >= 1, "passage", passage, "1 or more characters")
    if lines and passage:
        raise ConfigError("--lines and --passage cannot be combined; leave one out")
    if files and baselines:
        raise ConfigError("--baselines learn the corpus of the model; leave the files out")
    side_by_side.check_encoding(files[0] if files else None, encoding)


def _parts(found: LabelledTexts, lines: bool, size: int | None) -> LabelledTexts:
    """Return what is classified: the texts, their lines or their passages."""
    texts = found.lines() if lines else found.cut(size) if size else found
    if not texts.texts:
        raise _nothing(lines, size)
    if len(texts.texts) > MOST:
        common.warn(f"the first {MOST:,} of {len(texts.texts):,} texts are classified")
    return texts._replace(
        texts=texts.texts[:MOST], labels=texts.labels[:MOST], names=texts.names[:MOST]
    )


def _nothing(lines: bool, size: int | None) -> ConfigError:
    if size:
        return ConfigError(
            f"there is no passage of {size:,} characters to classify; give a smaller --passage, or "
            "longer texts"
        )
    return ConfigError(f"there is no {'line' if lines else 'text'} to classify; give longer texts")


def _baselines(dataset: Dataset, texts: LabelledTexts, size: int | None) -> dict[str, Floats]:
    """Return ln P(label | text) of classifiers that learn the training part."""
    from chargen.cli.console import waiting
    from chargen.evaluation.classifiers import KINDS, baseline_predictions
    from chargen.evaluation.labelled import learned_texts

    learned = learned_texts(dataset).with_labels()
    learned = learned.cut(size) if size else learned
    with waiting("learning n-grams"):
        return {
            kind: baseline_predictions(kind, learned.texts, learned.labels, texts.texts).logprobs
            for kind in KINDS
        }


# -- texts without labels -----------------------------------------------------------------


def _write_each(
    saved: SavedModel, texts: LabelledTexts, logprobs: Floats, *, as_json: bool
) -> None:
    """Write the most likely labels of each text."""
    import numpy as np

    from chargen.cli.reading import write_lines
    from chargen.data.collecting import shown_label
    from chargen.display.output import visible

    rows = np.exp(logprobs)
    names = saved.config.labels

    def line(name: str, row: Floats) -> str:
        if as_json:
            own = dict(zip(names, row.tolist(), strict=True))
            best = names[int(row.argmax())]
            return json.dumps({"text": name, "label": best, "probabilities": own})
        order = np.argsort(-row, kind="stable")[:SHOWN].tolist()
        told = "  ".join(f"{shown_label(names[label])} {row[label]:.4f}" for label in order)
        return visible(f"{told}  {name}")

    write_lines(line(name, row) for name, row in zip(texts.names, rows, strict=True))


# -- texts with labels --------------------------------------------------------------------


def _report(
    saved: SavedModel, texts: LabelledTexts, found: dict[str, Floats], *, as_json: bool
) -> None:
    """Show how often the labels are told rightly."""
    import numpy as np

    from chargen.evaluation.classification import calibrate, judge

    known = np.flatnonzero(texts.labels >= 0)
    right = texts.labels[known]
    judged = {name: judge(own[known], right) for name, own in found.items()}
    halves = calibrate(found["chargen"][known], right, SEED)
    if as_json:
        facts = {name: _facts(own) for name, own in judged.items()}
        facts["calibrated"] = {"temperature": halves.temperature, **_facts(halves.after)}
        side_by_side.write_json({"model": str(saved.path), "labels": saved.config.labels, **facts})
        return
    count = len(saved.config.labels)
    print(f"model  {saved.name}: {count} {'label' if count == 1 else 'labels'}")
    print(f"texts  {len(known):,} with a label" + _left_out(len(texts.labels) - len(known)) + "\n")
    side_by_side.print_table(COLUMNS, [_row(name, own) for name, own in judged.items()])
    _show_calibration(halves)
    _show_confusion(saved.config.labels, judged["chargen"])


def _left_out(count: int) -> str:
    return f", {count:,} without one left out" if count else ""


def _facts(own: Classified) -> dict[str, Any]:
    return {
        "texts": own.texts,
        "accuracy": own.accuracy,
        "accuracy_interval": list(own.interval),
        "macro_f1": own.macro_f1,
        "cross_entropy": own.cross_entropy,
        "calibration_error": own.calibration_error,
        "reliability": [part._asdict() for part in own.reliability],
        "confusion": own.confusion.tolist(),
    }


def _row(name: str, own: Classified) -> tuple[str, ...]:
    interval = f"{own.interval.low:.4f} to {own.interval.high:.4f}"
    figures = (own.macro_f1, own.cross_entropy, own.calibration_error)
    return (name, f"{own.accuracy:.4f}", interval, *(f"{figure:.4f}" for figure in figures))


def _show_calibration(halves: Calibrated) -> None:
    """Show how sure the model is and how often it is right, on the half that fits nothing."""
    before, after = halves.before.calibration_error, halves.after.calibration_error
    print(
        f"\nprobabilities at temperature {halves.temperature:.2f}, fitted on one half; the other: "
        f"\nECE {before:.4f} without it, {after:.4f} with it"
    )
    rows = [
        (f"{b.low:.1f} to {b.high:.1f}", f"{b.texts:,}", f"{b.confidence:.3f}", f"{b.accuracy:.3f}")
        for b in halves.after.reliability
    ]
    side_by_side.print_table(("probability", "texts", "mean", "right"), rows)


def _show_confusion(names: tuple[str, ...], own: Classified) -> None:
    """Show which labels are taken for which: rows are the right ones."""
    if len(names) > WIDEST:
        print(f"\n{len(names)} labels are too many for a confusion matrix; --json has it")
        return
    print("\nconfusion: right labels in rows, those they were taken for in columns")
    from chargen.data.collecting import shown_label

    numbers = [f"{n}" for n in range(1, len(names) + 1)]
    rows = [
        (f"{n} {shown_label(name)}", *map(str, row))
        for n, name, row in zip(numbers, names, own.confusion.tolist(), strict=True)
    ]
    side_by_side.print_table(("", *numbers), rows, gap=1)
