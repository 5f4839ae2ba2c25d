"""Loss of a model while it learns, by what is read side by side (``groups``), which is quick.

One text is cut into 32 streams, each warmed on the 256 tokens before it. ``final`` tells the losses
at the end of a run.

Legend of shapes: B rows, T steps.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from chargen.data.dataset import Segment
from chargen.engine import Engine, make_engine
from chargen.evaluation.groups import Group, in_streams
from chargen.evaluation.protocols import Score, TokenLosses, score
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses

CHUNK = 1 << 22  # logits, or numbers in a layer, held at once


def score_streams(model: LanguageModel, segment: Segment, limit: int | None = None) -> Score:
    """Score one text in 32 warmed streams, or texts side by side.

    Args:
        model: the model, on its device; the caller sets the precision.
        segment: what to score.
        limit: score about this many tokens only, spread evenly.
    """
    segment, groups = in_streams(segment, limit)
    losses, known = np.zeros(len(segment)), np.zeros(len(segment), np.bool_)
    for group in groups:
        places = group.places[group.scored]
        losses[places], known[places] = _losses(model, group)[group.scored], True
    return score(TokenLosses(losses), segment, np.flatnonzero(known))


@torch.no_grad()
def _losses(model: LanguageModel, group: Group) -> NDArray[np.float64]:
    """Return -ln P of each token of a group but the first, (B, T)."""
    device, (batch, count) = model.head.weight.device, group.tokens.shape
    state, parts = model.init_state(batch), []
    if model.labels and group.labels is not None:
        state = model.with_labels(state, torch.from_numpy(group.labels).to(device))
    widest = max(model.config.vocab_size, *(4 * cell.hidden_size for cell in model.cells))
    chunk = max(1, CHUNK // (batch * widest))
    for start in range(0, count - 1, chunk):
        window = torch.from_numpy(group.tokens[:, start : start + chunk + 1]).to(device)
        losses, _, state = token_losses(model, window, state)
        parts.append(losses.double().cpu().numpy())
    return np.concatenate(parts, axis=1)


def engine_of(model: LanguageModel, threads: int | None = None) -> Engine:
    """Return an engine that runs a model as it is now."""
    device = model.head.weight.device.type
    return make_engine(model.weights(), model.config, device, threads)
