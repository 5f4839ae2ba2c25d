"""Commands with --label, and records on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chargen.model.saved import read_model
from chargen.sharing.card import model_card
from tests.conftest import Run, write
from tests.labelled import LABELS, LINES, ROWS, save_labelled

A, B = set("abcde"), set("vwxyz")


@pytest.fixture(autouse=True)
def models() -> None:
    save_labelled(Path("rows/model.safetensors"), **ROWS)
    save_labelled(Path("lines/model.safetensors"), **LINES)


def test_samples_have_the_label_and_end_by_themselves(chargen: Run) -> None:
    sample = ("sample", "-m", "lines", "--seed", "1")
    lines = chargen(*sample, "--num-samples", "5", "--label", "a").stdout
    assert lines.count("\n") == 5
    assert set(lines) <= {*A, "\n"}
    assert chargen(*sample, "--label", "a").stdout == lines[: lines.index("\n") + 1]
    rows = chargen("sample", "-m", "rows", "--seed", "1", "--num-samples", "3", "--label", "b")
    assert rows.stdout.count("\n---\n") == 2
    done = chargen(*sample, "--json", "--label", "a=0.5,b=0.5")
    found = json.loads(done.stdout)
    assert (found["label"], found["finish_reason"]) == ("a=0.5,b=0.5", "stop")
    assert json.loads(chargen(*sample, "--json").stdout)["label"] is None


def test_a_record_that_is_cut_is_said_to_be(chargen: Run) -> None:
    sample = ("sample", "-m", "rows", "--seed", "1", "--label", LABELS[2], "-n", "30")
    for more in ((), ("--num-samples", "2")):
        done = chargen(*sample, *more)
        assert done.returncode == 0
        numbers = "1, 2" if more else "1"
        said = f"cut after 30 characters, before the end of the record: text {numbers}"
        assert said in done.stderr
    assert "cut" not in chargen("sample", "-m", "rows", "--seed", "1", "--label", "a").stderr


def test_scores_are_those_of_the_label(chargen: Run) -> None:
    write("text.txt", "abc")
    bits = {}
    for label in ("a", "b"):
        done = chargen("score", "text.txt", "-m", "rows", "--label", label, "--json")
        bits[label] = sum(json.loads(line)["bits"] for line in done.stdout.splitlines())
        heat = chargen("heat", "text.txt", "-m", "rows", "--label", label)
        assert ("999" in heat.stdout) == (label == "b")
    assert bits["b"] > bits["a"] + 30
    done = chargen("next", "-m", "rows", "--label", "b", "-n", "5", "--json")
    assert {row["text"] for row in json.loads(done.stdout)["next"]} == B


def test_a_session_takes_a_label(chargen: Run) -> None:
    done = chargen("repl", "-m", "lines", "--label", "b", "--seed", "1", input="v\n/label\n")
    assert set(done.stdout) <= {*B, "\n"}
    assert done.stdout.count("\n") == 1
    assert "* b" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-m", "rows", "--label", "c"), "label is 'c'; allowed: 'a', 'b', 'a, or b=c'"),
        (("-m", "rows", "--label", "a=x"), "label 'a' has the weight 'x'"),
        (("-m", "english", "--label", "a"), "the model has no labels; train one with --label"),
        (("-m", "rows", "-m", "rows", "--label", "a"), "a label is one of one model"),
        (("-m", "lines", "-p", "a\\nb"), "prompt holds '\\n', which ends a record"),
    ],
)
def test_what_is_refused_is_one_line(chargen: Run, options: tuple[str, ...], said: str) -> None:
    done = chargen("sample", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_with_a_prompt_may_end_with_a_newline(chargen: Run) -> None:
    write("prompt.txt", "ab\n")
    done = chargen("sample", "-m", "lines", "-f", "prompt.txt", "--label", "a", "--seed", "1")
    assert done.stdout.startswith("ab")
    assert done.stdout.count("\n") == 1


def test_info_and_the_drawing_name_labels_and_records(chargen: Run) -> None:
    shown = chargen("info", "rows").stdout
    assert "3: 'a', 'b', 'a, or b=c'" in shown
    assert "rows" in shown
    facts = json.loads(chargen("info", "rows", "--json").stdout)
    assert (facts["labels"], facts["records"]) == (list(LABELS), "rows")
    assert sum(part["parameters"] for part in facts["parts"]) == facts["parameters"]
    assert "labels" in chargen("inspect", "stack", "-m", "rows").stdout


def test_the_card_of_a_model_names_them_too() -> None:
    card = model_card(read_model(Path("rows/model.safetensors")), "rows", None, whole=True)
    assert "- labels: 3: a, b, a, or b=c\n" in card
    assert "- records: rows\n" in card
