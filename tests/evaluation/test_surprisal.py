"""Surprisal of a text, piece by piece, and which lines stand out by it."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen import repl
from chargen.display.heat import level
from chargen.engine import State
from chargen.errors import ConfigError, TokenizerError
from chargen.evaluation import surprisal
from chargen.evaluation.lines import by_line
from chargen.evaluation.protocols import score, stateful
from chargen.evaluation.surprisal import (
    ScoredToken,
    best_guesses,
    by_word,
    next_distribution,
    next_tokens,
    score_text,
    score_tokens,
)
from chargen.repl import Session
from chargen.sampling.filters import log_probabilities
from chargen.sampling.sampler import PROMPT_CHUNK, DecodeState, Sampler, load
from chargen.tokenizers import build_tokenizer
from tests.hashing import Hashing, hashing, steps
from tests.sampling.constraints.walks import KINDS, tokenizer
from tests.segments import segment_of

texts = st.text("abcAB 1.\n\r\t'é🎉\u2581\u0301日\0") | st.text(st.characters(codec="utf-8"))


def bits_by_hand(sampler: Sampler, text: str, before: DecodeState | None) -> float:
    """Read a token at a time from the logits before it."""
    place, known, bits = before or sampler.read(""), sampler.tokenizer, 0.0
    logits, state = place.logits.astype(np.float64), place.state
    for token in known.encode(text).tolist():
        bits += float(np.log2(np.exp(logits).sum()) - logits[token] / np.log(2))
        bits += math.log2(known.unknown_count) if token == known.unknown_id else 0
        out, state = sampler.engine.run(np.array([[token]]), state)
        logits = out[0, 0].astype(np.float64)
    return bits


@pytest.mark.parametrize("before", ["", "dab "])
def test_surprisal_is_minus_log2_p_of_each_character(before: str) -> None:
    sampler, text = hashing(), "bad é cab\n"
    place = sampler.read(before) if before else None
    scored = list(score_tokens(sampler, text, place))
    assert [w.text for w in scored] == list(text)
    sums = [bits_by_hand(sampler, text[:end], place) for end in range(len(text) + 1)]
    assert [w.bits for w in scored] == pytest.approx(np.diff(sums), rel=1e-5)
    assert scored[4].bits > math.log2(1_000_000)  # any of a million characters


def test_a_text_begins_after_a_newline() -> None:
    sampler = hashing()
    logits = sampler.read("\n").logits.astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum()
    (first, *_) = score_tokens(sampler, "ab")
    assert first.bits == pytest.approx(-math.log2(p[sampler.tokenizer.encode("a")[0]]))
    assert list(score_tokens(sampler, "ab")) == list(
        score_tokens(sampler, "ab", sampler.read("\n"))
    )


@settings(deadline=None, max_examples=60)
@given(text=texts, kind=st.sampled_from(KINDS))
def test_pieces_join_to_the_text_and_bits_to_its_surprisal(text: str, kind: str) -> None:
    sampler = hashing(tokenizer(kind))
    scored = list(score_tokens(sampler, text))
    assert "".join(w.text for w in scored) == text
    assert all(w.text and w.bits >= 0 for w in scored)
    assert sum(w.bits for w in scored) == pytest.approx(bits_by_hand(sampler, text, None))
    assert sum(line.bits for line in by_line(scored)) == pytest.approx(sum(w.bits for w in scored))
    assert "".join(word.text for word in by_word(scored)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_what_an_evaluation_says(kind: str) -> None:
    sampler, text = hashing(tokenizer(kind)), "abba\ncab é日 a1.\n" * 30
    segment = segment_of(text, sampler.tokenizer)
    told = score(stateful(sampler.engine, segment), segment)
    bits = sum(w.bits for w in score_tokens(sampler, text))
    assert bits / len(text) == pytest.approx(told.bits_per_char)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(TokenizerError, match="lone surrogate U\\+DC80 at character 1"):
        list(score_tokens(hashing(), "a\udc80"))


def test_the_score_of_a_text_is_that_of_its_tokens() -> None:
    sampler, text = hashing(), "bad é cab\n"
    scored = score_text(sampler, text, sampler.read("dab "), guesses=2)
    assert scored.tokens == tuple(score_tokens(sampler, text, sampler.read("dab "), 2))
    assert (scored.text, scored.characters) == (text, len(text))
    assert scored.bits == pytest.approx(bits_by_hand(sampler, text, sampler.read("dab ")))
    assert scored.bits_per_char == pytest.approx(scored.bits / 10)
    assert scored.nats == pytest.approx(scored.bits * math.log(2))
    assert scored.nats_per_char == pytest.approx(scored.nats / 10)
    with pytest.raises(ConfigError, match="the text is empty"):
        score_text(sampler, "")


# -- long texts ---------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_any_chunks_give_the_same_values(
    trained: Path, prose: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = load(trained / "small" / "model.safetensors", threads=1)
    whole = list(score_tokens(sampler, prose[:600], guesses=3))
    monkeypatch.setattr("chargen.evaluation.surprisal.PROMPT_CHUNK", chunk)
    monkeypatch.setattr(surprisal, "PART", 50)
    cut = list(score_tokens(sampler, prose[:600], guesses=3))
    assert [w.text for w in cut] == [w.text for w in whole]
    np.testing.assert_allclose([w.bits for w in cut], [w.bits for w in whole], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_parts_do_not_change_tokens(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, text = hashing(tokenizer(kind)), "abba cc. a'b\ncab's ba\n\nabc Ab a1.\n" * 3
    whole = list(score_tokens(sampler, text))
    monkeypatch.setattr(surprisal, "PART", 14)
    assert list(score_tokens(sampler, text)) == whole


def test_a_long_text_is_read_as_its_pieces_are_wanted() -> None:
    sampler = hashing()
    pieces = score_tokens(sampler, "abcdefgh" * 100_000)
    next(pieces)
    assert steps(sampler) <= PROMPT_CHUNK + 1


def test_with_many_tokens_fewer_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []

    class Watched(Hashing):
        def run(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
            widths.append(ids.shape[1])
            return super().run(ids, state)

    monkeypatch.setattr(surprisal, "MAX_LOGITS", 100)
    known = hashing().tokenizer
    list(score_tokens(Sampler(known, Watched(known.vocab_size)), "abc" * 50))
    assert max(widths) * known.vocab_size <= 100
    assert sum(widths) == 151  # the newline before it


def test_the_session_shows_the_end_of_a_long_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repl, "MAX_READ", 40)
    monkeypatch.setattr(repl, "MAX_HEAT", 12)
    session = Session(hashing())
    session.load("abcdefgh" * 20)
    assert "".join(w.text for w in session.heat()) == "efghabcdefgh"
    assert session.heat() == list(score_tokens(session.sampler, "abcdefgh" * 5))[-12:]


# -- guesses ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_guesses_are_the_likeliest_tokens_that_can_be_written(kind: str) -> None:
    sampler = hashing(tokenizer(kind))
    logits = sampler.read("ab").logits[None]
    p = np.exp(log_probabilities(logits)[0])
    assert p.sum() == pytest.approx(1)
    (found,) = best_guesses(sampler.tokenizer, np.log(p)[None], 7)
    allowed = [i for i in range(len(p)) if i not in sampler.tokenizer.never_sampled]
    expected = sorted(allowed, key=lambda i: (-p[i], i))[:7]
    assert [guess.token for guess in found] == expected
    assert [guess.probability for guess in found] == pytest.approx(p[expected])
    (all_of_them,) = best_guesses(sampler.tokenizer, np.log(p)[None], 10**6)
    assert sorted(guess.token for guess in all_of_them) == allowed


def test_of_equal_guesses_the_lower_id_is_first() -> None:
    (found,) = best_guesses(build_tokenizer("byte", "", 0), np.zeros((1, 256)), 3)
    assert found[0].token < found[1].token < found[2].token
    names = best_guesses(build_tokenizer("byte", "", 0), np.arange(256.0)[None], 256)[0]
    assert (names[0].text, names[255 - 65].text) == ("\\xff", "A")


def test_guesses_belong_to_the_place_before_the_piece() -> None:
    sampler: Sampler = hashing(tokenizer("byte"))
    scored = list(score_tokens(sampler, "aéb", guesses=4))
    assert [w.text for w in scored] == ["a", "é", "b"]
    for number, piece in enumerate(scored):
        logits = sampler.read("aéb"[:number], sampler.read("")).logits[None]
        assert (piece.guesses,) == tuple(
            best_guesses(sampler.tokenizer, log_probabilities(logits), 4)
        )
    assert not next(score_tokens(sampler, "a")).guesses


@pytest.mark.parametrize("kind", KINDS)
def test_the_distribution_of_the_next_token_adds_up(kind: str) -> None:
    sampler = hashing(tokenizer(kind))
    known, logprobs = sampler.tokenizer, log_probabilities(sampler.read("ab").logits[None])[0]
    found = next_distribution(sampler, "ab", 7)
    assert (found.most_likely,) == tuple(best_guesses(known, logprobs[None], 7))
    assert next_tokens(sampler, sampler.read("ab"), 7) == found.most_likely
    p = np.exp(logprobs)
    assert found.entropy == pytest.approx(-float(p @ np.log2(p)))
    unknown = None if known.unknown_id is None else p[known.unknown_id]
    assert found.unknown_probability == (None if unknown is None else pytest.approx(unknown))
    likely = sum(guess.probability for guess in found.most_likely)
    assert likely + found.others_probability + (unknown or 0) == pytest.approx(1)
    assert found.others == len(p) - len(known.never_sampled) - 7
    with pytest.raises(ConfigError, match="top is 0; allowed: "):
        next_tokens(sampler, "ab", 0)


# -- words and lines ----------------------------------------------------------------------


def test_lines_have_the_z_score_of_their_equation() -> None:
    pieces = [
        ScoredToken(c, b) for c, b in zip("ab\n\ncde\nf", (1, 2, 3, 9, 1, 1, 2, 1, 4), strict=True)
    ]
    lines = by_line(pieces)
    assert [(line.number, line.text, line.characters, line.bits) for line in lines] == [
        (1, "ab", 3, 6), (2, "", 1, 9), (3, "cde", 4, 5), (4, "f", 1, 4),
    ]  # fmt: skip
    bits = [piece.bits for piece in pieces]
    mean, deviation = statistics.fmean(bits), statistics.pstdev(bits)
    for line in lines:
        excess = line.bits - line.characters * mean
        assert line.z_score == pytest.approx(excess / deviation / math.sqrt(line.characters))
    assert by_line([]) == []
    assert by_line([ScoredToken("a", 1.0)])[0].z_score == 0


def test_a_long_strange_line_has_a_higher_z_score_than_a_short_one() -> None:
    usual = [ScoredToken(c, 2.0 + (n % 3)) for n, c in enumerate("hello there, you\n" * 50)]
    short, strange = [ScoredToken("Q", 8.0), ScoredToken("\n", 2.0)], [ScoredToken("Z", 5.0)] * 30
    lines = by_line([*usual, *short, *strange])
    assert max(lines, key=lambda line: line.z_score).text == "Z" * 30


def test_heat_has_four_steps_above_none() -> None:
    tokens = [ScoredToken("ab", 2 * bits) for bits in (0, 1.9, 2, 4, 6, 8, 30)]
    assert [level(token.bits_per_char) for token in tokens] == [0, 0, 1, 2, 3, 4, 4]
