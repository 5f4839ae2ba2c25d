"""Text generation with an exported model: ONNX Runtime and numpy only, without chargen.

chargen export --onnx model.onnx
python examples/sample_onnx.py model.onnx "Once upon" 200
python examples/sample_onnx.py model.onnx "Once upon" 200 Austen    # of a model with labels
"""

from __future__ import annotations

import base64
import json
import sys

import numpy as np
import onnxruntime

TEMPERATURE = 0.8


def encode(text: str, pieces: list[bytes], unknown: int | None) -> list[int]:
    """Return the ids of a text; each is the longest piece that matches."""
    id_of = {piece: number for number, piece in enumerate(pieces)}
    data, ids, longest = text.encode(), [], max(map(len, pieces))
    while data:
        lengths = range(min(longest, len(data)), 0, -1)
        length = next((n for n in lengths if data[:n] in id_of), 0)
        if not length and unknown is None:
            raise SystemExit(f"no token for {data[:1]!r}")
        ids.append(id_of[data[:length]] if length else unknown or 0)
        data = data[length:] if length else data.decode()[1:].encode()
    return ids


def main() -> None:
    """Write the prompt and the text generated after it."""
    if len(sys.argv) not in (4, 5) or not sys.argv[3].isdecimal():
        raise SystemExit("usage: python sample_onnx.py MODEL.onnx PROMPT LENGTH [LABEL]")
    path, prompt, length, label = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    vocabulary = json.loads(session.get_modelmeta().custom_metadata_map["chargen"])
    pieces = [base64.b64decode(piece) for piece in vocabulary["pieces"]]
    _, *states = session.get_inputs()
    feeds = {state.name: np.zeros((1, 1, state.shape[2]), np.float32) for state in states}
    if label:
        if label[0] not in vocabulary["labels"]:
            raise SystemExit(f"no label {label[0]!r}; known: {', '.join(vocabulary['labels'])}")
        feeds["label"][0, 0, vocabulary["labels"].index(label[0])] = 1
    rng = np.random.default_rng()
    end = vocabulary["end"]  # of a record: read before it, and sampled behind it
    begins = [] if end is None else [end]
    ids = begins + encode(prompt, pieces, vocabulary["unknown"])
    generated = [prompt.encode()]
    for _ in range(length):
        logits, *after = session.run(None, {"ids": np.array([ids], np.int64), **feeds})
        feeds = {state.name: value for state, value in zip(states, after, strict=True)}
        scores = logits[0, -1].astype(np.float64)
        scores[vocabulary["never_sampled"]] = -np.inf
        weights = np.exp((scores - scores.max()) / TEMPERATURE)
        ids = [int(rng.choice(len(weights), p=weights / weights.sum()))]
        if ids == begins:
            break
        generated.append(pieces[ids[0]])
    sys.stdout.buffer.write(b"".join(generated) + b"\n")


if __name__ == "__main__":
    main()
