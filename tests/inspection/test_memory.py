"""Rise of the loss when only the last k tokens are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chargen.cli import inspect_memory
from chargen.data.dataset import Segment, tokenize
from chargen.display import charts
from chargen.engine import Engine, Logits, State, open_engine
from chargen.errors import CorpusError
from chargen.evaluation.heldout import text_to_score
from chargen.inspection import memory
from chargen.inspection.memory import Known, Memory, measure_memory
from chargen.model.saved import read_model
from tests.conftest import Run, text_of, write


class Copier:
    """Knows the token so many steps back, and gives what it saw there nine tenths."""

    def __init__(self, vocab_size: int, back: int) -> None:
        self._size, self._back = vocab_size, back

    def init_state(self, batch: int) -> State:
        return (np.full((1, batch, self._back), -1, np.float32),)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        seen = np.concatenate([state[0][0].astype(np.int64), ids], axis=1)
        told = seen[:, 1 : ids.shape[1] + 1]  # what stood back - 1 steps before each input
        p = np.full((*ids.shape, self._size), 0.1 / (self._size - 1), np.float32)
        row, step = np.nonzero(told >= 0)
        p[row, step, told[row, step]] = 0.9
        p[told < 0] = 1 / self._size
        return np.log(p), (seen[None, :, -self._back :].astype(np.float32),)


@pytest.fixture
def period() -> Segment:
    """A text that repeats every six characters."""
    return tokenize(text_of("abcdef" * 300), 0.2).validation


def test_a_model_that_looks_six_back_needs_six(period: Segment) -> None:
    size = period.tokenizer.vocab_size
    found = measure_memory(Copier(size, 6), period, 64)
    assert [known.k for known in found.known] == [1, 2, 4, 8, 16, 32, 64]
    assert found.enough == 8
    assert found.bits == pytest.approx(-math.log2(0.9))
    for known in found.known:
        wanted = 0.9 if known.k >= 6 else 1 / size
        assert known.bits == pytest.approx(-math.log2(wanted), abs=1e-6)
        assert known.rise == pytest.approx(known.bits - found.bits, abs=1e-6)
        assert known.either_side == pytest.approx(0, abs=1e-6)


def test_chunks_change_nothing(period: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure_memory(Copier(period.tokenizer.vocab_size, 6), period, 16)
    monkeypatch.setattr(memory, "CHUNK", 1)
    assert measure_memory(Copier(period.tokenizer.vocab_size, 6), period, 16) == whole


def opened(path: Path) -> tuple[Engine, Segment]:
    saved = read_model(path)
    return open_engine(saved, "cpu", 1), text_to_score(saved, None)


def test_losses_are_those_of_a_walk_token_by_token(with_model: Path) -> None:
    engine, segment = opened(with_model)
    ids = segment.ids[:400].astype(np.int64)
    places = np.array([300, 399])
    found = memory.losses_knowing(engine, ids, places, 5, segment.tokenizer.vocab_size)
    for place, loss in zip(places, found, strict=True):
        state = engine.init_state(1)
        for token in ids[place - 5 : place]:
            logits, state = engine.run(np.array([[token]]), state)
        weights = np.exp(logits[0, 0].astype(np.float64))
        assert loss == pytest.approx(-math.log(weights[ids[place]] / weights.sum()), abs=1e-4)


def test_an_unknown_character_costs_the_choice_among_all_others(period: Segment) -> None:
    unknown = replace(period, ids=np.full_like(period.ids, period.tokenizer.unknown_id))
    engine = Copier(period.tokenizer.vocab_size, 1)
    extra = math.log(period.tokenizer.unknown_count)
    found = measure_memory(engine, unknown, 1)
    assert found.nats == pytest.approx(-math.log(0.9) + extra, abs=0.1)


def test_short_texts_have_short_memories(period: Segment) -> None:
    engine = Copier(period.tokenizer.vocab_size, 6)
    short = replace(period.first(9), context=period.context[:1])
    assert [known.k for known in measure_memory(engine, short, 64).known] == [1, 2, 4]
    with pytest.raises(CorpusError, match="has 0 tokens; 2 are needed"):
        measure_memory(engine, short.first(0), 64)


def of_rises(*rises: float) -> Memory:
    known = tuple(Known(1 << n, 1.0, 1.0 + rise, rise, 0.001) for n, rise in enumerate(rises))
    return Memory(10, 1.0, 1.0, known)


def test_enough_is_where_the_rise_stays_small() -> None:
    assert of_rises(1, 0.005, 0.02, 0.01, -0.001).enough == 8
    assert of_rises(1, 0.5, 0.011).enough is None
    assert of_rises(0, 0).enough == 1


def test_the_chart_leaves_out_what_is_noise() -> None:
    chart = inspect_memory._memory_chart(
        [("a", of_rises(1, 0.1, -0.001)), ("b", of_rises(0, 0))], "characters"
    )
    assert [list(series.x) for series in chart.series] == [[1, 2], []]
    assert "○ b" in charts.as_text(chart)


def test_the_table_of_a_model_in_80_columns(
    with_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write("mine.txt", "The value of the object is the value of the module.\n" * 10)
    inspect_memory.memory("mine.txt", longest=32, threads=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Increase of the loss when only the last k are known"
    assert [line.split()[0] for line in lines[-8:-1]] == ["1", "2", "4", "8", "16", "32", "all"]
    assert lines[-1].startswith("small: ") and lines[-1].endswith("full context (489 positions)")
    assert max(map(len, lines)) <= 80


def test_models_side_by_side_as_json(chargen: Run, with_model: Path) -> None:
    done = chargen(
        *("inspect", "memory", "-m", "small", "-m", with_model, "--json"),
        *("--longest", "16", "--plot", "memory.png"),
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    one, other = facts["models"]
    assert one == other and facts["unit"] == "characters"
    assert [known["k"] for known in one["known"]] == [1, 2, 4, 8, 16]
    assert one["known"][0]["rise"] > 0.1 > one["known"][-1]["rise"]
    assert one["known"][-1]["either_side"] < 0.03  # they are the same tokens
    assert Path("memory.png").read_bytes().startswith(b"\x89PNG")
