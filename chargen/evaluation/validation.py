"""Loss of a model while it learns, in 32 streams side by side, which is quick.

Each is warmed on the 256 tokens before it. ``final`` tells the losses at the end of a run.

Legend of shapes: B streams, T steps.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from chargen.data.dataset import WARM, Segment
from chargen.engine import Engine, make_engine
from chargen.evaluation.protocols import STREAMS, Score, TokenLosses, score
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses
from chargen.tokenizers import Ids

CHUNK = 1 << 22  # logits, or numbers in a layer, held at once


def score_streams(model: LanguageModel, segment: Segment, limit: int | None = None) -> Score:
    """Score a text in 32 warmed streams.

    Args:
        model: the model, on its device; the caller sets the precision.
        segment: what to score.
        limit: score about this many tokens only, spread evenly over the text.
    """
    ids = segment.with_context
    first = len(ids) - len(segment)
    stride = -(-len(segment) // STREAMS)
    length = stride if limit is None else max(1, min(stride, limit // STREAMS))
    warm = min(WARM, first - 1)
    starts = np.arange(first, len(ids), stride)  # (B,) the first target of each stream
    places = starts[:, None] + np.arange(-1 - warm, length)  # (B, warm + length + 1)
    scored = places < len(ids)
    scored[:, : warm + 1] = False
    nll = _stream_losses(model, ids[np.minimum(places, len(ids) - 1)])  # (B, warm + length)
    losses = np.zeros(len(segment))
    tokens = places[:, 1:][scored[:, 1:]] - first
    losses[tokens] = nll[scored[:, 1:]]
    return score(TokenLosses(losses), segment, tokens)


@torch.no_grad()
def _stream_losses(model: LanguageModel, tokens: Ids) -> NDArray[np.float64]:
    """Return -ln P of each of tokens (B, T+1) but the first, (B, T)."""
    device, (batch, count) = model.head.weight.device, tokens.shape
    state, parts = model.init_state(batch), []
    widest = max(model.config.vocab_size, *(4 * cell.hidden_size for cell in model.cells))
    chunk = max(1, CHUNK // (batch * widest))
    for start in range(0, count - 1, chunk):
        window = torch.from_numpy(tokens[:, start : start + chunk + 1]).to(device)
        losses, _, state = token_losses(model, window, state)
        parts.append(losses.double().cpu().numpy())
    return np.concatenate(parts, axis=1)


def engine_of(model: LanguageModel, threads: int | None = None) -> Engine:
    """Return an engine that runs a model as it is now."""
    device = model.head.weight.device.type
    return make_engine(model.weights(), model.config, device, threads)
