"""All figures of a model on a text, beside those of baselines; what is tuned on one half."""

from __future__ import annotations

import bz2
import contextlib
import json
import lzma
import math
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from chargen.data.dataset import Dataset, Segment, tokenize
from chargen.engine import make_engine, open_engine
from chargen.errors import CheckpointError, CorpusError
from chargen.evaluation.baselines import best_weight, mixed, packed
from chargen.evaluation.cache import expectations, with_cache
from chargen.evaluation.dynamic import SEGMENT, Adapter, Setting, tune
from chargen.evaluation.heldout import own_dataset
from chargen.evaluation.protocols import OnProgress, TokenLosses, score, stateful
from chargen.evaluation.report import Report, Wanted, contains, halves, report
from chargen.model.language_model import LanguageModel
from chargen.model.saved import load_weights, read_model
from chargen.storage.checkpoint import read_metrics
from tests.conftest import Run, text_of, write

# -- baselines ----------------------------------------------------------------------------

LOSSES = st.lists(st.tuples(*(st.floats(1e-3, 20),) * 2), min_size=1, max_size=30)


@given(LOSSES, st.floats(0, 1))
def test_a_mixture_is_one_of_probabilities(pairs: list[tuple[float, float]], w: float) -> None:
    first, second = (np.array(losses) for losses in zip(*pairs, strict=True))
    expected = -np.log(w * np.exp(-first) + (1 - w) * np.exp(-second))
    assert mixed(first, second, w) == pytest.approx(expected, rel=1e-6)


@given(LOSSES)
def test_the_best_weight_is_the_best_of_all_hundredths(pairs: list[tuple[float, float]]) -> None:
    first, second = (np.array(losses) for losses in zip(*pairs, strict=True))
    losses = [float(mixed(first, second, w / 100).sum()) for w in range(101)]
    found = mixed(first, second, best_weight(first, second)).sum()
    assert found == pytest.approx(min(losses), abs=1e-9)


def test_compressors_have_seen_the_training_text(prose: str) -> None:
    text = "".join(character for character in prose if character in prose[:16000])
    dataset = tokenize(text_of(text), 0.1)
    both, before = text.encode(), text[: int(0.9 * len(text))].encode()
    sizes = {
        "xz": len(lzma.compress(both, preset=9)) - len(lzma.compress(before, preset=9)),
        "bzip2": len(bz2.compress(both)) - len(bz2.compress(before)),
        "gzip": len(zlib.compress(both, 9)) - len(zlib.compress(before, 9)),
    }
    nats = packed(dataset.train, dataset.validation)
    assert {name: round(size / math.log(2) / 8) for name, size in nats.items()} == sizes


def test_a_very_short_text_is_not_packed(prose: str) -> None:
    dataset = tokenize(text_of(prose[:10_500]), 0.09)
    assert not packed(dataset.train, dataset.validation)


# -- dynamic evaluation -------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(trained: Path) -> tuple[Path, Dataset]:
    path = trained / "small" / "model.safetensors"
    return path, own_dataset(read_model(path))


@pytest.fixture(scope="module")
def adapter(small: tuple[Path, Dataset]) -> Adapter:
    path, dataset = small
    return Adapter(read_model(path).config, load_weights(path), dataset.train)


def test_without_learning_it_is_the_stateful_pass(
    small: tuple[Path, Dataset], adapter: Adapter
) -> None:
    path, dataset = small
    still = adapter.read(dataset.validation.with_context, Setting(0.0, 0.5))
    network = make_engine(load_weights(path), read_model(path).config, "cpu", 1)
    losses = stateful(network, dataset.validation).nll
    assert np.abs(still[-len(losses) :] - losses).max() < 1e-4


def test_counts_are_mixed_into_what_adapts(small: tuple[Path, Dataset]) -> None:
    path, dataset = small
    saved = read_model(path)
    mixing = Adapter(saved.config, saved.weights(), dataset.train, saved.counts(), saved.mixture)
    still = mixing.read(dataset.validation.with_context, Setting(0.0, 0.5))
    losses = stateful(open_engine(saved, "cpu", 1), dataset.validation).nll
    assert np.abs(still[-len(losses) :] - losses).max() < 1e-4
    learning = mixing.read(dataset.validation.with_context, Setting(1e-3, 1e-3))
    assert np.abs(learning - still).max() > 1e-4


def test_the_cache_has_a_row(small: tuple[Path, Dataset], adapter: Adapter) -> None:
    segment = small[1].validation
    row = {row.key: row for row in reported(small, adapter, segment).half}["cache"]
    plain = stateful(open_engine(read_model(small[0]), "cpu", 1), segment).nll
    nll = with_cache(plain, expectations(segment.ids), segment.ids)
    assert row.score.nats == score(TokenLosses(nll), segment, halves(segment)[1]).nats


def test_a_step_follows_its_equation(small: tuple[Path, Dataset], adapter: Adapter) -> None:
    path, dataset = small
    ids = dataset.validation.ids[: 2 * SEGMENT + 1].astype(np.int64)
    model = LanguageModel(read_model(path).config)
    model.load(load_weights(path))
    tokens = torch.from_numpy(ids)[None]

    def gradient(start: int, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        model.zero_grad()
        logits, last = model(tokens[:, start : start + SEGMENT], state)
        targets = tokens[0, start + 1 : start + SEGMENT + 1]
        cross_entropy(logits[0], targets).backward()
        losses.append(cross_entropy(logits[0], targets, reduction="none").detach().numpy())
        return tuple(part.detach() for part in last)

    losses: list[np.ndarray] = []
    last = gradient(0, model.init_state(1))
    scales = adapter.scales
    mean = torch.cat([scale.flatten() for scale in scales]).mean()
    with torch.no_grad():
        for weight, scale in zip(model.dense().values(), scales, strict=True):
            assert weight.grad is not None
            trained = weight.clone()
            weight.sub_(0.01 * weight.grad / (scale + mean / 10))
            weight.add_((0.02 * scale / mean).clamp(max=1) * (trained - weight))
    gradient(SEGMENT, last)
    found = adapter.read(ids, Setting(0.01, 0.02))
    assert found == pytest.approx(np.concatenate(losses), abs=1e-4)


def test_what_comes_later_changes_no_earlier_loss(
    small: tuple[Path, Dataset], adapter: Adapter
) -> None:
    ids = small[1].validation.with_context[:600]
    other = ids.copy()
    other[400:] = np.roll(other[400:], 1)
    first, second = (adapter.read(tokens, Setting()) for tokens in (ids, other))
    assert np.array_equal(first[:399], second[:399])
    assert not np.array_equal(first[399:], second[399:])


def test_it_learns_what_repeats(small: tuple[Path, Dataset], adapter: Adapter) -> None:
    ids = np.tile(small[1].validation.ids[:100], 12)
    still, learning = (adapter.read(ids, Setting(rate))[600:] for rate in (0.0, 3e-3))
    assert learning.mean() < still.mean() - 0.3
    assert tune(adapter, ids).rate > 0


# -- the report ---------------------------------------------------------------------------


@contextlib.contextmanager
def silent(name: str, size: int) -> Iterator[OnProgress]:
    yield lambda count: None


def reported(small: tuple[Path, Dataset], adapter: Adapter, segment: Segment) -> Report:
    path, own = small
    engine = open_engine(read_model(path), "cpu", 1)
    wanted = Wanted(temperature=True, ngram=True, dynamic=lambda: adapter)
    return report(engine, segment, own, wanted, silent)


def test_what_is_tuned_is_tuned_on_the_first_half_alone(
    small: tuple[Path, Dataset], adapter: Adapter
) -> None:
    segment = small[1].validation
    half, shuffled = len(segment) // 2, segment.ids.copy()
    np.random.default_rng(0).shuffle(shuffled[half:])
    plain = reported(small, adapter, segment).half
    spoiled = reported(small, adapter, replace(segment, ids=shuffled)).half
    names = ["stateful", "temperature", "kneser_ney", "mixture", "cache", "dynamic"]
    names.append("dynamic_mixture")
    assert [row.key for row in plain] == [row.key for row in spoiled] == names
    for one, other in zip(plain, spoiled, strict=True):
        assert one.chosen == other.chosen
        assert other.score.nats_per_token > one.score.nats_per_token + 0.3


def test_each_row_of_the_second_half_has_its_tokens(
    small: tuple[Path, Dataset], adapter: Adapter
) -> None:
    result = reported(small, adapter, small[1].validation)
    assert {row.score.tokens for row in result.half} == {1000}
    assert {row.score.tokens for row in [*result.whole, *result.baselines]} == {2000}
    rows = {row.key: row.score.nats_per_token for row in result.half}
    assert rows["mixture"] <= min(rows["stateful"], rows["kneser_ney"]) + 1e-3  # again
    assert rows["dynamic_mixture"] <= rows["dynamic"] + 0.01


def test_a_short_text_has_no_halves(small: tuple[Path, Dataset], adapter: Adapter) -> None:
    segment = small[1].validation
    assert halves(segment.first(1000)) == (slice(0, 500), slice(500, 1000))
    short = segment.first(999)
    with pytest.raises(CorpusError, match="the text has 999 tokens; .* 1,000 are needed"):
        reported(small, adapter, short)


def test_a_text_is_found_in_another(small: tuple[Path, Dataset]) -> None:
    train = small[1].train
    assert contains(train, train[100:900])
    assert not contains(train, small[1].validation.ids)
    assert not contains(train, train[:50])  # too little to tell


# -- the command --------------------------------------------------------------------------


def test_eval_says_what_the_run_said(with_model: Path, chargen: Run) -> None:
    done = chargen("eval", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    facts, ended = json.loads(done.stdout), read_metrics(with_model.parent)[-1]
    assert facts["nats_per_char"] == pytest.approx(ended["final_val_loss"], abs=1e-6)
    assert facts["bits_per_char"] == pytest.approx(ended["final_val_bits_per_char"], abs=1e-6)
    stateless = facts["stateless"]["nats_per_char"]
    assert stateless == pytest.approx(ended["final_stateless_loss"], abs=1e-6)
    assert facts["perplexity"] == pytest.approx(math.exp(ended["final_val_loss"]))
    assert (facts["protocol"], facts["characters"]) == ("stateful", 2000)
    low, high = facts["bits_per_char_interval"]
    assert low < facts["bits_per_char"] < high < low + 1
    assert list(facts["baselines"]) == ["kneser_ney", "xz", "bzip2", "gzip", "unigram", "uniform"]


def test_eval_shows_a_table_of_eighty_columns(
    with_model: Path, chargen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = chargen("eval", "--with-ngram", "--temperature-fit", "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in done.stdout
    assert lines[0] == "model  small: lstm:48, char tokenizer"
    assert lines[1] == "text   what was held out of prose.txt: 2,000 characters"
    assert [line.split("  ")[0] for line in lines[4:8]] == [
        *("stateful", "stateless, window 256"),
        *("Kneser-Ney, order 9", "xz -9"),
    ]
    assert "mixed with n-grams: weight" in lines[-1]


def test_eval_of_a_file_elsewhere_leaves_out_what_needs_the_training_text(
    with_model: Path, chargen: Run, isolated: Path
) -> None:
    shutil.copy(with_model, "mailed.safetensors")
    write("letter.txt", "To be, or not to be: that is the question. " * 30)
    done = chargen("eval", "letter.txt", "-m", "mailed.safetensors", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1
    assert "left out: the training text of the model, prose.txt, cannot be read" in done.stderr
    assert list(facts["baselines"]) == ["uniform"]
    assert facts["characters"] == 30 * 43
    done = chargen("eval", "letter.txt", "-m", "mailed.safetensors", "--with-ngram")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("chargen: the training text of the model, prose.txt, cannot")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("claimed", [None, 3, {"sources": 3}, {"sources": ["a"], "sha256": 1}])
def test_a_file_that_claims_nonsense_of_its_text_is_refused_in_words(
    with_model: Path, claimed: object
) -> None:
    odd = replace(
        read_model(with_model),
        path=Path("mailed.safetensors"),
        training={"corpus": claimed, "config": {"val_frac": "x"}},
    )
    with pytest.raises(CheckpointError, match="cannot be read .the model file does not say how"):
        own_dataset(odd)


def test_eval_warns_of_a_text_that_was_learned(with_model: Path, chargen: Run, prose: str) -> None:
    write("part.txt", prose[:3000])
    done = chargen("eval", "part.txt", "--window", "100")
    assert done.returncode == 0
    assert done.stderr == (
        "chargen: this text is part of what the model was trained on: its loss is too low\n"
    )
    assert "stateless, window 100" in done.stdout and "stateful" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("none.txt",), 1, "'none.txt'"),
        (("empty.txt",), 1, "empty"),
        (("short.txt", "--dynamic"), 1, "the text has 9 tokens; to tune on one half"),
        (("--window", "9", "--dynamic"), 2, "leave it or the others out"),
        (("--device", "tpu"), 2, "device is 'tpu'"),
        (("-m", "nobody"), 1, "no model 'nobody'"),
    ],
)
def test_eval_refuses_in_one_line(
    with_model: Path, chargen: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    write("empty.txt", "")
    write("short.txt", "to be or\n")
    done = chargen("eval", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1 and words in done.stderr
    assert done.stderr.startswith("chargen: ")


def test_losses_alone_give_no_accuracy(small: tuple[Path, Dataset]) -> None:
    segment = small[1].validation
    assert score(TokenLosses(np.ones(len(segment))), segment).accuracy is None
