"""HTML page of a scored text: colours by surprisal, and the most likely tokens on hover.

The page is one file without network access or external scripts. The text and its colours are
plain HTML; the most likely tokens are one list of integers, about fifty bytes per character.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template

from chargen.display.heat import legend, level, writer, writers
from chargen.display.output import visible
from chargen.evaluation.surprisal import Guess, ScoredText, ScoredToken

TEMPLATE = Path(__file__).with_suffix(".html")


def make_page(text: ScoredText, title: str, models: Sequence[str] = ()) -> str:
    """Return the page of a text.

    Args:
        text: its tokens come with their guesses.
        title: in one line.
        models: names of those that the text is coloured by; its tokens have responsibilities.
    """
    names, numbers = _numbers(text.tokens)
    permille = [round(1000 * r) for t in text.tokens for r in t.responsibilities if models]
    data = {"names": names, "tokens": numbers, "models": list(models), "responsibilities": permille}
    cells = "".join(_marked_up(token, bool(models)) for token in text.tokens)
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        title=html.escape(visible(title)),
        bits=f"{text.bits_per_char:.2f}",
        legend=_legend(models),
        text=f"<div>{cells}</div>",
        data=_json(data),
    )


def _legend(models: Sequence[str]) -> str:
    kind, (*steps, (_, end)) = ("w", writers(models)) if models else ("h", legend())
    parts = [f'<i class="{kind}{step}">{html.escape(label.strip())}</i>' for step, label in steps]
    return " ".join([*parts, end.strip()])


def _marked_up(token: ScoredToken, by_model: bool) -> str:
    bits, by = token.bits_per_char, token.responsibilities
    kind, step = ("w", writer(by)) if by_model else ("h", level(bits))
    classes = [f"{kind}{step}"] * bool(step) + ["n"] * (token.text == "\n")
    attribute = f' class="{" ".join(classes)}"' if classes else ""
    # HTML reads a carriage return as a newline and drops U+0000: symbols replace both.
    cell = f"<i{attribute}>{html.escape(visible(token.text), quote=False)}</i>"
    # A browser lays out one long block again whenever it is asked for the position of a character.
    return f"{cell}</div><div>" if token.text == "\n" else cell


def _numbers(tokens: tuple[ScoredToken, ...]) -> tuple[list[str], list[int]]:
    """Return the names of the guesses, and the data of all tokens as integers.

    Each token has its surprisal in hundredths of a bit, the number of its guesses, and for each
    guess the index of its name and its probability in thousandths.
    """
    index_of: dict[str, int] = {}
    numbers: list[int] = []
    for token in tokens:
        numbers += round(100 * token.bits), len(token.guesses)
        for guess in token.guesses:
            numbers.append(index_of.setdefault(_name(guess), len(index_of)))
            numbers.append(round(1000 * guess.probability))
    return list(index_of), numbers


def _name(guess: Guess) -> str:
    return visible(guess.text)


def _json(data: object) -> str:
    """Return JSON that cannot end the script element around it."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
