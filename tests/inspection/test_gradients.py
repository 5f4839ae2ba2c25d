"""Gradient of the loss with respect to earlier states."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from chargen.config import TrainConfig
from chargen.data.dataset import WARM, Segment, tokenize
from chargen.errors import CorpusError
from chargen.inspection import trial
from chargen.inspection.gradients import (
    Curve,
    follow_back,
    rows_before,
    state_gradients,
    states_of,
)
from chargen.inspection.trial import fitted, train_alike
from chargen.model.language_model import LanguageModel
from chargen.model.spec import CELLS, ModelConfig, count_parameters, parse_stack
from tests.conftest import Run, text_of, write
from tests.segments import segment_of

VOCAB = 11
SMALL = 1e-5  # by which a state is moved


def model_of(stack: str) -> LanguageModel:
    config = ModelConfig(VOCAB, parse_stack(stack), 5)
    return LanguageModel(config, TrainConfig(seed=1)).double().requires_grad_(False)


def loss_when_moved(
    model: LanguageModel, tokens: Tensor, state: tuple[Tensor, ...], moved: int, by: Tensor
) -> float:
    """Return the loss of the last token when a part of the state is moved after one step."""
    (layers,) = states_of(model, tokens[:, :1], state)
    flat = [part.detach() for own in layers for part in own]
    flat[moved] = flat[moved] + by
    for token in tokens[0, 1:-1]:
        x, rest, flat = model.embedding(token[None]), flat, []
        outputs = []
        for cell in model.cells:
            own, rest = rest[: len(cell.states)], rest[len(cell.states) :]
            new = cell.step(x, tuple(own))
            x = new[0][0]
            outputs.append(x)
            flat.extend(new)
    logits = model.head(torch.cat(outputs, dim=1))
    return float(torch.nn.functional.cross_entropy(logits, tokens[:, -1]))


@pytest.mark.parametrize("stack", ["rnn:6", "lstm:6", "gru:6", "lstm-peephole:5", "mingru:6"])
def test_gradients_are_those_of_finite_differences(stack: str) -> None:
    model = model_of(stack)
    tokens = torch.randint(VOCAB, (1, 8), generator=torch.Generator().manual_seed(2))
    state = tuple(torch.randn_like(part) for part in model.init_state(1))
    found = state_gradients(model, tokens, state)  # k = 6 is the state after the first step
    for part, gradients in enumerate(found):
        assert gradients.shape[0] == 7
        for unit in range(gradients.shape[3]):
            by = torch.zeros_like(state[part])
            by[0, 0, unit] = SMALL
            up, down = (loss_when_moved(model, tokens, state, part, s * by) for s in (1, -1))
            assert gradients[6, 0, 0, unit] == pytest.approx((up - down) / SMALL / 2, rel=1e-5)


def test_in_a_stack_the_gradient_also_goes_through_the_layer_above() -> None:
    model = model_of("rnn:4,gru:5")
    tokens = torch.randint(VOCAB, (1, 5), generator=torch.Generator().manual_seed(2))
    state = tuple(torch.randn_like(part) for part in model.init_state(1))
    lower, upper = state_gradients(model, tokens, state)
    by = torch.full_like(state[1], SMALL)  # the upper layer: nothing of the step depends on it
    up, down = (loss_when_moved(model, tokens, state, 1, s * by) for s in (1, -1))
    assert float(upper[3].sum()) == pytest.approx((up - down) / SMALL / 2, rel=1e-5)
    weights = model.head.weight.T  # at k = 0 the lower layer counts at the head and above
    (own,), (above,) = (part.detach() for (part,) in states_of(model, tokens[:, :4], state)[3])
    probabilities = torch.softmax(model.head(torch.cat([own, above], dim=1)), dim=1)
    at_head = weights @ (probabilities[0] - torch.eye(VOCAB, dtype=torch.float64)[tokens[0, -1]])
    torch.testing.assert_close(upper[0][0, 0], at_head[4:])
    assert not torch.allclose(lower[0][0, 0], at_head[:4])


def test_rows_do_not_touch_each_other() -> None:
    model = model_of("lstm:6")
    tokens = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(2))
    together = state_gradients(model, tokens, model.init_state(3))
    alone = state_gradients(model, tokens[1:2], model.init_state(1))
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[:, :, 1:2], one)


def test_the_output_reads_h_alone() -> None:
    segment = tokenize(text_of("to be or not to be " * 60), 0.1).validation
    config = ModelConfig(segment.tokenizer.vocab_size, parse_stack("lstm:6"), 5)
    h, c = follow_back(LanguageModel(config), segment, 5)
    assert (h.layer, h.part, h.steps) == (1, "h", (0, 1, 2, 3, 4, 5))
    assert (c.part, c.steps) == ("c", (1, 2, 3, 4, 5))


def test_a_chain_of_one_unit_is_the_product_of_its_factors() -> None:
    """dL/dh_{T-k} = w diag(1 - h^2) ... dL/dh_T, the textbooks' equation."""
    model = model_of("rnn:1")
    tokens = torch.tensor([[1, 2, 3, 4, 5]])
    (found,) = state_gradients(model, tokens, model.init_state(1))
    steps = states_of(model, tokens[:, :4], model.init_state(1))
    weight = float(model.cells[0].weight_hh_l0)
    for k in (1, 2, 3):
        factors = [weight * (1 - float(steps[-j][0][0].detach()) ** 2) for j in range(1, k + 1)]
        assert float(found[k]) == pytest.approx(math.prod(factors) * float(found[0]))


# -- what is said of a curve --------------------------------------------------------------


def test_reach_and_factor_of_a_known_curve() -> None:
    halving = Curve(1, "h", 0, tuple(3 * 0.5**k for k in range(20)))
    assert halving.reach == pytest.approx(math.log(100) / math.log(2))
    assert halving.factor == pytest.approx(0.5)
    later = Curve(1, "c", 1, halving.norms)
    assert later.reach == pytest.approx(1 + math.log(100) / math.log(2))
    growing = Curve(1, "h", 0, (1.0, 2.0, 4.0))
    assert growing.reach is None and growing.factor == pytest.approx(2)
    assert Curve(1, "h", 0, (1.0, 0.0, 0.0)).reach == 0
    assert Curve(1, "h", 0, (0.0, 0.0)).reach is None
    odd = Curve(1, "h", 0, (1.0, math.inf, math.nan))
    assert odd.reach is odd.factor is None


def counting_up(before: int, length: int) -> Segment:
    """Return a text of 0, 1, 2, ... 6, 0, 1, ... that begins after so many tokens."""
    ids = np.arange(before + length) % 7
    segment = segment_of("abcdefg" * 9)
    return replace(segment, ids=ids[before:], context=ids[:before][-WARM:], characters=length)


@pytest.mark.parametrize(("before", "length"), [(500, 900), (3, 40), (300, 1), (0, 12)])
def test_targets_are_held_out_and_stand_behind_what_is_read(before: int, length: int) -> None:
    segment = counting_up(before, length)
    rows = rows_before(segment, 8)
    assert rows.shape[1] >= 11
    assert np.all((rows[:, 1:] - rows[:, :-1]) % 7 == 1)  # as they follow each other
    assert rows[-1, -1] == segment.ids[-1]


def test_a_text_too_short_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"has 10 tokens; 8 steps back need 11: use a longer"):
        rows_before(counting_up(3, 7), 8)


# -- cells trained alike ------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
def test_all_cells_get_as_many_parameters(kind: str) -> None:
    wanted = count_parameters(fitted("lstm", 66))
    assert count_parameters(fitted(kind, 66)) == pytest.approx(wanted, rel=0.005)


def test_the_same_steps_give_the_same_cell_and_it_learns(
    prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "WIDTH", 16)
    dataset = tokenize(text_of(prose[:3000]), 0.1)
    first, again = (
        train_alike("gru", dataset, TrainConfig(steps=12, seed=1), lambda parts: None)
        for _ in range(2)
    )
    untrained = train_alike("gru", dataset, TrainConfig(seed=1), lambda parts: None)
    assert first.loss == again.loss < untrained.loss - 0.3
    assert (first.steps, first.skipped, untrained.steps) == (12, 0, 0)
    assert first.largest and untrained.largest is None


# -- the command --------------------------------------------------------------------------


def test_untrained_rnns_vanish_or_explode_by_their_scale(chargen: Run, prose: str) -> None:
    write("text.txt", prose[:300])
    common = (
        "inspect",
        "gradients",
        "text.txt",
        "--cells",
        "rnn",
        "--steps",
        "0",
        "--threads",
        "1",
    )
    done = chargen(*common, "--seed", "1", "--steps-back", "12", "--recurrent-scale", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("How far back the loss reaches\n")
    assert re.search(r"^rnn h +\S+ +\S+ +never: it grows +1\.", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_several_models_as_json_and_as_a_picture(chargen: Run, with_model: Path) -> None:
    done = chargen(
        *("inspect", "gradients", "-m", "small", "-m", with_model, "--json"),
        *("--steps-back", "7", "--plot", "reach.svg"),
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [model["name"] for model in facts["models"]] == ["small", "small"]
    h, c = facts["models"][0]["curves"]
    assert (len(h["norms"]), len(c["norms"]), c["first"]) == (8, 7, 1)
    assert "small h" in Path("reach.svg").read_text()


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("--steps", "3"), "--steps is for training; add --cells rnn,lstm,gru"),
        (("x", "--cells", "rnn,elman"), "cell is 'elman'; allowed: rnn, rnn-relu"),
        (("x", "--cells", "rnn,rnn"), "--cells is 'rnn,rnn'; allowed: each cell once"),
        (("--cells", "rnn"), "--cells needs a text to train on; name a file, or builtin:pydoc"),
        (("x", "--cells", "rnn", "-m", "a"), "--cells trains its own models; leave --model out"),
        (("x", "--cells", "rnn", "--clip", "0"), "clip is 0.0; allowed: more than 0"),
        (("-m", "a") * 9, "9 models are named; allowed: up to 8"),
        (("--plot", "a.gif"), "picture is 'a.gif'"),
        (
            ("x", "--cells", "rnn", "--time", "1s", "--steps", "1"),
            "--time and --steps both say how long; leave one out",
        ),
    ],
)
def test_wrong_options_are_refused_in_words(
    args: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from chargen.cli import app

    with pytest.raises(SystemExit) as ended:
        app(["inspect", "gradients", *args])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith(f"chargen: {error}")
    assert captured.out == ""
