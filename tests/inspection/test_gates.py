"""Saturation of gates: counts against equations worked anew, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from chargen.cli.inspect_units import gates
from chargen.config import TrainConfig
from chargen.data.dataset import Segment
from chargen.display.charts import save_figure
from chargen.inspection.gates import MEANINGS, Saturation, charts, draw, saturation
from chargen.model.language_model import LanguageModel
from chargen.model.saved import save_model
from chargen.model.spec import LayerConfig, ModelConfig, parse_stack
from tests.conftest import write
from tests.segments import segment_of

NAMES = {
    "rnn": (),
    "rnn-relu": (),
    "lstm": ("input", "forget", "output"),
    "lstm-peephole": ("input", "forget", "output"),
    "lstm-coupled": ("forget", "output"),
    "lstm-norm": ("input", "forget", "output"),
    "gru": ("reset", "update"),
    "gru-before": ("reset", "update"),
    "mingru": ("retention",),
    "minlstm": ("retention",),
}


def model_of(stack: str, segment: Segment) -> LanguageModel:
    layers = parse_stack(stack)
    model = LanguageModel(ModelConfig(segment.tokenizer.vocab_size, layers, 8), TrainConfig(seed=1))
    with torch.no_grad():
        for cell in model.cells:
            for weight in cell.parameters():
                weight.normal_(0, 1.5, generator=torch.Generator().manual_seed(weight.numel()))
    return model


def sigmoid(a: np.ndarray) -> np.ndarray:
    opened: np.ndarray = 1 / (1 + np.exp(-a))
    return opened


def lstm_gates(w: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    h = c = np.zeros(w["weight_hh_l0"].shape[1])
    rows = []
    for step in x:
        a = w["weight_ih_l0"] @ step + w["weight_hh_l0"] @ h + w["bias_ih_l0"] + w["bias_hh_l0"]
        i, f, g, o = np.split(a, 4)
        i, f, o = sigmoid(i), sigmoid(f), sigmoid(o)
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        rows.append((i, f, o))
    return dict(zip(("input", "forget", "output"), np.stack(rows, axis=1), strict=True))


def gru_gates(w: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    h = np.zeros(w["weight_hh_l0"].shape[1])
    rows = []
    for step in x:
        (xr, xz, xn), (hr, hz, hn) = (
            np.split(w[f"weight_{side}_l0"] @ value + w[f"bias_{side}_l0"], 3)
            for side, value in (("ih", step), ("hh", h))
        )
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        h = (1 - z) * np.tanh(xn + r * hn) + z * h
        rows.append((r, z))
    return dict(zip(("reset", "update"), np.stack(rows, axis=1), strict=True))


@pytest.mark.parametrize(("kind", "twin"), [("lstm", lstm_gates), ("gru", gru_gates)])
def test_counts_are_those_of_the_equations_worked_anew(kind: str, twin: object) -> None:
    text = "to be or not to be, that is the question\n" * 4
    segment = segment_of(text, context="the context\n")
    model = model_of(f"{kind}:6", segment)
    weights = {name: value.double().numpy() for name, value in model.cells[0].state_dict().items()}
    ids = np.concatenate([segment.context, segment.ids])
    x = model.embedding.weight.detach().double().numpy()[ids]
    expected = twin(weights, x)  # type: ignore[operator]
    found = {part.gate: part for part in saturation(model, segment)}
    assert list(found) == list(expected)
    for name, gate in expected.items():
        counted = gate[len(segment.context) :]
        assert found[name].left == pytest.approx((counted < 0.1).mean(axis=0), abs=1e-9)
        assert found[name].right == pytest.approx((counted > 0.9).mean(axis=0), abs=1e-9)
        assert 0.05 < found[name].left.mean() < 0.6
        assert not np.array_equal(counted, gate)


@pytest.mark.parametrize("kind", NAMES)
def test_each_cell_names_its_gates(kind: str) -> None:
    segment = segment_of("abba cadabra " * 5, context="a")
    found = saturation(model_of(f"{kind}:5,rnn:3,{kind}:4", segment), segment)
    assert [(part.layer, part.gate) for part in found] == [
        (layer, gate) for layer in (1, 3) for gate in NAMES[kind]
    ]
    for part in found:
        assert len(part.left) == len(part.right) == (5, 0, 4)[part.layer - 1]
        assert (part.left + part.right <= 1).all()
        assert part.gate in MEANINGS


@torch.no_grad()
def test_a_gate_forced_open_is_right_saturated_and_one_in_the_middle_neither() -> None:
    segment = segment_of("abba cadabra " * 300)  # three streams
    model = LanguageModel(ModelConfig(segment.tokenizer.vocab_size, (LayerConfig("lstm", 4),), 8))
    for weight in model.cells[0].parameters():
        weight.zero_()
    model.cells[0].bias_ih_l0[:8] = torch.tensor([20.0] * 4 + [-20.0] * 4)
    found = [(part.left.tolist(), part.right.tolist()) for part in saturation(model, segment)]
    assert found == [([0] * 4, [1] * 4), ([1] * 4, [0] * 4), ([0] * 4, [0] * 4)]


def test_the_figure_has_a_panel_a_gate_and_a_colour_a_layer() -> None:
    part = np.array([0.1, 0.5])
    found = [
        Saturation(layer, gate, part, part) for layer in (1, 2) for gate in ("reset", "update")
    ]
    figure = draw(found)
    assert [axes.get_title() for axes in figure.axes] == ["reset gates", "update gates"]
    names = figure.axes[0].get_legend_handles_labels()[1]
    assert names == ["layer 1", "layer 2"]
    assert [[series.name for series in chart.series] for chart in charts(found)] == [
        ["reset", "update"]
    ] * 2
    save_figure(figure, Path("gates.png"))
    assert Path("gates.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_shows_each_layers_gates(
    with_model: Path, prose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(write("a.txt", prose[:3000]))
    gates(text)
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["1", "input"], ["1", "forget"], ["1", "output"]
    ]  # fmt: skip
    assert "forget: 1 keeps the memory" in out
    assert "fraction of steps above 0.9" in out
    gates(text, as_json=True, plot=Path("gates.svg"))
    assert Path("gates.svg").exists()
    facts = json.loads(capsys.readouterr().out)
    assert [(part["gate"], len(part["left"])) for part in facts] == [
        (name, 48) for name in ("input", "forget", "output")
    ]


def test_a_model_without_gates_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    segment = segment_of("abba cadabra " * 5, context="a")
    model = model_of("rnn:5", segment)
    path = Path("plain.safetensors")
    save_model(path, model.weights(), model.config, segment.tokenizer, {})
    gates(str(write("a.txt", "abracadabra")), model="plain.safetensors")
    assert capsys.readouterr().out == "rnn:5 has no gates\n"
