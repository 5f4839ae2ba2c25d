"""The command as a process, and what it says on stdout and stderr."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chargen.cli.options import parse_duration
from chargen.model.spec import CELLS
from tests.conftest import Run, needs_torch, write
from tests.processes import finish, running

# -- help ---------------------------------------------------------------------------------


def test_the_version_is_told(chargen: Run) -> None:
    done = chargen("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "chargen 0.1.0\n", "")


@pytest.mark.parametrize(
    "command", [[], ["train"], ["sample"], ["repl"], ["info"], ["runs"], ["cells"]]
)
def test_every_help_has_an_example(chargen: Run, command: list[str]) -> None:
    done = chargen(*command, "-h")
    assert done.returncode == 0
    assert "Example:  chargen" in done.stdout
    assert chargen(*command, "--help").stdout == done.stdout


def test_help_and_sampling_do_not_import_torch(with_model: Path) -> None:
    for command in (["--help"], ["sample", "-n", "5"], ["info"], ["eval"], ["train", "--help"]):
        line = [sys.executable, "-X", "importtime", "-m", "chargen", *command]
        done = finish(line, text=True)
        imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
        assert not [name for name in imported if re.fullmatch(r"torch(\..*)?", name)]
        if command == ["--help"]:
            assert not imported & {"numpy", "onnxruntime", "sentencepiece", "safetensors"}


@needs_torch
def test_training_does_not_import_torchs_compiler(prose: str) -> None:
    """It takes 1.5 s of every run, and torch's optimizers ask for it."""
    write("text.txt", prose[:2000])
    quick = ("--steps", "1", "--hidden", "8", "--threads", "1")
    line = [sys.executable, "-X", "importtime", "-m", "chargen", "train", "text.txt", *quick]
    done = finish(line, text=True)
    assert re.search(r" torch\n", done.stderr) and "torch._dynamo" not in done.stderr


def test_shell_completion_is_offered(chargen: Run) -> None:
    environment = {
        **os.environ,
        "_CHARGEN_COMPLETE": "complete_bash",
        "COMP_WORDS": "chargen sa",
        "COMP_CWORD": "1",
    }
    assert "sample" in chargen(env=environment).stdout


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("1.5", 1.5), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("1.5h", 5400)),
        *(("1min", 60), ("2 Mins", 120), ("1 minute", 60), ("30sec", 30), ("5 seconds", 5)),
        *(("1hr", 3600), ("1 hour 30 min", 5400), ("2hours", 7200), ("1d", 86400), ("2m 3s", 123)),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "5ms", "-5", "1e3", "5m5", "1 month"])
def test_no_durations_are_refused(text: str, chargen: Run) -> None:
    done = chargen("train", "x", f"--time={text}")
    assert done.returncode == 2
    assert "is not a valid duration; write 90s, 2m, 1h30m, 1.5h or 2d" in " ".join(
        done.stderr.split()
    ).replace("│ │ ", "")


# -- sampling -----------------------------------------------------------------------------


def test_a_seed_gives_one_text_however_it_is_asked_for(
    chargen: Run, with_model: Path, tmp_path: Path
) -> None:
    def sample(*options: str) -> str:
        done = chargen("sample", "--seed", "1", "-p", "The ", "-n", "300", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    text = sample()
    assert text.startswith("The ")
    assert len(text) == 304
    assert sample() == text  # now from the cached graph
    assert sample("--no-stream") == text
    assert sample("--threads", "1") == text
    assert sample("-m", str(with_model)) == text
    answer = json.loads(sample("--json"))
    assert answer == {"text": text[4:], "prompt": "The ", "finish_reason": "length", "seed": 1}
    for graph in (tmp_path / "cache").rglob("*.onnx"):
        graph.unlink()
    assert sample() == text
    assert sample("--seed", "2") != text


def test_int8_writes_too_and_needs_a_cpu(chargen: Run, with_model: Path) -> None:
    texts = {chargen("sample", "--int8", "--seed", "1", "-n", "60").stdout for _ in range(2)}
    assert [len(text) for text in texts] == [60]
    done = chargen("repl", "--int8", "--seed", "1", "-n", "20", input="The \n")
    assert (done.returncode, len(done.stdout)) == (0, 25)
    done = chargen("sample", "--int8", "--device", "cuda")
    assert done.returncode == 2
    assert done.stderr == "chargen: device is 'cuda'; allowed: cpu, where int8 runs\n"


def test_without_a_seed_one_is_drawn_and_printed(chargen: Run, with_model: Path) -> None:
    first = chargen("sample", "-n", "50")
    assert first.stderr.startswith("chargen: --seed ")
    again = chargen("sample", "-n", "50", *first.stderr.split()[1:])
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert chargen("sample", "-n", "50").stdout != first.stdout


def test_unseen_characters_of_a_prompt_are_named(chargen: Run, with_model: Path) -> None:
    done = chargen("sample", "--seed", "1", "-n", "20", "-p", "日本 The")
    assert done.returncode == 0
    unknown = (
        "chargen: not in the model's vocabulary: '日', '本'; read as unknown characters (UNK)\n"
    )
    assert done.stderr == unknown
    assert len(done.stdout) == 26
    many = "".join(chr(0x3042 + i) for i in range(12))
    done = chargen("sample", "--seed", "1", "-n", "2", "-p", many)
    assert "and 2 more; read as unknown" in done.stderr


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_output_is_utf_8_in_any_locale(chargen: Run, with_model: Path, locale: str) -> None:
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = chargen("sample", "--seed", "1", "-n", "3", "-p", "é", env=environment, text=False)
    assert done.returncode == 0
    assert bytes(done.stdout).startswith("é".encode())  # type: ignore[arg-type]


def test_an_interrupted_sample_exits_with_130(with_model: Path) -> None:
    command = [sys.executable, "-m", "chargen", "sample", "--seed", "1", "-n", "100000000"]
    with running(command, stdout=subprocess.PIPE, text=False) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, b"chargen: interrupted\n")


# -- looking ------------------------------------------------------------------------------


def test_info_tells_what_a_model_is(chargen: Run, with_model: Path) -> None:
    facts = json.loads(chargen("info", "--json").stdout)
    assert facts["file"] == str(with_model)
    assert facts["stack"] == "lstm:48"
    (tables,) = (part for part in facts["parts"] if part["name"] == "n-grams")
    assert (
        facts["parameters"] - tables["parameters"]
        == 64 * facts["vocab_size"] + 4 * 48 * (64 + 48 + 2) + 49 * facts["vocab_size"]
    )
    assert facts["corpus"] == ["prose.txt"]
    assert (facts["steps"], facts["seed"]) == (60, 3)
    assert facts["final_val_loss"] < 3.2


def test_cells_are_listed_with_their_equations(chargen: Run) -> None:
    done = chargen("cells")
    assert (done.returncode, done.stderr) == (0, "")
    for kind in CELLS:
        assert f"{kind}\n{'=' * len(kind)}\n" in done.stdout
    assert done.stdout.count("parameters") >= len(CELLS)
    assert "c_t = f_t * c_{t-1} + (1 - f_t) * g_t" in done.stdout
    assert "::" not in done.stdout


def test_runs_are_listed(chargen: Run, with_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = chargen("runs")
    assert done.stdout.splitlines()[0].split() == [
        "run",
        "stack",
        "labels",
        "steps",
        "val",
        "nats",
        "state",
    ]
    assert re.match(r"small +lstm:48 +- +60 +\d\.\d{4} +finished", done.stdout.splitlines()[1])
    monkeypatch.delenv("CHARGEN_CHECKPOINTS")
    done = chargen("runs")
    assert (done.returncode, done.stdout) == (0, "")
    assert (
        done.stderr == "chargen: no runs in 'checkpoints'; begin one: chargen train builtin:pydoc\n"
    )
    write("checkpoints/odd/model.safetensors", "damaged")
    assert "cannot be resumed" in chargen("runs").stdout


def test_the_repl_continues_each_line_of_a_pipe(chargen: Run, with_model: Path) -> None:
    lines = (
        "The \n/temp 0\n/length 5\nIt \n\n/length x\n/wrong\n/reset\n/help\n/temp -1\n/bye\nnever\n"
    )
    done = chargen("repl", "--seed", "1", "-n", "30", input=lines)
    assert done.returncode == 1  # some lines were refused
    assert done.stdout.startswith("The ")
    rest = done.stdout[len("The ") + 30 + 1 :]
    assert rest.startswith("It ")
    assert len(rest) == len("It ") + 5 + 1 + 5 + 1
    assert "never" not in done.stdout
    told = done.stderr.replace("chargen: ", "").splitlines()
    assert told[:5] == [
        "temp is 0",
        "length is 5",
        "length is 'x'; allowed: a whole number",
        "'/wrong' is not a command; /help lists them",
        "the text is empty; /undo restores the old one",
    ]
    assert told[-1] == "temperature is -1.0; allowed: 0 to 100"
    assert "/temp X" in done.stderr
    assert chargen("repl", "--seed", "1", "-n", "30", input="The \n").stdout == done.stdout[:35]
    unknown = chargen("repl", "--seed", "1", "-n", "3", input="日\n").stderr
    note = "not in the model's vocabulary: '日'; read as unknown characters (UNK)"
    assert unknown == f"chargen: {note}\n"
