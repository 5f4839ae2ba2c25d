"""Several models as one: by their equation, in pieces, over the characters of all."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chargen as package
from chargen.errors import ConfigError
from chargen.evaluation.lines import LineScorer
from chargen.evaluation.surprisal import next_distribution, score_text, score_tokens
from chargen.model.saved import open_model, save_model
from chargen.repl import Session
from chargen.sampling.filters import log_probabilities
from chargen.sampling.mixing import MixedSampler, joined, load_mixed
from chargen.sampling.sampler import Sampler, load
from chargen.tokenizers import build_tokenizer
from tests.conftest import Run, write
from tests.hashing import hashing
from tests.sampling.constraints.walks import KINDS, tokenizer

LATIN, MORE = build_tokenizer("char", "\n abcdefgh", 0), build_tokenizer("char", "\n xyzabé", 0)


def two(*mix: float) -> MixedSampler:
    return MixedSampler([hashing(LATIN), hashing(MORE)], mix or (0.7, 0.3))


def bits_of(sampler: Sampler, text: str) -> list[float]:
    return [token.bits for token in score_tokens(sampler, text)]


# -- the equation -------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(text=st.text("\n abcxyzé日!", max_size=20), first=st.floats(0, 1))
def test_it_is_the_equation_for_every_text(text: str, first: float) -> None:
    mixed = two(first, 1 - first)
    parts = [bits_of(part, text) for part in mixed.parts]
    expected = [
        -math.log2(first * 2**-a + (1 - first) * 2**-b) for a, b in zip(*parts, strict=True)
    ]
    assert bits_of(mixed, text) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_it_has_the_characters_of_all_and_its_probabilities_sum_to_one() -> None:
    mixed = two()
    assert mixed.tokenizer.to_json() == {"kind": "char", "alphabet": "\n abcdefghxyzé"}
    for text in ("", "abc", "xyz é", "日"):
        p = np.exp(mixed.read(text).logits.astype(np.float64))
        assert p.sum() == pytest.approx(1, abs=1e-6)
        assert (p > 0).all()
    found = next_distribution(mixed, "ab", 3)
    likely = sum(guess.probability for guess in found.most_likely)
    assert found.unknown_probability is not None
    assert likely + found.others_probability + found.unknown_probability == pytest.approx(1)


def test_a_character_that_a_model_lacks_has_its_part_of_the_unknown_ones() -> None:
    mixed = two(1.0, 0.0)
    own = mixed.parts[0]
    p = np.exp(log_probabilities(own.read("ab").logits[None])[0])
    q = np.exp(mixed.read("ab").logits.astype(np.float64))
    for character in "xyzé":
        (token,) = mixed.tokenizer.encode(character)
        assert q[token] == pytest.approx(p[0] / LATIN.unknown_count, rel=1e-5)
    assert q[0] == pytest.approx(p[0] * mixed.tokenizer.unknown_count / LATIN.unknown_count)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_mixed_with_itself_is_the_model(kind: str) -> None:
    one = hashing(tokenizer(kind))
    mixed = MixedSampler([one, one], (0.4, 0.6))
    assert mixed.tokenizer is one.tokenizer
    text = "abba cab\né日"
    assert bits_of(mixed, text) == pytest.approx(bits_of(one, text), abs=1e-5)
    assert list(mixed.generate("ab", length=40, seed=1)) == list(
        one.generate("ab", length=40, seed=1)
    )


@pytest.mark.parametrize("mix", [(1.0, 0.0), (0.0, 1.0)])
def test_a_weight_of_one_is_that_model(mix: tuple[float, float]) -> None:
    parts = [hashing(LATIN), hashing(LATIN)]
    parts[1].engine.init_state = lambda batch: (np.full((1, batch, 1), 7, np.float32),)  # type: ignore[method-assign]
    mixed, own = MixedSampler(parts, mix), parts[mix.index(1.0)]
    assert bits_of(mixed, "abc hag\n!") == pytest.approx(bits_of(own, "abc hag\n!"), abs=1e-5)
    assert bits_of(parts[0], "abc") != pytest.approx(bits_of(parts[1], "abc"))


# -- its state ----------------------------------------------------------------------------


def of_networks(trained: Path) -> MixedSampler:
    path = trained / "small" / "model.safetensors"
    saved = open_model(str(path))
    weights = {name: array * 0.5 for name, array in saved.weights().items()}
    save_model(Path("other.safetensors"), weights, saved.config, saved.tokenizer, {})
    return MixedSampler([load(path, threads=1), load("other.safetensors", threads=1)], (0.6, 0.4))


def test_pieces_equal_the_whole_and_a_batch_its_rows(trained: Path, prose: str) -> None:
    mixed = of_networks(trained)
    state = mixed.engine.init_state(1)
    assert len(state) == sum(len(part.engine.init_state(1)) for part in mixed.parts)
    ids = mixed.tokenizer.encode(prose[:90]).astype(np.int64).reshape(3, 30)
    whole, last = mixed.engine.run(ids, mixed.engine.init_state(3))
    for row in range(3):
        state = mixed.engine.init_state(1)
        for start in (0, 7, 20):
            end = {0: 7, 7: 20, 20: 30}[start]
            logits, state = mixed.engine.run(ids[row, None, start:end], state)
            np.testing.assert_allclose(logits[0], whole[row, start:end], atol=1e-5)
        for part, together in zip(state, last, strict=True):
            np.testing.assert_allclose(part[0, 0], together[0, row], atol=1e-5)
    assert {part.dtype for part in (whole, *last)} == {np.dtype(np.float32)}


def test_all_that_reads_and_writes_works_on_it(trained: Path, prose: str) -> None:
    mixed = of_networks(trained)
    texts = mixed.generate_batch("The ", 3, length=20, seed=1, logprobs=True)
    alone = mixed.generate_batch("The ", 1, length=20, seed=1)
    assert texts[0].text == alone[0].text
    assert mixed.generate_batch("The ", 1, length=8, beam=3)[0].text
    lines = prose[:600].splitlines(keepends=True)
    found = [line.bits for line in LineScorer(mixed).score(lines)]
    assert found == pytest.approx([sum(bits_of(mixed, line)) for line in lines], rel=1e-5)
    session = Session(mixed)
    session.load(prose[:60])
    assert "".join(token.text for token in session.heat()) == prose[:60]


# -- who wrote it -------------------------------------------------------------------------


def test_the_share_of_a_model_is_its_part_of_the_probability() -> None:
    mixed, text = two(), "ab xyz日\n"
    parts = [bits_of(part, text) for part in mixed.parts]
    for token, a, b in zip(score_text(mixed, text).tokens, *parts, strict=True):
        p, q = 0.7 * 2**-a, 0.3 * 2**-b
        assert token.responsibilities == pytest.approx((p / (p + q), q / (p + q)))
    assert score_text(hashing(), "ab").tokens[0].responsibilities == ()
    assert two(0.0, 1.0).responsibilities((3.0, 4000.0)) == (0, 1)
    assert two().responsibilities((4000.0, 3.0)) == (0, 1)


@pytest.fixture
def models(with_model: Path) -> tuple[str, ...]:
    """Write a second model with another alphabet; return the options that name both."""
    saved = open_model("small")
    alphabet = saved.tokenizer.to_json()["alphabet"]
    other = build_tokenizer("char", alphabet[:-1] + "\u20ac", 0)
    weights = {name: array * 0.5 for name, array in saved.weights().items()}
    save_model(Path("other.safetensors"), weights, saved.config, other, {})
    return "-m", "small", "-m", "other.safetensors"


def test_score_and_heat_say_who_wrote_each_character(chargen: Run, models: tuple[str, ...]) -> None:
    text = "The value \u20ac\nof it"
    write("text.txt", text)
    done = chargen("score", "--threads", "1", *models, "--mix", "3,1", "--json", "text.txt")
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    scored = package.load(["small", "other.safetensors"], mix=(3, 1)).score(text)
    assert [row["bits"] for row in rows] == pytest.approx([t.bits for t in scored.tokens], abs=1e-5)
    for row, token in zip(rows, scored.tokens, strict=True):
        assert (row["responsibility_1"], row["responsibility_2"]) == pytest.approx(
            token.responsibilities, abs=1e-5
        )
    head = chargen("score", "--threads", "1", *models, "--csv", "text.txt").stdout.splitlines()[0]
    assert head == '"text","logprob","bits","responsibility_1","responsibility_2"'
    heat = chargen("heat", "--threads", "1", *models, "--mix", "3,1", "--by-model", "text.txt")
    letters = [
        "a" if a >= 0.75 else "b" if b >= 0.75 else "."
        for a, b in (t.responsibilities for t in scored.tokens)
    ]
    assert "".join(heat.stdout.split("\n")[1::2]) == "".join(letters)
    assert "b" in letters  # the euro, which only the other knows
    assert heat.stderr.startswith(
        "chargen: below each character the model that wrote it: a small, b other; . for none"
    )
    done = chargen(
        "heat", "--threads", "1", *models, "--by-model", "text.txt", "--html", "heat.html"
    )
    page = Path("heat.html").read_text()
    assert done.stdout == "heat.html\n"
    assert "<h1>text.txt, scored by small and other</h1>" in page
    assert '<i class="w1">small</i> <i class="w2">other</i> from 75% on' in page
    (data,) = re.findall(r'id="data">(.*?)</script>', page)
    facts = json.loads(data)
    assert facts["models"] == ["small", "other"]
    assert len(facts["responsibilities"]) == 2 * len(text)


# -- the command line and Python ----------------------------------------------------------


def test_sample_next_and_the_session_mix(chargen: Run, models: tuple[str, ...]) -> None:
    given = ("-n", "30", "--seed", "1", "-p", "The ")
    mixed = chargen("sample", "--threads", "1", *models, "--mix", "0.9,0.1", *given)
    model = package.load(["small", Path("other.safetensors")], mix=[0.9, 0.1])
    assert mixed.stdout == "The " + "".join(model.generate("The ", length=30, seed=1))
    found = json.loads(
        chargen("next", "--threads", "1", *models, "--json", "-p", "The", "-n", "1").stdout
    )
    assert found["others"]["count"] == model.tokenizer.vocab_size - 2
    done = chargen(
        "repl", "--threads", "1", *models, "--seed", "1", "-n", "20", input="The value\n"
    )
    assert (done.returncode, len(done.stdout)) == (0, len("The value") + 21)


def test_tokenizers_that_differ_are_refused() -> None:
    known = [tokenizer(kind) for kind in KINDS]
    for a in known:
        for b in known:
            if a is not b:
                with pytest.raises(ConfigError, match="different tokenizers cannot be mixed"):
                    joined([a, b])
        assert joined([a, a]) is a


def test_what_cannot_be_mixed_is_one_clear_line(chargen: Run, models: tuple[str, ...]) -> None:
    write("text.txt", "The value\n")
    for args, message in (
        (("sample", *models, "--mix", "1"), "mix is [1.0]; allowed: 2 weights, 0 or more, not all"),
        (("sample", *models, "--mix", "0,0"), "mix is [0.0, 0.0]; allowed: 2 weights"),
        (("sample", *models, "--mix", "1,-1"), "mix is [1.0, -1.0]; allowed: 2 weights"),
        (("sample", *models, "--mix", "nan,1"), "mix is [nan, 1.0]; allowed: 2 weights"),
        (("next", *models, "--mix", "a,b"), "mix is 'a,b'; allowed: numbers with commas between"),
        (("next", "--mix", "1"), "mix gives the weights of several models; leave it out"),
        (("next", *(models * 5)), "number of models is 10; allowed: 1 to 8"),
        (("sample", *models, "--no-copy", "40"), "no-copy knows the training text of one model"),
        (("heat", "--by-model", "text.txt"), "--by-model applies to several models; leave it out"),
        (("eval", *models), "this command reads one model, and 'small' and 'other.safetensors'"),
        (("info", *models), "this command reads one model, and 'small' and 'other.safetensors'"),
    ):
        done = chargen(*args)
        assert done.returncode == 2, args
        assert done.stdout == ""
        assert done.stderr.startswith(f"chargen: {message}"), done.stderr
        assert done.stderr.count("\n") == 1


def test_one_model_in_a_list_is_that_model(with_model: Path) -> None:
    assert not isinstance(load_mixed(["small"]), MixedSampler)
    assert not isinstance(load_mixed(None), MixedSampler)
    with pytest.raises(ConfigError, match="mix is 'ab'; allowed: 2 weights"):
        package.load(["small", "small"], mix="ab")  # type: ignore[arg-type]
