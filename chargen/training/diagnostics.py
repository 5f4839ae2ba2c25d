"""Diagnostics of a run by its losses, in words: warnings while it learns, advice at its end.

The signs are those of the textbooks. A model *overfits* when the validation loss rises while
the training loss falls, or when it knows the text it learned much better than new text; it
*underfits* when it knows both equally well and so could learn more from what it has.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

Evaluations = Sequence[tuple[int, float | None, float | None]]
"""(step, train loss, validation loss) of each evaluation, in nats per token."""

RISE = 1.01  # times the best: a validation loss that has risen
HOPELESS = 1.02  # times the best: one that will not come back
LASTING = 3  # evaluations: a rise that is no chance
EARLY = 0.7  # of the run: a best evaluation before that had fewer epochs
UNDERFITTED, OVERFITTED = 0.05, 0.25  # of the validation loss, by which it exceeds training's


def warning(history: Evaluations) -> str | None:
    """Return a warning, if the last evaluation is the first that gives reason for one."""
    if _diverges(history) and not _diverges(history[:-1]):
        return (
            "the training loss rises: the learning rate is too high for this text; "
            "if it does not come back, train again with half the --learning-rate"
        )
    if _risen(history, RISE, LASTING) and not _risen(history[:-1], RISE, LASTING):
        return (
            f"it overfits: the validation loss was best at step {_best(history)[0]:,} and rises "
            "while the training loss falls; that best model is kept"
        )
    return None


def is_hopeless(history: Evaluations, patience: int) -> bool:
    """Tell whether the run overfits beyond return: clearly above the best, so many times."""
    return patience > 0 and _risen(history, HOPELESS, patience)


def label(history: Evaluations, train_loss: float, val_loss: float) -> str:
    """Return ``overfitted``, ``underfitted`` or ``fitted``.

    Args:
        history: the evaluations of the run.
        train_loss: of the kept model on text that it learned, nothing dropped.
        val_loss: of the same model on the validation part.
    """
    gap = (val_loss - train_loss) / val_loss
    if _risen(history, RISE, 1) or gap > OVERFITTED:
        return "overfitted"
    return "underfitted" if gap < UNDERFITTED else "fitted"


def advice(
    kind: str,
    *,
    train_loss: float,
    val_loss: float,
    mixed_loss: float,
    ngram_baseline: float | None,
    history: Evaluations,
    tokens_per_step: float,
    dropout: float,
    tuned: bool,
    run: str,
    seconds: float,
) -> list[str]:
    """Return how it went and what to try next, a line each.

    Args:
        kind: what ``label`` said.
        train_loss: as there.
        val_loss: as there.
        mixed_loss: of the model with its n-gram counts.
        ngram_baseline: loss of the n-gram baseline, if that is known.
        history: the evaluations of the run.
        tokens_per_step: tokens of a step as a fraction of the training part.
        dropout: of the recipe.
        tuned: the run began from a trained model.
        run: the name of the run.
        seconds: that it took so far.
    """
    again = f"chargen train --resume --name {shlex.quote(run)}"
    more = f"{again} --time {max(1, round(seconds / 60))}m"
    behind = ngram_baseline is not None and mixed_loss > ngram_baseline
    less = _less(history, tokens_per_step, dropout, tuned=tuned)
    words = {
        "overfitted": f"more text helps most; with this text: {less}",
        "underfitted": f"it can learn more; go on: {more}",
        "fitted": f"more time helps a little, more text more; go on: {more}",
    }[kind]
    if behind and kind != "overfitted":  # to train longer would only make that worse
        words = f"train longer: {more}"
    if behind:
        words = f"the n-gram baseline is better, with {ngram_baseline:.4f}: {words}"
    losses = f"{train_loss:.2f} nats on text it learned, {val_loss:.2f} on new text"
    lines = [f"{kind}: {losses}, by the network alone", words]
    shown = history[-1][1] if history else None
    if shown is not None and shown > val_loss:
        lines.append(f"the training loss of {shown:.2f} was measured with dropout, these without")
    return lines


def _less(history: Evaluations, tokens_per_step: float, dropout: float, *, tuned: bool) -> str:
    """Return the command that learns less by heart: fewer epochs, or more dropout."""
    best, last = _best(history)[0], history[-1][0]
    if best < EARLY * last:
        step = best or history[1][0]  # a base that nothing makes better: until the first evaluation
        return f"chargen train CORPUS --epochs {step * tokens_per_step:.2g}"
    other = "" if tuned else ", a smaller --preset, or a --base that knows its language"
    return f"chargen train CORPUS --dropout {min(0.8, dropout + 0.1):g}{other}"


def _best(history: Evaluations) -> tuple[int, float | None, float | None]:
    return min(history, key=lambda row: row[2] if row[2] is not None else float("inf"))


def _risen(history: Evaluations, factor: float, times: int) -> bool:
    """Tell whether the last validation losses all exceed this many times the best before."""
    losses = [loss for _, _, loss in history if loss is not None]
    before, last = losses[:-times], losses[-times:]
    return bool(before) and min(last) > factor * min(before)


def _diverges(history: Evaluations) -> bool:
    """Tell whether the training loss is a tenth above its lowest, twice in a row."""
    losses = [loss for _, loss, _ in history if loss is not None]
    before, last = losses[:-2], losses[-2:]
    return bool(before) and min(last) > 1.1 * min(before)
