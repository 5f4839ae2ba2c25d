"""ONNX export: the graph of a model, with the vocabulary in its metadata."""

from __future__ import annotations

import base64
import json

import onnx

from chargen.engine.graph import build_graph
from chargen.model.saved import SavedModel
from chargen.tokenizers import Tokenizer


def to_onnx(saved: SavedModel, *, int8: bool = False) -> bytes:
    """Return a model file as a serialized ONNX graph.

    The inputs are ``ids`` (B, T) and a state (1, B, H) for each part of each layer. The outputs are
    ``logits`` (B, T, V) and the new states, with the suffix ``.next`` in their names. B and T are
    dynamic. The initial state is zero. The metadata key ``chargen`` holds the vocabulary as JSON
    (see ``vocabulary``), and what begins a text (see ``beginning``).

    Raises:
        CheckpointError: the file is missing or damaged, or not a chargen model.
    """
    graph = build_graph(saved.weights(), saved.config, int8=int8, unsigned=True)
    model = onnx.load_from_string(graph)
    data = vocabulary(saved.tokenizer) | beginning(saved)
    onnx.helper.set_model_props(model, {"chargen": json.dumps(data)})
    return bytes(model.SerializeToString())


def vocabulary(tokenizer: Tokenizer) -> dict[str, object]:
    """Return the data that a program needs to encode and decode text.

    ``pieces``: the bytes of each id in base64; ``unknown``: the id of all other characters, or
    null; ``never_sampled``: ids that must not be sampled.
    """
    return {
        "kind": tokenizer.kind,
        "pieces": [base64.b64encode(piece).decode() for piece in tokenizer.pieces],
        "unknown": tokenizer.unknown_id,
        "never_sampled": list(tokenizer.never_sampled),
    }


def beginning(saved: SavedModel) -> dict[str, object]:
    """Return the data that a program needs to begin a text.

    ``labels``: their names; the part ``label`` of the initial state, (1, B, L), has the weight of
    each, all 0 for no label. ``end``: the id that is read before a text and ends it; null without
    records.
    """
    end = saved.reading.end
    return {
        "labels": saved.config.labels,
        "end": None if end is None else int(saved.tokenizer.encode(end)[0]),
    }
