"""Cross-entropy of the next token, the loss that training lowers and evaluation reports."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chargen.model.cells import State
from chargen.model.language_model import Dropout
from chargen.tokenizers.base import PADDING


def token_losses(
    model: nn.Module, tokens: Tensor, state: State, dropout: Dropout | None = None
) -> tuple[Tensor, Tensor, State]:
    """Return -ln P (B, T) of each token but the first, the logits (B, T, V), and the last state.

    The loss of padding is 0.

    Args:
        model: a ``LanguageModel``, or what averages its gradients over several processes.
        tokens: ids (B, T+1), or ``PADDING``; inputs all but the last, targets all but the first.
        state: before the first input.
        dropout: of the model, in training.
    """
    logits, state = model(tokens[:, :-1].clamp(min=0), state, dropout)  # (B, T, V)
    logits, targets = logits.float(), tokens[:, 1:]
    losses = cross_entropy(logits.mT, targets, reduction="none", ignore_index=PADDING)  # (B, T)
    return losses, logits, state
