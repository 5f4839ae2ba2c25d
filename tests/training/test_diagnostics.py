"""What is said about losses, case by case."""

from __future__ import annotations

import pytest

from chargen.training.diagnostics import Evaluations, advice, is_hopeless, label, warning


def history(*losses: tuple[float | None, float | None]) -> Evaluations:
    return [(10 * (number + 1), *pair) for number, pair in enumerate(losses)]


GOOD = history((3.0, 2.5), (2.0, 1.9), (1.6, 1.6), (1.4, 1.5))
OVERFITTING = history((3.0, 2.0), (1.5, 1.6), (1.4, 1.63), (1.3, 1.64), (1.2, 1.7))
DIVERGING = history((2.0, 2.0), (1.5, 1.6), (1.7, 1.61), (1.8, 1.61))


@pytest.mark.parametrize("count", range(5))
def test_a_good_run_is_not_warned_about(count: int) -> None:
    assert warning(GOOD[:count]) is None


def test_overfitting_is_said_once_when_it_lasts() -> None:
    assert warning(OVERFITTING[:4]) is None
    words = warning(OVERFITTING)
    assert words is not None
    assert words.startswith("it overfits: the validation loss was best at step 20 and rises")
    assert warning([*OVERFITTING, (60, 1.1, 1.8)]) is None


def test_one_bad_evaluation_is_chance() -> None:
    assert warning(history((3.0, 2.0), (2.0, 1.6), (1.5, 1.9), (1.4, 1.5))) is None


def test_diverging_is_said_once() -> None:
    assert warning(DIVERGING[:3]) is None
    words = warning(DIVERGING)
    assert words is not None
    assert "half the --learning-rate" in words
    assert warning([*DIVERGING, (50, 1.9, 1.61)]) is None


def test_a_run_without_validation_is_followed_by_its_training_loss() -> None:
    assert warning(history((2.0, None), (1.5, None), (1.7, None), (1.8, None))) is not None
    assert warning(history((2.0, None), (1.5, None), (1.4, None))) is None


def test_a_run_ends_when_it_stays_above_its_best() -> None:
    rising = history((2.0, 1.5), *[(1.0, 1.6)] * 3)
    assert is_hopeless(rising, 3)
    assert not is_hopeless(rising, 4)
    assert not is_hopeless(rising, 0)
    assert not is_hopeless(history((2.0, 1.5), (1.0, 1.6), (1.0, 1.52), (1.0, 1.6)), 3)


@pytest.mark.parametrize(
    ("losses", "train", "val", "kind"),
    [
        (GOOD, 1.3, 1.5, "fitted"),
        (GOOD, 1.46, 1.5, "underfitted"),
        (GOOD, 1.0, 1.5, "overfitted"),
        (OVERFITTING, 1.45, 1.6, "overfitted"),
    ],
)
def test_each_fit_has_its_label(losses: Evaluations, train: float, val: float, kind: str) -> None:
    assert label(losses, train, val) == kind


MORE = "more text helps most; with this text: chargen train CORPUS"


@pytest.mark.parametrize(
    ("kind", "losses", "baseline", "words"),
    [
        ("fitted", GOOD, None, "more time helps a little, more text more; go on: chargen train"),
        ("underfitted", GOOD, 1.6, "it can learn more; go on: chargen train --resume --name a --"),
        ("overfitted", GOOD, None, f"{MORE} --dropout 0.4, a smaller --preset, or a --base"),
        ("overfitted", OVERFITTING, None, f"{MORE} --epochs 1.5"),
        ("fitted", GOOD, 1.4, "the n-gram baseline is better, with 1.4000: train longer: chargen"),
        ("overfitted", GOOD, 1.4, f"the n-gram baseline is better, with 1.4000: {MORE}"),
    ],
)
def test_advice_names_the_next_command(
    kind: str, losses: Evaluations, baseline: float | None, words: str
) -> None:
    lines = advised(kind, losses, baseline)
    assert (
        lines[0] == f"{kind}: 1.20 nats on text it learned, 1.50 on new text, by the network alone"
    )
    assert lines[1].startswith(words)
    assert ("--resume" in lines[1]) == (kind != "overfitted")
    assert len(lines) == 2


def test_a_training_loss_above_the_other_is_explained_once() -> None:
    lines = advised("fitted", history((None, 2.0), (2.1, 1.6), (1.7, 1.5)), None)
    assert lines[2:] == ["the training loss of 1.70 was measured with dropout, these without"]


def test_advice_after_fine_tuning_stays_with_the_base() -> None:
    assert advised("overfitted", GOOD, None, tuned=True)[1] == f"{MORE} --dropout 0.4"
    never = [(0, None, 1.5), *history((1.6, 1.6), (1.4, 1.7))]
    assert advised("overfitted", never, None, tuned=True)[1] == f"{MORE} --epochs 0.77"


def advised(
    kind: str, losses: Evaluations, baseline: float | None, *, tuned: bool = False
) -> list[str]:
    return advice(
        kind,
        train_loss=1.2,
        val_loss=1.5,
        mixed_loss=1.5,
        ngram_baseline=baseline,
        history=losses,
        tokens_per_step=0.077,
        dropout=0.3,
        tuned=tuned,
        run="a",
        seconds=130,
    )
