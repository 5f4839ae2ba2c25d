"""Dynamic evaluation: a model that goes on learning from what it has just been scored on.

Krause, Kahembwe, Murray and Renals (2018), the RMS rule with decay to the trained weights. A
text is read in segments; each is scored first, then its gradient g moves the weights θ, which
began as θ_g,

::

    θ <- θ - η g / (s + ε) + min(1, λ s / mean(s)) * (θ_g - θ)
    s = sqrt(mean of g^2 over segments of the training text), ε = mean(s) / 10

so that weights that seldom feel a gradient take larger steps, and those that matter most to the
trained model go back fastest. What has been scored is never scored again. Counts of the training
text are mixed in as ever; the weights learn from the loss of the network alone.

Legend of shapes: T steps of a segment, N tokens of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chargen.engine import Logits
from chargen.engine.mixture import follow, mix
from chargen.evaluation.nll import Floats, token_nll
from chargen.evaluation.protocols import OnProgress
from chargen.model.cells import State
from chargen.model.counts import NGramCounts
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses
from chargen.model.match import Numbers
from chargen.model.saved import Mixture
from chargen.model.spec import ModelConfig
from chargen.storage.checkpoint import Tensors
from chargen.tokenizers import Ids

SEGMENT = 50  # tokens (T)
EPSILON = 0.1  # times mean(s): keeps the step finite where a gradient is hardly ever felt
SEEN = 400  # segments of the training text from which s is estimated
TUNED_ON = 16_384  # tokens, at most, on which rate and decay are chosen
RATES = (1e-4, 3e-4, 1e-3, 3e-3)  # η
DECAYS = (0.0, 1e-3, 1e-2)  # λ


@dataclass(frozen=True)
class Setting:
    """How a model adapts: learning rate η, and decay λ to the trained weights."""

    rate: float = 1e-3
    decay: float = 1e-3


class Adapter:
    """A trained model that can read a text while it goes on learning.

    Args:
        config: the architecture.
        weights: as they were trained.
        learned: the training text; the scale of gradients is estimated on its end.
        counts: n-gram counts of it, if they are mixed in.
        mixture: how.

    Attributes:
        scales: s, one tensor a weight.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Tensors,
        learned: Ids,
        counts: NGramCounts | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        self._weights, self._counts, self._mixture = weights, counts, mixture
        self.model = LanguageModel(config)
        self.model.load(weights)
        if self.model.ngrams:  # rows of n-grams stay as they were trained
            self.model.ngrams.requires_grad_(False)
        self._trained = [weight.detach().clone() for weight in self.model.dense().values()]
        self.scales = self._measure(learned[-SEEN * SEGMENT - 1 :])

    def _measure(self, ids: Ids) -> list[Tensor]:
        """Return s for each weight."""
        squares = [torch.zeros_like(weight) for weight in self._trained]
        for count, _ in enumerate(self._learned(ids), 1):
            for square, gradient in zip(squares, self._gradients(), strict=True):
                square.lerp_(gradient.square(), 1 / count)
        return [square.sqrt() for square in squares]

    def read(self, ids: Ids, setting: Setting, progress: OnProgress = lambda _: None) -> Floats:
        """Return the loss of each of ids (N+1) but the first, learning on the way."""
        self.model.load(self._weights)
        mean = sum(float(s.sum()) for s in self.scales) / sum(s.numel() for s in self.scales)
        steps = [setting.rate / (s + EPSILON * mean) for s in self.scales]
        decays = [(setting.decay * s / mean).clamp(max=1) for s in self.scales]
        weights, losses = list(self.model.dense().values()), []
        counted = self._counts.start(1) if self._counts else None
        for tokens, logits in self._learned(ids):
            scores, counted = self._mixed(logits, tokens[:, :-1], counted)
            losses.append(token_nll(scores, tokens[:, 1:])[0][0])
            rows = zip(weights, self._gradients(), steps, decays, self._trained, strict=True)
            with torch.no_grad():
                for weight, gradient, step, decay, trained in rows:
                    weight.addcmul_(gradient, step, value=-1).lerp_(trained, decay)
            progress(len(losses) * SEGMENT)
        return np.concatenate(losses)

    def _mixed(
        self, logits: Logits, ids: Numbers, state: Numbers | None
    ) -> tuple[Logits, Numbers | None]:
        """Mix the counts into logits (1, T, V) after ids (1, T)."""
        if self._counts is None or self._mixture is None or state is None:
            return logits, None
        known, after = follow(self._counts, state, ids, None)
        return mix(logits, known, self._mixture), after

    def _gradients(self) -> list[Tensor]:
        return [w.grad for w in self.model.dense().values() if w.grad is not None]

    def _learned(self, ids: Ids) -> Iterator[tuple[Numbers, Logits]]:
        """Yield the tokens (1, T+1) and the logits of each segment; leave its gradient."""
        tokens = torch.from_numpy(ids.astype(np.int64))[None]
        state: State = self.model.init_state(1)
        for start in range(0, len(ids) - 1, SEGMENT):
            segment = tokens[:, start : start + SEGMENT + 1]
            self.model.zero_grad(set_to_none=True)
            losses, logits, state = token_losses(self.model, segment, state)
            losses.mean().backward()  # type: ignore[no-untyped-call]
            state = tuple(part.detach() for part in state)
            yield segment.numpy(), logits.detach().numpy()


def tuning_tokens(ids: Ids) -> int:
    """Return how many tokens ``tune`` is going to read."""
    return (len(RATES) + len(DECAYS) - 1) * min(TUNED_ON, len(ids) - 1)


def tune(adapter: Adapter, ids: Ids, progress: OnProgress = lambda _: None) -> Setting:
    """Return the setting that does best on the end of a text: the rate first, then the decay."""
    ids, best = ids[-TUNED_ON - 1 :], Setting()
    losses: dict[Setting, float] = {}

    def loss(setting: Setting) -> float:
        if setting not in losses:
            losses[setting] = float(adapter.read(ids, setting).mean())
            progress(len(losses) * (len(ids) - 1))
        return losses[setting]

    best = min((Setting(rate, best.decay) for rate in RATES), key=loss)
    return min((Setting(best.rate, decay) for decay in DECAYS), key=loss)
