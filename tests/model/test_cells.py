"""Each cell against its definition, its equation worked by hand, and numerical gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chargen.config import TrainConfig
from chargen.model.cells import CELL_CLASSES, Cell, State
from chargen.model.cells.scan import scan
from chargen.model.spec import CELLS
from tests.model.cell_checks import check_chunks, has_numerical_gradients

KINDS = list(CELLS)
B, T, INPUTS, H = 3, 11, 5, 7  # batch size, steps, inputs, hidden units


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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("kind", KINDS)
def test_fast_form_equals_the_definition_with_all_gradients(
    kind: str, dtype: torch.dtype, tolerance: float
) -> None:
    cell = make(kind).to(dtype)
    x = torch.randn(B, T, INPUTS, dtype=dtype, requires_grad=True)
    start = tuple(part.requires_grad_() for part in state_of(cell))
    wanted = [x, *start, *cell.parameters()]
    results = []
    for run in (cell.run, lambda x, s: unrolled(cell, x, s)):
        y, last = run(x, start)
        loss = (y.sin().sum() + sum(part.cos().sum() for part in last)) / 10
        results.append([y, *last, *torch.autograd.grad(loss, wanted)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_numerical_ones(kind: str) -> None:
    cell = make(kind, 2, 3)
    assert has_numerical_gradients(cell, state_of(cell, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_three_chunks_that_pass_on_the_state_equal_one_pass(kind: str) -> None:
    cell = make(kind)
    x = torch.randn(B, T, INPUTS, dtype=torch.float64)
    check_chunks(cell, x, state_of(cell), [4, 1, 6], 1e-14)


# One unit, one input: x = 1.5, h = 0.25, c = -0.5, worked with a pocket calculator.
# W_I, W_R, b, other weights in the order of model.spec.CELLS; h, and c if there is one.
WORKED = {
    "rnn": ([0.5], [-0.3], [0.1], [[0.0]], [0.6498274637]),
    "rnn-relu": ([0.5], [-0.3], [0.1], [[0.05]], [0.8250000000]),
    "lstm": ([0.5, -0.3, 0.8, 0.2], [0.1, 0.4, -0.6, 0.7], [0.1, 0.5, 0.0, -0.2],
             [[0.0, 0.5, 0.0, 0.0]], [0.1248280515, 0.2232819905]),
    "lstm-peephole": ([0.5, -0.3, 0.8, 0.2], [0.1, 0.4, -0.6, 0.7], [0.1, 1.0, 0.0, -0.2],
                      [[0.3, -0.7, 0.9]], [0.0964376470, 0.1611792042]),
    "lstm-coupled": ([-0.3, 0.8, 0.2], [0.4, -0.6, 0.7], [1.0, 0.0, -0.2], [],
                     [-0.0342587013, -0.0603538305]),
    "gru": ([0.5, -0.3, 0.8], [0.1, 0.4, -0.6], [0.1, 0.0, 0.2], [[0.0, 0.6, 0.3]],
            [0.5373010856]),
    "gru-before": ([0.5, -0.3, 0.8], [0.1, 0.4, -0.6], [0.1, 0.6, 0.5], [], [0.5436834683]),
    "mingru": ([0.5, -0.3], [], [0.1, 0.2], [], [-0.1002835712]),
    "minlstm": ([0.5, -0.3, 0.8], [], [0.1, 0.2, -0.4], [], [0.4615292552]),
    # Two units, so that there is something to normalise: h = (0.25, -0.75), c = (-0.5, 1).
    "lstm-norm": ([0.5, -0.4, -0.3, 0.7, 0.8, 0.1, 0.2, -0.6],
                  [0.1, 0.4, -0.6, 0.7, 0.3, -0.2, 0.5, 0.9,
                   -0.8, 0.2, 0.6, -0.1, -0.5, 0.4, 0.3, 0.8],
                  [0.1, 0.2, 0.5, -0.1, 0.0, 0.3, -0.2, 0.1],
                  [[0.05, -0.1, 0.2, 0.15, -0.3, 0.1, 0.25, -0.05],
                   [1.0, 0.9, 1.1, 0.8, 1.2, 0.7, 1.3, 0.6],
                   [0.6, 1.3, 0.7, 1.2, 0.8, 1.1, 0.9, 1.0], [0.9, 1.4], [0.1, -0.3]],
                  [-0.3122624719, 0.1390058087, 0.2517137488, 0.5880807182]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_equation_worked_by_hand(kind: str) -> None:
    w, r, b, others, expected = WORKED[kind]
    hidden = 2 if kind == "lstm-norm" else 1
    cell = CELL_CLASSES[kind](1, hidden).double()
    weights = dict(cell.named_parameters())
    values = {"weight_ih_l0": w, "weight_hh_l0": r, "bias_ih_l0": b}
    values |= dict(zip([name for name in weights if name not in values], others, strict=True))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(torch.tensor(values[name]).view_as(weight))
    start = ([0.25, -0.75], [-0.5, 1.0]) if hidden == 2 else ([0.25], [-0.5])
    parts = [torch.tensor(part, dtype=torch.float64).view(1, 1, hidden) for part in start]
    state = cell.step(torch.tensor([[1.5]], dtype=torch.float64), tuple(parts[: len(cell.states)]))
    assert torch.cat(state).flatten().tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_future_changes_no_earlier_output(kind: str) -> None:
    cell, x = make(kind), torch.randn(B, T, INPUTS, dtype=torch.float64)
    changed = x.clone()
    changed[:, 6:] += 1
    first, second = (cell.run(v, cell.init_state(B))[0] for v in (x, changed))
    assert torch.equal(first[:, :6], second[:, :6])
    assert not torch.allclose(first[:, 6:], second[:, 6:])


@torch.no_grad()
def fresh(kind: str, inputs: int = INPUTS, **options: object) -> Cell:
    cell = CELL_CLASSES[kind](inputs, H)
    cell.reset(torch.Generator().manual_seed(5), TrainConfig(**options))  # type: ignore[arg-type]
    return cell


FORGET = {"lstm": 1, "lstm-peephole": 1, "lstm-coupled": 0, "lstm-norm": 1, "minlstm": 0}


def forget_of(cell: Cell, kind: str) -> Tensor:
    return cell.bias_ih_l0[FORGET[kind] * H : (FORGET[kind] + 1) * H]


@pytest.mark.parametrize("kind", KINDS)
def test_new_weights_are_orthogonal_and_repeatable(kind: str) -> None:
    cell = fresh(kind)
    weights = dict(cell.named_parameters())
    for ours, theirs in zip(weights.values(), fresh(kind).parameters(), strict=True):
        assert torch.equal(ours, theirs)
    limit = (6 / (INPUTS + H)) ** 0.5
    assert 0.8 * limit < weights.pop("weight_ih_l0").abs().max() <= limit
    if "weight_hh_l0" in weights:
        recurrent = weights.pop("weight_hh_l0")
        for block in recurrent.split(H):
            torch.testing.assert_close(block @ block.T, torch.eye(H), rtol=0, atol=1e-5)
        assert torch.equal(recurrent, torch.eye(H)) == (kind == "rnn-relu")
    assert cell.bias_ih_l0.sum() == (H if kind in FORGET else 0)
    if kind in FORGET:
        assert (forget_of(cell, kind) == 1).all()
    del weights["bias_ih_l0"]
    for name, weight in weights.items():
        assert (weight == name.startswith("gain")).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_can_be_set(kind: str) -> None:
    cell = fresh(kind, H, forget_bias=-2.5, input_init="orthogonal", recurrent_scale=3.0,
                 recurrent_init="identity")  # fmt: skip
    for block in cell.weight_ih_l0.split(H):
        torch.testing.assert_close(block @ block.T, torch.eye(H), rtol=0, atol=1e-5)
    if "weight_hh_l0" in dict(cell.named_parameters()):
        for block in cell.weight_hh_l0.split(H):
            assert torch.equal(block, 3 * torch.eye(H))
        xavier = fresh(kind, recurrent_init="xavier").weight_hh_l0
        assert 0.8 * (3 / H) ** 0.5 < xavier.abs().max() <= (3 / H) ** 0.5
    if kind in FORGET:
        assert (forget_of(cell, kind) == -2.5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_begins_with_zeros(kind: str) -> None:
    cell = make(kind)
    state = cell.init_state(B)
    assert len(state) == len(cell.states) == 1 + kind.startswith("lstm")
    for part in state:
        assert part.shape == (1, B, H)
        assert part.dtype == torch.float64
        assert not part.any()


@pytest.mark.parametrize("steps", [1, 2, 7, 12, 64, 97])
def test_the_scan_is_the_recurrence(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    a, b = torch.rand(2, steps, B, H, dtype=torch.float64, generator=generator)
    a[:: max(2, steps // 3)] = 0  # forgets all that came before
    expected = [torch.randn(B, H, dtype=torch.float64, generator=generator)]
    for step in range(steps):
        expected.append(a[step] * expected[-1] + b[step])
    torch.testing.assert_close(scan(a, b, expected[0]), torch.stack(expected[1:]))
    backwards = scan(a.flip(0), b.flip(0), expected[0], backwards=True)
    torch.testing.assert_close(backwards.flip(0), torch.stack(expected[1:]))


def test_the_scan_is_stable_where_everything_is_forgotten_or_kept() -> None:
    for kind in ("mingru", "minlstm"):
        cell = make(kind).float()
        with torch.no_grad():
            cell.weight_ih_l0.mul_(300)  # gates far beyond what exp can hold
        x, start = torch.randn(B, 400, INPUTS), state_of(cell)
        y, _ = cell.run(x, start)
        expected, _ = unrolled(cell, x, start)
        assert y.isfinite().all()
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-2)
        gradients = torch.autograd.grad(y.sum(), list(cell.parameters()))
        assert all(gradient.isfinite().all() for gradient in gradients)
