"""Statistics of a text: size, alphabet, lines, and the largest model it supports."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np

from chargen.data.dataset import Text
from chargen.data.documents.reading import summary
from chargen.model.options import PRESETS
from chargen.model.spec import LayerConfig, ModelConfig, count_parameters
from chargen.tokenizers.char import code_points

CODES = 0x110000  # code points
RARE = 10  # occurrences below which a character is hardly learned
PARAMETERS_PER_CHARACTER = 25  # most parameters of a supported model


def describe(text: Text) -> dict[str, Any]:
    """Return the statistics of a text by name."""
    counts, lines, longest, open_line = np.zeros(CODES, np.int64), 0, 0, 0
    for piece in text.pieces():
        codes = code_points(str(piece))
        counts += np.bincount(codes, minlength=CODES)
        ends = np.flatnonzero(codes == ord("\n"))
        if len(ends):
            inner = np.diff(ends, prepend=-1) - 1
            inner[0] += open_line
            longest, open_line = max(longest, int(inner.max())), 0
            open_line = len(codes) - 1 - int(ends[-1])
        else:
            open_line += len(codes)
        lines += len(ends)
    seen = np.flatnonzero(counts)
    documents = summary(text.sources)
    return {
        **({"documents": documents} if documents else {}),
        "characters": text.length,
        "alphabet": len(seen),
        "rare": int(np.count_nonzero(counts[seen] < RARE)),
        "rarest": "".join(
            _shown(chr(c)) for c in seen[np.argsort(counts[seen], kind="stable")][:20]
        ),
        "control_characters": sum(
            int(counts[c]) for c in seen if _is_control(chr(c), text.config.end)
        ),
        "lines": lines + (open_line > 0),
        "longest_line": max(longest, open_line),
        "mean_line": round((text.length - lines) / max(1, lines + (open_line > 0)), 1),
        **_texts(text),
        "supports": _supports(text.length, len(seen)),
        "sha256": text.sha256,
    }


def _texts(text: Text) -> dict[str, Any]:
    """Return how many texts are read each by itself, and how many have each label."""
    texts = text.collection
    if texts is None:
        return {}
    return {"texts": len(texts), **({"labels": dict(texts.sizes())} if texts.names else {})}


def _supports(length: int, alphabet: int) -> str:
    """Return the largest preset with few enough parameters for a text of this length."""
    most = PARAMETERS_PER_CHARACTER * length
    fitting = [name for name, size in PRESETS.items() if _parameters(*size, alphabet) <= most]
    if not fitting:
        return "none: a few thousand characters are needed"
    name = fitting[-1]
    layers, hidden = PRESETS[name]
    count = _parameters(layers, hidden, alphabet)
    return f"models up to {name}, {layers} x {hidden}, {count:,} parameters"


def _parameters(layers: int, hidden: int, alphabet: int) -> int:
    return count_parameters(ModelConfig(alphabet + 1, (LayerConfig("lstm", hidden),) * layers))


def _is_control(character: str, end: str | None) -> bool:
    """Tell whether a character is a control character that does not belong in a text."""
    return unicodedata.category(character) == "Cc" and character not in ("\n", "\t", end)


def _shown(character: str) -> str:
    return character if character.isprintable() else f"U+{ord(character):04X} "
