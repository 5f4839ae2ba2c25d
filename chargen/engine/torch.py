"""Torch engine: the torch model itself, for GPUs and as the reference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from chargen.engine import Logits, State
from chargen.machine.torch import find_device
from chargen.model.language_model import LanguageModel
from chargen.model.spec import ModelConfig
from chargen.storage.checkpoint import Tensors


class TorchEngine:
    """Runs a ``LanguageModel``."""

    def __init__(self, weights: Tensors, config: ModelConfig, device: str = "cpu") -> None:
        self._device = find_device(device)
        self._model = LanguageModel(config)
        self._model.load(weights)
        self._model.to(self._device).eval()

    def init_state(self, batch: int) -> State:
        """Return zeros, (1, B, H) for each part of the state."""
        return tuple(part.cpu().numpy() for part in self._model.init_state(batch))

    @torch.no_grad()
    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return logits (B, T, V) and the last state for ids (B, T)."""
        tensors = tuple(torch.from_numpy(part).to(self._device) for part in state)
        logits, last = self._model(torch.from_numpy(ids).to(self._device), tensors)
        # In autocast, where a GPU has bfloat16, they are in that: numpy has no such type.
        return logits.float().cpu().numpy(), tuple(part.float().cpu().numpy() for part in last)
