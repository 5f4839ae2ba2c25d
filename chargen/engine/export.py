"""A model for other programs: its ONNX graph, with the vocabulary in its metadata."""

from __future__ import annotations

import base64
import json

import onnx

from chargen.engine.graph import build_graph
from chargen.model.saved import SavedModel
from chargen.tokenizers import Tokenizer


def to_onnx(saved: SavedModel, *, int8: bool = False) -> bytes:
    """Return a model file as a serialized ONNX graph.

    Its input ``ids`` (B, T) and a state (1, B, H) for each part of each layer give ``logits``
    (B, T, V) and the states after them, their names ending in ``.next``; B and T are free, and a
    text begins with states of zeros. The metadata key ``chargen`` holds the vocabulary as JSON
    (see ``vocabulary``).

    Raises:
        CheckpointError: the file is missing, damaged, or no model of ours.
    """
    graph = build_graph(saved.weights(), saved.config, int8=int8, unsigned=True)
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, {"chargen": json.dumps(vocabulary(saved.tokenizer))})
    return bytes(model.SerializeToString())


def vocabulary(tokenizer: Tokenizer) -> dict[str, object]:
    """Return what a program needs to go from text to ids and back.

    ``pieces``: the bytes of each id in base64; ``unknown``: the id of every other character, or
    null; ``never_sampled``: ids that are not to be drawn.
    """
    return {
        "kind": tokenizer.kind,
        "pieces": [base64.b64encode(piece).decode() for piece in tokenizer.pieces],
        "unknown": tokenizer.unknown_id,
        "never_sampled": list(tokenizer.never_sampled),
    }
