from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import chargen
from chargen.checkpoint import load_weights, read_model_header
from chargen.config import SampleConfig
from chargen.engine import State
from chargen.engine.torch import TorchEngine
from chargen.errors import ConfigError
from chargen.sampler import PROMPT_CHUNK, Sampler, draw, keep_top_k, keep_top_p
from chargen.tokenizers import Tokenizer, build_tokenizer

NONE = np.array([], np.int64)
LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))


def tokens(config: SampleConfig, count: int = 4000, banned: NDArray[np.int64] = NONE) -> list[int]:
    uniforms = (np.arange(count) + 0.5) / count
    return [draw(LOGITS, config, banned, u) for u in uniforms]


def shares(config: SampleConfig, banned: NDArray[np.int64] = NONE) -> list[float]:
    drawn = tokens(config, banned=banned)
    return [drawn.count(token) / len(drawn) for token in range(4)]


# -- drawing ------------------------------------------------------------------------------


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    assert shares(SampleConfig(temperature=1)) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=1e-3)


def test_temperature_divides_the_logits() -> None:
    squares = np.array([0.01, 0.16, 0.04, 0.09])
    assert shares(SampleConfig(temperature=0.5)) == pytest.approx(squares / 0.3, abs=1e-3)
    roots = np.sqrt([0.1, 0.4, 0.2, 0.3])
    assert shares(SampleConfig(temperature=2)) == pytest.approx(roots / roots.sum(), abs=1e-3)


def test_temperature_zero_takes_the_likeliest_whatever_is_drawn() -> None:
    assert set(tokens(SampleConfig(temperature=0))) == {1}
    ties = np.zeros(3, np.float32)
    assert draw(ties, SampleConfig(temperature=0), NONE, 0.9) == 0


def test_banned_tokens_are_never_drawn() -> None:
    banned = np.array([1])
    assert shares(SampleConfig(temperature=1), banned) == pytest.approx(
        [1 / 6, 0, 1 / 3, 1 / 2], abs=1e-3
    )
    assert set(tokens(SampleConfig(temperature=0), banned=banned)) == {3}


def test_filters_act_before_the_temperature() -> None:
    config = SampleConfig(temperature=0.5, top_p=0.5)
    assert shares(config) == pytest.approx([0, 16 / 25, 0, 9 / 25], abs=1e-3)
    assert shares(SampleConfig(temperature=1, top_k=2)) == pytest.approx(
        [0, 4 / 7, 0, 3 / 7], abs=1e-3
    )


def test_the_edges_of_the_draw_are_possible_tokens() -> None:
    scores = np.array([-1e9, 0.0, 0.0, -1e9], np.float32)
    assert draw(scores, SampleConfig(), NONE, 0.0) == 1
    assert draw(scores, SampleConfig(), NONE, 1.0) == 2


@pytest.mark.parametrize("shift", [-2000.0, 2000.0])
def test_large_logits_do_not_overflow(shift: float) -> None:
    config = SampleConfig(temperature=1, top_p=0.65)
    drawn = [draw(LOGITS + np.float32(shift), config, NONE, u) for u in (0.1, 0.5, 0.9)]
    assert drawn == [1, 1, 3]


def kept(scores: NDArray[np.float64]) -> list[int]:
    return [int(i) for i in np.flatnonzero(scores > -np.inf)]


def test_top_k_keeps_exactly_k_the_lower_id_winning_ties() -> None:
    scores = np.array([1.0, 3, 2, 3, 2])
    assert [kept(keep_top_k(scores, k)) for k in (1, 2, 3, 4, 5, 9)] == [
        [1], [1, 3], [1, 2, 3], [1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4],
    ]  # fmt: skip
    assert keep_top_k(scores, 2)[3] == 3


def test_top_p_keeps_the_fewest_that_reach_p() -> None:
    scores = np.log([0.1, 0.4, 0.2, 0.3])
    answers = {
        0.05: [1],
        0.39: [1],
        0.41: [1, 3],
        0.69: [1, 3],
        0.71: [1, 2, 3],
        0.95: [0, 1, 2, 3],
    }
    for p, answer in answers.items():
        assert kept(keep_top_p(scores, p)) == answer


finite = st.floats(-50, 50, width=32)


@given(
    scores=st.lists(finite, min_size=1, max_size=30),
    k=st.integers(1, 40),
    p=st.floats(0.001, 0.999),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_filters_keep_something_and_its_order(
    scores: list[float], k: int, p: float, uniform: float
) -> None:
    array = np.array(scores)
    for filtered in (keep_top_k(array, k), keep_top_p(array, p)):
        left = kept(filtered)
        assert left
        assert np.array_equal(filtered[left], array[left])
        assert array[left].max() == array.max()
    config = SampleConfig(top_k=k, top_p=p)
    token = draw(array.astype(np.float32), config, NONE, uniform)
    assert token in kept(keep_top_p(keep_top_k(array.astype(np.float32).astype(float), k), p))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("length", -1, "length is -1; allowed: 0 or more characters"),
        ("temperature", -0.1, "temperature is -0.1; allowed: 0 to 100"),
        ("temperature", math.nan, "temperature is nan"),
        ("temperature", 100.1, "temperature is 100.1"),
        ("top_k", -1, "top-k is -1; allowed: 0"),
        ("top_p", 0.0, "top-p is 0.0; allowed: more than 0, up to 1"),
        ("top_p", 1.5, "top-p is 1.5"),
    ],
)
def test_a_wrong_setting_is_named(option: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        SampleConfig(**{option: value})  # type: ignore[arg-type]
    assert str(error.value).startswith(message)


# -- writing ------------------------------------------------------------------------------


class Script:
    """An engine whose likeliest token is told: the one after the last, in a ring."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.calls: list[list[int]] = []

    def init_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        self.calls.append(ids[0].tolist())
        logits = np.zeros((1, ids.shape[1], self.vocab_size), np.float32)
        for step, token in enumerate(ids[0]):
            logits[0, step, (token + 1) % self.vocab_size] = 40
        return logits, (state[0] + ids.shape[1],)


def script(tokenizer: Tokenizer | None = None) -> Sampler:
    tokenizer = tokenizer or build_tokenizer("char", "abcd", 0)
    return Sampler(tokenizer, Script(tokenizer.vocab_size))


def test_text_follows_the_prompt_and_the_unknown_is_left_out() -> None:
    # After d comes id 0, the unknown, which may not be drawn: all others are equally likely.
    assert "".join(script().generate("a", length=3)) == "bcd"
    assert "".join(script().generate("ab", length=1, temperature=0)) == "c"
    assert "".join(script().generate("abc", length=2, temperature=0)) == "da"
    assert "\ufffd" not in "".join(script().generate("d", length=200))


def test_the_prompt_is_read_in_chunks_and_nothing_is_run_in_vain() -> None:
    sampler = script()
    list(sampler.generate("ab" * PROMPT_CHUNK, length=3, temperature=0))
    assert isinstance(sampler.engine, Script)
    lengths = [len(call) for call in sampler.engine.calls]
    assert lengths == [PROMPT_CHUNK, PROMPT_CHUNK, 1, 1]


def test_an_empty_prompt_starts_after_a_newline() -> None:
    sampler = script(build_tokenizer("char", "\nabc", 0))
    assert "".join(sampler.generate(length=3, temperature=0)) == "abc"


def test_length_counts_characters_also_of_subwords(prose: str) -> None:
    for kind in ("bpe", "byte"):
        sampler = script(build_tokenizer(kind, prose, 400))
        for length in (0, 1, 2, 7, 50):
            assert len("".join(sampler.generate("the", length=length, seed=1))) == length


def test_reading_in_two_parts_equals_reading_at_once() -> None:
    sampler = script()
    place = sampler.read("bc", sampler.read("ab"))
    assert place.state[0].item() == 4
    assert np.array_equal(place.logits, sampler.read("abbc").logits)
    assert sampler.read("", place).state[0].item() == 4


# -- a trained model ----------------------------------------------------------------------


def test_a_model_is_loaded_and_writes_by_its_seed(with_model: Path) -> None:
    sampler = chargen.load()
    first = "".join(sampler.generate("The ", length=200, seed=1))
    assert len(first) == 200
    assert "".join(chargen.load("small").generate("The ", length=200, seed=1)) == first
    assert "".join(chargen.load(with_model).generate("The ", length=200, seed=2)) != first
    assert "".join(sampler.generate("The ", length=99)) != "".join(
        sampler.generate("The ", length=99)
    )


def test_the_torch_engine_writes_the_same_500_characters(with_model: Path) -> None:
    header = read_model_header(with_model)
    reference = Sampler(header.tokenizer, TorchEngine(load_weights(with_model), header.config))
    sampler = chargen.load()
    for seed in (1, 2):
        texts = {"".join(s.generate("T", length=500, seed=seed)) for s in (sampler, reference)}
        assert len(texts) == 1


def test_the_samplers_logits_equal_one_forward_pass(with_model: Path) -> None:
    sampler = chargen.load()
    text = "The quick brown fox jumps"
    ids = sampler.tokenizer.encode(text).astype(np.int64)[None]
    whole, _ = sampler.engine.run(ids, sampler.engine.init_state(1))
    np.testing.assert_allclose(sampler.read(text).logits, whole[0, -1], rtol=0, atol=1e-5)


def test_the_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match="module 'chargen' has no attribute 'lode'"):
        _ = chargen.lode
