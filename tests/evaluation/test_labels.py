"""Likelihood of texts under labels: by Bayes' rule these tell whose text it is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chargen.config import ReadConfig
from chargen.data.dataset import Dataset, Segment, read_text, tokenize
from chargen.data.texts import Texts
from chargen.errors import ConfigError
from chargen.evaluation import labels as module
from chargen.evaluation.labelled import held_out_texts
from chargen.evaluation.labels import judge_labels, label_likelihoods, texts_to_judge
from chargen.evaluation.protocols import stateful
from chargen.sampling.sampler import Sampler, load
from chargen.tokenizers import Tokenizer
from tests.conftest import write
from tests.evaluation.test_texts import dataset_of
from tests.labelled import LABELS, LINES, ROWS, save_labelled

TEXTS = ["abcde", "a", "vwxyz", "", "edcba" * 30, "zz"]


def expected(sampler: Sampler, text: str, label: int) -> float:
    """Return ln P of a text under a label by the engine, a token at a time."""
    tokenizer, end = sampler.tokenizer, sampler.reading.end
    weights = np.eye(len(LABELS), dtype=np.float32)[label]
    engine = sampler.engine.of(weights)  # type: ignore[attr-defined]
    ids = tokenizer.encode((end or "\n") + text).astype(np.int64)
    state, found = engine.init_state(1), 0.0
    for token, target in itertools.pairwise(ids):
        logits, state = engine.run(np.array([[token]]), state)
        row = logits[0, 0].astype(np.float64)
        found += row[target] - np.log(np.exp(row).sum())
    return found - float(tokenizer.unknown_nll(ids[1:]).sum())


@pytest.mark.parametrize("reading", [ROWS, LINES, {"label": "file"}])
def test_it_is_the_probability_of_the_text_with_its_end(
    reading: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = load(save_labelled(tmp_path / "m.safetensors", LABELS, **reading), threads=1)
    end, seen = sampler.reading.end or "", list[int]()
    (found,) = label_likelihoods(sampler, TEXTS, progress=seen.append)
    for text, row in zip(TEXTS, found, strict=True):
        wanted = [expected(sampler, text + end, label) for label in range(len(LABELS))]
        assert row.tolist() == pytest.approx(wanted, abs=1e-4)
    assert seen[-1] == len(TEXTS)
    assert (found[0, 0] > found[0, 1], found[2, 1] > found[2, 0]) == (True, True)
    (passages,) = label_likelihoods(sampler, TEXTS, whole=False)
    assert passages[0, 0] == pytest.approx(expected(sampler, "abcde", 0), abs=1e-4)
    monkeypatch.setattr(module, "HELD", 160)  # less than three labels of the longest text
    np.testing.assert_allclose(label_likelihoods(sampler, TEXTS)[0], found, atol=1e-4)


def test_several_records_are_a_product(tmp_path: Path) -> None:
    sampler = load(save_labelled(tmp_path / "m.safetensors", LABELS, **LINES), threads=1)
    (found,) = label_likelihoods(sampler, ["abc\r\nvw", "abc\nvw\n", "abc\n", "abc", "vw"])
    both, cut, ended, first, second = found
    assert both == pytest.approx(first + second)
    assert cut == pytest.approx(both)
    assert ended == pytest.approx(first)
    ((part, open_end),) = label_likelihoods(sampler, ["abc\nvw", "vw"], whole=False)
    assert part == pytest.approx(first + open_end)


def test_a_model_without_labels_tells_none(tmp_path: Path) -> None:
    sampler = load(save_labelled(tmp_path / "m.safetensors", ()), threads=1)
    with pytest.raises(ConfigError, match="--label"):
        label_likelihoods(sampler, ["text"])


# -- at the end of a run ------------------------------------------------------------------


def held_out(tokenizer: Tokenizer, texts: list[str], labels: list[int], end: str) -> Dataset:
    """Return a corpus of which these texts are held out, and others like them are learned."""
    ids = tokenizer.encode("".join(text + end for text in texts))
    borders = np.cumsum([0, *(len(text + end) for text in texts)])
    before = int(tokenizer.encode(end or "\n")[0])
    own = Texts(borders, np.array(labels, np.int32), before, end != "")
    part = Segment(tokenizer, ids, ids[:0], len(ids), texts=own)
    learned = Texts(np.arange(5), np.array([0, 0, 0, 1], np.int32), before, end != "")
    empty = replace(part, ids=ids[:0], texts=learned.first(0))
    return Dataset(tokenizer, ids[:4], part, empty, texts=learned, labels=LABELS)


def test_records_with_a_label_are_judged(tmp_path: Path) -> None:
    sampler = load(save_labelled(tmp_path / "m.safetensors", LABELS, **ROWS), threads=1)
    texts, labels = ["abcd", "vwx", "ab", "zyx", "abv", "abc"], [0, 1, 0, 1, 0, -1]
    dataset = held_out(sampler.tokenizer, texts, labels, "\x1e")
    part = texts_to_judge(dataset)
    assert part is not None
    assert part.texts is not None
    assert len(part.texts) == 5
    figures = judge_labels(sampler.engine, dataset)
    assert figures is not None
    assert figures.accuracy == 1
    assert len(figures.weights) == 1
    assert 0 < figures.weights[0] <= 4
    assert judge_labels(sampler.engine, dataset, lambda: True) is None


def test_other_texts_are_judged_by_passages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = load(save_labelled(tmp_path / "m.safetensors", LABELS, label="file"), threads=1)
    dataset = held_out(sampler.tokenizer, ["ab" * 350, "zy" * 250 + "\n"], [0, 1], "")
    part = texts_to_judge(dataset)
    assert part is not None
    assert part.texts is not None
    assert sorted(part.texts.labels.tolist()) == [0, 0, 0, 1, 1]
    assert part.texts.lengths.tolist() == [200] * 5
    figures = judge_labels(sampler.engine, dataset)
    assert figures is not None
    assert figures.accuracy == 1
    monkeypatch.setattr(module, "READ", 1500)  # two passages under three labels
    some = texts_to_judge(dataset)
    assert some is not None
    assert len(some) == 400


def test_a_newline_at_the_end_of_files_makes_no_records_of_them() -> None:
    for name in ("a.txt", "b.txt"):
        write(name, "some words\n" * 60)
    found = {}
    for records in (None, "lines"):
        config = ReadConfig(("a.txt", "b.txt"), records=records, label="file")
        data = tokenize(read_text(config), 0.1)
        assert data.validation.texts is not None
        found[records] = data.validation.texts.are_records, held_out_texts(data).texts
    assert found[None] == (False, ["some words\n" * 6] * 2)
    assert found["lines"] == (True, ["some words"] * 12)


def test_without_labels_nothing_is_judged() -> None:
    assert texts_to_judge(dataset_of(10, 10)) is None


def test_it_reads_what_it_should_in_one_pass(tmp_path: Path) -> None:
    sampler = load(save_labelled(tmp_path / "m.safetensors", LABELS, **ROWS), threads=1)
    dataset = held_out(sampler.tokenizer, ["abc", "vw"], [0, 1], "\x1e")
    nll = stateful(sampler.engine, dataset.validation).nll
    (found,) = label_likelihoods(sampler, ["abc", "vw"])
    assert -nll[:4].sum() == pytest.approx(found[0, 0], abs=1e-4)
    assert -nll[4:].sum() == pytest.approx(found[1, 1], abs=1e-4)
