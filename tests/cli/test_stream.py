"""``chargen score --stream``: lines judged as they come."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chargen.evaluation.surprisal import score_tokens
from chargen.model.saved import save_model
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from chargen.sampling.sampler import load
from chargen.tokenizers import build_tokenizer
from chargen.tokenizers.byte import text_of
from tests.conftest import Run, write
from tests.processes import running

pytestmark = pytest.mark.usefixtures("with_model")
LINES = ["The value\n", "\n", "zzzz qqqq zzzz\n", "The value\n", "of é"]
TEXT = "".join(LINES)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def bits(with_model: Path) -> list[float]:
    sampler = load(with_model)
    return [sum(token.bits for token in score_tokens(sampler, line)) for line in LINES]


def test_each_line_is_scored_as_a_text_of_its_own(chargen: Run, bits: list[float]) -> None:
    done = chargen("score", "--stream", "--json", input=TEXT.replace("\n", "\r\n"))
    found = rows(done.stdout)
    assert done.returncode == 0
    assert [row["bits"] for row in found] == pytest.approx(bits, abs=1e-5)
    assert [(row["line"], row["text"]) for row in found] == list(enumerate(TEXT.split("\n"), 1))
    assert [row["characters"] for row in found] == [len(line) for line in LINES]
    for row in found:
        assert row["bits_per_char"] == pytest.approx(row["bits"] / row["characters"], abs=1e-5)
        assert bytes(row["bytes"]).decode() == row["text"]
    assert done.stderr.splitlines() == [
        "chargen: not in the model's vocabulary: 'é'; read as unknown characters (UNK)",
        f"chargen: 5 lines, {sum(bits) / len(TEXT):.4f} bits per character",
    ]
    write("text.txt.gz", gzip.compress(TEXT.encode()))
    assert chargen("score", "--stream", "--json", "text.txt.gz").stdout == done.stdout


def test_the_three_forms_say_the_same(chargen: Run) -> None:
    in_json = rows(chargen("score", "--stream", "--json", input=TEXT).stdout)
    in_csv = chargen("score", "--stream", "--csv", input=TEXT).stdout
    head, *table = csv.reader(io.StringIO(in_csv, newline=""))
    assert head == ["line", "bits_per_char", "bits", "characters", "text"]
    assert table == [[str(row[name]) for name in head] for row in in_json]
    first, *lines = chargen("score", "--stream", input=TEXT).stdout.splitlines()
    assert first == "bits/char    line  text"
    assert lines == [
        f"{row['bits_per_char']:9.4f} {row['line']:7}  {row['text']}" for row in in_json
    ]


def test_a_threshold_leaves_lines_out_and_ends_with_3(chargen: Run, bits: list[float]) -> None:
    means = [own / len(line) for own, line in zip(bits, LINES, strict=True)]
    limit = means[2] - 0.001
    done = chargen("score", "--stream", "--threshold", f"{limit:.4f}", "--json", input=TEXT)
    expected = [number for number, mean in enumerate(means, 1) if mean >= limit]
    assert [row["line"] for row in rows(done.stdout)] == expected
    assert 3 in expected
    assert done.returncode == 3
    assert done.stderr.endswith(f"; {len(expected)} of at least {limit:.5g}\n")
    none = chargen("score", "--stream", "--threshold", "99", "--json", input=TEXT)
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr.endswith("; 0 of at least 99\n")
    nothing = chargen("score", "--stream", "--json", input="")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "chargen: 0 lines\n"


def test_stateful_lines_are_read_as_one_text(chargen: Run, with_model: Path) -> None:
    done = chargen("score", "--stream", "--stateful", "--json", input=TEXT)
    tokens = iter(score_tokens(load(with_model), TEXT))
    expected = [sum(next(tokens).bits for _ in line) for line in LINES]
    assert [row["bits"] for row in rows(done.stdout)] == pytest.approx(expected, abs=1e-4)


def test_an_alert_gets_each_line_on_stdin(chargen: Run, bits: list[float]) -> None:
    program = f"{sys.executable} -c \"import sys; open('got', 'a').write(sys.stdin.read())\""
    given = ("--threshold", "0", "--json", "--alert")
    done = chargen("score", "--stream", *given, f"{program}; echo heard; exit 7", input=TEXT)
    assert Path("got").read_text() == done.stdout
    assert done.returncode == 3
    assert done.stderr.count("heard\n") == done.stderr.count("ended with exit code 7\n") == 5


def test_a_byte_that_is_no_text_is_an_odd_character_of_its_line(chargen: Run) -> None:
    found = rows(chargen("score", "--stream", "--json", input=b"The \xff\nThe \n").stdout)
    assert [row["text"] for row in found] == ["The \ufffd", "The "]
    assert found[0]["bits"] > found[1]["bits"] + 10


def test_a_byte_model_reads_bytes(chargen: Run) -> None:
    known = build_tokenizer("byte", "", 0)
    config, draw = ModelConfig(known.vocab_size, parse_stack("gru:5")), np.random.default_rng(1)
    shapes = weight_shapes(config).items()
    weights = {name: draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes}
    save_model(Path("bytes.safetensors"), weights, config, known, {})
    data = b"a\xff\xc3\r\n\xc3\xa9\n\x00"
    write("data.bin", data)
    given = ("score", "--stream", "--json", "--threads", "1", "-m", "bytes.safetensors")
    done = chargen(*given, input=data)
    assert [bytes(row["bytes"]) for row in rows(done.stdout)] == data.split(b"\n")
    assert chargen(*given, "data.bin").stdout == done.stdout
    scored = load("bytes.safetensors", threads=1)
    expected = [
        sum(token.bits for token in score_tokens(scored, text_of(line)))
        for line in data.splitlines(keepends=True)
    ]
    assert [row["bits"] for row in rows(done.stdout)] == pytest.approx(expected, abs=1e-5)


def test_another_encoding_is_read_and_an_unknown_one_refused(chargen: Run) -> None:
    given = ("score", "--stream", "--json", "--encoding")
    found = rows(chargen(*given, "latin-1", input="é\n".encode("latin-1")).stdout)
    assert [row["text"] for row in found] == ["é"]
    done = chargen(*given, "klingon", input="")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("chargen: encoding is 'klingon'; allowed: ")


def test_a_line_without_end_is_cut() -> None:
    from chargen.data.decoding import line_blocks

    pieces = ["abc", "defgh", "i\nj", "\n\nkl", ""]
    assert list(line_blocks(pieces)) == [["abcdefghi\n"], ["j\n", "\n"], ["kl"]]
    assert list(line_blocks(pieces, 4)) == [["abcdefgh"], ["i\n"], ["j\n", "\n"], ["kl"]]
    assert list(line_blocks([])) == list(line_blocks([""])) == []


def test_a_line_is_answered_before_the_next_comes() -> None:
    command = [sys.executable, "-m", "chargen", "score", "--stream", "--json", "--threads", "1"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(command, **pipes) as process:
        assert process.stdin and process.stdout
        for number, line in enumerate(("The value", "of it"), 1):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            row = json.loads(process.stdout.readline())
            assert (row["line"], row["text"]) == (number, line)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--stream", "--per-line"), "--per-line sorts a whole text, --stream scores as it comes"),
        (("--threshold", "4"), "--threshold applies to --stream; leave it out, or add --stream"),
        (("--stateful",), "--stateful applies to --stream; leave it out, or add --stream"),
        (("--stream", "--alert", "x"), "--alert applies to the lines of --threshold; leave it out"),
        (("--stream", "--threshold", "-1"), "threshold is -1.0; allowed: 0 or more bits"),
        (("--stream", "--threshold", "nan"), "threshold is nan; allowed: 0 or more bits"),
        (("--stream", "gone.txt"), "corpus 'gone.txt' does not exist; give a file"),
    ],
)
def test_what_has_no_effect_is_refused(chargen: Run, args: tuple[str, ...], message: str) -> None:
    done = chargen("score", *args, input=TEXT)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"chargen: {message}")
    assert done.stderr.count("\n") == 1
