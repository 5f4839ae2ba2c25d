"""Sampler: streams, stop texts, settings, batches, beam search, a trained model."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chargen.config import SampleConfig
from chargen.engine import State, complete
from chargen.errors import ConfigError
from chargen.model.saved import load_weights, read_model
from chargen.sampling.beam import beam_search
from chargen.sampling.decoding import Sample
from chargen.sampling.filters import probabilities
from chargen.sampling.sampler import PROMPT_CHUNK, Sampler, load
from chargen.tokenizers import Tokenizer, build_tokenizer

# -- generation ---------------------------------------------------------------------------


class Script:
    """An engine with a known most likely token: the one after the last, in a ring."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.calls: list[list[int]] = []

    def init_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        self.calls.append(ids[0].tolist())
        logits = np.zeros((*ids.shape, self.vocab_size), np.float32)
        np.put_along_axis(logits, (ids[..., None] + 1) % self.vocab_size, 40, axis=-1)
        return logits, (state[0] + ids.shape[1],)


def script(tokenizer: Tokenizer | None = None) -> Sampler:
    tokenizer = tokenizer or build_tokenizer("char", "abcd", 0)
    return Sampler(tokenizer, Script(tokenizer.vocab_size))


def test_text_follows_the_prompt_and_the_unknown_is_left_out() -> None:
    # After d comes id 0, the unknown, which is never sampled: all others are equally likely.
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
    state = sampler.read("bc", sampler.read("ab"))
    assert state.state[0].item() == 4
    assert np.array_equal(state.logits, sampler.read("abbc").logits)
    assert sampler.read("", state).state[0].item() == 4


# -- stop texts ---------------------------------------------------------------------------


@given(
    text=st.text("ab", max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 4), max_size=30),
    length=st.integers(1, 30),
)
@settings(max_examples=500)
def test_a_stop_text_is_found_across_tokens_and_never_half_shown(
    text: str, stops: list[str], cuts: list[int], length: int
) -> None:
    sizes = range(1, 5)
    pieces = ["".join(some) for n in sizes for some in itertools.product("ab", repeat=n)]
    sample = Sample(0, Pieces(pieces), SampleConfig(length=length, stop=tuple(stops)), 1)
    seen = shown = ""
    for cut in [*cuts, *[1] * 30]:
        piece = text[len(seen) : len(seen) + cut]
        if not piece or sample.finish_reason:
            break
        seen += piece
        shown += sample.append([pieces.index(piece)])
        found = [(begin + len(stop), begin) for stop in stops if (begin := seen.find(stop)) >= 0]
        end, reason = len(seen), None
        if found and min(found)[1] <= length:  # the stop text that is complete first
            end, reason = min(found)[1], "stop"
        elif len(seen) >= length:
            end, reason = length, "length"
        assert sample.finish_reason == reason
        assert seen[:end].startswith(shown)
        assert end - len(shown) < (1 if reason else max(map(len, stops), default=1))
    assert sample.text == shown


class Pieces(Tokenizer):
    """A tokenizer of any pieces, for decoding only."""

    kind = "bpe"

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = tuple(piece.encode() for piece in pieces)

    def encode(self, text: str) -> Any:
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError


def test_text_that_may_begin_a_stop_is_held_back_until_it_is_certain() -> None:
    pieces = script().generate("d", length=6, temperature=0, stop=("cdc",))
    assert list(pieces) == ["a", "b", "cda", "b"]
    assert "".join(script().generate("d", length=60, temperature=0, stop=("cda", "x"))) == "ab"


# -- sampling parameters ------------------------------------------------------------------


def test_bans_and_bias_act_on_characters() -> None:
    sampler = script()
    assert "a" not in "".join(sampler.generate(length=300, ban="a", seed=1))
    lifted = "".join(sampler.generate("a", length=30, logit_bias=(("d", 100.0),), seed=1))
    assert lifted == "d" * 30
    with pytest.raises(ConfigError, match="ban is 'abcd'; allowed: a set that leaves some"):
        next(sampler.generate(ban="abcd"))
    with pytest.raises(ConfigError, match="logit-bias is 'x'; allowed: characters that have a tok"):
        next(sampler.generate(logit_bias=(("x", 1.0),)))


def test_a_ban_holds_for_all_tokens_that_contain_the_character(prose: str) -> None:
    sampler = script(build_tokenizer("bpe", prose, 400))
    assert "e" not in "".join(sampler.generate("the", length=500, ban="e", temperature=2, seed=1))
    with pytest.raises(ConfigError, match="ban is 'é'; allowed: ASCII with bpe tokens"):
        next(sampler.generate(ban="é"))


def test_penalties_look_back_on_the_prompt_and_the_generated_text() -> None:
    sampler = script()
    assert "".join(sampler.generate("abc", length=2, temperature=0)) == "da"
    avoided = sampler.generate("abcd", length=1, temperature=0, presence_penalty=50.0)
    assert next(avoided) == "a"  # all are repeated, so that all lose the same
    one = sampler.generate("cd", length=3, temperature=0, frequency_penalty=60.0, repeat_last_n=3)
    assert "".join(one) == "abc"
    dry = sampler.generate("abcdabcdab", length=4, temperature=0, dry_multiplier=30.0)
    assert "".join(dry) != "cdab"


def test_penalties_look_back_on_all_of_a_text_that_is_shorter_than_their_window() -> None:
    tokenizer = build_tokenizer("char", "abc", 0)
    sampler = Sampler(tokenizer, Fixed(np.array([0.0, 3.0, 2.0, 1.0])))
    settings: dict[str, Any] = {"length": 1, "temperature": 0, "presence_penalty": 50.0}
    assert next(sampler.generate("abbbbb", repeat_last_n=10, **settings)) == "c"
    assert next(sampler.generate("abbbbb", repeat_last_n=5, **settings)) == "a"
    assert next(sampler.generate("abbbbb", repeat_last_n=0, **settings)) == "a"


def test_mirostat_keeps_the_surprisal_near_its_target() -> None:
    rng = np.random.default_rng(1)
    tokenizer = build_tokenizer("char", "".join(map(chr, range(48, 112))), 0)
    sampler = Sampler(tokenizer, Fixed(rng.normal(0, 2, tokenizer.vocab_size)))
    means = []
    for target in (1.0, 2.0, 3.0):
        config = SampleConfig(2000, 1.0, mirostat=2, mirostat_ent=target, seed=1)
        ((sample, _),), *_ = sampler.decode(sampler.read("0"), config, 1, logprobs=True)
        probs = np.exp(sample.logprobs)
        means.append(float(-np.log2(probs).mean()))
    assert means == sorted(means)
    assert means[0] < 2.4 < means[2] < 4.2


class Fixed:
    """An engine that always has the same logits."""

    def __init__(self, logits: NDArray[np.float64]) -> None:
        self.logits = logits.astype(np.float32)

    def init_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1), np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        return np.broadcast_to(self.logits, (*ids.shape, len(self.logits))), state


# -- batches ------------------------------------------------------------------------------


def texts(sampler: Sampler, count: int, **options: Any) -> list[str]:
    config = SampleConfig(**{"length": 80, "seed": 4, **options})
    first, *_ = list(sampler.decode(sampler.read("The "), config, count))
    return [sample.text for sample, _ in first]


@pytest.mark.parametrize(
    "options", [{}, {"stop": (". ", "e")}, {"dry_multiplier": 1.0, "mirostat": 2}]
)
def test_a_text_is_the_same_whatever_else_is_in_its_batch(
    options: dict[str, Any], with_model: Path
) -> None:
    sampler = load()
    many = texts(sampler, 9, **options)
    assert len(set(many)) == 9
    for count in (1, 2, 5):
        assert texts(sampler, count, **options) == many[:count]
    assert many[0] == "".join(sampler.generate("The ", length=80, seed=4, **options))


def test_log_probabilities_are_those_of_the_model(with_model: Path) -> None:
    sampler = load()
    state = sampler.read("The ")
    config = SampleConfig(length=20, seed=1, temperature=1.5, top_k=5)
    ((sample, _),), *_ = sampler.decode(state, config, 1, logprobs=True)
    ids = sampler.tokenizer.encode(sample.text).astype(np.int64)
    assert sample.tokens == ids.tolist()
    logits, _ = sampler.engine.run(ids[None, :-1], state.state)
    rows = np.concatenate([state.logits[None], logits[0]]).astype(np.float64)
    right = np.log(probabilities(rows)[np.arange(20), ids])
    assert sample.logprobs == pytest.approx(right, abs=1e-4)


def test_nothing_is_generated_at_length_zero() -> None:
    sampler = script()
    ((sample, _),), *_ = sampler.decode(sampler.read("a"), SampleConfig(length=0), 1)
    assert (sample.text, sample.finish_reason) == ("", "length")


def test_a_batch_is_what_its_texts_are_one_by_one(with_model: Path) -> None:
    sampler = load()
    settings: dict[str, Any] = {"length": 60, "seed": 4, "top_k": 9}
    batch = sampler.generate_batch("The ", 3, logprobs=True, **settings)
    assert [text.number for text in batch] == [0, 1, 2]
    assert batch[0].text == "".join(sampler.generate("The ", **settings))
    for text in batch:
        assert (text.seed, text.finish_reason, len(text.text)) == (4, "length", 60)
        assert sampler.tokenizer.decode(text.tokens) == text.text
        assert len(text.logprobs) == len(text.tokens)
        assert text.logprob == pytest.approx(sum(text.logprobs))
    assert sampler.generate_batch(sampler.read("The "), 3, logprobs=True, **settings) == batch
    assert sampler.generate_batch("The ", **settings)[0].logprobs == ()


def test_a_seed_is_random_and_returned(with_model: Path) -> None:
    sampler = load()
    (text,) = sampler.generate_batch("The ", length=40)
    assert text.seed is not None
    assert text.text == "".join(sampler.generate("The ", length=40, seed=text.seed))


@pytest.mark.parametrize("stop", ["cd", ("cd",), ["cd", "x"]])
def test_a_stop_text_is_given_alone_or_in_a_list(stop: Any) -> None:
    (text,) = script().generate_batch("d", length=9, temperature=0, stop=stop)
    assert (text.text, text.finish_reason) == ("ab", "stop")


@pytest.mark.parametrize("bias", [(("d", 100.0),), [("d", 100)], [["d", 100.0]], {"d": 100.0}])
def test_a_bias_is_given_in_pairs_or_in_a_dict(bias: Any) -> None:
    assert "".join(script().generate("a", length=9, logit_bias=bias, seed=1)) == "d" * 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"foo": 1}, "foo is not a setting; allowed: length, temperature, top_k"),
        ({"temprature": 1}, "temprature is not a setting; did you mean temperature?"),
        ({"temperature": "hot"}, "temperature is 'hot'; allowed: a number"),
        ({"temperature": 101}, "temperature is 101; allowed: 0 to 100"),
        ({"length": 1.5}, "length is 1.5; allowed: a whole number"),
        ({"top_k": None}, "top-k is None; allowed: a whole number"),
        ({"stop": 5}, "stop is 5; allowed: a text, or a tuple of texts"),
        ({"stop": ("a", 5)}, "stop is ('a', 5); allowed: a text, or a tuple of texts"),
        ({"dry_sequence_breakers": "ab"}, "dry-sequence-breaker is 'ab'; allowed: a character"),
        ({"logit_bias": 5}, "logit-bias is 5; allowed: pairs of a character and a number"),
        ({"logit_bias": ("e-2",)}, "logit-bias is ('e-2',); allowed: pairs of a character and"),
        ({"logit_bias": {"e": "x"}}, "logit-bias is {'e': 'x'}; allowed: pairs of a character"),
        ({"ban": 5}, "ban is 5; allowed: a text"),
        ({"prompt": 5}, "prompt is 5; allowed: a text"),
    ],
)
def test_a_wrong_argument_is_named_when_the_function_is_called(
    settings: dict[str, Any], message: str
) -> None:
    for generate in (script().generate, script().generate_batch):
        with pytest.raises(ConfigError) as caught:
            generate(**settings)
        assert str(caught.value).startswith(message)


# -- beam search --------------------------------------------------------------------------


def test_a_wide_beam_finds_the_most_likely_text(with_model: Path) -> None:
    sampler = load()
    state, config = sampler.read("The "), SampleConfig(length=2)
    alphabet = sampler.tokenizer.vocab_size
    found = beam_search(sampler, state, config, alphabet * alphabet)
    assert len(found) == (alphabet - 1) ** 2
    assert [c.logprob for c in found] == sorted((c.logprob for c in found), reverse=True)
    assert sum(math.exp(c.logprob) for c in found) == pytest.approx(1, abs=0.05)
    assert beam_search(sampler, state, config, 8)[0] == found[0]


def test_a_beam_ends_with_a_whole_character() -> None:
    sampler = script(build_tokenizer("byte", b"", 0))
    state = sampler.read("\udcc1")
    (one,) = beam_search(sampler, state, SampleConfig(2), 1)
    assert one.tokens == (0xC2, 0xC3, 0xC4)  # only the next byte tells that C3 is no UTF-8
    assert one.text == "\udcc2\udcc3"
    assert one.text == "".join(sampler.stream(state, SampleConfig(2, temperature=0)))


def test_a_beam_of_one_is_greedy_and_stops_at_stop_texts(with_model: Path) -> None:
    sampler = load()
    state = sampler.read("The ")
    (one,) = beam_search(sampler, state, SampleConfig(length=60), 1)
    assert one.text == "".join(sampler.stream(state, SampleConfig(60, temperature=0)))
    assert one.finish_reason == "length"
    (stopped,) = beam_search(sampler, state, SampleConfig(60, stop=(one.text[10:12],)), 1)
    assert (stopped.text, stopped.finish_reason) == (
        one.text[: one.text.find(one.text[10:12])],
        "stop",
    )
    assert [c.text for c in beam_search(sampler, state, SampleConfig(0), 3)] == [""]
    found = sampler.generate_batch("The ", 3, beam=2, length=60)
    assert [text.number for text in found] == [0, 1, 2]  # at least as wide as its results
    assert sampler.generate_batch("The ", beam=1, length=60) == [one]
    assert one.seed is None


# -- a trained model ----------------------------------------------------------------------


def test_a_loaded_model_generates_by_its_seed(with_model: Path) -> None:
    sampler = load()
    first = "".join(sampler.generate("The ", length=200, seed=1))
    assert len(first) == 200
    assert "".join(load("small").generate("The ", length=200, seed=1)) == first
    assert "".join(load(with_model).generate("The ", length=200, seed=2)) != first
    assert "".join(sampler.generate("The ", length=99)) != "".join(
        sampler.generate("The ", length=99)
    )


def test_the_torch_engine_generates_the_same_500_characters(with_model: Path) -> None:
    from chargen.engine.torch import TorchEngine

    header = read_model(with_model)
    engine = TorchEngine(load_weights(with_model), header.config)
    reference = Sampler(header.tokenizer, complete(header, engine))
    sampler = load()
    for seed in (1, 2):
        texts = {"".join(s.generate("T", length=500, seed=seed)) for s in (sampler, reference)}
        assert len(texts) == 1


def test_the_samplers_logits_equal_one_forward_pass(with_model: Path) -> None:
    sampler = load()
    text = "The quick brown fox jumps"
    ids = sampler.tokenizer.encode(text).astype(np.int64)[None]
    whole, _ = sampler.engine.run(ids, sampler.engine.init_state(1))
    np.testing.assert_allclose(sampler.read(text).logits, whole[0, -1], rtol=0, atol=1e-5)


def test_dry_that_looks_back_on_nothing_is_off(with_model: Path) -> None:
    sampler = load(with_model, threads=1)
    common: dict[str, Any] = {"length": 80, "temperature": 0.0}
    plain = "".join(sampler.generate("The ", **common))
    off: dict[str, Any] = {"dry_multiplier": 5.0, "dry_penalty_last_n": 0}
    assert "".join(sampler.generate("The ", **common, **off)) == plain
    on: dict[str, Any] = {"dry_multiplier": 5.0, "dry_penalty_last_n": 64}
    assert "".join(sampler.generate("The ", **common, **on)) != plain
