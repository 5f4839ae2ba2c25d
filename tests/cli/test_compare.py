"""Runs side by side."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chargen.cli import app
from chargen.cli.compare import compare
from chargen.errors import CheckpointError
from chargen.evaluation.comparison import best_of, differences, learning_curves, read_run
from tests.cli.test_info import FOREIGN, save
from tests.conftest import Run, write

TEXT = {"sources": ["plays.txt"], "sha256": "a" * 64, "ngram_baseline": {"nats_per_token": 1.75}}
CURVE = ((10, 5.0, 3.0), (20, 10.0, 2.5), (30, 15.0, 2.25), (40, 20.0, 2.2))


def run(
    name: str,
    final: float | None = 1.5,
    bits: float | None = 2.25,
    curve: tuple[tuple[int, float, float], ...] = CURVE,
    **training: Any,
) -> Path:
    """Write a run's model and metrics as training does."""
    metrics = [
        {"event": "evaluation", "step": step, "seconds": at, "val_bits_per_char": loss}
        for step, at, loss in curve
    ]
    if final is not None:
        metrics.append({"event": "end"})
    lines = "".join(json.dumps(line) + "\n" for line in metrics)
    write(f"checkpoints/{name}/metrics.jsonl", lines)
    said = {
        "corpus": TEXT,
        "config": {"val_frac": 0.1, "test_frac": 0.0},
        "step": 40,
        "seconds": 21.0,
        "best_val_loss": 1.4,
        "final_val_loss": final,
        "final_val_bits_per_char": bits,
        "final_stateless_loss": None if final is None else final + 0.03,
    }
    return save(Path(f"checkpoints/{name}/model.safetensors"), said | training, "lstm:8")


def table(text: str) -> dict[str, str]:
    """Return the rows of a printed table by name."""
    found = re.findall(r"^( {0,2}\S+(?: \S+)*?) {2,}(\S.*?) *$", text, re.MULTILINE)
    return {name.strip(): rest for name, rest in found}


def test_runs_stand_side_by_side(chargen: Run) -> None:
    run("a")
    run("b", 1.45, 2.125)
    done = chargen("compare", "a", "b", env={**os.environ, "COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    rows = table(done.stdout)
    assert rows["run"].split() == ["a", "b"]
    assert rows["bits per character"].split() == ["2.2500", "2.1250", "best"]
    assert rows["nats per token"].split() == ["1.5000", "1.4500"]
    assert rows["stateless"].split() == ["1.5300", "1.4800"]
    assert rows["n-gram baseline"].split() == ["1.7500", "1.7500"]
    assert rows["time"].split() == ["0:21", "0:21"]
    assert "note:" not in done.stdout
    assert "seconds of training" in done.stdout and "● a  ○ b" in done.stdout


def test_a_table_of_many_runs_is_cut_to_the_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        run(f"a-run-with-a-long-name-{number}")
        path = Path(f"checkpoints/a-run-with-a-long-name-{number}/model.safetensors")
        os.utime(path, (number, number))
    monkeypatch.setenv("COLUMNS", "80")
    compare([])
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines()[:-1])  # the last names the series
    assert shown.count("bits per character  ") == 2
    assert len(re.findall(r"2\.2500", shown)) == 8  # the newest eight
    compare([f"a-run-with-a-long-name-{number}" for number in (0, 1, 2, 3)])
    assert capsys.readouterr().out.count("bits per character  ") == 1


def test_another_text_or_split_does_not_compare() -> None:
    first = read_run(run("a"))
    text = read_run(run("b", bits=1.0, corpus={**TEXT, "sha256": "b" * 64}))
    split = read_run(run("c", bits=1.0, config={"val_frac": 0.2, "test_frac": 0.0}))
    seed = read_run(run("e", bits=1.0, corpus={**TEXT, "split_seed": 1}))
    same = read_run(run("d", bits=2.3))
    assert differences([first, text, split, seed, same]) == [
        "b has another text: its losses are not comparable with a",
        "c has another part of the text held out: its losses are not comparable with a",
        "e has another part of the text held out: its losses are not comparable with a",
    ]
    assert best_of([first, text, split, seed, same]) is first
    assert best_of([first, text, split]) is None


def test_an_unfinished_run_shows_its_best_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    run("a")
    run("b", None, None)
    compare(["a", "b"])
    rows = table(capsys.readouterr().out)
    assert rows["run"].split() == ["a", "b", "(best)"]
    assert rows["bits per character"].split() == ["2.2500", "2.2000", "so", "far"]
    assert rows["nats per token"].split() == ["1.5000", "1.4000", "so", "far"]
    assert rows["stateless"].split() == ["1.5300", "-"]


def test_a_run_that_held_nothing_out_shows_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    run("a", None, None, (), best_val_loss=None, corpus={**TEXT, "ngram_baseline": None})
    write("checkpoints/a/metrics.jsonl", '{"event": "end"}\n')
    compare(["a"])
    shown = capsys.readouterr().out
    for name in ("bits per character", "nats per token", "stateless", "n-gram baseline"):
        assert table(shown)[name] == "-"
    assert "(no data)" in shown


def test_a_file_alone_has_the_curve_of_its_history() -> None:
    path = run("a", history=[[20, 2.0, 1.8], [30, 1.9, None], [40, 1.8, 1.6]])
    alone = path.rename("mailed.safetensors")
    found = read_run(alone)
    assert found.name == "mailed"
    assert [(point.step, point.seconds) for point in found.curve] == [(20, 10.5), (40, 21.0)]
    assert [point.bits_per_char for point in found.curve] == pytest.approx([2.7, 2.4])


def test_curves_leave_out_the_steep_beginning() -> None:
    fast = read_run(run("a"))
    chart = learning_curves([fast])
    assert chart.series[0].x == [10.0, 15.0, 20.0]
    assert chart.series[0].y == [2.5, 2.25, 2.2]
    assert "above 2.50 left out" in chart.title
    slow = read_run(run("slow", curve=((1, 300.0, 2.4), (2, 600.0, 2.3))))
    chart = learning_curves([fast, slow])
    assert chart.x_label == "minutes of training"
    assert chart.series[1].x == [5.0, 10.0]


def test_the_numbers_are_an_array(chargen: Run) -> None:
    run("a")
    run("é", 1.45, 2.125)
    done = chargen("compare", "é", "checkpoints/a", "--json", "--plot", "curves.svg")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = json.loads(done.stdout)
    assert (first["name"], first["best"], first["comparable"]) == ("é", True, True)
    assert (second["name"], second["best"], second["finished"]) == ("a", False, True)
    assert second["curve"][0] == {"step": 10, "seconds": 5.0, "bits_per_char": 3.0}
    assert second["nats_per_token_stateless"] == pytest.approx(1.53)
    assert second["ngram_nats_per_token"] == 1.75
    assert Path("curves.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 1, "no model in "),
        (["gone"], 1, "no model 'gone'"),
        (["gone", "--plot", "a.gif"], 2, "picture is 'a.gif'"),
        (["a"] * 9, 2, "number of runs is 9; allowed: 1 to 8"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments: list[str], code: int, words: str) -> None:
    done = CliRunner().invoke(app, ["compare", *arguments])
    assert done.exit_code == code
    assert done.stderr.startswith(f"chargen: {words}")
    assert done.stderr.count("\n") == 1


def test_a_damaged_run_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    run("a")
    run("b").write_bytes(b"torn")
    compare([])
    shown = capsys.readouterr()
    assert table(shown.out)["run"] == "a"
    assert re.fullmatch(r"chargen: 'checkpoints/b/model.safetensors' is trunc.*\n", shown.err)
    with pytest.raises(CheckpointError):
        compare(["a", "b"])


@pytest.mark.parametrize("training", FOREIGN)
def test_files_that_say_little_are_compared(training: dict[str, Any]) -> None:
    compare([str(save(Path("a.safetensors"), training)), str(run("b"))])
