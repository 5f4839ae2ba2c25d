from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from chargen.config import TrainConfig
from chargen.data.batches import Batch
from chargen.machine.torch import can_run
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses
from chargen.model.spec import CELLS, ModelConfig, parse_stack
from chargen.training.learner import Learner
from chargen.training.optimizer import LockedDropout, dropped_weights, learning_rate, make_optimizer
from chargen.training.processes import ProcessGroup

STACKS = [*(f"{kind}:6" for kind in CELLS), "gru:7,lstm:5,rnn:4"]
VOCAB = 11


def model_of(stack: str, seed: int = 1) -> LanguageModel:
    return LanguageModel(ModelConfig(VOCAB, parse_stack(stack), 5), TrainConfig(seed=seed))


# -- the model ----------------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS)
def test_logits_follow_the_equations_step_by_step(stack: str) -> None:
    model = model_of(stack)
    ids = torch.randint(VOCAB, (2, 9))
    logits, last = model(ids, model.init_state(2))
    states = [cell.init_state(2) for cell in model.cells]
    for step in range(9):
        x = model.embedding.weight[ids[:, step]]
        outputs = []
        for number, cell in enumerate(model.cells):
            states[number] = cell.step(x, states[number])
            x = states[number][0][0]
            outputs.append(x)
        expected = torch.cat(outputs, 1) @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(logits[:, step], expected, rtol=0, atol=1e-5)
    flat = [part for state in states for part in state]
    for part, wanted in zip(last, flat, strict=True):
        torch.testing.assert_close(part, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_chunks_that_pass_on_the_state_equal_one_pass(stack: str) -> None:
    model = model_of(stack).double()  # an untrained lstm-norm magnifies float32's rounding
    ids = torch.randint(VOCAB, (2, 12))
    whole, _ = model(ids, model.init_state(2))
    state = model.init_state(2)
    parts: list[torch.Tensor] = []
    for chunk in ids.split([5, 1, 6], dim=1):
        logits, state = model(chunk, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)


def test_a_seed_gives_the_same_weights_whatever_torch_drew_before() -> None:
    first = model_of("gru:7,lstm:5").weights()
    torch.manual_seed(99)
    again, other = model_of("gru:7,lstm:5").weights(), model_of("gru:7,lstm:5", 2).weights()
    for name, array in first.items():
        assert np.array_equal(array, again[name])
    assert not np.array_equal(first["head.weight"], other["head.weight"])


def test_weights_are_copies_that_can_be_loaded() -> None:
    model, other = model_of("lstm:6"), model_of("lstm:6", 2)
    weights = model.weights()
    with torch.no_grad():
        model.head.bias.fill_(1)
    assert not weights["head.bias"].any()
    other.load(weights)
    assert np.array_equal(other.weights()["head.weight"], weights["head.weight"])


def test_dropout_acts_between_the_layers_and_before_the_head() -> None:
    model = model_of("gru:7,lstm:5")
    seen = []

    def dropout(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[2])
        return x * 0

    logits, _ = model(torch.zeros(1, 3, dtype=torch.int64), model.init_state(1), dropout)
    assert seen == [7, 5]
    torch.testing.assert_close(logits, model.head.bias.expand(1, 3, VOCAB))


# -- the recipe ---------------------------------------------------------------------------


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    rates = [learning_rate(p, 2.0, 0.2) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([0, 1, 2, 1, 0])
    assert learning_rate(0.0, 2.0, 0.0) == 2
    assert 0 < learning_rate(0.9, 2.0, 0.2) < learning_rate(0.8, 2.0, 0.2)


def test_dropped_units_are_the_same_at_every_step_and_keep_the_mean() -> None:
    dropout = LockedDropout(TrainConfig(dropout=0.25), torch.Generator().manual_seed(1))
    x = torch.ones(50, 4, 80)
    y = dropout(x)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert sorted(y.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert abs(float((y == 0).float().mean()) - 0.25) < 0.035  # 5 sigma of 4000 draws
    assert not torch.equal(y, dropout(x))
    assert LockedDropout(TrainConfig(dropout=0.0), torch.Generator())(x) is x


def test_processes_drop_what_one_would() -> None:
    def masks(rank: int, size: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        dropout = LockedDropout(TrainConfig(dropout=0.5), generator, ProcessGroup(rank, size))
        return torch.cat([dropout(torch.ones(6 // size, 2, 9)) for _ in "12"], dim=1)

    assert torch.equal(masks(0, 1), torch.cat([masks(0, 2), masks(1, 2)]))


def test_dropped_weights_are_those_of_a_smaller_matrix_and_come_back() -> None:
    weight = nn.Parameter(torch.ones(300, 100))
    with dropped_weights([weight], 0.25, torch.Generator().manual_seed(1)):
        inside = weight.detach().clone()
        (weight * torch.arange(100)).sum().backward()
    assert torch.equal(weight, torch.ones(300, 100))
    assert sorted(inside.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert abs(float((inside == 0).float().mean()) - 0.25) < 0.0125  # 5 sigma
    assert weight.grad is not None
    assert torch.allclose(weight.grad, inside * torch.arange(100))


def test_at_probability_zero_no_weight_is_touched_or_drawn() -> None:
    weight, generator = nn.Parameter(torch.ones(3)), torch.Generator().manual_seed(1)
    before = generator.get_state()
    with dropped_weights([weight], 0.0, generator):
        pass
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("rmsprop", "RMSprop"), ("sgd", "SGD")]
)
def test_each_optimizer_lowers_the_loss(name: str, kind: str) -> None:
    config = TrainConfig(optimizer=name, seed=1, ema=0, dropout=0)
    learner = Learner(ModelConfig(VOCAB, parse_stack("lstm:16"), 5), config, 4, torch.device("cpu"))
    tokens = np.tile(np.arange(9), (4, 1))
    losses = [learner.learn(Batch(tokens), 0.05, "float32") for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    assert type(make_optimizer(learner.model.parameters(), config)).__name__ == kind


def test_only_matrices_decay() -> None:
    model = model_of("lstm:6")
    config = TrainConfig(weight_decay=0.5)
    matrices, vectors = make_optimizer(model.parameters(), config).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)
    assert {p.dim() for p in matrices["params"]} == {2}
    assert {p.dim() for p in vectors["params"]} == {1}
    count = len(matrices["params"]) + len(vectors["params"])
    assert count == len(list(model.parameters()))


# -- learning -----------------------------------------------------------------------------


def learner_of(**options: float) -> Learner:
    config = TrainConfig(seed=1, learning_rate=0.01, warmup=0, **options)  # type: ignore[arg-type]
    return Learner(ModelConfig(VOCAB, parse_stack("lstm:6"), 5), config, 3, torch.device("cpu"))


def test_a_step_is_truncated_back_propagation_through_time() -> None:
    learner = learner_of(dropout=0, ema=0, clip=1e9)
    torch.manual_seed(0)
    tokens = torch.randint(VOCAB, (3, 9)).numpy()
    twin = model_of("lstm:6")
    twin.load(learner.model.weights())
    optimizer = make_optimizer(twin.parameters(), learner.config)
    state = twin.init_state(3)
    for start in (0, 4):
        window = tokens[:, start : start + 5]
        loss = learner.learn(Batch(window), 0.0, "float32")
        losses, _, state = token_losses(twin, torch.from_numpy(window), state)
        state = tuple(part.detach() for part in state)
        assert loss == pytest.approx(float(losses.detach().mean()), abs=1e-6)
        optimizer.zero_grad()
        losses.mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()
    for name, array in twin.weights().items():
        np.testing.assert_allclose(learner.model.weights()[name], array, atol=1e-6)


def test_a_batch_that_covers_the_sequence_gives_the_full_gradient() -> None:
    """Truncated back-propagation with bptt as long as the sequence is full back-propagation."""
    model = model_of("lstm:6")
    tokens = torch.randint(VOCAB, (1, 8))
    losses, _, _ = token_losses(model, tokens, model.init_state(1))
    losses.sum().backward()
    full = model.cells[0].weight_hh_l0.grad
    assert full is not None
    model.zero_grad()
    state, total = model.cells[0].init_state(1), torch.zeros(())
    for step in range(7):
        state = model.cells[0].step(model.embedding.weight[tokens[:, step]], state)
        logits = model.head(state[0][0])
        total = total + torch.nn.functional.cross_entropy(logits, tokens[:, step + 1])
    total.backward()
    torch.testing.assert_close(model.cells[0].weight_hh_l0.grad, full, rtol=0, atol=1e-5)


def test_gradients_are_clipped() -> None:
    tokens = np.tile(np.arange(9), (3, 1))
    steps = {}
    for clip in (1e-9, 1e9):
        learner = learner_of(dropout=0, ema=0, clip=clip)
        sgd = torch.optim.SGD(learner.model.parameters(), lr=1.0)
        learner._optimizer = sgd
        before = learner.model.weights()["head.weight"]
        learner.learn(Batch(tokens), 0.0, "float32")
        steps[clip] = float(np.abs(learner.model.weights()["head.weight"] - before).max())
    assert steps[1e-9] < 1e-7 < steps[1e9]


def test_the_average_follows_the_weights() -> None:
    tokens = np.tile(np.arange(9), (3, 1))
    learner, plain = learner_of(ema=0.5), learner_of(ema=0)
    start = learner.model.weights()["head.weight"]
    for each in (learner, plain):
        each.learn(Batch(tokens), 0.0, "float32")
    moved = learner.model.weights()["head.weight"]
    # After one step the decay is 1 / 11, not yet 0.5.
    expected = start + (moved - start) * (1 - 1 / 11)
    np.testing.assert_allclose(learner.averaged.weights()["head.weight"], expected, atol=1e-7)
    assert np.array_equal(
        plain.averaged.weights()["head.weight"], plain.model.weights()["head.weight"]
    )


def test_bfloat16_learns_and_keeps_the_state_in_float32() -> None:
    if not can_run("bfloat16", torch.device("cpu")):
        pytest.skip("this CPU does not train in bfloat16")
    learner = learner_of()
    tokens = np.tile(np.arange(9), (3, 1))
    loss = learner.learn(Batch(tokens), 0.0, "bfloat16")
    assert math.isfinite(loss)
    assert {part.dtype for part in learner._state} == {torch.float32}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_a_restored_learner_goes_on_bit_for_bit(optimizer: str) -> None:
    config = TrainConfig(seed=1, dropout=0.3, optimizer=optimizer)
    model = ModelConfig(VOCAB, parse_stack("lstm:6,gru:4"), 5)
    learner = Learner(model, config, 3, torch.device("cpu"))
    rng = np.random.default_rng(0)
    windows = [rng.integers(VOCAB, size=(3, 9)) for _ in range(6)]

    def learn(who: Learner, part: list[np.ndarray[tuple[int, int], np.dtype[np.int64]]]) -> None:
        for window in part:
            who.learn(Batch(window), 0.1, "float32")

    learn(learner, windows[:3])
    kept = learner.tensors()
    learn(learner, windows[3:])
    again = Learner(model, config, 3, torch.device("cpu"))
    again.restore(kept, 3)
    assert again.steps == 3
    learn(again, windows[3:])
    first, second = learner.tensors(), again.tensors()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name
