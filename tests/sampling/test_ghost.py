"""Ghost text: the continuation of a line that is being typed."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import SampleConfig
from chargen.errors import TokenizerError
from chargen.evaluation.surprisal import score_tokens
from chargen.sampling import ghost
from chargen.sampling.ghost import STRIDE, Lookahead
from chargen.sampling.sampler import Sampler, load
from chargen.tokenizers import build_tokenizer
from tests.hashing import ALPHABET, hashing, steps
from tests.sampling.reciting import reciting

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
    state = sampler.read(before) if before else None
    lookahead, line = Lookahead(sampler, state), ""
    for edit in edits:
        line = edited(line, edit)
        if edit[3]:
            lookahead.ghost(line, 10, LONG)
        assert np.array_equal(lookahead.read(line).logits, sampler.read(line, state).logits)


@settings(max_examples=25, deadline=None)
@given(edits=edits)
def test_so_do_they_with_a_trained_model(model: Sampler, edits: Edits) -> None:
    lookahead, line = Lookahead(model, None), ""
    for edit in edits:
        line = edited(line, edit)
        if edit[3]:
            lookahead.ghost(line, 10, LONG)
        whole = model.read(line).logits
        np.testing.assert_allclose(lookahead.read(line).logits, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["byte", "bpe", "unigram"])
def test_so_do_they_where_a_key_changes_the_tokens_before_it(kind: str, prose: str) -> None:
    sampler = hashing(build_tokenizer(kind, prose, 400))
    lookahead = Lookahead(sampler, None)
    for text in (*(prose[:n] for n in range(1, 60)), prose[:30], "", "é\u2581日"):
        lookahead.ghost(text, 5, LONG)
        assert np.array_equal(lookahead.read(text).logits, sampler.read(text).logits)


def test_a_key_takes_one_step_and_a_predicted_or_deleted_one_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ghost, "SURE", 0)
    sampler = hashing(build_tokenizer("char", "abcdefgh", 0))  # a line never ends
    lookahead = Lookahead(sampler, sampler.read("gab"))

    def taken(line: str, width: int = 0) -> int:
        before = steps(sampler)
        lookahead.ghost(line, width, LONG)
        return steps(sampler) - before

    assert taken("abcd") == 4
    assert taken("abcde") == 1
    assert taken("abcde") == 0
    assert taken("abc") == 0
    assert taken("abcdef") == 1
    assert taken("abh") == 1
    ahead = lookahead.ghost("ab", 5, LONG)
    assert len(ahead) == 5
    assert taken("ab" + ahead[:3], 2) == 0
    assert taken("ab" + ahead[:3], 3) <= 1


def test_after_a_paste_deleting_takes_at_most_a_stride() -> None:
    sampler = hashing()
    lookahead = Lookahead(sampler, None)
    line = "abcdefgh" * 50
    lookahead.read(line)
    before = steps(sampler)
    for count in range(1, STRIDE):
        lookahead.read(line[:-count])
    assert steps(sampler) == before
    lookahead.read(line[:-100])
    assert steps(sampler) - before <= STRIDE


# -- predictions --------------------------------------------------------------------------


def ahead(story: str, line: str, width: int = 80, before: str = "", **settings: Any) -> str:
    """Return the ghost text of a model that recites a story."""
    sampler = reciting(story)
    config = SampleConfig(**settings)
    state = sampler.read(before) if before else None
    return Lookahead(sampler, state, config).ghost(line, width, LONG)


def test_the_ghost_text_is_the_greedy_continuation(model: Sampler) -> None:
    greedy = SampleConfig(length=60, temperature=0)
    found = []
    for line in ("The val", "It is the sa", "class", "a func", "the same w"):
        text = "".join(model.stream(model.read(line), greedy))
        found.append(Lookahead(model, None).ghost(line, 60, LONG))
        assert text.startswith(found[-1])
    assert any(found)


@pytest.mark.parametrize(
    ("story", "line", "ghost"),
    [
        ("It was cold, and nobody came. Then", "It w", "as cold,"),
        ("It was cold, and nobody came. Then", "It was cold", ", and nobody came."),
        ("It was cold, and nobody came. Then", "It was cold,", " and nobody came."),
        ("He paid Mr. J. Smith 3.50, or 4", "He pa", "id Mr. J. Smith 3.50,"),
        ("He said: “Yes!” and left. The", "He said:", " “Yes!”"),
        ("It was\ncold, and", "It w", "as"),
        ("夜は寒い、誰もいない。", "夜", "は寒い、"),
    ],
)
def test_the_ghost_text_ends_with_a_phrase_or_the_line(story: str, line: str, ghost: str) -> None:
    assert ahead(story, line) == ghost


def test_the_ghost_text_ends_where_it_repeats_itself() -> None:
    looping = reciting("of the same the same the same the same the same")
    loop = Lookahead(looping, None)
    assert loop.ghost("of", 80, LONG) == " the same"
    assert loop.ghost("of the same", 80, LONG) == ""  # the line counts, and so does the text
    assert Lookahead(looping, looping.read("of the s")).ghost("ame", 80, LONG) == ""
    assert loop.ghost("of the same the s", 80, LONG) == "ame"  # what a person begins is completed
    assert ahead("he said no no no and left. ", "he said no no no") == " and left."
    assert ahead("and ha ha ha ha ha ha", "and") == " ha"
    assert ahead("he had had it; and", "he") == " had had it;"
    assert ahead("a --------------------- b", "a") == " -"


def test_the_ghost_text_ends_before_the_word_that_is_unsure() -> None:
    sampler = reciting(*(f"the cat sat on {letter}rugs; " for letter in "abcdefghijkl"))

    def ahead(line: str) -> str:
        return Lookahead(sampler, None).ghost(line, 80, LONG)

    assert ahead("the c") == "at sat on"
    assert ahead("the cat sat o") == "n"
    assert ahead("the cat sat on ") == ""
    assert ahead("the cat sat on b") == "rugs;"
    sampler = reciting(*(f"the cat sat{end}" for end in " \n,.;:!?()-"))
    assert ahead("the c") == "at sat"  # the word is sure, only what follows is not
    sampler = reciting(*(f"the cat's{end}" for end in "abcdefghijk"))
    assert ahead("the c") == ""  # the word goes on


def test_the_ghost_text_heeds_what_changes_the_greedy_continuation() -> None:
    story = "the cat sat on the mat and slept"
    assert ahead(story, "the c", stop=(" on",)) == "at sat"
    assert ahead(story, "the c", stop=("at s",)) == ""
    assert ahead(story, "the c", temperature=0, top_k=1) == ahead(story, "the c")
    assert ahead(story, "the ") == "cat sat on the mat and slept"
    for changed in ({"ban": "s"}, {"logit_bias": (("s", -50.0),)}, {"repeat_penalty": 50.0}):
        assert ahead(story, "the cat ", **changed) == ""  # all else is unlikely then


def test_a_word_is_not_cut_by_the_room() -> None:
    story = "the cat sat on the mat and slept"
    assert ahead(story, "the c", width=12) == "at sat on"
    assert ahead(story, "the c", width=1) == "a"  # nothing else fits
    assert ahead("日本語の文章です。", "日", width=4) == "本語の文"


def test_the_ghost_text_ends_with_the_line_the_room_and_the_time() -> None:
    sampler = hashing(build_tokenizer("char", "ab\n", 0))
    ghosts = [Lookahead(sampler, None).ghost("ab" * n, 200, LONG) for n in range(40)]
    assert not any("\n" in ghost or "\ufffd" in ghost for ghost in ghosts)
    assert any(0 < len(ghost) < 200 for ghost in ghosts)
    by_bytes = Lookahead(hashing(build_tokenizer("byte", b"", 0)), None)
    typed = [by_bytes.ghost("ab" * n, 200, LONG) for n in range(20)]
    typed += [words for n in range(5) for words, _ in by_bytes.alternatives("a" * n + " ")]
    "".join(typed).encode()  # no byte that cannot be typed
    assert max(len(Lookahead(hashing(), None).ghost("a", 7, LONG)) for _ in range(3)) <= 7
    assert Lookahead(hashing(), None).ghost("a", 80, 0) == ""


def test_late_ghost_text_ends_with_a_whole_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ghost, "SURE", 0)
    monkeypatch.setattr(ghost, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    ends = set[int]()
    for line in ("a", "ab", "b c"):
        whole = Lookahead(hashing(), None).ghost(line, 60, 1000)
        for seconds in range(1, 40):
            late = Lookahead(hashing(), None).ghost(line, 60, seconds)
            ends.add(len(late))
            assert whole.startswith(late)
            assert not (late[-1:].isalnum() and whole[len(late) :][:1].isalnum())
    assert len(ends) == 3


def test_a_lone_surrogate_is_refused_and_nothing_lost() -> None:
    lookahead = Lookahead(hashing(), None)
    logits = lookahead.read("ab").logits
    with pytest.raises(TokenizerError):
        lookahead.ghost("ab\udc80", 9, LONG)
    assert np.array_equal(lookahead.read("ab").logits, logits)


def test_alternatives_are_words_with_their_probabilities(model: Sampler) -> None:
    found = Lookahead(model, None).alternatives("The ")
    probs = [prob for _, prob in found]
    assert len(found) == 8
    assert probs == sorted(probs, reverse=True)
    assert 0 < probs[-1] <= probs[0] < 1
    for words, prob in found:
        tokens = score_tokens(model, words, model.read("The "))
        # The unknown character is never sampled: all others are a little more likely.
        assert 2 ** -sum(token.bits for token in tokens) == pytest.approx(prob, rel=0.05)
        assert not words.strip().isalnum() or " " not in words.strip()


def test_a_token_that_is_never_sampled_is_no_alternative() -> None:
    sampler = hashing(build_tokenizer("char", "ab", 0))
    found = Lookahead(sampler, None).alternatives("ab")
    assert len(found) == 2
    assert "\ufffd" not in "".join(words for words, _ in found)
