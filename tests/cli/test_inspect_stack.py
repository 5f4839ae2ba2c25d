"""``chargen inspect stack``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chargen.display.diagram import as_text
from chargen.inspection.stack import diagram
from chargen.model.saved import read_model
from chargen.model.spec import ModelConfig, parse_stack
from tests.conftest import Run

TWO = ("inspect", "stack", "--stack", "gru:128,lstm:64")


def test_a_model_is_drawn_under_its_name(with_model: Path, chargen: Run) -> None:
    done = chargen("inspect", "stack")
    saved = read_model(with_model)
    drawing = as_text(diagram(saved.config, counts=saved.mixture is not None))
    assert (done.returncode, done.stdout) == (0, f"small\n\n{drawing}\n")
    assert done.stderr == ""


def test_a_stack_is_drawn_without_a_model(chargen: Run) -> None:
    done = chargen(*TWO, "--vocab-size", "95", "--embedding", "32")
    config = ModelConfig(95, parse_stack("gru:128,lstm:64"), 32)
    assert (done.stdout, done.stderr) == (f"{as_text(diagram(config))}\n", "")
    assert "256 x E 64" in chargen(*TWO).stdout


def test_the_page_shows_what_is_printed() -> None:
    config = ModelConfig(65, parse_stack("gru:128,lstm:64"))
    page = Path(__file__).parents[2] / "docs/inside.md"
    assert as_text(diagram(config)) in page.read_text(encoding="utf-8")


def test_the_facts_as_json(with_model: Path, chargen: Run) -> None:
    facts = json.loads(chargen("inspect", "stack", "--json").stdout)
    info = json.loads(chargen("info", "--json").stdout)
    assert (facts["name"], facts["stack"]) == ("small", info["stack"])
    assert facts["parameters"] == info["parameters"]
    assert facts["ngram_counts"] == (info["mixture"] is not None)
    assert [b["parameters"] for b in facts["blocks"]] == [p["parameters"] for p in info["parts"]]
    assert json.loads(chargen(*TWO, "--json").stdout)["name"] is None


@pytest.mark.parametrize(
    ("name", "start"), [("a.svg", b"<?xml"), ("a.png", b"\x89PNG"), ("a.pdf", b"%PDF")]
)
def test_the_picture_is_written(name: str, start: bytes, chargen: Run) -> None:
    done = chargen(*TWO, "--plot", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(name).read_bytes().startswith(start)
    assert "layer 2" in done.stdout


def test_where_the_encoding_has_no_boxes_they_are_ascii(chargen: Run) -> None:
    done = chargen(*TWO, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    config = ModelConfig(256, parse_stack("gru:128,lstm:64"))
    assert done.stdout == f"{as_text(diagram(config), ascii_only=True)}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--stack gru:8 -m small", "--stack and --model both say what to draw; leave one out"),
        ("--vocab-size 9", "--vocab-size is for a stack without a model; add --stack lstm:512"),
        ("--embedding 9 -m small", "--embedding is for a stack without a model; add --stack"),
        ("--stack gru", "stack part 'gru' is not CELL:WIDTH; write for example gru:128,lstm:64"),
        ("--stack gru:0", "hidden size is 0; allowed: 1 to 16384"),
        ("--stack gru:8 --vocab-size 0", "vocabulary size is 0; allowed: 1 to 1048576"),
        ("--stack gru:8 --embedding 0", "embedding is 0; allowed: 1 to 16384"),
        ("--stack gru:8 --plot a.gif", "picture is 'a.gif'; allowed: a name that ends in"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    words: str, told: str, with_model: Path, chargen: Run
) -> None:
    done = chargen("inspect", "stack", *words.split())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"chargen: {told}")
