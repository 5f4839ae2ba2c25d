"""How far back the loss reaches: the norm of dL_T / dh_{T-k} against k.

L_T = -ln P(c_{T+1} | c_<=T) is the loss at one step. The state k steps before it counts through
all the steps between, so that its gradient is a product of k factors

::

    dL_T / dh_{T-k} = (dh_{T-k+1} / dh_{T-k})^T ... (dh_T / dh_{T-1})^T  dL_T / dh_T

which for the simple recurrent layer are W_R^T diag(1 - h^2): the product vanishes or explodes
with k (Hochreiter 1991; Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013). In
an LSTM the path through the memory multiplies by the forget gate alone, dc_t / dc_{t-1} = f_t
where the gates are held (the constant error carousel of Hochreiter and Schmidhuber 1997; the
gate by Gers et al. 2000).

Legend of shapes: B rows (places T in the text), S steps, H hidden units.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chargen.data.dataset import WARM, Segment
from chargen.errors import CorpusError
from chargen.model.cells import State
from chargen.model.language_model import LanguageModel

PLACES = 128  # steps T whose loss is followed back
AT_ONCE = 1 << 22  # units of all steps and rows whose graph is held
FALLEN = 0.01  # of the first norm: what counts as forgotten


@dataclass(frozen=True)
class Curve:
    """The norm of the gradient of one part of one layer's state.

    A part is ``h``, or the memory ``c`` of an LSTM: what step T - k hands to the next one, the
    other part held. The head reads no c, so that its gradient begins at k = 1.

    Attributes:
        layer: its number, 1 at the bottom.
        part: ``h`` or ``c``.
        first: the k of the first norm.
        norms: of k = first, first + 1, ...: mean over the places.
    """

    layer: int
    part: str
    first: int
    norms: tuple[float, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """The k of each norm."""
        return tuple(range(self.first, self.first + len(self.norms)))

    @property
    def reach(self) -> float | None:
        """The k at which the norm is a hundredth of the first; None if it stays above.

        Between two steps it is taken to fall evenly on a logarithmic scale.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.log(np.asarray(self.norms) / (FALLEN * np.float64(self.norms[0])))
        below = np.flatnonzero(heights <= 0)
        if not len(below):
            return None
        after = int(below[0])
        share = heights[after - 1] / (heights[after - 1] - heights[after])
        return self.first + after - 1 + float(share)

    @property
    def factor(self) -> float | None:
        """What a step back multiplies the norm by: the slope of ln(norm), by least squares.

        None if fewer than two norms are more than zero.
        """
        norms = np.asarray(self.norms)
        there = np.isfinite(norms) & (norms > 0)
        if np.count_nonzero(there) < 2:
            return None
        slope = np.polyfit(np.flatnonzero(there), np.log(norms[there]), 1)[0]
        return float(np.exp(slope))


def follow_back(model: LanguageModel, segment: Segment, steps_back: int) -> list[Curve]:
    """Return the curves of a model, on a text.

    The mean over the places is arithmetic: the size of what reaches a step, from which training
    learns. (A geometric mean shows the typical place, and hides the few that reach far.)

    Args:
        model: on a CPU.
        segment: what it reads.
        steps_back: the largest k.

    Raises:
        CorpusError: the text is too short for so many steps.
    """
    tokens = torch.from_numpy(rows_before(segment, steps_back))
    model = copy.deepcopy(model).double().requires_grad_(False)  # a product of many factors
    rows = max(1, AT_ONCE // (steps_back * model.config.head_inputs))
    parts = [_norms(model, batch, steps_back) for batch in torch.split(tokens, rows)]
    means = (torch.cat(norms, dim=1).mean(dim=1) for norms in zip(*parts, strict=True))
    names = [(n, part) for n, cell in enumerate(model.cells, 1) for part in cell.states]
    return [_curve(*name, mean) for name, mean in zip(names, means, strict=True)]


def _norms(model: LanguageModel, tokens: Tensor, steps_back: int) -> list[Tensor]:
    """Return the norms (K + 1, B) of each part of the state, for tokens (B, W + K + 2)."""
    before, followed = tokens[:, : -steps_back - 2], tokens[:, -steps_back - 2 :]
    with torch.no_grad():
        _, state = model(before, model.init_state(len(tokens)))
    return [gradient[:, 0].norm(dim=2) for gradient in state_gradients(model, followed, state)]


def _curve(layer: int, part: str, means: Tensor) -> Curve:
    first = int(not means[0])  # what the head does not read has no gradient at k = 0
    return Curve(layer, part, first, tuple(means[first:].tolist()))


def rows_before(segment: Segment, steps_back: int) -> NDArray[np.int64]:
    """Return tokens (B, W + K + 2): the last is the target c_{T+1}, and all there is before it.

    The places T are spread evenly over the text; W tokens, up to ``WARM``, fill the
    state before gradients are kept.

    Raises:
        CorpusError: the text is too short for K steps.
    """
    ids = segment.with_context
    least = steps_back + 3  # one token to begin from, K + 1 steps, a target
    if len(ids) < least:
        raise CorpusError(
            f"the text has {len(ids)} tokens to measure on; {steps_back} steps back need {least}: "
            "a longer text, or fewer --steps-back"
        )
    warm = min(WARM, max(1, (len(ids) - least) // 2))
    first = max(len(segment.context), warm + steps_back + 1)
    targets = np.unique(np.linspace(first, len(ids) - 1, PLACES).astype(int))
    places = targets[:, None] + np.arange(-warm - steps_back - 1, 1)  # (B, W + K + 2)
    return ids[places]


def state_gradients(model: LanguageModel, tokens: Tensor, state: State) -> list[Tensor]:
    """Return dL_T / ds_{T-k} for all k from 0 on, (K + 1, 1, B, H) for each part s of the state.

    Each row's own loss is followed back, for the rows share nothing but the weights.

    Args:
        model: in float64, or else small gradients drown.
        tokens: (B, K + 2), int64: K + 1 that are read and the target.
        state: what went before, (1, B, H) for each part of each layer.
    """
    steps = states_of(model, tokens[:, :-1], state)[::-1]
    logits = model.head(torch.cat([own[0][0] for own in steps[0]], dim=1))  # (B, V)
    cost = torch.nn.functional.cross_entropy(logits, tokens[:, -1], reduction="sum")
    parts = [part for step in steps for own in step for part in own]
    found = torch.autograd.grad(cost, parts, allow_unused=True)
    whole = [
        torch.zeros_like(part) if gradient is None else gradient
        for gradient, part in zip(found, parts, strict=True)
    ]
    return [torch.stack(whole[number :: len(state)]) for number in range(len(state))]


def states_of(model: LanguageModel, tokens: Tensor, state: State) -> list[list[State]]:
    """Return the state of each layer after each step, by the cells' step form: their definition.

    Args:
        model: the model.
        tokens: what is read, (B, S).
        state: before the first step; its gradient is cut.
    """
    rest, layers = [part.detach().requires_grad_() for part in state], []
    for cell in model.cells:
        layers.append(tuple(rest[: len(cell.states)]))
        rest = rest[len(cell.states) :]
    after = []
    for x in model.embedding(tokens).unbind(1):  # (B, E)
        layers = list(_through(model, x, layers))
        after.append(layers)
    return after


def _through(model: LanguageModel, x: Tensor, layers: Sequence[State]) -> Iterator[State]:
    """Yield the state of each layer after one input x (B, E)."""
    for cell, own in zip(model.cells, layers, strict=True):
        new = cell.step(x, own)
        x = new[0][0]  # (B, H)
        yield new
