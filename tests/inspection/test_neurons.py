"""Units and the features that they follow, the rule against chance and echo, the passages."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from chargen.cli.inspect_units import _passages, _show_passage, neurons
from chargen.config import TrainConfig
from chargen.data.dataset import WARM, Segment
from chargen.display.charts import save_figure
from chargen.engine import Engine, make_engine
from chargen.errors import ConfigError
from chargen.inspection.features import FEATURES, measure
from chargen.inspection.neurons import (
    Comparison,
    Correlations,
    Find,
    Reading,
    compare,
    correlate,
    features_of,
    find_units,
    read_units,
    relations,
    unit_names,
    varying,
)
from chargen.inspection.passages import COLUMNS, LENGTH, Passage, colour, draw, lines, passage
from chargen.inspection.streams import side_by_side
from chargen.model.cells import CELL_CLASSES
from chargen.model.language_model import LanguageModel
from chargen.model.saved import SavedModel, read_model
from chargen.model.spec import CELLS, LayerConfig, ModelConfig
from tests.conftest import run_chargen, write
from tests.segments import segment_of

WORKED = {
    "line position": ("ab\nc\n\nd", "1201001"),
    "sentence position": ("Oh! No.\nA", "120123012"),
    "lines in paragraph": ("a\nb\n\nc\nd", "01120011"),
    "inside quotes": ('a "b" “c\nd” "e\n\nf', "00110011110011100"),
    "bracket depth": ("a)(b[c]{d})e", "001122122100"),
    "indentation": ("  if\n    x\n\n\t \ty", "0022222224444448"),
    "capital run": ("The BBC II\nno Ok", "0000011111100000"),
    "inside comment": ("a#b # c\nx // y\n//z\n1//2", "00001110000111001100000"),
}


@pytest.mark.parametrize("name", FEATURES)
def test_each_feature_worked_by_hand(name: str) -> None:
    text, expected = WORKED[name]
    values = measure(text)[:, list(FEATURES).index(name)]
    assert "".join(f"{value:.0f}" for value in values) == expected


def test_counts_stop_at_a_bound() -> None:
    values = measure("x" * 500 + "(" * 30 + "\nx" * 40)
    bounds = dict(zip(FEATURES, values.max(axis=0).tolist(), strict=True))
    assert bounds["line position"] == 100
    assert bounds["sentence position"] == 200
    assert bounds["bracket depth"] == 8
    assert bounds["lines in paragraph"] == 20


@given(st.text(alphabet='aB \n\t"“”()[]{}#/.é', max_size=60), st.integers(0, 60))
def test_a_feature_knows_nothing_of_what_comes(text: str, length: int) -> None:
    assert np.array_equal(measure(text)[:length], measure(text[:length]))


# -- streams ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 30, 1500, 5000, 30000])
def test_streams_hold_the_text_in_order_with_what_comes_before(length: int) -> None:
    numbers = np.arange(length + 40)
    streams = side_by_side(replace(segment_of("ab"), context=numbers[:40], ids=numbers[40:]))
    counted = streams.counted
    assert np.array_equal(counted, np.arange(40, 40 + len(counted)))
    assert min(length, 20_480) - 16 < len(counted) <= min(length, 20_480)
    first = streams.tokens[:, WARM]
    expected = first[:, None] + np.arange(-WARM, streams.tokens.shape[1] - WARM)
    assert np.array_equal(streams.there, expected >= 0)
    assert np.array_equal(streams.tokens[streams.there], expected[streams.there])


# -- finding ------------------------------------------------------------------------------


def searched(engine: Engine, config: ModelConfig, segment: Segment) -> list[Find]:
    return find_units(compare(engine, config, {}, segment))


def model_of(kind: str, segment: Segment, seed: int) -> LanguageModel:
    config = ModelConfig(segment.tokenizer.vocab_size, (LayerConfig(kind, 40),), 16)
    return LanguageModel(config, TrainConfig(seed=seed))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_an_untrained_model_shows_nothing(kind: str, seed: int, prose: str) -> None:
    segment = segment_of(prose[:8000])
    model = model_of(kind, segment, seed)
    engine = make_engine(model.weights(), model.config, "cpu")
    assert searched(engine, model.config, segment) == []


@torch.no_grad()
def built_by_hand(segment: Segment) -> LanguageModel:
    """Return an untrained LSTM but for units 5 (counts a line's characters) and 9 (brackets).

    The first numbers of the embedding say whether a token is a newline, and what it does to the
    depth of brackets; only these two units see them, and no other sees these two units.
    """
    model = model_of("lstm", segment, 1)
    (cell,), embedding = model.cells, model.embedding.weight
    tokens = {c: int(segment.tokenizer.encode(c)[0]) for c in "\n()[]{}"}
    embedding[:, :2] = 0
    embedding[tokens["\n"], 0] = 1
    for character, change in zip("([{)]}", (1, 1, 1, -1, -1, -1), strict=True):
        embedding[tokens[character], 1] = change
    i, f, g, _ = (block * 40 for block in range(4))
    cell.weight_ih_l0[:, :2] = 0
    cell.weight_hh_l0[:, [5, 9]] = 0
    for unit in (5, 9):
        cell.weight_ih_l0[unit::40] = 0
        cell.weight_hh_l0[unit::40] = 0
        cell.bias_ih_l0[[i + unit, f + unit]] = 20  # everything is let in and kept
    cell.weight_ih_l0[f + 5, 0] = -40  # but at a newline
    cell.bias_ih_l0[g + 5] = 0.01
    cell.weight_ih_l0[g + 9, 1] = 0.1
    return model


def test_exactly_the_units_built_by_hand_are_found(prose: str) -> None:
    text = re.sub(r"[()\[\]{}]", "", prose).replace(" the ", " (the [only {old}] one) ")
    segment = segment_of(text)
    model = built_by_hand(segment)
    engine = make_engine(model.weights(), model.config, "cpu")
    names = unit_names(model.config)
    finds = searched(engine, model.config, segment)
    assert {names[find.unit]: find.feature for find in finds} == {
        "c1:5": "line position",
        "c1:9": "bracket depth",
    }
    for find in finds:
        assert min(find.first, find.held_out) > 0.99
        assert find.untrained < 0.5


def test_what_does_not_hold_on_the_second_half_is_no_find() -> None:
    noise = np.random.default_rng(1).normal(size=(8000, 4)).astype(np.float32)
    text = "".join(np.random.default_rng(2).choice(list("ab.\n"), 8000))
    reading = Reading(tuple(text), noise)
    features = features_of(reading)
    line = features[:, 0]
    kept, twin = varying(features), correlate(reading, features)
    for share, found in ((1, ["line position"]), (-1, []), (0, [])):
        noise[:, 2] = np.where(np.arange(8000) < 4000, line, share * line)
        compared = Comparison(reading, correlate(reading, features), twin, kept)
        finds = find_units(compared)
        assert [find.feature for find in finds] == found
    (first, *_) = relations(compared, 2)
    assert first.first > 0.99
    assert first.held_out == 0


@pytest.mark.parametrize(
    ("first", "held_out", "echo", "found"),
    [(0.7, 0.7, 0.3, True), (-0.7, -0.7, 0.3, True), (0.7, 0.7, 0.5, False),
     (0.7, 0.4, 0.3, False), (0.4, 0.7, 0.3, False), (0.39, 0.39, 0.1, False)],
)  # fmt: skip
def test_a_find_is_far_above_an_untrained_network_on_both_halves(
    first: float, held_out: float, echo: float, found: bool
) -> None:
    own, twin = np.zeros((2, 3, len(FEATURES))), np.zeros((2, 5, len(FEATURES)))
    own[:, 1, 2], twin[:, 4, 2] = (first, held_out), -echo
    own[:, 0, 2] = 0.1, 1  # clearer on the held-out half, on which none is chosen
    reading, kept = Reading((), np.zeros((0, 3), np.float32)), np.ones(len(FEATURES), bool)
    finds = find_units(Comparison(reading, Correlations(own), Correlations(twin), kept))
    assert finds == [Find("lines in paragraph", 1, first, held_out, echo)] * found


def test_what_the_last_two_characters_say_counts_for_nothing() -> None:
    text = "".join(np.random.default_rng(2).choice(list("AB.c\n"), 4000))
    echo = [[float(a.isupper() and b.isupper())] for a, b in zip("x" + text, text, strict=False)]
    reading = Reading(tuple(text), np.array(echo, np.float32))
    assert not correlate(reading, features_of(reading)).values.any()


def test_a_step_has_the_features_of_the_last_whole_character() -> None:
    reading = Reading(("a", "", "bc\n", "", "d"), np.zeros((5, 1), np.float32))
    assert features_of(reading)[:, 0].tolist() == [1, 1, 0, 0, 1]
    half = Reading(("", "a"), np.zeros((2, 1), np.float32))
    assert features_of(half)[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize("kind", CELLS)
def test_units_have_names_for_each_part_of_the_state(kind: str) -> None:
    layers = (LayerConfig(kind, 3), LayerConfig("gru", 2))
    names = unit_names(ModelConfig(9, layers, 4))
    parts = list(CELL_CLASSES[kind](4, 3).states)
    assert names == [f"{part}1:{unit}" for part in parts for unit in range(3)] + ["h2:0", "h2:1"]


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_every_step_of_any_tokenizer_is_noted(tokenizer: str) -> None:
    text = "naïve “words” – and 世界\n" * 30
    segment = segment_of(text, tokenizer)
    model = model_of("lstm", segment, 1)
    reading = read_units(make_engine(model.weights(), model.config, "cpu"), model.config, segment)
    assert "".join(reading.pieces) == text
    assert len(reading.activity) == len(segment)
    ids = np.concatenate([segment.context, segment.ids]).astype(np.int64)
    for step in (0, -1):
        read = torch.from_numpy(ids[None, : len(segment.context) + 1] if step == 0 else ids[None])
        with torch.no_grad():
            _, state = model(read, model.init_state(1))
        expected = torch.cat(state, dim=2)[0, 0].numpy()
        assert reading.activity[step] == pytest.approx(expected, abs=1e-5)


# -- showing ------------------------------------------------------------------------------


def test_a_passage_is_laid_out_in_lines_that_fit() -> None:
    pieces = ("ab", "\x1b", "\n", "", "世界c", "e\u0301")
    shown = Passage(pieces, (0.0, 0.55, 1.0, 0.3, 0.4, 0.5))
    assert lines(shown, 5) == [
        [("a", 0), ("b", 0), ("␛", 5), ("↵", 9)],
        [("世", 4), ("界", 4), ("c", 4)],
        [("e", 5), ("\u0301", 5)],
    ]
    assert cell_len("世") + cell_len("\u0301") == 2
    assert len({colour(step) for step in range(10)}) == 10


def test_a_terminal_shows_a_passage_in_colours_and_without_control_characters() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=40)
    screen.no_color = False
    _show_passage(Passage(("a", "\x1b", "[red]", "\n", "b"), (0.0, 0.55, 0.55, 1.0, 1.0)), screen)
    low, middle, high = (
        "\x1b[30;48;2;" + ";".join(str(part) for part in bytes.fromhex(colour(step)[1:])) + "m"
        for step in (0, 5, 9)
    )
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert shown.startswith(f"{low}a\x1b[0m{middle}␛\x1b[0m{middle}[\x1b[0m{middle}r")
    assert shown.endswith(f"{high}↵\x1b[0m\n{high}b\x1b[0m\n")


def test_the_liveliest_passage_of_the_second_half_is_shown() -> None:
    activity = np.zeros((6000, 2), np.float32)
    activity[1000:1100, 1] = np.tile([-9, 9], 50)
    activity[4210:4500, 1] = np.tile([-1, 1], 145)
    text = ("x" * 49 + "\n") * 120
    shown = passage(Reading(tuple(text), activity), 1)
    assert len(shown.pieces) == len(shown.levels) == LENGTH
    assert "".join(shown.pieces).startswith("x" * 49 + "\n")
    assert {min(shown.levels), max(shown.levels)} == {0, 1}
    assert set(passage(Reading(tuple(text), activity), 0).levels) == {0}  # nothing ever happens


def test_levels_run_from_the_lowest_to_the_highest_activation() -> None:
    activity = np.tile(np.array([20, 30, 50, 60], np.float32), 250)[:, None]
    shown = passage(Reading(("x",) * 1000, activity), 0)
    assert shown.levels[:4] == pytest.approx((0, 0.25, 0.75, 1))


def test_a_passage_is_shown_once_for_each_of_the_best_units() -> None:
    segment = segment_of("ab")
    layers = (LayerConfig("lstm", 2),)
    config = ModelConfig(segment.tokenizer.vocab_size, layers, 4)
    header = SavedModel(Path("a.safetensors"), config, segment.tokenizer, {})
    reading = Reading(("a",) * 50, np.zeros((50, 4), np.float32))
    units = (("line position", 2), ("capital run", 1), ("bracket depth", 2), ("indentation", 0),
             ("inside quotes", 3))  # fmt: skip
    finds = [Find(feature, unit, -0.8, -0.7, 0.1) for feature, unit in units]
    assert [title for title, _ in _passages(reading, finds, header, [])] == [
        "c1:0 follows line position (-0.70)",
        "h1:1 follows capital run (-0.70)",
        "h1:0 follows indentation (-0.70)",
    ]


def test_a_picture_holds_any_text() -> None:
    shown = Passage(("$a_", "世", "\x07", "\n"), (0.1, 0.5, 0.9, 1.0))
    figure = draw([("h1:1 $x", shown), ("h1:2", shown)])
    assert len(figure.axes) == 2
    assert [text.get_text() for text in figure.axes[0].texts] == [*"$a_", "□", "□", "↵"]
    assert figure.axes[0].get_xlim() == (0, COLUMNS)
    for name, begin in (("u.svg", b"<?xml"), ("u.png", b"\x89PNG")):
        save_figure(figure, Path(name))
        assert Path(name).read_bytes().startswith(begin)


def test_the_command_tells_what_it_found(with_model: Path, trained: Path) -> None:
    done = run_chargen("inspect", "neurons", "--unit", "c1:5", cwd=trained.parent)
    assert done.returncode == 0, done.stderr
    table, passage_ = done.stdout.split("\n\n", 1)
    head, *rows = table.splitlines()
    assert head.split() == ["feature", "unit", "first", "half", "held-out", "half", "untrained"]
    assert all("c1:5" in row for row in rows)
    title, *marked = passage_.splitlines()
    assert title == "c1:5"
    for line, marks in zip(marked[::2], marked[1::2], strict=True):
        assert len(line) == len(marks)
        assert set(marks) <= set("0123456789")
    assert "2,000 characters read, 96 units compared" in done.stderr


def test_where_nothing_varies_nothing_is_found(
    with_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(write("flat.txt", "the value of it " * 40))
    neurons(text, plot=Path("nothing.svg"))
    assert not Path("nothing.svg").exists()
    out, err = capsys.readouterr()
    assert out.startswith("nothing found: ")
    assert len(out.splitlines()) == 1
    assert f"left out: {', '.join(FEATURES)}" in err
    neurons(text, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["characters"], facts["units"]) == (640, 96)
    assert facts["correlations"] == facts["passages"] == []
    neurons(text, unit=["c1:5", "h1:0"], as_json=True, plot=Path("two.png"))
    shown = json.loads(capsys.readouterr().out)["passages"]
    assert [part["unit"] for part in shown] == ["c1:5", "h1:0"]
    assert "".join(shown[0]["pieces"]) in "the value of it " * 40
    assert len(shown[0]["levels"]) == len(shown[0]["pieces"])
    assert Path("two.png").exists()


def test_a_unit_that_is_not_there_is_refused(with_model: Path, prose: str) -> None:
    assert read_model(with_model).config.layers[0].hidden == 48
    with pytest.raises(ConfigError, match=r"unit is 'c2:5'; allowed: h1:0 to h1:47, c1:0 to c1:47"):
        neurons(str(write("a.txt", prose)), unit=["c2:5"])
