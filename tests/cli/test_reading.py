"""``chargen score``, ``next`` and ``heat`` as processes."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from chargen.evaluation.lines import by_line
from chargen.evaluation.surprisal import score_tokens
from chargen.sampling.sampler import load
from tests.conftest import Run, write
from tests.processes import finish
from tests.screen import Watched

pytestmark = pytest.mark.usefixtures("with_model")
TEXT = 'The "value",\r\nof é\t\x1b[31m,\n\nzzzz qqqq zzzz qqqq\nThe value'
READ = TEXT.replace("\r\n", "\n")
COLOURED = r"\x1b\[(?:\d+;)*48;5;\d+m"


@pytest.fixture
def bits(with_model: Path) -> list[float]:
    return [piece.bits for piece in score_tokens(load(with_model), READ)]


def colours(*args: str) -> str:
    """Run a command as in a terminal of 256 colours, its output in a pipe."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "chargen", *args]
    return str(finish(command, env=environment).stdout, "utf-8")


def test_score_writes_the_same_in_three_forms(chargen: Run, bits: list[float]) -> None:
    write("text.txt", TEXT)
    in_json = chargen("score", "text.txt", "--json")
    rows: list[dict[str, Any]] = [json.loads(line) for line in in_json.stdout.splitlines()]
    assert "".join(row["text"] for row in rows) == READ
    assert [row["bits"] for row in rows] == pytest.approx(bits, abs=1e-5)
    assert [row["logprob"] for row in rows] == pytest.approx(
        [-b * math.log(2) for b in bits], abs=1e-6
    )
    in_csv = chargen("score", "--csv", "-", input=TEXT)
    table = list(csv.reader(io.StringIO(in_csv.stdout, newline="")))
    assert table == [
        ["text", "logprob", "bits"],
        *([row["text"], str(row["logprob"]), str(row["bits"])] for row in rows),
    ]
    lines = chargen("score", "text.txt").stdout.splitlines()
    assert lines[0].split() == ["logprob", "bits", "text"]
    assert [ast.literal_eval(line[20:]) for line in lines[1:]] == list(READ)
    assert float(lines[1].split()[1]) == round(bits[0], 4)
    mean = sum(bits) / len(bits)
    assert in_json.stderr.splitlines() == in_csv.stderr.splitlines()
    assert in_json.stderr.splitlines() == [
        "chargen: 1 CRLF line ends read as LF (as in the training text)",
        "chargen: not in the model's vocabulary: '\\t', '\\x1b', 'é'; "
        "read as unknown characters (UNK)",
        f"chargen: {len(READ)} characters, {mean * math.log(2):.4f} nats and {mean:.4f} bits "
        "per character",
    ]


def test_score_sorts_lines_by_their_z_score(chargen: Run, with_model: Path) -> None:
    write("text.txt", TEXT)
    rows = [
        json.loads(line)
        for line in chargen("score", "text.txt", "--per-line", "--json").stdout.splitlines()
    ]
    lines = by_line(score_tokens(load(with_model), READ))
    assert [row["line"] for row in rows] == [
        line.number for line in sorted(lines, key=lambda line: -line.z_score)
    ]
    assert {row["line"]: row["text"] for row in rows} == dict(enumerate(READ.split("\n"), 1))
    for row in rows:
        assert row["bits_per_char"] == pytest.approx(row["bits"] / row["characters"], abs=1e-5)
    table = chargen("score", "text.txt", "--per-line").stdout.splitlines()
    assert table[0].split() == ["z-score", "bits/char", "line", "text"]
    assert [int(line.split()[2]) for line in table[1:]] == [row["line"] for row in rows]


def test_next_shows_what_is_likely(chargen: Run, with_model: Path) -> None:
    sampler = load(with_model)
    logits = sampler.read("The").logits.astype(float)
    p = [math.exp(x - max(logits)) for x in logits]
    p = [x / sum(p) for x in p]
    found = json.loads(chargen("next", "-p", "The", "--json", "-n", "4").stdout)
    rows = found["next"]
    assert [row["probability"] for row in rows] == pytest.approx(sorted(p[1:], reverse=True)[:4])
    for row in rows:
        assert row["probability"] == pytest.approx(p[row["token"]])
        assert sampler.tokenizer.decode([row["token"]]) == row["text"]
        assert 2 ** -row["bits"] == pytest.approx(row["probability"])
    assert found["unknown_probability"] == pytest.approx(p[0], rel=1e-4)
    shown = sum(row["probability"] for row in rows)
    assert shown + found["others"]["probability"] + p[0] == pytest.approx(1)
    assert found["others"]["count"] + 4 + 1 == len(p)
    assert found["entropy"] == pytest.approx(-sum(x * math.log2(x) for x in p), rel=1e-4)
    write("prompt.txt", "The")
    done = chargen("next", "--file", "prompt.txt", "-n", "4")
    head, *lines, others, unknown = done.stdout.splitlines()
    assert head.split() == ["next", "probability", "bits"]
    names = {" ": "space", "\n": "newline", "\t": "tab"}
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(names.get(row["text"], repr(row["text"])))
        assert f" {row['probability']:.4f} " in line
        assert abs(line.count("█") - 40 * row["probability"]) <= 1
    assert others.startswith(f"{len(p) - 5} others  ")
    assert unknown.startswith("unknown  ")
    assert done.stderr.startswith(f"chargen: entropy {found['entropy']:.2f} bits, as of ")


def test_heat_in_a_pipe_has_a_digit_below_each_character(chargen: Run, bits: list[float]) -> None:
    write("text.txt", TEXT)
    done = chargen("heat", "text.txt")
    lines = done.stdout.split("\n")
    shown = READ.replace("\t", "␉").replace("\x1b", "␛").split("\n")
    assert lines[:-1:2] == shown
    assert "".join(lines[1::2]) == "".join(str(min(9, int(b))) for b in bits)
    assert [len(marks) for marks in lines[1::2]] == [
        *(len(line) + 1 for line in shown[:-1]),
        len(shown[-1]),
    ]
    assert "in whole bits" in done.stderr


def test_heat_in_colours_drives_no_terminal(bits: list[float]) -> None:
    write("text.txt", TEXT)
    shown = colours("heat", "text.txt")
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    ends = plain.replace("↵", "").split("\n")
    assert ends[:-1] == READ.replace("\x1b", "␛").expandtabs(8).split("\n")
    assert plain.count("↵") == sum(
        own >= 2 for own, character in zip(bits, READ, strict=True) if character == "\n"
    )
    assert len(re.findall(COLOURED, shown)) > 5
    assert "\x1b[31m" not in shown


def test_heat_writes_a_page_and_overwrites_none(chargen: Run) -> None:
    write("text.txt", TEXT)
    write("old.html", "mine")
    refused = chargen("heat", "text.txt", "--html", "old.html")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "chargen: 'old.html' exists; name another file, or add --force\n"
    assert Path("old.html").read_text() == "mine"
    done = chargen("heat", "text.txt", "--html", "old.html", "--force")
    assert (done.returncode, done.stdout) == (0, "old.html\n")
    assert "<h1>text.txt, scored by small</h1>" in Path("old.html").read_text()
    assert not list(Path().glob(".old*"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("score", "empty"), "'empty' is empty; give a text of at least one character"),
        (
            ("score", "latin"),
            "corpus 'latin' is not utf-8: byte 0xE9 at offset 3; name its encoding",
        ),
        (("next", "--top", "0"), "top is 0; allowed: 1 or more"),
        (("score", "--json", "--csv"), "--json and --csv cannot be combined; leave one out"),
        (("heat", "text", "--force"), "--force applies to the page of --html; leave it out"),
        (("heat", "text", "--html", "no/a.html"), "cannot write 'no/a.html'; name a file in"),
        (("heat", "short", "--html", "x" * 300), "cannot write 'xxx"),
        (("heat", "long", "--html", "a.html"), "the text has 250,001 characters; a page shows"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(
    chargen: Run, args: tuple[str, ...], message: str
) -> None:
    write("empty", "\ufeff")
    write("short", "The")
    write("long", "a" * 250_001)
    write("latin", "caf\xe9".encode("latin-1"))
    done = chargen(*args)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"chargen: {message}")
    assert done.stderr.count("\n") == 1


def test_a_terminal_is_asked_for_a_text() -> None:
    terminal = Watched("score")
    terminal.see("no text given; name its file, or pipe it in")
    assert terminal.end() == 2


def test_reading_needs_no_torch(chargen: Run) -> None:
    write("text.txt", TEXT)
    for args in (("next",), ("heat", "text.txt", "--html", "a.html")):
        done = chargen(*args, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
        assert done.returncode == 0
        assert "chargen.evaluation.surprisal" in done.stderr
        assert not re.search(r"\| +torch\b", done.stderr)
