"""Gradient of the loss with respect to earlier states: the norm of dL_T / dh_{T-k} against k.

L_T = -ln P(c_{T+1} | c_<=T) is the loss at one step. The state k steps before acts on it through
all the steps between, so its gradient is a product of k factors:

::

    dL_T / dh_{T-k} = (dh_{T-k+1} / dh_{T-k})^T ... (dh_T / dh_{T-1})^T  dL_T / dh_T

In the simple recurrent layer each factor is W_R^T diag(1 - h^2), so the product vanishes or
explodes with k (Hochreiter 1991; Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio
2013). In an LSTM the path through the memory multiplies by the forget gate alone: with the gates
held constant, dc_t / dc_{t-1} = f_t. This is the constant error carousel of Hochreiter and
Schmidhuber (1997), with the forget gate of Gers et al. (2000).

Legend of shapes: B batch size (one row per position T in the text), S steps, H hidden units.
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

PLACES = 128  # positions T, each with a loss that is back-propagated
AT_ONCE = 1 << 22  # units times steps times rows in one graph
DECAYED = 0.01  # fraction of the first norm


@dataclass(frozen=True)
class Curve:
    """Norms of the gradient with respect to one part of the state of one layer.

    A part is the output ``h``, or the memory cell ``c`` of an LSTM, as step T - k passes it to the
    next step, with the other part held constant. (The layers above a stride pass theirs on
    unchanged until a block ends.) The head does not read c, so the gradient of c
    begins at k = 1.

    Attributes:
        layer: number of the layer, 1 at the bottom.
        part: ``h`` or ``c``.
        first: the k of the first norm.
        norms: mean norm over the positions, for k = first, first + 1, ...
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
        """The k at which the norm has decayed to 1 % of the first; None if it stays above.

        Between two steps it is interpolated on a logarithmic scale.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.log(np.asarray(self.norms) / (DECAYED * np.float64(self.norms[0])))
        below = np.flatnonzero(heights <= 0)
        if not len(below):
            return None
        after = int(below[0])
        fraction = heights[after - 1] / (heights[after - 1] - heights[after])
        return self.first + after - 1 + float(fraction)

    @property
    def factor(self) -> float | None:
        """The factor on the norm per step back, from a least-squares fit of ln(norm).

        None if fewer than two norms are positive.
        """
        norms = np.asarray(self.norms)
        there = np.isfinite(norms) & (norms > 0)
        if np.count_nonzero(there) < 2:
            return None
        slope = np.polyfit(np.flatnonzero(there), np.log(norms[there]), 1)[0]
        return float(np.exp(slope))


def follow_back(model: LanguageModel, segment: Segment, steps_back: int) -> list[Curve]:
    """Return the gradient norms of a model on a text, one curve per part of the state.

    The mean over the positions is arithmetic, because training learns from the size of what
    reaches a step. A geometric mean would show the typical position and hide the few gradients
    that reach far.

    Args:
        model: the model, on a CPU.
        segment: the text to read.
        steps_back: the largest k.

    Raises:
        CorpusError: the text is too short for this many steps.
    """
    tokens = torch.from_numpy(rows_before(segment, steps_back))
    model = copy.deepcopy(model).double().requires_grad_(False)  # a product of many factors
    rows = max(1, AT_ONCE // (steps_back * model.config.head_inputs))
    parts = [_norms(model, batch, steps_back) for batch in torch.split(tokens, rows)]
    means = (torch.cat(norms, dim=1).mean(dim=1) for norms in zip(*parts, strict=True))
    names = [(n, part) for n, cell in enumerate(model.cells, 1) for part in cell.states]
    return [_curve(*name, mean) for name, mean in zip(names, means, strict=True) if name[1] in "hc"]


def _norms(model: LanguageModel, tokens: Tensor, steps_back: int) -> list[Tensor]:
    """Return the norms (K + 1, B) for each part of the state, for tokens (B, W + K + 2)."""
    before, followed = tokens[:, : -steps_back - 2], tokens[:, -steps_back - 2 :]
    with torch.no_grad():
        _, state = model(before, _spread(model, model.init_state(len(tokens))))
    return [gradient[:, 0].norm(dim=2) for gradient in state_gradients(model, followed, state)]


def _spread(model: LanguageModel, state: State) -> State:
    """Return a state whose rows are at all places of a period, where a layer has one.

    A convolution with a stride is read by the layers above at the end of a block only: the mean is
    over all places in it, as in training.
    """
    rows, parts = torch.arange(len(state[0][0])), list(state)
    letters = [part for cell in model.cells for part in cell.states]
    periods = [
        n for n, cell in zip(model.config.periods, model.cells, strict=True) for _ in cell.states
    ]
    for number, (part, period) in enumerate(zip(letters, periods, strict=True)):
        if part == "p":
            parts[number] = (rows % period)[None, :, None].to(parts[number].dtype)
    return tuple(parts)


def _curve(layer: int, part: str, means: Tensor) -> Curve:
    first = int(not means[0])  # a part that the head does not read has no gradient at k = 0
    return Curve(layer, part, first, tuple(means[first:].tolist()))


def rows_before(segment: Segment, steps_back: int) -> NDArray[np.int64]:
    """Return tokens (B, W + K + 2): in each row the target c_{T+1} and the tokens before it.

    The positions T are spread evenly over the text. The first W tokens, up to ``WARM``, warm up
    the state without gradients.

    Raises:
        CorpusError: the text is too short for K steps.
    """
    ids = segment.with_context
    least = steps_back + 3  # one token of warm-up, K + 1 steps, the target
    if len(ids) < least:
        raise CorpusError(
            f"the text has {len(ids)} tokens; {steps_back} steps back need {least}: "
            "use a longer text or fewer --steps-back"
        )
    warm = min(WARM, max(1, (len(ids) - least) // 2))
    first = max(len(segment.context), warm + steps_back + 1)
    targets = np.unique(np.linspace(first, len(ids) - 1, PLACES).astype(int))
    places = targets[:, None] + np.arange(-warm - steps_back - 1, 1)  # (B, W + K + 2)
    return ids[places]


def state_gradients(model: LanguageModel, tokens: Tensor, state: State) -> list[Tensor]:
    """Return dL_T / ds_{T-k} for k from 0 to K, (K + 1, 1, B, H) for each part s of the state.

    The loss is summed over the rows. The rows share only the weights, so each gradient is that of
    its own row's loss.

    Args:
        model: the model in float64; float32 would lose the small gradients.
        tokens: (B, K + 2), int64: K + 1 inputs and the target.
        state: state before the first input, (1, B, H) for each part of each layer.
    """
    steps = states_of(model, tokens[:, :-1], state)[::-1]
    outputs, place = [own[0].transpose(0, 1) for own in steps[0]], steps[0][-1][-1] - 1
    logits = model.logits(outputs, place)[:, 0]  # (B, V)
    loss = torch.nn.functional.cross_entropy(logits, tokens[:, -1], reduction="sum")
    parts = [part for step in steps for own in step for part in own]
    found = torch.autograd.grad(loss, parts, allow_unused=True)
    whole = [
        torch.zeros_like(part) if gradient is None else gradient
        for gradient, part in zip(found, parts, strict=True)
    ]
    width = sum(len(own) for own in steps[0])
    return [torch.stack(whole[number::width]) for number in range(width)]


def states_of(model: LanguageModel, tokens: Tensor, state: State) -> list[list[State]]:
    """Return the state of each layer after each step, computed by the step form of the cells.

    Args:
        model: the model.
        tokens: inputs, (B, S).
        state: state before the first step; it is detached.
    """
    rest, layers = [part.detach().requires_grad_() for part in state], []
    for cell in model.cells:
        layers.append(tuple(rest[: len(cell.states)]))
        rest = rest[len(cell.states) :]
    after = []
    for x in model.embed(tokens, state)[0].unbind(1):  # (B, E)
        layers = list(_through(model, x, layers))
        after.append(layers)
    return after


def _through(model: LanguageModel, x: Tensor, layers: Sequence[State]) -> Iterator[State]:
    """Yield the state of each layer after one input x (B, E)."""
    for cell, own in zip(model.cells, layers, strict=True):
        new = cell.step(x, own)
        x = new[0][0]  # (B, H)
        yield new
