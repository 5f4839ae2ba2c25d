"""Convolutions in front of recurrent layers: definition, strides, any chunks and places, a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chargen.config import TrainConfig
from chargen.engine.html import to_html
from chargen.errors import ConfigError
from chargen.inspection.gates import saturation
from chargen.inspection.gradients import follow_back, state_gradients
from chargen.inspection.neurons import read_units, unit_names
from chargen.inspection.stack import diagram
from chargen.model.cells import Clocked, Convolution, State
from chargen.model.language_model import LanguageModel
from chargen.model.saved import read_model
from chargen.model.spec import (
    ModelConfig,
    count_parameters,
    format_stack,
    parse_stack,
    state_widths,
    weight_shapes,
)
from chargen.model.summary import parts, state_memory
from tests.conftest import Run
from tests.segments import segment_of
from tests.training.session import begin, resume, sit

VOCAB = 11
STACKS = [
    "conv:3:6,gru:7",
    "conv:4x2:6,gru:7",
    "conv:4x4:5,lstm:6,mingru:5",
    "gru:5,conv:3x2:6,conv:2x2:5,lstm-norm:4,conv:3:4",
]


def model_of(stack: str) -> LanguageModel:
    """Return a model in float64 in which every weight counts."""
    model = LanguageModel(ModelConfig(VOCAB, parse_stack(stack), 5), TrainConfig(seed=1)).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator(weight.numel())))
    return model


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens(rows: int, steps: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCAB, (rows, steps), generator=generator(seed))


@torch.no_grad()
def at_places(model: LanguageModel, read: Sequence[int]) -> State:
    """Return the state of rows that have read so many tokens each."""
    rows = [model(tokens(1, n, seed=n), model.init_state(1))[1] for n in read]
    return tuple(torch.cat(parts, dim=1) for parts in zip(*rows, strict=True))


def defined(model: LanguageModel, ids: Tensor, state: State) -> tuple[Tensor, State]:
    """Return logits and last state step by step, by the definitions of the layers."""
    own: list[State] = []
    for cell in model.cells:
        own.append(state[: len(cell.states)])
        state = state[len(cell.states) :]
    logits = []
    for embedded in model.embedding(ids).unbind(1):
        x, outputs, place = embedded, [], own[-1][-1]
        for number, cell in enumerate(model.cells):
            own[number] = cell.step(x, own[number])
            x = own[number][0][0]
            outputs.append(x)
        read = torch.cat(outputs, dim=1)
        if model.decoder:
            now = (place[0, :, 0].long() + 1) % len(model.decoder.bias)
            read = torch.relu(read @ model.decoder.weight.T + model.decoder.bias[now])
        logits.append(model.head(read))
    return torch.stack(logits, dim=1), tuple(part for state in own for part in state)


def same(found: State, wanted: State) -> None:
    for part, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stack", STACKS)
def test_the_fast_form_equals_the_definition_with_rows_at_any_place(stack: str) -> None:
    model = model_of(stack)
    for steps in (1, 2, 8, 23):
        start, ids = at_places(model, (1, 2, 4, 7)), tokens(4, steps)
        logits, last = model(ids, start)
        wanted, end = defined(model, ids, start)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-12)
        same(last, end)
        rough = LanguageModel(model.config)
        rough.load(model.weights())
        single = tuple(part.float() for part in start)
        torch.testing.assert_close(rough(ids, single)[0].double(), wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_chunks_of_any_length_equal_one_pass(stack: str) -> None:
    model = model_of(stack)
    state, ids = at_places(model, (1, 6, 3)), tokens(3, 24)
    whole, last = model(ids, state)
    found = []
    for chunk in ids.split([1, 4, 1, 1, 5, 12], dim=1):
        logits, state = model(chunk, state)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=0, atol=1e-12)
    same(state, last)


@pytest.mark.parametrize("stack", STACKS)
def test_a_later_character_never_changes_earlier_logits(stack: str) -> None:
    model, ids = model_of(stack), tokens(2, 20)
    before, _ = model(ids, model.init_state(2))
    for place in (5, 6, 7, 8):
        changed = ids.clone()
        changed[:, place] = (ids[:, place] + 1) % VOCAB
        after, _ = model(changed, model.init_state(2))
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.isclose(after[:, place], before[:, place]).all()  # each is read at once


@pytest.mark.parametrize("stack", STACKS)
def test_gradients_are_those_of_the_definition_and_numeric_ones(stack: str) -> None:
    model, ids = model_of(stack), tokens(3, 9)
    start = at_places(model, (1, 2, 3))
    weights = list(model.parameters())
    found, wanted = (
        torch.autograd.grad(form(model, ids, start)[0].tanh().sum(), weights)
        for form in (lambda model, *given: model(*given), defined)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    names = [name for name, _ in model.named_parameters()]
    index = names.index("layers.0.bias_ih_l0")
    with torch.no_grad():
        losses = []
        for step in (1e-6, -2e-6):
            weights[index][0] += step
            losses.append(float(model(ids, start)[0].tanh().sum()))
    assert float(found[index][0]) == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-5)


def test_a_convolution_is_that_of_torch_with_zeros_before_the_text() -> None:
    layer = Convolution(5, 6, 4).double()
    layer.reset(generator(1), TrainConfig())
    x = torch.randn(3, 12, 5, generator=generator(2), dtype=torch.float64)
    kernel = layer.weight_ih_l0.view(6, 4, 5).transpose(1, 2)  # (H, I, K)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    wanted = torch.conv1d(padded, kernel, layer.bias_ih_l0).relu().transpose(1, 2)
    y, _ = layer.run(x, layer.init_state(3))
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-12)


def test_the_layers_above_a_stride_read_the_convolution_with_that_stride() -> None:
    model = model_of("conv:4x2:6,gru:7")
    x = model.embedding(tokens(2, 12))
    below, above = model.cells
    assert isinstance(above, Clocked)
    convolved, _ = below.run(x, below.init_state(2))
    held, _ = above.run(convolved, above.init_state(2))
    wanted, _ = above.cell.run(convolved[:, 1::2], above.cell.init_state(2))
    torch.testing.assert_close(held[:, 1::2], wanted, rtol=0, atol=1e-12)
    assert torch.equal(held[:, 2::2], held[:, 1:-1:2]) and not held[:, 0].any()


# -- description --------------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS)
def test_weights_state_and_counts_are_as_described(stack: str) -> None:
    model = model_of(stack)
    config = model.config
    assert format_stack(config.layers) == stack
    assert ModelConfig.from_json(config.to_json()) == config
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert shapes == weight_shapes(config)
    widths = [width for layer in state_widths(config) for width in layer.values()]
    assert [part.shape[2] for part in model.init_state(1)] == widths
    assert state_memory(config) == 4 * sum(widths) == 4 * diagram(config).state
    counted = sum(part.parameters for part in parts(config))
    assert counted == count_parameters(config) == diagram(config).parameters


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ("conv:128,gru:8", "kernel of conv is 1; allowed: 2 to 64, as in conv:4:128"),
        ("conv:65:128,gru:8", "kernel of conv is 65; allowed: 2 to 64, as in conv:4:128"),
        ("conv:4x5:128,gru:8", "stride of conv is 5; allowed: 1 to 4, its kernel"),
        ("conv:4x0:128,gru:8", "stride of conv is 0; allowed: 1 to 4, its kernel"),
        ("gru:4:128", "kernel of gru is '4x1'; allowed: none; only conv has one"),
        ("conv:4x:8,gru:8", "stack part 'conv:4x:8' is not CELL:WIDTH; write for example"),
        ("gru:8,conv:4x2:8", "stride of the top layer is 2; allowed: 1; a layer above it is"),
    ],
)
def test_a_wrong_convolution_is_refused_in_one_line(stack: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ModelConfig(VOCAB, parse_stack(stack))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


# -- inspection ---------------------------------------------------------------------------


def test_gradients_are_followed_over_all_places_of_a_block(prose: str) -> None:
    segment = segment_of(prose[:3000])
    config = ModelConfig(segment.tokenizer.vocab_size, parse_stack("conv:4x4:6,lstm:5"), 4)
    curves = follow_back(LanguageModel(config, TrainConfig(seed=1)), segment, 12)
    assert [(curve.layer, curve.part) for curve in curves] == [(1, "h"), (2, "h"), (2, "c")]
    assert all(norm > 0 for curve in curves for norm in curve.norms)


@pytest.mark.parametrize("back", [0, 1, 2, 5])
def test_the_gradient_of_an_earlier_state_is_the_numeric_one(back: int) -> None:
    model, ids = model_of("conv:4x2:6,gru:7").requires_grad_(False), tokens(2, 12)
    start = at_places(model, (1, 2))
    gradient = state_gradients(model, ids, start)[2][back]  # of the GRU, (1, B, H)
    place = ids.shape[1] - 2 - back  # the step of the state, before those that follow it
    _, state = model(ids[:, : place + 1], start)
    losses = []
    for step in (1e-6, -1e-6):
        moved = (*state[:2], state[2] + step * gradient, *state[3:])
        losses.append(loss_after(model, ids[:, place + 1 :], moved))
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float(gradient.square().sum()), rel=1e-5)


def loss_after(model: LanguageModel, ids: Tensor, state: State) -> float:
    """Return the loss of the last token, for what is read before it from a state on."""
    if ids.shape[1] > 1:
        logits = model(ids[:, :-1], state)[0][:, -1]
    else:
        logits = model.logits([state[0].transpose(0, 1), state[2].transpose(0, 1)], state[3] - 1)[
            :, 0
        ]
    return float(torch.nn.functional.cross_entropy(logits, ids[:, -1], reduction="sum"))


def test_gates_above_a_stride_count_where_the_layer_steps(prose: str) -> None:
    segment = segment_of(prose[:3000])
    config = ModelConfig(segment.tokenizer.vocab_size, parse_stack("conv:4x2:6,gru:5"), 4)
    model = LanguageModel(config, TrainConfig(seed=1))
    with torch.no_grad():
        weights = dict(model.named_parameters())
        weights["layers.1.bias_ih_l0"][5:10] = 50  # of the update gates, which are then open
    reset, update = saturation(model, segment)
    assert (reset.layer, update.gate) == (2, "update")
    assert not update.left.any() and (update.right == 1).all()


def test_units_are_outputs_and_memory_cells_alone(prose: str) -> None:
    from chargen.engine import make_engine

    segment = segment_of(prose[:600])
    config = ModelConfig(segment.tokenizer.vocab_size, parse_stack("conv:3x2:4,lstm:3"), 4)
    model = LanguageModel(config, TrainConfig(seed=1))
    names = unit_names(config)
    assert names == [*(f"h1:{n}" for n in range(4)), *(f"{p}2:{n}" for p in "hc" for n in range(3))]
    reading = read_units(make_engine(model.weights(), config, "cpu", 1), config, segment)
    assert reading.activity.shape[1] == len(names)
    assert (reading.activity[:, :4] >= 0).all()  # a convolution is rectified


# -- runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"records": "lines", "weight_drop": 0.1}])
def test_a_run_stopped_and_resumed_equals_one_never_stopped(
    options: dict[str, Any], prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = "conv:4x3:6,gru:7"  # 16 steps of a window are not a whole number of blocks
    whole = begin("whole", prose, monkeypatch, stack=stack, **options)
    sit(whole)
    run = begin("parts", prose, monkeypatch, stack=stack, **options)
    sit(run, 7)
    sit(resume(run.folder))
    weights = [read_model(of.folder / "model.safetensors").weights() for of in (whole, run)]
    assert weights[0].keys() == weights[1].keys()
    assert all(np.array_equal(array, weights[1][name]) for name, array in weights[0].items())


def test_a_model_is_trained_tuned_and_sampled(prose: str, chargen: Run) -> None:
    Path("prose.txt").write_text(prose[:6000])
    short = ("--steps", "2", "--batch-size", "4", "--bptt", "15", "--threads", "1")
    chargen("train", "prose.txt", "--stack", "conv:4x2:8,gru:9", "--name", "one", *short)
    chargen("train", "prose.txt", "--base", "one", "--name", "two", *short)
    saved = read_model(Path("checkpoints/two/model.safetensors"))
    assert format_stack(saved.config.layers) == "conv:4x2:8,gru:9"
    assert len(chargen("sample", "-m", "two", "-n", "30", "--int8").stdout.strip("\n")) >= 20
    with pytest.raises(ConfigError, match="page knows no convolutions; this model has conv:4x2:8"):
        to_html(saved)
