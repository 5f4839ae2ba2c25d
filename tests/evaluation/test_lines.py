"""Lines scored side by side have the numbers of those scored one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chargen
from chargen.errors import TokenizerError
from chargen.evaluation import lines as module
from chargen.evaluation.lines import LineScorer
from chargen.evaluation.surprisal import score_tokens
from chargen.sampling.sampler import Sampler, load
from tests.hashing import hashing, steps
from tests.sampling.constraints.walks import KINDS, tokenizer

words = st.text("abcAB 1.\t'é🎉\u2581\u0301日") | st.sampled_from(["abba cab", "abba", "ab"])
some_lines = st.lists(words.map(lambda text: f"{text}\n") | words, max_size=12)


def alone(sampler: Sampler, line: str) -> float:
    return sum(token.bits for token in score_tokens(sampler, line))


@settings(deadline=None, max_examples=60)
@given(lines=some_lines, kind=st.sampled_from(KINDS))
def test_a_line_has_the_bits_that_it_has_alone(lines: list[str], kind: str) -> None:
    sampler = hashing(tokenizer(kind))
    found = list(LineScorer(sampler).score(lines))
    assert [line.text for line in found] == [line.removesuffix("\n") for line in lines]
    assert [line.number for line in found] == list(range(1, len(lines) + 1))
    assert [line.characters for line in found] == [len(line) for line in lines]
    assert [line.bits for line in found] == pytest.approx([alone(sampler, line) for line in lines])


@settings(deadline=None, max_examples=40)
@given(blocks=st.lists(some_lines.map(lambda lines: [f"{x.strip()}\n" for x in lines])))
def test_stateful_lines_are_one_text(blocks: list[list[str]]) -> None:
    sampler = hashing()
    scorer = LineScorer(sampler, stateful=True)
    found = [line for block in blocks for line in scorer.score(block)]
    text = "".join(line for block in blocks for line in block)
    tokens = iter(score_tokens(sampler, text))
    for line in found:
        assert line.bits == sum(next(tokens).bits for _ in range(line.characters))
    assert next(tokens, None) is None
    assert [line.number for line in found] == list(range(1, len(found) + 1))


def test_of_a_network_they_are_bit_for_bit(trained: Path, prose: str) -> None:
    sampler = load(trained / "small", threads=1)
    lines = [*prose[:6000].splitlines(keepends=True), "", "é\n", "x" * 3000, "same\n", "same\n"]
    found = list(LineScorer(sampler).score(lines))
    expected = [alone(sampler, line) for line in lines]
    np.testing.assert_allclose([line.bits for line in found], expected, rtol=1e-6)
    scored = list(chargen.load(trained / "small", threads=1).score_lines(iter(lines)))
    assert [line.bits for line in scored] == [line.bits for line in found]
    assert found[-1].bits == found[-2].bits
    assert found[-5].bits_per_char == 0  # of an empty text


def test_what_lines_begin_with_is_read_once() -> None:
    sampler = hashing()
    list(LineScorer(sampler).score(["abcabc\n"] * 50 + ["abcabd\n"] * 50))
    assert steps(sampler) == 1 + 6  # the newline before, and what is before the last newline


def test_memory_is_for_so_many_lines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIDE_BY_SIDE", 3)
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield f"{'abc'[taken % 3]}\n"

    found = LineScorer(hashing()).score(endless())  # type: ignore[arg-type]
    next(found)
    assert taken == 3
    assert [next(found).number for _ in range(10)] == list(range(2, 12))


def test_a_vocabulary_that_is_large_makes_blocks_small(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, lines = hashing(), ["abc\n", "dab\n", "c\n", "abcdefgh\n"]
    expected = [line.bits for line in LineScorer(sampler).score(lines)]
    monkeypatch.setattr(module, "MAX_LOGITS", 2 * sampler.tokenizer.vocab_size)
    assert [line.bits for line in LineScorer(sampler).score(lines)] == expected


def test_a_lone_surrogate_in_a_line_is_refused() -> None:
    with pytest.raises(TokenizerError, match="lone surrogate"):
        list(LineScorer(hashing()).score(["ab\n", "a\udc80\n"]))
