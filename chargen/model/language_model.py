"""The language model in torch: P(c_t | c_<t) from a stack of recurrent layers.

Legend of shapes: B batch size, T steps, V vocabulary, E embedding, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from chargen.config import TrainConfig
from chargen.model.cells import Decoder, State, make_layers, timed
from chargen.model.ngram_embedding import NGramEmbedding
from chargen.model.spec import LABEL_STD, ModelConfig, label_place
from chargen.storage.checkpoint import Tensors


class Dropout(Protocol):
    """Dropout in training, of the outputs of layers and of the rows of n-grams."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return x (B, T, H) with units dropped."""

    def rows(self, rows: Tensor) -> tuple[Tensor, float]:
        """Return which rows (B, T, K) of n-grams are kept, and the factor on their sum."""


class LanguageModel(nn.Module):
    """Embeddings, stacked recurrent layers, one linear head on all of their outputs.

    ::

        x_t = embedding[c_t] + the embeddings of the n-grams that end with c_t (``ngrams``)
              + the vector of the text's label, if it has one
        h^1_t = cell^1(x_t, h^1_{t-1});  h^l_t = cell^l(h^{l-1}_t, h^l_{t-1})
        logits_t = W_y [h^1_t, ..., h^L_t] + b_y
        P(c_{t+1} | c_<=t) = softmax(logits_t)

    The head reads every layer (Graves 2013, section 2): lower layers learn faster so. The
    state is an argument and a result: the tensors of all layers in order, (1, B, H) each, where
    there are L labels their weights for each text, (1, B, L), and the codes of the last tokens
    for the n-grams.
    """

    def __init__(self, config: ModelConfig, start: TrainConfig | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding)
        self.ngrams = NGramEmbedding(config.ngrams, config.embedding) if config.ngrams else None
        self.layers = make_layers(config)
        self.cells = timed(self.layers, config.periods)  # bottom first
        self.decoder = Decoder(config) if config.periods[-1] > 1 else None
        self.head = nn.Linear(config.head_inputs, config.vocab_size)
        self.labels = nn.Embedding(len(config.labels), config.embedding) if config.labels else None
        self.reset(start or TrainConfig())

    @torch.no_grad()
    def reset(self, start: TrainConfig) -> None:
        """Draw new weights from the recipe's seed alone, as the recipe says."""
        generator = torch.Generator().manual_seed(start.seed)
        nn.init.normal_(self.embedding.weight, generator=generator)
        for cell in self.cells:
            cell.reset(generator, start)
        if self.decoder:
            self.decoder.reset(generator)
        nn.init.xavier_uniform_(self.head.weight, generator=generator)
        nn.init.zeros_(self.head.bias)
        if self.labels:
            nn.init.normal_(self.labels.weight, std=LABEL_STD, generator=generator)

    def init_state(self, batch: int) -> State:
        """Return the state at the beginning of a text, for a batch of B."""
        parts = [tensor for cell in self.cells for tensor in cell.init_state(batch)]
        if self.labels:
            parts.append(self.labels.weight.new_zeros(1, batch, len(self.config.labels)))
        return (*parts, *(self.ngrams.init_state(batch) if self.ngrams else ()))

    def with_labels(self, state: State, labels: Tensor) -> State:
        """Return a state in which each text of the batch has its label (B,), -1 for none."""
        place = label_place(self.config)
        weights = torch.zeros_like(state[place])  # (1, B, L)
        known = (labels >= 0).nonzero()[:, 0]
        weights[0, known, labels[known]] = 1
        return (*state[:place], weights, *state[place + 1 :])

    def embed(
        self, ids: Tensor, state: State, dropout: Dropout | None = None
    ) -> tuple[Tensor, State]:
        """Return the inputs (B, T, E) of the first layer, and the last parts of the state."""
        x, kept = self.embedding(ids), state[label_place(self.config) :]
        if self.labels:
            x = x + (kept[0] @ self.labels.weight).transpose(0, 1)  # (B, 1, E)
        if not self.ngrams:
            return x, kept
        rows, history = self.ngrams(ids, kept[-1], dropout.rows if dropout else None)
        return x + rows, (*kept[:-1], history)

    def forward(
        self, ids: Tensor, state: State, dropout: Dropout | None = None
    ) -> tuple[Tensor, State]:
        """Return logits (B, T, V) and the last state for ids (B, T).

        Args:
            ids: tokens, int64.
            state: as ``init_state`` or an earlier call returned it.
            dropout: applied between the layers and before the head, in training.
        """
        x, kept = self.embed(ids, state, dropout)  # (B, T, E)
        outputs: list[Tensor] = []
        last: list[Tensor] = []
        rest = state
        for cell in self.cells:
            own, rest = rest[: len(cell.states)], rest[len(cell.states) :]
            x, own = cell.run(x, own)  # (B, T, H)
            x = dropout(x) if dropout else x
            outputs.append(x)
            last.extend(own)
        return self.logits(outputs, state[len(last) - 1]), (*last, *kept)  # (B, T, V)

    def logits(self, outputs: Sequence[Tensor], place: Tensor) -> Tensor:
        """Return logits (B, T, V) for the outputs of all layers, (B, T, H) each.

        Args:
            outputs: bottom first.
            place: in the period of the top layer before the first step, (1, B, 1), if it has one.
        """
        if self.decoder:
            joined = self.decoder(outputs, place)
        else:
            joined = outputs[0] if len(outputs) == 1 else torch.cat(list(outputs), dim=2)
        logits: Tensor = self.head(joined)
        return logits

    def dense(self) -> dict[str, nn.Parameter]:
        """The parameters by name, without the table of n-grams, whose gradient is sparse."""
        return {n: p for n, p in self.named_parameters() if not n.startswith("ngrams.")}

    def weights(self) -> Tensors:
        """Return the weights as numpy arrays under their names in the model file."""
        return to_arrays(dict(self.named_parameters()))

    def load(self, weights: Tensors) -> None:
        """Take weights from arrays under their names in the model file."""
        self.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})


def to_arrays(tensors: dict[str, Tensor]) -> Tensors:
    """Return copies of tensors as numpy arrays."""
    return {name: np.array(t.detach().cpu().numpy()) for name, t in tensors.items()}
