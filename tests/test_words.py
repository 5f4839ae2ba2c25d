"""The project speaks in the standard terms of the field: old words of its own do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".md", ".html", ".toml")

# What once stood here, and what is said instead.
OLD: dict[str, str] = {
    r"(?<!math\.)(?<!np\.)\bfloor\b(?!\()": "n-gram baseline",
    r"\b(by |mixed with |and )counting\b": "n-grams",
    r"\blanes?\b": "streams, batch size",
    r"--window [0-9T]+ --(lanes|batch)|\bconfig\.window\b": "bptt",
    r"\bcarried (state|along)\b|\bstate carried\b": "stateful",
    r"\bfresh windows?\b": "stateless windows",
    r"\btext is read [0-9]": "epochs",
    r"\bpasses over the (training )?text\b": "epochs",
    r"\btokens a weight\b": "tokens per parameter",
    r"\b(weighed|weighing|weighs)\b": "scored, scoring",
    r"\bsurpris(e|es|ed)\b": "surprisal, scores",
    r"\b(oddness|oddest)\b": "z-score",
    r"\bchances\b": "probabilities",
    r"\bdraws? (the )?(text|token|sample)s?\b|\bdrawn (token|text|sample)s?\b": "sample",
    r"\bsettings? of drawing\b": "sampling parameters",
    r"\bwrite with it\b": "generate with",
    r"\b(model|training) never saw\b|\bunlisted\b": "unknown characters",
    r"\boctets?\b": "bytes",
    r"\bwhat a mark says\b": "byte-order mark",
    r"\bWhat (is kept|is taken off|must hold)\b": "truncation, penalties, constraints",
    r"\bshares? of (the|units|unit|a|tokens|time|steps|memory)\b": "fraction, probability",
    r"--average\b": "--ema",
    r"\bsittings?\b": "session",
    r"\bclass (Job|Record|Place)\b": "RunState, Progress, DecodeState",
    r"\b(team|group)\.(leads|led|agree|exchange|join|part)\b": "is_main, broadcast, all_reduce",
    r"\bodds\b": "gate logit, probability",
    r"\bits run held\b": "peak memory",
    r"\bfeeds up to\b": "supports models up to",
    r"\ba hundredth at\b|\bsteps not taken\b": "decay to 1 %, skipped steps",
    r"\btouchiest\b": "most sensitive",
    r"\bthe prompt apart\b": "excluding the prompt",
    r"\bis no duration\b": "is not a valid duration",
    r"\bwishes\b": "flags",
}
# Where such a word means something else.
MEANT: dict[str, dict[str, str]] = {}


def pages() -> list[Path]:
    folders = ("chargen", "docs", "tests", "benchmarks", "examples")
    found = [path for name in folders for path in (ROOT / name).rglob("*")]
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return [*texts, *sorted(p for p in found if p.suffix in SUFFIXES and p != Path(__file__))]


@pytest.mark.parametrize("old", OLD, ids=OLD.values())
def test_old_words_are_gone(old: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in pages()
        if str(path.relative_to(ROOT)) not in MEANT.get(old, {})
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(old, line)
    ]
    assert not found, f"say {OLD[old]}:\n" + "\n".join(found)


def test_every_exception_is_needed() -> None:
    for old, files in MEANT.items():
        for name, reason in files.items():
            assert reason
            assert re.search(old, (ROOT / name).read_text(encoding="utf-8")), (old, name)
