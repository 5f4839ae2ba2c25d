"""Texts with labels, and records: what is asked for, where a text begins and where it is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chargen
from chargen.config import SampleConfig
from chargen.engine.labels import label_weights
from chargen.errors import ConfigError
from chargen.evaluation.surprisal import next_tokens, score_text
from chargen.sampling.generated import Generated
from chargen.sampling.ghost import Lookahead
from chargen.sampling.mixing import MixedSampler
from chargen.sampling.records import MOST
from chargen.sampling.sampler import Sampler, load
from tests.conftest import write
from tests.labelled import LABELS, LINES, ROWS, save_labelled

A, B = set("abcde"), set("vwxyz")


def model(name: str = "model", **reading: Any) -> Sampler:
    return load(save_labelled(Path(name, "model.safetensors"), **reading), threads=1)


@pytest.fixture
def rows() -> Sampler:
    return model(**ROWS)


def texts(found: list[Generated]) -> list[str]:
    assert {text.finish_reason for text in found} == {"stop"}
    return [text.text for text in found]


# -- labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ("b", [0, 1, 0]),
        ("a, or b=c", [0, 0, 1]),  # a name is that label, whatever is in it
        ("a=1,b=3", [0.25, 0.75, 0]),
        ("a, or b=c=1,b=1", [0, 0.5, 0.5]),
        ({"a": 2, "b": 2}, [0.5, 0.5, 0]),
    ],
)
def test_labels_are_a_name_or_names_with_weights(given: Any, weights: list[float]) -> None:
    assert label_weights(LABELS, given) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("c", "label is 'c'; allowed: 'a', 'b', 'a, or b=c'"),
        ("a=1,c=2", "label is 'c'; allowed: 'a', 'b', 'a, or b=c'"),
        ("a=", "label 'a' has the weight ''; allowed: a number above 0, as in a=0.7,b=0.3"),
        ("a=-1", "label 'a' has the weight -1.0; allowed: a number above 0, as in a=0.7,b=0.3"),
        ({"a": True}, "label 'a' has the weight True"),
        ({"a": float("nan")}, "label 'a' has the weight nan"),
        ({}, "label is {}; allowed: 'a', 'b', 'a, or b=c'"),
    ],
)
def test_wrong_labels_are_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        label_weights(LABELS, given)
    assert said in str(error.value)


def test_few_of_many_labels_are_named() -> None:
    names = tuple(f"author {n}" for n in range(200))
    with pytest.raises(ConfigError, match=r"'author 9' and 190 more$"):
        label_weights(names, "nobody")
    with pytest.raises(ConfigError, match="the model has no labels; train one with --label"):
        label_weights((), "nobody")


def test_a_text_is_of_its_label(rows: Sampler) -> None:
    assert rows.labels == LABELS
    for label, letters in {"a": A, "b": B}.items():
        own = rows.labelled(label)
        assert own.label == label
        assert set("".join(texts(own.generate_batch("", 9, seed=1)))) <= letters
        assert {guess.text for guess in next_tokens(own, "", 5)} == letters
    mixed = "".join(texts(rows.labelled("a=1,b=1").generate_batch("", 30, seed=1)))
    assert set(mixed) & A
    assert set(mixed) & B
    assert rows.label is None


def test_models_as_one_have_no_label_and_the_same_records(rows: Sampler) -> None:
    with pytest.raises(ConfigError, match="a label is one of one model"):
        MixedSampler([rows, rows], [0.5, 0.5]).labelled("a")
    lines = model("lines", **LINES)
    with pytest.raises(ConfigError, match="models with different ends of records cannot be mixed"):
        MixedSampler([rows, lines], [0.5, 0.5])


# -- records ------------------------------------------------------------------------------


def test_a_record_begins_after_the_end_of_another(rows: Sampler) -> None:
    engine, end = rows.engine, rows.tokenizer.encode("\x1eab").astype(np.int64)
    logits, _ = engine.run(end[None], engine.init_state(1))
    state = rows.read("ab")
    np.testing.assert_allclose(state.logits, logits[0, -1], atol=1e-5)
    assert rows.tokenizer.decode(state.before.tolist()) == "ab"
    for text, before in (("xyz\x1eab", None), ("yz\x1eab", rows.read("x")), ("b", rows.read("a"))):
        np.testing.assert_allclose(rows.read(text, before).logits, state.logits, atol=1e-5)
    assert not len(rows.read("").before)


@pytest.mark.parametrize("reading", [ROWS, LINES])
def test_a_text_ends_with_its_record(reading: dict[str, str]) -> None:
    sampler = model(**reading).labelled("a")
    end = sampler.reading.end
    assert end
    plain = sampler.generate_batch("", 20, seed=1)
    assert len(set(map(len, texts(plain)))) > 3
    (end_id,) = sampler.tokenizer.encode(end).tolist()
    assert {text.tokens[-1] for text in plain} == {end_id}
    assert "".join(sampler.generate("", seed=1)) == plain[0].text
    with pytest.raises(ConfigError, match="prompt holds '.*', which ends a record of this model"):
        sampler.generate(f"a{end}b")


@pytest.mark.parametrize(
    "settings",
    [
        {"repeat_penalty": 1.3},
        {"dry_multiplier": 0.8},
        {"until": "sentence"},
        {"until": "paragraph"},
        {"stop": "ab"},
        {"top_k": 4},
        {"mirostat": 2},
        {"length": 200},
    ],
)
def test_it_ends_with_any_parameters(rows: Sampler, settings: dict[str, Any]) -> None:
    for text in texts(rows.labelled("a").generate_batch("", 5, seed=2, **settings)):
        assert set(text) <= A


def test_it_ends_under_constraints_and_in_a_beam(rows: Sampler) -> None:
    ours = rows.labelled("a")
    found = texts(ours.generate_batch("", 8, seed=1, regex="[a-e]{2,9}"))
    assert min(map(len, found)) >= 2
    assert len(set(map(len, found))) > 2
    assert set(texts(ours.generate_batch("", 8, seed=1, words=["ab", "cd"]))) <= {"", "ab", "cd"}
    best = ours.generate_batch("a", 2, beam=4)
    assert best[0].text == ""  # END is the likeliest token
    assert best[0].finish_reason == "stop"


def test_a_record_without_a_length_is_not_cut_early(
    rows: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST == 10_000
    monkeypatch.setattr("chargen.sampling.records.MOST", 800)
    (endless,) = rows.labelled(LABELS[2]).generate_batch("", seed=1)
    assert (len(endless.text), endless.finish_reason) == (800, "length")
    (short,) = rows.labelled(LABELS[2]).generate_batch("", seed=1, length=7)
    assert (len(short.text), short.finish_reason) == (7, "length")


def test_ghost_text_ends_with_the_record(rows: Sampler) -> None:
    sampler = rows.labelled("a")
    ghost = Lookahead(sampler, None, SampleConfig(logit_bias=(("c", 20),)))
    assert ghost.ghost("ab", 5, 9.0) == "ccccc"
    ending = Lookahead(sampler, None, SampleConfig(logit_bias=(("\x1e", 20),)))
    assert ending.ghost("ab", 5, 9.0) == ""
    for text in ("ab", "xyz\x1eab", "xyz\x1e\x1eab", "xyz\x1e"):
        np.testing.assert_allclose(
            ghost.read(text).logits, sampler.read(text.rpartition("\x1e")[2]).logits, atol=1e-5
        )
    assert "\x1e" not in "".join(words for words, _ in ghost.alternatives("ab"))


def test_files_with_labels_are_texts_without_an_end() -> None:
    sampler = model(label="folder").labelled("b")
    assert sampler.reading.end is None
    (text,) = sampler.generate_batch("v\nw", seed=1)
    assert (len(text.text), text.finish_reason) == (500, "length")
    assert set(text.text) <= {*B, "\n"}


def test_several_records_are_scored_each_by_itself() -> None:
    sampler = model(**LINES).labelled("a")
    one, other = (score_text(sampler, text) for text in ("ab\n", "abcd\n"))
    both = score_text(sampler, "ab\nabcd\n")
    assert both.bits == pytest.approx(one.bits + other.bits)
    assert [token.text for token in both.tokens] == list("ab\nabcd\n")


# -- from Python --------------------------------------------------------------------------


def test_a_model_takes_a_label_wherever_it_reads(rows: Sampler) -> None:
    own = chargen.load("model/model.safetensors", threads=1)
    assert own.labels == LABELS
    assert set("".join(own.generate("", label="a", seed=1))) <= A
    (text,) = own.generate_batch("", label={"b": 1}, seed=1)
    assert set(text.text) <= B
    assert own.score("abc", label="b").bits > own.score("abc", label="a").bits + 30
    (line,) = own.score_lines(["abc"], label="b")
    assert line.bits > 30
    assert {guess.text for guess in own.next("", 5, label="a")} == A
    first, second = own.classify(["abc", "xyz"], prior="uniform")
    assert (max(first, key=first.__getitem__), max(second, key=second.__getitem__)) == ("a", "b")
    assert sum(first.values()) == pytest.approx(1)
    with pytest.raises(ConfigError, match="label is 'c'"):
        own.generate("", label="c")
    with pytest.raises(ConfigError, match="the model has no labels"):
        chargen.load("english").classify(["abc"])


def test_weights_of_int8_have_labels_too(rows: Sampler) -> None:
    assert rows.run
    small = load(rows.run / "model.safetensors", threads=1, int8=True)
    for label, letters in {"a": A, "b": B}.items():
        assert set("".join(texts(small.labelled(label).generate_batch("", 9, seed=1)))) <= letters


def test_training_takes_the_settings_of_labels_by_name() -> None:
    pytest.importorskip("torch")
    rows = [f"{letter * n},{name}" for n in range(3, 30) for letter, name in ("ap", "zq")]
    write("letters.csv", "\n".join(["text,author", *rows]))
    recipe: dict[str, Any] = {"steps": 3, "hidden": 8, "layers": 1, "seed": 1, "threads": 1}
    run = chargen.train("letters.csv", name="l", field="text", label="author", **recipe)
    trained = run.finish(quiet=True)
    assert trained.labels == ("p", "q")
    assert trained.sampler.reading.end == "\x1e"
    (text,) = trained.generate_batch("", label="p", seed=1, length=50)
    assert len(text.text) <= 50
