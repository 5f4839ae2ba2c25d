"""The files of a run while it trains: model, resume file and metrics."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

import chargen
from chargen.model.saved import Mixture, is_whole, load_weights, save_model
from chargen.storage.checkpoint import (
    METRICS,
    MODEL,
    Saved,
    Tensors,
    load_resume,
    read_metrics,
    save_resume,
)
from chargen.storage.files import append_line, write_whole
from chargen.storage.runs import recover

if TYPE_CHECKING:
    from chargen.training.run_state import RunState


class RunFiles:
    """What a run writes into its folder; each file is whole at every instant.

    Args:
        run: the run.
    """

    def __init__(self, run: RunState) -> None:
        self._run = run
        self.model = run.folder / MODEL

    def save(self, tensors: Tensors, changing: dict[str, Any]) -> None:
        """Write all that continues the run.

        Args:
            tensors: of the learner.
            changing: step, plan and progress.
        """
        save_resume(self._run.folder, tensors, {**self._run.header(), **changing})

    def load(self) -> Saved:
        """Read what ``save`` wrote last."""
        return load_resume(self._run.folder)

    def write_model(
        self, weights: Tensors, changing: dict[str, Any], mixture: Mixture | None = None
    ) -> None:
        """Write the model file: complete in itself, without the folders of its texts.

        Args:
            weights: the averaged ones.
            changing: step, plan, losses and history.
            mixture: how the n-gram counts are mixed in, if that is fitted already.
        """
        source = self._run.source
        names = [Path(name).name for name in source["sources"]]
        corpus = {name: fact for name, fact in source.items() if name not in ("kept", "folder")}
        training = {
            "config": self._run.config.to_json(),
            "corpus": {**corpus, "sources": names},
            "versions": versions(),
            **changing,
        }
        tokenizer, counts = self._run.dataset.tokenizer, self._run.counts
        save_model(self.model, weights, self._run.model, tokenizer, training, counts, mixture)
        recover(self._run.folder)  # a model that --force replaces is no longer needed

    def model_weights(self) -> Tensors:
        """Read the weights of the model file."""
        return load_weights(self.model)

    def model_is_whole(self) -> bool:
        """Tell whether the model file is there and opens."""
        return is_whole(self.model)

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to the metrics."""
        append_line(self._run.folder / METRICS, json.dumps(line))

    def cut_metrics(self, step: int) -> None:
        """Leave out of the metrics what came after the step that the run goes on from."""
        lines = [
            json.dumps(line) + "\n"
            for line in read_metrics(self._run.folder)
            if line["event"] == "evaluation" and line["step"] <= step
        ]
        write_whole(self._run.folder / METRICS, "".join(lines).encode())


def versions() -> dict[str, str]:
    """Return what the run was made with."""
    return {
        "chargen": chargen.__version__,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
