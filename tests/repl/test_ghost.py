"""Ghost text and surprise: what a model makes of a line that is being typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import SampleConfig
from chargen.errors import TokenizerError
from chargen.evaluation.surprisal import score_tokens
from chargen.repl.ghost import STRIDE, Foresight
from chargen.sampling.sampler import Sampler, load
from chargen.tokenizers import build_tokenizer
from tests.hashing import ALPHABET, hashing, steps

LONG = 60.0  # seconds: no deadline
lines = st.text(ALPHABET + "é", max_size=40)
Edits = list[tuple[int, int, str, bool]]
edits = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), lines, st.booleans()), max_size=8)


@pytest.fixture(scope="module")
def model(trained: Path) -> Sampler:
    return load(trained / "small" / "model.safetensors", threads=1)


def edited(text: str, edit: tuple[int, int, str, bool]) -> str:
    at, deleted, inserted, _ = edit
    return text[:at] + inserted + text[at + deleted :]


# -- reading as it changes ----------------------------------------------------------------


@given(edits=edits, before=lines)
def test_any_edits_give_what_reading_at_once_gives(edits: Edits, before: str) -> None:
    sampler = hashing()
    place = sampler.read(before) if before else None
    foresight, line = Foresight(sampler, place), ""
    for edit in edits:
        line = edited(line, edit)
        if edit[3]:
            foresight.ghost(line, 10, LONG)
        assert np.array_equal(foresight.read(line).logits, sampler.read(line, place).logits)


@settings(max_examples=25, deadline=None)
@given(edits=edits)
def test_so_do_they_with_a_trained_model(model: Sampler, edits: Edits) -> None:
    foresight, line = Foresight(model, None), ""
    for edit in edits:
        line = edited(line, edit)
        if edit[3]:
            foresight.ghost(line, 10, LONG)
        whole = model.read(line).logits
        np.testing.assert_allclose(foresight.read(line).logits, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["byte", "bpe", "unigram"])
def test_so_do_they_where_a_key_changes_the_tokens_before_it(kind: str, prose: str) -> None:
    sampler = hashing(build_tokenizer(kind, prose, 400))
    foresight = Foresight(sampler, None)
    for text in (*(prose[:n] for n in range(1, 60)), prose[:30], "", "é\u2581日"):
        foresight.ghost(text, 5, LONG)
        assert np.array_equal(foresight.read(text).logits, sampler.read(text).logits)


def test_a_key_costs_one_step_and_what_was_foretold_or_deleted_none() -> None:
    sampler = hashing(build_tokenizer("char", "abcdefgh", 0))  # a line never ends
    foresight = Foresight(sampler, sampler.read("gab"))

    def cost(line: str, width: int = 0) -> int:
        before = steps(sampler)
        foresight.ghost(line, width, LONG)
        return steps(sampler) - before

    assert cost("abcd") == 4
    assert cost("abcde") == 1
    assert cost("abcde") == 0
    assert cost("abc") == 0
    assert cost("abcdef") == 1
    assert cost("abh") == 1
    ghost = foresight.ghost("ab", 5, LONG)
    assert len(ghost) == 5
    assert cost("ab" + ghost[:3], 2) == 0
    assert cost("ab" + ghost[:3], 3) <= 1


def test_after_a_paste_deleting_costs_no_more_than_a_stride() -> None:
    sampler = hashing()
    foresight = Foresight(sampler, None)
    line = "abcdefgh" * 50
    foresight.read(line)
    before = steps(sampler)
    for count in range(1, STRIDE):
        foresight.read(line[:-count])
    assert steps(sampler) == before
    foresight.read(line[:-100])
    assert steps(sampler) - before <= STRIDE


# -- looking ahead ------------------------------------------------------------------------


def test_the_ghost_is_what_temperature_zero_writes(model: Sampler) -> None:
    greedy = SampleConfig(length=60, temperature=0)
    for line in ("The ", "It is", "class "):
        text = "".join(model.stream(model.read(line), greedy))
        assert Foresight(model, None).ghost(line, 60, LONG) == text.partition("\n")[0]


def test_the_ghost_ends_with_the_line_the_room_and_the_time() -> None:
    sampler = hashing(build_tokenizer("char", "ab\n", 0))
    ghosts = [Foresight(sampler, None).ghost("ab" * n, 200, LONG) for n in range(40)]
    assert not any("\n" in ghost or "\ufffd" in ghost for ghost in ghosts)
    assert any(len(ghost) < 200 for ghost in ghosts)
    assert max(len(Foresight(hashing(), None).ghost("a", 7, LONG)) for _ in range(3)) <= 7
    assert Foresight(hashing(), None).ghost("a", 80, 0) == ""


def test_a_lone_surrogate_is_refused_and_nothing_lost() -> None:
    foresight = Foresight(hashing(), None)
    logits = foresight.read("ab").logits
    with pytest.raises(TokenizerError):
        foresight.ghost("ab\udc80", 9, LONG)
    assert np.array_equal(foresight.read("ab").logits, logits)


def test_alternatives_are_words_with_their_probabilities(model: Sampler) -> None:
    found = Foresight(model, None).alternatives("The ")
    probs = [chance for _, chance in found]
    assert len(found) == 8
    assert probs == sorted(probs, reverse=True)
    assert 0 < probs[-1] <= probs[0] < 1
    for words, chance in found:
        weighed = score_tokens(model, words, model.read("The "))
        # The unknown character is never written, so that all others are a little likelier.
        assert 2 ** -sum(w.bits for w in weighed) == pytest.approx(chance, rel=0.05)
        assert not words.strip().isalnum() or " " not in words.strip()


def test_what_is_never_written_is_no_alternative() -> None:
    sampler = hashing(build_tokenizer("char", "ab", 0))
    found = Foresight(sampler, None).alternatives("ab")
    assert len(found) == 2
    assert "\ufffd" not in "".join(words for words, _ in found)
