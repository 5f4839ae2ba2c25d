"""Lines of ``chargen score``: the unusual ones of a text, or each as it comes."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chargen.cli import common
from chargen.cli.reading import need_text, warn_of_unknown

if TYPE_CHECKING:
    from chargen.evaluation.lines import ScoredLine
    from chargen.evaluation.surprisal import ScoredToken
    from chargen.sampling.sampler import Sampler

DIGITS = 6  # of a fraction
LONGEST = 1 << 20  # characters after which a line of a stream is cut
STDERR = 2


def in_json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its text in Unicode and in bytes, which may not be UTF-8."""
    from chargen.tokenizers.byte import bytes_of, replaced

    return row | {"text": replaced(row["text"]), "bytes": list(bytes_of(row["text"]))}


def unusual_rows(tokens: Iterable[ScoredToken]) -> list[dict[str, Any]]:
    """Return the lines of a text, the highest z-score first."""
    from chargen.evaluation.lines import by_line

    lines = sorted(by_line(tokens), key=lambda line: -line.z_score)
    return [_row(line, z_score=round(line.z_score, DIGITS)) for line in lines]


def _row(line: ScoredLine, **more: float) -> dict[str, Any]:
    return {
        "line": line.number,
        **more,
        "bits_per_char": round(line.bits_per_char, DIGITS),
        "bits": round(line.bits, DIGITS),
        "characters": line.characters,
        "text": line.text,
    }


def line_table(rows: Iterable[dict[str, Any]], z_scores: bool) -> Iterator[str]:
    """Yield a row per line of the text, cut at the width of a terminal."""
    from rich.text import Text

    from chargen.cli.console import stdout
    from chargen.display.output import visible

    console = stdout()
    yield "z-score  " * z_scores + "bits/char    line  text"
    for row in rows:
        z_score = f"{row['z_score']:7.2f}  " if z_scores else ""
        numbers = f"{z_score}{row['bits_per_char']:9.4f} {row['line']:7}  "
        words = Text(numbers + row["text"])
        if console.is_terminal:
            words = Text(visible(words.plain).expandtabs())
            words.truncate(console.width, overflow="ellipsis")
        yield words.plain


# -- each as it comes ---------------------------------------------------------------------


class Watch:
    """Rows of lines as they come, and what there is to say of them at the end.

    Args:
        sampler: the model.
        stateful: read each line after those before it, not as a text of its own.
        threshold: bits per character from which a line is shown; None shows all.
        alert: command that is run for each line that is shown, with the line as JSON on its stdin.

    Attributes:
        found: lines that reached the threshold.
    """

    def __init__(
        self, sampler: Sampler, *, stateful: bool, threshold: float | None, alert: str | None
    ) -> None:
        self._sampler, self._stateful = sampler, stateful
        self._threshold, self._alert = threshold, alert
        self._lines, self._characters, self._bits, self.found = 0, 0, 0.0, 0

    def rows(self, blocks: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the lines that reach the threshold."""
        for line in self._scored(blocks):
            self._lines += 1
            self._characters += line.characters
            self._bits += line.bits
            if self._threshold is None or line.bits_per_char >= self._threshold:
                row = _row(line)
                yield row
                self.found += self._threshold is not None
                if self._alert:
                    _run(self._alert, row)

    def _scored(self, blocks: Iterable[list[str]]) -> Iterator[ScoredLine]:
        from chargen.evaluation.lines import LineScorer

        scorer, noted = LineScorer(self._sampler, stateful=self._stateful), False
        for lines in blocks:
            noted = noted or warn_of_unknown(self._sampler, "".join(lines))
            yield from scorer.score(lines)

    def summary(self) -> str:
        """Return how many lines there were, and their mean surprisal."""
        words = f"{self._lines:,} line{'s' * (self._lines != 1)}"
        if self._characters:
            words += f", {self._bits / self._characters:.4f} bits per character"
        if self._threshold is not None:
            words += f"; {self.found:,} of at least {self._threshold:g}"
        return words


def _run(alert: str, row: dict[str, Any]) -> None:
    """Run a command with a row as JSON on its stdin; what it writes goes to stderr."""
    import subprocess

    line = json.dumps(in_json(row)) + "\n"
    done = subprocess.run(alert, shell=True, input=line.encode(), stdout=STDERR, check=False)
    if done.returncode:
        common.warn(f"--alert: {alert!r} ended with exit code {done.returncode}")


# -- where they come from -----------------------------------------------------------------


def blocks_of(sampler: Sampler, file: str | None, encoding: str | None) -> Iterator[list[str]]:
    """Return the lines of a file, or of standard input as they come; see ``stream_blocks``.

    Raises:
        ConfigError: no file is named and standard input is a terminal; an unknown encoding.
        CorpusError: the file cannot be read.
    """
    from chargen.config import ReadConfig
    from chargen.data.dataset import read_like
    from chargen.data.decoding import line_blocks, stream_blocks
    from chargen.tokenizers.byte import ESCAPE, replaced

    by_bytes = sampler.tokenizer.kind == "byte"
    if file in (None, "-"):
        need_text(file)
        ReadConfig(encoding=encoding)  # refuses one that is unknown
        stream = sys.stdin.buffer
        blocks = stream_blocks(stream, sampler.reading, encoding, LONGEST)  # type: ignore[arg-type]
        return blocks if by_bytes else ([replaced(line) for line in lines] for lines in blocks)
    text = read_like(sampler.reading, str(file), encoding, least=0)
    for note in text.notes:
        common.warn(note)
    pieces = text.pieces()
    if by_bytes:
        return line_blocks(codecs.iterdecode(pieces, "utf-8", ESCAPE), LONGEST)  # type: ignore[arg-type]
    return line_blocks(map(str, pieces), LONGEST)
