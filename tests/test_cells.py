"""Each cell against its definition, its equation worked by hand, and numerical gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chargen.cells import CELL_CLASSES, Cell, State

KINDS = sorted(CELL_CLASSES)
B, T, INPUTS, H = 3, 11, 5, 7  # lanes, steps, inputs, hidden units


def make(kind: str, inputs: int = INPUTS, hidden: int = H) -> Cell:
    torch.manual_seed(1)
    cell = CELL_CLASSES[kind](inputs, hidden).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            # Rectified units have no bound: larger weights would let them explode.
            parameter.normal_(0, 0.2 if kind == "rnn-relu" else 0.5)
    return cell


def state_of(cell: Cell, batch: int = B) -> State:
    return tuple(torch.randn_like(part) * 0.5 for part in cell.init_state(batch))


def unrolled(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Run the definition step by step."""
    outputs = []
    for step in range(x.shape[1]):
        state = cell.step(x[:, step], state)
        outputs.append(state[0][0])
    return torch.stack(outputs, dim=1), state


@pytest.mark.parametrize("kind", KINDS)
def test_fast_form_equals_the_definition_with_all_gradients(kind: str) -> None:
    cell = make(kind)
    x = torch.randn(B, T, INPUTS, dtype=torch.float64, requires_grad=True)
    start = tuple(part.requires_grad_() for part in state_of(cell))
    wanted = [x, *start, *cell.parameters()]
    results = []
    for run in (cell.run, lambda x, s: unrolled(cell, x, s)):
        y, last = run(x, start)
        loss = (y.sin().sum() + sum(part.cos().sum() for part in last)) / 10
        results.append([y, *last, *torch.autograd.grad(loss, wanted)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_fast_form_equals_the_definition_in_float32(kind: str) -> None:
    cell = make(kind).float()
    x, start = torch.randn(B, T, INPUTS), state_of(cell)
    for fast, slow in zip(cell.run(x, start), unrolled(cell, x, start), strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_numerical_ones(kind: str) -> None:
    cell = make(kind, 2, 3)
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    start = tuple(part.requires_grad_() for part in state_of(cell, 2))

    def outputs(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        y, last = cell.run(x, state)
        return y, *last

    assert torch.autograd.gradcheck(outputs, (x, *start))


@pytest.mark.parametrize("kind", KINDS)
def test_three_chunks_with_carried_state_equal_one_pass(kind: str) -> None:
    cell = make(kind)
    x, state = torch.randn(B, T, INPUTS, dtype=torch.float64), state_of(cell)
    whole, last = cell.run(x, state)
    pieces = []
    for chunk in x.split([4, 1, 6], dim=1):
        y, state = cell.run(chunk, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-14)
    for part, expected in zip(state, last, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-14)


# One unit, one input: x = 1.5, h = 0.25, c = -0.5, worked with a pocket calculator.
WORKED = {
    "rnn": ([0.5], [-0.3], [0.1], [0.0], [0.6498274637]),
    "lstm": ([0.5, -0.3, 0.8, 0.2], [0.1, 0.4, -0.6, 0.7], [0.1, 0.5, 0.0, -0.2],
             [0.0, 0.5, 0.0, 0.0], [0.1248280515, 0.2232819905]),
    "rnn-relu": ([0.5], [-0.3], [0.1], [0.05], [0.8250000000]),
    "lstm-peephole": ([0.5, -0.3, 0.8, 0.2], [0.1, 0.4, -0.6, 0.7], [0.1, 1.0, 0.0, -0.2],
                      [0.3, -0.7, 0.9], [0.0964376470, 0.1611792042]),
    "lstm-coupled": ([-0.3, 0.8, 0.2], [0.4, -0.6, 0.7], [1.0, 0.0, -0.2], [],
                     [-0.0342587013, -0.0603538305]),
    "gru-before": ([0.5, -0.3, 0.8], [0.1, 0.4, -0.6], [0.1, 0.6, 0.5], [], [0.5436834683]),
    "gru": ([0.5, -0.3, 0.8], [0.1, 0.4, -0.6], [0.1, 0.0, 0.2], [0.0, 0.6, 0.3], [0.5373010856]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_equation_worked_by_hand(kind: str) -> None:
    w, r, b_w, b_r, expected = WORKED[kind]
    cell = CELL_CLASSES[kind](1, 1).double()
    values = dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"), (w, r, b_w), strict=True))
    values["peephole" if kind == "lstm-peephole" else "bias_hh_l0"] = b_r
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.copy_(torch.tensor(values[name]).reshape(parameter.shape))
    start = tuple(torch.full((1, 1, 1), v, dtype=torch.float64) for v in (0.25, -0.5))
    x = torch.tensor([[1.5]], dtype=torch.float64)
    state = cell.step(x, start[: len(cell.states)])
    assert [part.item() for part in state] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_future_changes_no_earlier_output(kind: str) -> None:
    cell, x = make(kind), torch.randn(B, T, INPUTS, dtype=torch.float64)
    changed = x.clone()
    changed[:, 6:] += 1
    first, second = (cell.run(v, cell.init_state(B))[0] for v in (x, changed))
    assert torch.equal(first[:, :6], second[:, :6])
    assert not torch.allclose(first[:, 6:], second[:, 6:])


@pytest.mark.parametrize("kind", KINDS)
def test_new_weights_are_orthogonal_and_repeatable(kind: str) -> None:
    cell, twin = CELL_CLASSES[kind](INPUTS, H), CELL_CLASSES[kind](INPUTS, H)
    with torch.no_grad():
        cell.reset(torch.Generator().manual_seed(5))
        twin.reset(torch.Generator().manual_seed(5))
    for ours, theirs in zip(cell.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for block in cell.weight_hh_l0.split(H):
        torch.testing.assert_close(block @ block.T, torch.eye(H), rtol=0, atol=1e-5)
    limit = (6 / (INPUTS + H)) ** 0.5
    assert 0.8 * limit < cell.weight_ih_l0.abs().max() <= limit
    ones = torch.zeros_like(cell.bias_ih_l0)
    if kind in ("lstm", "lstm-peephole"):
        ones[H : 2 * H] = 1
    if kind == "lstm-coupled":
        ones[:H] = 1
    if kind == "rnn-relu":
        assert torch.equal(cell.weight_hh_l0, torch.eye(H))
    assert torch.equal(cell.bias_ih_l0, ones)
    for name in ("bias_hh_l0", "peephole"):
        assert not getattr(cell, name, torch.zeros(1)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_begins_with_zeros(kind: str) -> None:
    cell = make(kind)
    state = cell.init_state(B)
    assert len(state) == len(cell.states) == (2 if kind.startswith("lstm") else 1)
    for part in state:
        assert part.shape == (1, B, H)
        assert part.dtype == torch.float64
        assert not part.any()
