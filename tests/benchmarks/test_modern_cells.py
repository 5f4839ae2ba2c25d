"""The modern cells of the benchmark: fast forms against definitions and numerical gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from chargen.config import TrainConfig
from chargen.machine.torch import can_run
from chargen.model.cells import State
from chargen.model.language_model import LanguageModel
from chargen.model.spec import CELLS, LayerConfig, ModelConfig, count_parameters
from tests.model.cell_checks import check_chunks, has_numerical_gradients

if TYPE_CHECKING:
    from benchmarks.modern_cells import ModernCell

modern = pytest.importorskip("benchmarks.modern_cells", reason="not from a checkout")

B, T, INPUTS, H = 3, 12, 5, 16  # batch size, steps, inputs, hidden units
KINDS: dict[str, type[ModernCell]] = {cell.kind: cell for cell in modern.MODERN}


def make(kind: str, inputs: int = INPUTS, hidden: int = H) -> ModernCell:
    torch.manual_seed(1)
    cell = KINDS[kind](inputs, hidden).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0, 0.3)
    return cell


def state_of(cell: ModernCell, batch: int = B) -> State:
    return tuple(torch.randn_like(part) * 0.5 for part in cell.init_state(batch))


def unrolled(cell: ModernCell, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for row in x.unbind(1):
        y, state = cell.advance(row, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("inputs", [INPUTS, H])
@pytest.mark.parametrize("kind", KINDS)
def test_fast_form_equals_the_definition_with_all_gradients(
    kind: str, inputs: int, dtype: torch.dtype, tolerance: float
) -> None:
    cell = make(kind, inputs).to(dtype)
    x = torch.randn(B, T, inputs, dtype=dtype, requires_grad=True)
    start = tuple(part.to(dtype).requires_grad_() for part in state_of(cell))
    wanted = [x, *start, *cell.parameters()]
    results = []
    for run in (cell.run, lambda x, s: unrolled(cell, x, s)):
        y, last = run(x, start)
        loss = (y.sin().sum() + sum(part.cos().sum() for part in last)) / 10
        results.append([y, *last, *torch.autograd.grad(loss, wanted)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_numerical_ones(kind: str) -> None:
    cell = make(kind, 2, KINDS[kind].heads)
    assert has_numerical_gradients(cell, state_of(cell, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_that_pass_on_the_state_equal_one_pass(kind: str) -> None:
    cell = make(kind)
    x = torch.randn(B, T, INPUTS, dtype=torch.float64)
    check_chunks(cell, x, state_of(cell), [2, 1, 9], 1e-13)


@torch.no_grad()
def test_slstm_is_that_of_the_paper() -> None:
    cell, x = make("slstm"), torch.randn(B, T, INPUTS, dtype=torch.float64)
    y, (_, ratio, norm) = cell.run(x, cell.init_state(B))
    h = c = m = torch.zeros(B, H, dtype=torch.float64)
    n = torch.ones_like(c)
    for step, row in enumerate(x.unbind(1)):
        a = row @ cell.weight_ih_l0.T + cell.bias_ih_l0 + h @ cell.weight_hh_l0.T
        i, f, z, o = a.chunk(4, dim=1)
        highest = torch.maximum(logsigmoid(f) + m, i)
        i, f, m = torch.exp(i - highest), torch.exp(logsigmoid(f) + m - highest), highest
        c, n = f * c + i * torch.tanh(z), f * n + i
        h = torch.sigmoid(o) * c / n
        torch.testing.assert_close(y[:, step], h, rtol=0, atol=1e-13)
    torch.testing.assert_close(ratio[0], c / n, rtol=0, atol=1e-13)
    torch.testing.assert_close(norm[0], m + torch.log(n), rtol=0, atol=1e-12)


@torch.no_grad()
def test_mogrifier_without_scales_and_one_head_are_the_lstm() -> None:
    x = torch.randn(B, T, INPUTS, dtype=torch.float64)
    lstm = torch.nn.LSTM(INPUTS, H // 4, batch_first=True).double()
    lstm.get_parameter("bias_hh_l0").zero_()
    expected, _ = lstm(x)
    mogrifier, heads = make("lstm-mogrifier", hidden=H // 4), make("lstm-heads")
    for name in ("scale_x", "scale_h"):
        mogrifier.get_parameter(name).zero_()
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
        weight = getattr(lstm, name)
        getattr(mogrifier, name).copy_(weight)
        getattr(heads, name)[: len(weight)] = weight
    for cell in (mogrifier, heads):
        y, _ = cell.run(x, cell.init_state(B))
        torch.testing.assert_close(y[..., : H // 4], expected, rtol=0, atol=1e-13)


@pytest.fixture
def registered() -> Iterator[None]:
    with modern.registered():
        yield


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_takes_the_cell_and_learns_in_both_precisions(kind: str) -> None:
    config = ModelConfig(11, (LayerConfig(kind, 32),) * KINDS[kind].depth, 8)
    model = LanguageModel(config, TrainConfig(seed=1))
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config)
    ids, grads = torch.randint(11, (4, 9)), []
    # Where bfloat16 does not run, both are float32.
    for enabled in (False, can_run("bfloat16", torch.device("cpu"))):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits, _ = model(ids, model.init_state(4))
        loss = logits.float().logsumexp(2).sum()
        grads.append(torch.autograd.grad(loss, list(model.parameters())))
    for exact, rough in zip(*grads, strict=True):
        assert exact.abs().sum() > 0
        assert (exact - rough).norm() <= 0.03 * exact.norm() + 0.03


@pytest.mark.usefixtures("registered")
def test_the_compared_models_have_as_many_recurrent_weights() -> None:
    from benchmarks.modern_cells.training import layers_of, recurrent_weights

    counts = {
        kind: recurrent_weights(ModelConfig(1, layers_of(kind)))
        for kind in ("lstm", "gru", "mingru", *KINDS)
    }
    assert counts["lstm"] == 4 * 256 * (64 + 256 + 2)
    assert all(abs(count / counts["lstm"] - 1) < 0.05 for count in counts.values()), counts


def test_the_cells_are_only_known_inside_of_the_context() -> None:
    with modern.registered():
        assert set(KINDS) < set(CELLS)
    assert not set(KINDS) & set(CELLS)
