"""What the system refuses is one line of ours: names, encodings, streams, memory."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from chargen.cli import app
from tests.conftest import Run, needs_torch, write
from tests.labelled import LINES as LABELLED
from tests.labelled import save_labelled
from tests.processes import LIMIT, running

CHARGEN = f"{sys.executable} -m chargen"
LONG = "n" * 300
QUICK = ("--steps", "3", "--hidden", "8", "--layers", "1", "--threads", "1")

pytestmark = needs_torch


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line; ``chargen`` stands for ours."""
    return subprocess.run(
        ["bash", "-c", f'chargen() {{ {CHARGEN} "$@"; }}; {command}'],
        capture_output=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "", **variables},
        stdin=subprocess.DEVNULL,
    )


def assert_one_line(done: subprocess.CompletedProcess[bytes], code: int, words: str) -> None:
    told = "".join(line for line in done.stderr.decode().splitlines(True) if "(UNK)" not in line)
    assert (done.returncode, told.count("\n")) == (code, 1), told
    assert told.startswith("chargen: "), told
    assert words in told


# -- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (f"train good --name {LONG}", 2),
        (f"train --resume --name {LONG}", 1),
        (f"train {LONG}", 1),
        (f"train good --base {LONG}", 1),
        (f"train good --config {LONG}", 2),
        (f"eval {LONG}", 1),
        (f"corpus stats {LONG}", 1),
        (f"corpus fetch {LONG}", 2),
        (f"export --onnx {LONG}", 1),
        (f"compare {LONG} {LONG}", 1),
        (f"compare --plot {LONG}.png", 1),
        *((f"{command} -m {LONG}", 1) for command in ("info", "eval", "sample", "repl", "next")),
    ],
)
def test_a_name_of_300_characters_is_one_line(with_model: Path, arguments: str, code: int) -> None:
    write("good", "good text " * 30)
    done = shell(f"chargen {arguments}")
    told = done.stderr.decode()
    assert done.returncode == code, told
    assert "Traceback" not in told
    if not arguments.startswith("train good --config"):  # that error is typer's
        assert_one_line(done, code, "")
    assert not Path("checkpoints").exists()


# -- every command ------------------------------------------------------------------------

LINES = {  # a line of each command that works in the folder of the fixture
    "train": f"prose.txt --name new --force {' '.join(QUICK)}",
    "sample": "-n 20 --seed 1",
    "repl": "< line.txt",
    "eval": "",
    "score": "line.txt",
    "next": "-p a",
    "heat": "line.txt",
    "classify": "line.txt -m labelled",
    "info": "",
    "runs": "",
    "models": "",
    "demo": "'A short line of text.'",
    "push": "small away --force",
    "pull": "checkpoints/small/model.safetensors --name pulled --force",
    "compare": "",
    "cells": "rnn",
    "doctor": "--no-probe",
    "export": "--onnx model.onnx --force",
    "corpus stats": "prose.txt",
    "corpus list": "",
    "inspect stack": "",
    "inspect neurons": "",
    "inspect gates": "",
    "inspect gradients": "",
    "inspect memory": "",
}
REFUSED = {"serve": "--host 203.0.113.1"}  # it would serve; this address needs a key
QUIET = "train"  # it writes its results to files, and nothing to stdout
ENDLESS = ("sample -n", "repl -n")  # a length that is never reached is no mistake


def commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the command of everything that can be run."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))
VALUES = [  # (command, option or empty for an argument, whether its value is a number)
    (name, parameter.opts[0] * (parameter.param_type_name == "option"), number)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if not getattr(parameter, "is_flag", False)
    for number in [parameter.metavar in ("N", "X", "DURATION")]
]


@pytest.fixture
def here(trained: Path, prose: str) -> None:
    """A folder with a text, a line and a run."""
    write("prose.txt", prose)
    write("line.txt", f"{prose[:60]}\n")
    save_labelled(Path("labelled/model.safetensors"), **LABELLED)
    shutil.copytree(trained, "checkpoints")


def test_every_command_has_a_line() -> None:
    assert set(COMMANDS) == {*LINES, *REFUSED, "corpus fetch"}  # which needs the network


# -- what is given as a value -------------------------------------------------------------


def told(chargen: Run, line: str) -> None:
    """An error is an exit code of ours and says something; it is never a traceback."""
    words, _, file = line.partition(" < ")
    done = chargen(*shlex.split(words), **({"input": Path(file).read_text()} if file else {}))
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 2), done
    assert (done.returncode == 0) or done.stderr


@pytest.mark.parametrize("value", [LONG, "\udcff\udcfe"], ids=["long", "not UTF-8"])
@pytest.mark.parametrize(("command", "option"), [(c, o) for c, o, number in VALUES if not number])
def test_no_text_is_a_traceback(
    here: None, chargen: Run, command: str, option: str, value: str
) -> None:
    line = (LINES | REFUSED).get(command, "") if option else ""
    told(chargen, f"{command} {option} {value} {line}")


@pytest.mark.parametrize(
    ("command", "option"),
    [(c, o) for c, o, number in VALUES if number and f"{c} {o}" not in ENDLESS],
)
def test_no_number_is_a_traceback(here: None, chargen: Run, command: str, option: str) -> None:
    told(chargen, f"{command} {option} 1{'0' * 30} {(LINES | REFUSED)[command]}")


# -- encodings and streams ----------------------------------------------------------------

POOR = ({"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONUTF8": "0"})


@pytest.mark.parametrize("command", LINES)
def test_a_poor_encoding_is_no_trouble(here: None, command: str) -> None:
    for variables in POOR:
        line = f"chargen {command} {LINES[command]}"
        done = shell(line, **variables, PYTHONCOERCECLOCALE="0")
        assert done.returncode == 0, done.stderr
        assert bool(done.stdout) == (command != QUIET)


@pytest.mark.parametrize("command", [*LINES, "--help", "--version", "train --help", "info --toml"])
def test_a_full_or_closed_stream_is_one_line(here: None, command: str) -> None:
    line = f"chargen {command} {LINES.get(command, '')}"
    for place, reason in (("> /dev/full", "No space left on device"), (">&-", "Bad file desc")):
        done = shell(f"{line} {place}")
        if command == QUIET:
            assert done.returncode == 0
        else:
            words = f"chargen: cannot write to standard output: {reason}"
            assert done.returncode == 1
            assert done.stderr.decode().splitlines()[-1].startswith(words)
            assert b"Traceback" not in done.stderr
    for place in ("<&- 2>&-", "2> /dev/full"):
        assert shell(f"{line} {place}").returncode == 0
    assert shell(f"{line} <&- >&- 2>&-").returncode == (
        1 if command not in ("train", "repl") else 0
    )


@pytest.mark.parametrize("command", [*LINES, "--help", "train --help"])
def test_a_closed_pipe_ends_in_silence_with_141(here: None, command: str) -> None:
    line = f"chargen {command} {LINES.get(command, '')}"
    done = shell(f"set -o pipefail; {{ sleep 0.3; {line}; }} | true")
    assert done.returncode == (0 if command == QUIET else 141), done.stderr
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("command", ["train", "eval", "score", "heat", "corpus stats"])
def test_ctrl_c_while_a_text_is_read_is_said(here: None, command: str) -> None:
    os.mkfifo("fifo")
    line = [sys.executable, "-m", "chargen", *command.split(), "fifo"]
    with running(line) as process, Path("fifo").open("wb"):  # it is being read from here on
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=LIMIT)
    assert (process.returncode, told.splitlines()[-1]) == (130, "chargen: interrupted")
    assert "Traceback" not in told


def test_a_run_with_a_foreign_name_is_shown_in_ascii(chargen: Run) -> None:
    write("good", "good text, é and ☃ " * 30)
    assert chargen("train", "good", "--name", "été-Ж", *QUICK).returncode == 0
    for command in ("runs", "info -m été-Ж", "compare été-Ж", "eval -m été-Ж"):
        done = shell(f"chargen {command}", PYTHONIOENCODING="ascii", PYTHONUTF8="1")
        assert done.returncode == 0, done.stderr


def test_closed_streams_do_not_stop_training(chargen: Run, prose: str) -> None:
    write("good", prose)
    for number, place in enumerate(("<&-", ">&-", "2>&-", "2> /dev/full", "<&- >&- 2>&-")):
        done = shell(f"chargen train good --name a{number} {' '.join(QUICK)} {place}")
        assert done.returncode == 0, done.stderr
        assert chargen("info", "-m", f"a{number}").returncode == 0


def test_a_full_disk_for_events_saves_the_run(chargen: Run, prose: str) -> None:
    write("good", prose)
    done = shell(f"chargen train good --name a --json {' '.join(QUICK)} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("chargen: cannot write to standard")
    assert chargen("train", "--resume", "--name", "a", "--steps", "2").returncode == 0


@pytest.mark.parametrize("command", ["train -", "eval -", "corpus stats -"])
def test_closed_standard_input_is_one_line(with_model: Path, command: str) -> None:
    done = shell(f"chargen {command} <&-")
    assert "Traceback" not in done.stderr.decode()
    assert done.returncode == 1, done.stderr


# -- numbers and memory -------------------------------------------------------------------


def test_a_window_longer_than_the_text_is_the_text(with_model: Path) -> None:
    done = shell(f"cd {with_model.parents[2]}; chargen eval --window 1000000000000")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("setting", ["--epochs inf", "--epochs nan", "--time inf", "--steps 0"])
def test_a_budget_that_is_no_number_is_one_line(setting: str) -> None:
    write("good", "good text " * 30)
    done = shell(f"chargen train good {setting}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr.decode()


def test_running_out_of_memory_says_what_to_reduce() -> None:
    write("good", "good text " * 300)
    train = "chargen train good --name a --hidden 16384 --layers 8 --steps 3 --threads 1"
    done = shell(f"ulimit -v 8000000; {train}")
    told = done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback" not in told
    assert "out of memory; train again with a smaller --hidden" in told.splitlines()[-1]
    assert not Path("checkpoints/a").exists()


# -- one way to name a model, and to complete it ------------------------------------------


def test_every_command_takes_its_model_with_m(chargen: Run, with_model: Path) -> None:
    assert chargen("info", "small").stdout == chargen("info", "-m", "small").stdout != ""
    assert chargen("compare", "small").stdout == chargen("compare", "-m", "small").stdout != ""
    twice = chargen("info", "small", "-m", "small")
    assert twice.returncode == 2
    assert twice.stderr.startswith("chargen: the model is named twice")


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("info -m sm", "small"),
        ("compare sm", "small"),
        ("sample -m ", "small"),
        ("train x --cell min", "mingru"),
        ("train x --base s", "small"),
    ],
)
def test_the_shell_completes_runs_and_cells(with_model: Path, typed: str, wanted: str) -> None:
    words = f"chargen {typed}"
    count = str(len(words.split(" ")) - 1)
    told = shell(
        f'{sys.executable} -c \'import sys; sys.argv[0] = "chargen"; import chargen.cli as c; '
        'c.app(prog_name="chargen")\'',
        _CHARGEN_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=count,
    )
    assert wanted in told.stdout.decode().split(), told.stderr


def test_a_run_on_a_field_is_the_same_run_again(chargen: Run) -> None:
    lines = "".join(f'{{"a": "record {n} of some words", "b": 1}}\n' for n in range(300))
    write("d.jsonl", lines)
    options = ("--field", "a", "--separator", r"\t\\\r\n", "--seed", "1")
    assert chargen("train", "d.jsonl", "--name", "a", *options, *QUICK).returncode == 0
    write("again.toml", chargen("info", "-m", "a", "--toml").stdout)
    done = chargen("train", "d.jsonl", "--name", "b", "--config", "again.toml", "--threads", "1")
    assert done.returncode == 0, done.stderr
    facts = [chargen("info", "-m", name, "--json").stdout for name in "ab"]
    texts = [[line for line in text.splitlines() if "sha256" in line] for text in facts]
    assert texts[0] == texts[1] != []
