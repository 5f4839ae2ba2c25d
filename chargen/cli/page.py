"""A page that shows a weighed text: colours, and on hover what the model thought likeliest.

One file: no network, no script from elsewhere. The text and its colours are plain HTML; the
guesses are one list of integers, so that a character takes about fifty bytes.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from string import Template

from chargen.display.output import visible
from chargen.evaluation.surprisal import HEAT, Guess, ScoredToken

TEMPLATE = Path(__file__).with_suffix(".html")


def make_page(pieces: list[ScoredToken], title: str) -> str:
    """Return the page of a text.

    Args:
        pieces: of the text, with their guesses.
        title: in one line.
    """
    bits = sum(piece.bits for piece in pieces) / sum(len(piece.text) for piece in pieces)
    names, numbers = _numbers(pieces)
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        title=html.escape(visible(title)),
        bits=f"{bits:.2f}",
        legend=_legend(),
        text=f"<div>{''.join(map(_marked_up, pieces))}</div>",
        data=_json({"names": names, "pieces": numbers}),
    )


def _legend() -> str:
    steps = "".join(
        f'<i class="h{number}">{bits:.0f} bits</i> ' for number, (_, bits) in enumerate(HEAT, 1)
    )
    return f"{steps}or more a character"


def _marked_up(piece: ScoredToken) -> str:
    classes = [f"h{piece.level}"] * bool(piece.level) + ["n"] * (piece.text == "\n")
    attribute = f' class="{" ".join(classes)}"' if classes else ""
    # In HTML a carriage return is a newline and U+0000 nothing: pictures stand for both.
    cell = f"<i{attribute}>{html.escape(visible(piece.text), quote=False)}</i>"
    # A browser lays out one long block anew whenever it asks where a character is.
    return f"{cell}</div><div>" if piece.text == "\n" else cell


def _numbers(pieces: list[ScoredToken]) -> tuple[list[str], list[int]]:
    """Return the names of tokens, and of each piece its bits and guesses as integers.

    A piece is hundredths of a bit, the number of its guesses, and for each guess its name's place
    in the list and its probability in thousandths.
    """
    places: dict[str, int] = {}
    numbers: list[int] = []
    for piece in pieces:
        numbers += round(100 * piece.bits), len(piece.guesses)
        for guess in piece.guesses:
            numbers += places.setdefault(_name(guess), len(places)), round(1000 * guess.probability)
    return list(places), numbers


def _name(guess: Guess) -> str:
    return visible(guess.text)


def _json(data: object) -> str:
    """Return JSON that nothing can leave the script element from."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
