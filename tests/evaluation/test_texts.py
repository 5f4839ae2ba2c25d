"""Texts that are read each by itself: side by side they have the losses they have one by one."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chargen.config import ReadConfig, TrainConfig
from chargen.data.dataset import Dataset, Segment, read_text, tokenize
from chargen.data.texts import Texts
from chargen.engine import Engine
from chargen.engine.labels import begin
from chargen.engine.mixture import MixtureEngine
from chargen.evaluation import groups
from chargen.evaluation.baselines import count, losses_of, ngram_baseline
from chargen.evaluation.final import final_losses
from chargen.evaluation.groups import in_one_pass, in_streams, spread
from chargen.evaluation.lines import LineScorer
from chargen.evaluation.mixing import both_losses, examples, fit_mixture
from chargen.evaluation.nll import token_nll
from chargen.evaluation.protocols import OnProgress, stateful, tempered
from chargen.evaluation.report import Wanted, halves, known_texts, report
from chargen.evaluation.validation import engine_of, score_streams
from chargen.model.language_model import LanguageModel
from chargen.model.saved import OWN, Mixture, save_model
from chargen.model.spec import ModelConfig, parse_stack
from chargen.sampling.sampler import load
from chargen.tokenizers.char import CharTokenizer
from tests.conftest import Run, write

TOKENIZER = CharTokenizer("\nabcdef")
END = int(TOKENIZER.encode("\n")[0])
V = TOKENIZER.vocab_size


def records(count: int, seed: int, most: int = 40) -> list[str]:
    """Return texts of different lengths, with habits: each begins with a or b."""
    rng = np.random.default_rng(seed)
    texts = []
    for length in rng.integers(1, most, count).tolist():
        letters = [int(rng.integers(2))]
        for _ in range(length):
            letters.append((letters[-1] + int(rng.choice(3, p=[0.7, 0.2, 0.1]))) % 6)
        texts.append("".join("abcdef"[n] for n in letters) + "\n")
    return texts


def segment_of(texts: list[str], labels: int = 0) -> Segment:
    """Return records to be scored, with labels in turn, or without any."""
    ids = TOKENIZER.encode("".join(texts))
    borders = np.concatenate([[0], np.cumsum([len(text) for text in texts], dtype=np.int64)])
    numbers = np.arange(len(texts)) % labels if labels else np.full(len(texts), -1)
    own = Texts(borders, numbers.astype(np.int32), END, are_records=True)
    return Segment(TOKENIZER, ids, ids[:0], len(ids), len(ids), texts=own)


def dataset_of(learned: int, held_out: int, labels: int = 0) -> Dataset:
    train = segment_of(records(learned, 1), labels)
    validation, test = (segment_of(records(held_out, seed), labels) for seed in (2, 3))
    names = tuple("xyz"[:labels])
    return Dataset(TOKENIZER, train.ids, validation, test, texts=train.texts, labels=names)


def model_of(stack: str = "lstm:6", labels: int = 0) -> LanguageModel:
    config = ModelConfig(V, parse_stack(stack), 5, labels=tuple("xyz"[:labels]))
    model = LanguageModel(config, TrainConfig(seed=1))
    if model.labels:
        model.labels.weight.data.normal_(0, 2)
    return model


def one_by_one(engine: Engine, segment: Segment) -> np.ndarray:
    """Return the losses of each text by itself."""
    texts, parts = segment.texts, []
    assert texts is not None
    for start, end, label in zip(texts.borders, texts.borders[1:], texts.labels, strict=False):
        ids = np.concatenate([[texts.before], segment.ids[start:end]]).astype(np.int64)
        logits, _ = engine.run(ids[None, :-1], begin(engine, np.array([label])))
        parts.append(token_nll(logits[0], ids[1:])[0])
    return np.concatenate(parts)


# -- what is read side by side ------------------------------------------------------------


@pytest.mark.parametrize(("rows", "padded"), [(256, 1 << 20), (5, 1 << 20), (256, 60)])
def test_each_token_stands_in_one_group_after_those_before_it(
    rows: int, padded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "ROWS", rows)
    monkeypatch.setattr(groups, "PADDED", padded)
    segment = segment_of([*records(50, 1), "a" * 200 + "\n"], 3)
    assert segment.texts is not None
    seen = np.zeros(len(segment), np.int64)
    for tokens, places, labels in in_one_pass(segment):
        assert labels is not None
        lengths = (places >= 0).sum(axis=1)
        assert len(places) <= rows
        assert places.size <= padded or len(places) == 1
        assert (2 * lengths >= lengths.max()).all()
        for row, own, length, label in zip(tokens, places, lengths, labels, strict=True):
            number = int(np.searchsorted(segment.texts.borders, own[0]))
            assert segment.texts.borders[number] == own[0]
            assert (length, label) == (segment.texts.lengths[number], segment.texts.labels[number])
            assert row[0] == END
            assert (row[1 : length + 1] == segment.ids[own[:length]]).all()
        np.add.at(seen, places[places >= 0], 1)
    assert (seen == 1).all()


def test_a_part_of_many_texts_is_spread_over_them() -> None:
    segment = segment_of(records(1000, 1), 2)
    part = spread(segment, 2000)
    assert part.texts is not None
    assert segment.texts is not None
    assert 1900 < len(part) <= 2000
    whole = TOKENIZER.decode(segment.ids.tolist()).splitlines()
    kept = TOKENIZER.decode(part.ids.tolist()).splitlines()
    places = [whole.index(text) for text in kept]
    assert np.mean(places) == pytest.approx(500, abs=100)  # four standard errors
    assert set(part.texts.labels.tolist()) == {0, 1}
    assert part.characters == len(part)
    assert np.array_equal(spread(segment, 2000).ids, part.ids)
    assert spread(segment, len(segment)).texts is not None


def test_a_part_of_few_texts_has_something_of_each() -> None:
    segment = segment_of(["abc" * 300, "a", "bcd" * 200])
    part = spread(segment, 300)
    assert part.texts is not None
    assert part.texts.lengths.tolist() == [100, 1, 100]
    assert TOKENIZER.decode(part.ids.tolist()) == ("abc" * 34)[:100] + "a" + ("bcd" * 34)[:100]


# -- losses -------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "labels"), [("lstm:6", 0), ("gru:6", 3), ("rnn:4,lstm:5", 3)])
def test_side_by_side_texts_have_the_losses_they_have_one_by_one(stack: str, labels: int) -> None:
    segment, model = segment_of(records(40, 2), labels), model_of(stack, labels)
    engine = engine_of(model, 1)
    expected = one_by_one(engine, segment)
    np.testing.assert_allclose(stateful(engine, segment).nll, expected, atol=1e-5)
    np.testing.assert_allclose(stateful(engine, segment, most=1).nll, expected, atol=1e-5)
    np.testing.assert_allclose(tempered(engine, segment, (1.0,))[0], expected, atol=1e-5)
    streams = score_streams(model, segment)
    assert streams.tokens == len(segment)
    assert streams.nats == pytest.approx(expected.sum(), rel=1e-6)


def test_a_label_changes_the_losses_and_none_is_no_label() -> None:
    segment, engine = segment_of(records(20, 2), 3), engine_of(model_of(labels=3), 1)
    assert segment.texts is not None
    without = replace(segment, texts=replace(segment.texts, labels=np.full(20, -1, np.int32)))
    losses = stateful(engine, without).nll
    assert np.abs(stateful(engine, segment).nll - losses).max() > 0.1
    np.testing.assert_allclose(losses, one_by_one(engine, without), atol=1e-5)


def test_a_limit_scores_some_of_the_texts() -> None:
    segment, model = segment_of(records(400, 2)), model_of()
    part = score_streams(model, segment, 1000)
    assert 900 < part.tokens <= 1000
    assert part.nats_per_token == pytest.approx(score_streams(model, segment).nats_per_token, 0.05)
    assert len(in_streams(segment, 1000)[0]) == part.tokens


def test_counts_begin_anew_with_each_text() -> None:
    dataset, engine = dataset_of(200, 60, 2), engine_of(model_of(labels=2), 1)
    counts, segment = ngram_baseline(dataset).counts, dataset.validation
    mixture = fit_mixture(engine, counts, segment)
    own, whole = both_losses(engine, counts, mixture, segment)
    mixed = MixtureEngine(engine, counts, mixture)
    np.testing.assert_allclose(own, one_by_one(engine, segment), atol=1e-5)
    np.testing.assert_allclose(whole, one_by_one(mixed, segment), atol=1e-5)
    np.testing.assert_allclose(stateful(mixed, segment).nll, whole, atol=1e-5)
    assert whole.mean() < own.mean()
    known = examples(engine, counts, segment)
    assert len(known.targets) == len(known.known.expected) == len(segment)


def test_the_end_of_a_run_scores_texts() -> None:
    dataset, model = dataset_of(120, 60, 2), model_of(labels=2)
    counts = ngram_baseline(dataset).counts
    losses, mixture = final_losses(model, dataset, 1, counts=counts)
    assert mixture is not None
    engine = MixtureEngine(engine_of(model, 1), counts, mixture)
    expected = one_by_one(engine, dataset.validation).mean()
    assert losses["final_val_loss"] == pytest.approx(expected, rel=1e-6)
    assert losses["final_test_loss"] == pytest.approx(one_by_one(engine, dataset.test).mean())
    missing = [name for name, loss in losses.items() if loss is None]
    assert missing == ["final_stateless_loss"]


# -- n-grams ------------------------------------------------------------------------------


def test_the_baseline_is_that_of_the_counts_in_the_engine() -> None:
    dataset = dataset_of(300, 40)
    model = count(dataset.train, TOKENIZER, texts=dataset.texts)
    counts, expected = model.counts(3), losses_of(model, dataset.validation)[2]
    alone = Mixture(0.01, 1.0, (0.0,) * len(Mixture().match))  # next to nothing of the network
    engine = MixtureEngine(engine_of(model_of(), 1), counts, alone)
    np.testing.assert_allclose(one_by_one(engine, dataset.validation), expected, atol=0.1)
    assert one_by_one(engine, dataset.validation).mean() == pytest.approx(expected.mean(), abs=0.01)


def test_of_very_many_texts_some_are_counted() -> None:
    dataset = dataset_of(300, 40)
    part = spread(replace(dataset.validation, ids=dataset.train, texts=dataset.texts), 1000)
    found = losses_of(count(dataset.train, TOKENIZER, 1000, dataset.texts), dataset.validation)
    expected = losses_of(count(part.ids, TOKENIZER, texts=part.texts), dataset.validation)
    assert np.array_equal(found, expected)


# -- the report ---------------------------------------------------------------------------


def silent(name: str, size: int) -> contextlib.AbstractContextManager[OnProgress]:
    return contextlib.nullcontext(lambda done: None)


def test_the_report_has_rows_of_texts_with_and_without_labels() -> None:
    dataset, engine = dataset_of(200, 60, 2), engine_of(model_of(labels=2), 1)
    result = report(engine, dataset.validation, dataset, Wanted(), silent)
    assert [row.key for row in result.whole] == ["per_text", "without_labels"]
    with_label, without = result.whole
    expected = one_by_one(engine, dataset.validation)
    assert with_label.score.nats == pytest.approx(expected.sum(), rel=1e-6)
    assert abs(without.score.nats - with_label.score.nats) > 1
    assert result.baselines[0].key == "kneser_ney"
    unlabelled = dataset_of(200, 60)
    plain = report(engine, unlabelled.validation, unlabelled, Wanted(), silent)
    assert [(row.key, row.name) for row in plain.whole] == [("per_text", "per text")]
    assert plain.whole[0].score.nats == pytest.approx(without.score.nats)


def test_texts_are_found_in_the_training_part() -> None:
    train, other = records(200, 1), records(100, 2, 300)
    learned = segment_of(train).ids
    assert known_texts(learned, segment_of(train[1:])) == (100, 100)
    assert known_texts(learned, segment_of(other)) == (0, 100)
    assert known_texts(learned, segment_of([train[3], other[0], other[1]])) == (1, 3)
    inner = [text[1:] for text in train if len(text) > 20]  # not a text of its own
    assert known_texts(learned, segment_of(inner))[0] == 0


def test_texts_are_tuned_on_half_of_them() -> None:
    dataset, engine = dataset_of(200, 60, 2), engine_of(model_of(labels=2), 1)
    segment = dataset.validation
    assert segment.texts is not None
    first, second = halves(segment)
    assert not isinstance(first, slice)
    assert not isinstance(second, slice)
    assert sorted([*first, *second]) == list(range(len(segment)))
    owner = np.repeat(np.arange(60), segment.texts.lengths)
    assert len(set(owner[first])) == len(set(owner[second])) == 30
    result = report(engine, segment, dataset, Wanted(temperature=True, ngram=True), silent)
    names = ["per_text", "temperature", "kneser_ney", "mixture"]
    assert [row.key for row in result.half] == names
    assert {row.score.tokens for row in result.half} == {len(second)}


# -- the command --------------------------------------------------------------------------


def save_random(reading: ReadConfig) -> str:
    """Write a model with random weights of a corpus, and return the name of its file."""
    text = read_text(reading)
    dataset = tokenize(text, 0.3)
    model = LanguageModel(
        ModelConfig(dataset.tokenizer.vocab_size, parse_stack("lstm:6"), 5, labels=dataset.labels),
        TrainConfig(seed=1),
    )
    if model.labels:
        model.labels.weight.data.normal_(0, 2)
    corpus = {**{name: getattr(reading, name) for name in OWN}, "sources": list(reading.sources)}
    training = {"corpus": {**corpus, "sha256": text.sha256}, "config": {"val_frac": 0.3}}
    path = Path("random.safetensors")
    save_model(path, model.weights(), model.config, dataset.tokenizer, training)
    return str(path)


def test_eval_reads_records_each_from_the_initial_state(chargen: Run) -> None:
    write(
        "rows.csv",
        "who,text\n" + "".join(f"{'ab'[n % 2]},{t}" for n, t in enumerate(records(90, 1))),
    )
    name = save_random(ReadConfig(("rows.csv",), field="text", label="who"))
    done = chargen("eval", "-m", name, "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].startswith("text   27 texts, what was held out of rows.csv: ")
    rows = [line[:20].strip() for line in lines[4:7]]
    assert rows == ["per text, with label", "without label", "Kneser-Ney, order 2"]
    assert lines[-1] == "per text: each is read from the initial state, with its label"


@pytest.mark.parametrize("option", ["--dynamic", "--window=9"])
def test_eval_refuses_what_needs_one_text(option: str, chargen: Run) -> None:
    write("lines.txt", "".join(records(90, 1)))
    done = chargen("eval", "-m", save_random(ReadConfig(("lines.txt",), records="lines")), option)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "reads one text that goes on, but this model reads records, each from" in line


def test_eval_of_files_and_lines(chargen: Run) -> None:
    write("lines.txt", "".join(records(90, 1)))
    name = save_random(ReadConfig(("lines.txt",), records="lines"))
    write("other.txt", "abc\nbcd\n\nef\n")
    done = chargen("eval", "other.txt", "-m", name, "--json")
    facts = json.loads(done.stdout)
    assert (facts["protocol"], facts["texts"], facts["characters"]) == ("per_text", 3, 11)
    assert "stateless" not in facts
    write("known.txt", "abc\n" + "".join(records(90, 1)[:5]))
    told = chargen("eval", "known.txt", "-m", name, "--json").stderr.splitlines()
    assert told[-1].startswith("chargen: texts that are in the training part as well: ")
    assert told[-1].endswith(" of 6")
    scored = LineScorer(load(name)).score(["abc\n", "bcd\n", "ef\n"])
    assert sum(line.bits for line in scored) == pytest.approx(facts["bits_per_char"] * 11, abs=1e-4)
