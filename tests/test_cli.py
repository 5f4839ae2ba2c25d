"""The command as a process, and what it says on stdout and stderr."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import chargen
from chargen.cli.common import parse_duration
from chargen.config import CELLS
from chargen.output import visible
from tests.conftest import Run

QUICK = ("--hidden", "16", "--lanes", "4", "--window", "16", "--threads", "1", "--steps", "12")


def write(name: str, data: bytes | str) -> Path:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return Path(name)


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
    for command in (["--help"], ["sample", "-n", "5"], ["info"], ["runs"], ["train", "--help"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "chargen", *command],
            capture_output=True,
            text=True,
            check=True,
        )
        imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
        assert not [name for name in imported if re.fullmatch(r"torch(\..*)?", name)]
        if command == ["--help"]:
            assert not imported & {"numpy", "onnxruntime", "sentencepiece", "safetensors"}


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
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("1.5h", 5400)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "2m 3s", "-5", "1e3", "5m5"])
def test_no_durations_are_refused(text: str, chargen: Run) -> None:
    done = chargen("train", "x", f"--time={text}")
    assert done.returncode == 2
    assert "is no duration; write 90s, 2m, 1h30m or 1.5h" in " ".join(done.stderr.split()).replace(
        "│ │ ", ""
    )


# -- what is wrong ------------------------------------------------------------------------

TRAIN_ERRORS = [
    (
        ["no.txt"],
        1,
        "corpus 'no.txt' does not exist; give a file, a folder, - for standard input, "
        "or a built-in text (builtin:pydoc, builtin:stdlib)",
    ),
    (["empty"], 1, "corpus 'empty' is empty; give a text of a few thousand characters"),
    (
        ["images"],
        1,
        "folder 'images' holds no text file (1 others); name the files, "
        "or train on bytes with --tokenizer byte",
    ),
    (
        ["images/a.png"],
        1,
        "corpus 'images/a.png' is a binary file, not a text; "
        "train on its bytes with --tokenizer byte",
    ),
    (
        ["latin"],
        1,
        "corpus 'latin' is not utf-8: byte 0xE9 at offset 3; name its encoding, for example "
        "--encoding latin-1, or train on its bytes with --tokenizer byte",
    ),
    (
        ["short"],
        1,
        "the corpus has 5 characters; at least 20 are needed, and some thousands to learn a voice",
    ),
    ([], 2, "no corpus given; name a file, a folder, - or builtin:pydoc"),
    (["x", "--resume"], 2, "--resume goes on with a run's own corpus; "
     "leave corpus and --force out"),
    (["x", "--stack", "lstm"], 2, "stack part 'lstm' is not CELL:WIDTH; write for example "
     "gru:128,lstm:64"),
    (["x", "--cell", "tcn"], 2, "cell is 'tcn'; allowed: rnn, rnn-relu, lstm, "
     "lstm-peephole, lstm-coupled, gru, gru-before"),
    (["x", "--dropout", "1"], 2, "dropout is 1.0; allowed: 0 to below 1"),
    (["x", "--tokenizer", "word"], 2, "tokenizer is 'word'; allowed: char, byte, unigram, bpe"),
    (["x", "--device", "tpu"], 2, "device is 'tpu'; allowed: auto, cpu, cuda, mps"),
    (["x", "--encoding", "utf-42"], 2, "encoding is 'utf-42'; allowed: names Python knows, "
     "such as utf-8, latin-1, cp1252"),
    (["good", "--name", "a/b"], 2, "name is 'a/b'; "
     "allowed: letters, digits, '-', '_', '.', spaces"),
    (["--resume"], 1, "no unfinished run in 'checkpoints'; `chargen runs` lists them, and "
     "--resume --name NAME --time 5m extends a finished one"),
    (["--resume", "--name", "x"], 1, "no run 'x' to resume (runs: none yet)"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), TRAIN_ERRORS)
def test_what_cannot_be_trained_on_is_one_clear_line(
    chargen: Run, arguments: list[str], code: int, message: str
) -> None:
    write("empty", b"")
    write("images/a.png", bytes(range(256)) * 3)
    write("latin", "café au lait".encode("latin-1"))
    write("short", "short")
    write("good", "good text " * 30)
    done = chargen("train", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"chargen: {message}\n"
    assert not Path("checkpoints").exists()


def foreign(name: str) -> None:
    import numpy as np
    import safetensors.numpy

    safetensors.numpy.save_file({"x": np.zeros(3)}, name)


MODEL_ERRORS = [
    (None, 1, "no model in 'checkpoints'; make one: chargen train builtin:pydoc --time 1m"),
    ("gone", 1, "no model 'gone'; give a run's name, its folder or a .safetensors file "
     "(runs: none yet)"),
    ("foreign.safetensors", 1, "'foreign.safetensors' was written by another program, "
     "not by chargen train"),
    ("cut.safetensors", 1, "'cut.safetensors' is truncated or not a safetensors file"),
]  # fmt: skip


@pytest.mark.parametrize("command", ["sample", "info", "repl"])
@pytest.mark.parametrize(("model", "code", "message"), MODEL_ERRORS)
def test_what_is_no_model_is_one_clear_line(
    chargen: Run, trained: Path, command: str, model: str | None, code: int, message: str
) -> None:
    foreign("foreign.safetensors")
    write("cut.safetensors", (trained / "small/model.safetensors").read_bytes()[:5000])
    done = chargen(command, *(["-m", model] if model else []))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"chargen: {message}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not made read-only so")
def test_a_folder_that_cannot_be_written_is_one_clear_line(chargen: Run) -> None:
    write("good", "good text " * 30)
    write("file", "")
    environment = {**os.environ, "CHARGEN_CHECKPOINTS": "file/runs"}
    done = chargen("train", "good", "--name", "x", env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "chargen: cannot write 'file/runs/x': Not a directory; make room or make it writable, "
        "or choose another place with CHARGEN_CHECKPOINTS or CHARGEN_CACHE\n"
    )


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_read_only_folder_is_one_clear_line(isolated: Path) -> None:
    write("good", "good text " * 30)
    Path("sealed").mkdir(mode=0o555)
    command = [sys.executable, "-m", "chargen", "train", "good", "--name", "x"]
    environment = {**os.environ, "CHARGEN_CHECKPOINTS": str(isolated / "sealed" / "runs")}
    if os.geteuid() == 0:  # root writes anywhere unless it gives that right up
        if shutil.which("setpriv") is None:
            pytest.skip("runs as root, and there is no setpriv to give rights up with")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"chargen: cannot write '{isolated}/sealed/runs/x': Permission denied; make room or make "
        "it writable, or choose another place with CHARGEN_CHECKPOINTS or CHARGEN_CACHE\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-t", "-1"], "temperature is -1.0; allowed: 0 to 100"),
        (["-n", "-1"], "length is -1; allowed: 0 or more characters"),
        (["--top-p", "0"], "top-p is 0.0; allowed: more than 0, up to 1"),
        (["--device", "x"], "device is 'x'; allowed: auto, cpu, cuda, mps"),
    ],
)
def test_a_wrong_setting_of_sample_is_one_clear_line(
    chargen: Run, with_model: Path, arguments: list[str], message: str
) -> None:
    done = chargen("sample", "--seed", "1", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"chargen: {message}\n")


def test_debug_shows_the_traceback_of_an_error(chargen: Run) -> None:
    done = chargen("--debug", "info", "-m", "gone")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "CheckpointError: no model 'gone'" in done.stderr


@pytest.mark.parametrize("error", ["ValueError('x')", "OSError(5, 'x')", "KeyError('x')"])
def test_an_error_of_ours_shows_as_a_bug(with_model: Path, error: str) -> None:
    inject = (
        "import chargen.sampler, chargen.cli\n"
        "def fail(*args, **kwargs):\n"
        f"    raise {error}\n"
        "chargen.sampler.draw = fail\n"
        "chargen.cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", inject, "sample", "-n", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert error.split("(", maxsplit=1)[0] in done.stderr.splitlines()[-1]


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


def test_without_a_seed_one_is_drawn_and_printed(chargen: Run, with_model: Path) -> None:
    first = chargen("sample", "-n", "50")
    assert first.stderr.startswith("chargen: --seed ")
    again = chargen("sample", "-n", "50", *first.stderr.split()[1:])
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert chargen("sample", "-n", "50").stdout != first.stdout


def test_unseen_characters_of_a_prompt_are_named(chargen: Run, with_model: Path) -> None:
    done = chargen("sample", "--seed", "1", "-n", "20", "-p", "日本 The")
    assert done.returncode == 0
    assert done.stderr == "chargen: the model never saw '日', '本'; read as unknown characters\n"
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


def test_a_closed_pipe_ends_quietly(with_model: Path) -> None:
    command = f"{sys.executable} -W error -m chargen sample --seed 1 -n 20000 | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert len(done.stdout) == 10
    assert done.stderr == b""


def test_an_interrupted_sample_exits_with_130(with_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "chargen", "sample", "--seed", "1", "-n", "100000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, b"")


# -- training -----------------------------------------------------------------------------


def test_a_run_is_told_line_by_line_in_a_pipe(chargen: Run, prose: str) -> None:
    write("my text.txt", prose[:4000].replace("\n", "\r\n"))
    done = chargen("train", "my text.txt", "--seed", "1", *QUICK)
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"chargen: \d+ CRLF line ends read as LF \(--newlines keep .*\)", lines[0])
    assert re.fullmatch(r"training my-text-\d{4}-\d\d-\d\d", lines[1])
    assert [line.split()[0] for line in lines[2:6]] == ["corpus", "model", "recipe", "plan"]
    assert "seed 1" in lines[4]
    evaluations = [line for line in lines if "val " in line and "bits/char" in line]
    assert len(evaluations) >= 2
    assert lines[-4].startswith("done: 12 steps in 0:0")
    assert re.match(r"validation \d\.\d{4} nats per token, \d\.\d{4} bits per char", lines[-3])
    assert re.fullmatch(r"checkpoints/my-text-\S+/model.safetensors", lines[-2])
    assert lines[-1].startswith("write with it: chargen sample -m my-text-")
    assert "\x1b" not in done.stderr
    assert chargen(*lines[-1].split()[4:], "-n", "9", "--seed", "1").returncode == 0


def test_quiet_says_nothing_and_a_small_text_is_fitted(chargen: Run) -> None:
    write("small.txt", "to be or not to be. " * 3)
    quiet = chargen("train", "small.txt", "--name", "a", "-q", *QUICK)
    assert quiet.returncode == 0
    assert quiet.stderr == (
        "chargen: the text is small: lanes 1, window 16 (instead of 4 and 16)\n"
    )
    assert chargen("sample", "-m", "a", "--seed", "1", "-n", "5").returncode == 0


@pytest.mark.parametrize("tokenizer", ["byte", "unigram", "bpe"])
@pytest.mark.parametrize("frac", ["0", "0.1"])
def test_every_tokenizer_trains_and_writes(
    chargen: Run, prose: str, tokenizer: str, frac: str
) -> None:
    done = chargen(
        *("train", "-", "--name", "a", "--tokenizer", tokenizer, "--vocab-size", "300"),
        *("--val-frac", frac, *QUICK),
        input=prose[:3000],
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(chargen("sample", "--json", "-n", "40", "--seed", "1").stdout)
    assert len(answer["text"]) == 40
    facts = json.loads(chargen("info", "--json").stdout)
    assert facts["tokenizer"] == tokenizer
    assert facts["steps"] == 12
    assert (facts["final_val_loss"] is None) == (frac == "0")


def test_a_vocabulary_that_does_not_fit_is_said(chargen: Run) -> None:
    write("text", "to be or not to be. " * 9)
    done = chargen("train", "text", "--tokenizer", "bpe", "-q", *QUICK)
    assert done.returncode == 0
    assert re.search(
        r"chargen: the vocabulary has \d+ pieces instead of 1,000: as many as the text needs or f",
        done.stderr,
    )


def test_a_binary_file_trains_on_its_bytes(chargen: Run) -> None:
    write("blob", bytes(range(256)) * 12)
    done = chargen("train", "blob", "--name", "a", "--tokenizer", "byte", *QUICK)
    assert done.returncode == 0, done.stderr


def test_a_name_in_use_is_refused_and_forced(chargen: Run) -> None:
    write("text", "to be or not to be. " * 9)
    assert chargen("train", "text", "--name", "a", *QUICK).returncode == 0
    done = chargen("train", "text", "--name", "a", *QUICK)
    assert done.returncode == 1
    assert done.stderr == (
        "chargen: run 'a' exists; go on with --resume --name a, or begin it again with --force\n"
    )
    assert chargen("train", "text", "--name", "a", "--force", *QUICK).returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_saved_and_goes_on(
    chargen: Run, prose: str, number: signal.Signals, code: int
) -> None:
    write("text.txt", prose)
    options = ("--hidden", "16", "--steps", "100000", "--name", "a", "--threads", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "chargen", "train", "text.txt", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not Path("checkpoints/a/resume.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    last = errors.splitlines()[-1]
    assert re.fullmatch(
        r"stopped after [\d,]+ of 100,000 steps and saved; go on with: "
        r"chargen train --resume --name a",
        last,
    )
    assert "resumable" in chargen("runs").stdout
    steps = json.loads(chargen("info", "--json", "-m", "a").stdout)["steps"]
    assert steps >= 1
    done = chargen("train", "--resume", "--steps", "5")
    assert done.returncode == 0, done.stderr
    assert "resuming at step" in done.stderr
    assert "finished" in chargen("runs").stdout
    done = chargen("train", "--resume", "--name", "a")
    assert done.returncode == 1
    assert done.stderr.startswith("chargen: run 'a' is finished after ")


def test_a_killed_run_goes_on(chargen: Run, prose: str) -> None:
    write("text.txt", prose)
    options = ("--hidden", "16", "--steps", "300", "--name", "a", "--threads", "1", "--seed", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "chargen", "train", "text.txt", *options, "-q"]
    )
    while not Path("checkpoints/a/resume.safetensors").exists():
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = chargen("train", "--resume")
    assert done.returncode == 0, done.stderr
    assert (
        json.loads(Path("checkpoints/a/metrics.jsonl").read_text().splitlines()[-1])["steps"] == 300
    )


def test_a_time_budget_is_kept(chargen: Run, prose: str) -> None:
    write("text.txt", prose)
    began = time.monotonic()
    done = chargen("train", "text.txt", "--hidden", "32", "--time", "8s", "--threads", "1")
    assert done.returncode == 0, done.stderr
    # How exactly it is kept is measured by benchmarks/quality.py; a busy machine may be late.
    assert 5.0 < time.monotonic() - began < 20


# -- looking ------------------------------------------------------------------------------


def test_info_tells_what_a_model_is(chargen: Run, with_model: Path) -> None:
    facts = json.loads(chargen("info", "--json").stdout)
    assert facts["file"] == str(with_model)
    assert facts["stack"] == "lstm:48"
    assert (
        facts["parameters"]
        == 64 * facts["vocab_size"] + 4 * 48 * (64 + 48 + 2) + 49 * facts["vocab_size"]
    )
    assert facts["corpus"] == ["prose.txt"]
    assert (facts["steps"], facts["seed"]) == (60, 3)
    assert facts["final_val_loss"] < 3.2
    plain = chargen("info").stdout
    for name in facts:
        assert name in plain


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
    assert done.stdout.splitlines()[0].split() == ["run", "stack", "steps", "val", "nats", "state"]
    assert re.match(r"small +lstm:48 +60 +\d\.\d{4} +finished", done.stdout.splitlines()[1])
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
    assert done.returncode == 0
    assert done.stdout.startswith("The ")
    rest = done.stdout[len("The ") + 30 + 1 :]
    assert rest.startswith("It ")
    assert len(rest) == len("It ") + 5 + 1 + 5 + 1
    assert "never" not in done.stdout
    told = done.stderr.replace("chargen: ", "").splitlines()
    assert told[:5] == [
        "temp is 0",
        "length is 5",
        "/length wants a number, not 'x'",
        "'/wrong' is no command; /help lists them",
        "the text is forgotten",
    ]
    assert told[-1] == "temperature is -1.0; allowed: 0 to 100"
    assert "/temp 0.7" in done.stderr
    assert chargen("repl", "--seed", "1", "-n", "30", input="The \n").stdout == done.stdout[:35]
    unseen = chargen("repl", "--seed", "1", "-n", "3", input="日\n").stderr
    assert unseen == "chargen: the model never saw '日'; read as unknown characters\n"


# -- a terminal ---------------------------------------------------------------------------


PROMPT = "\x1b[6n"  # prompt_toolkit asks for the cursor when it begins a prompt


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.shown, self._answered = "", 0
        pid, self._descriptor = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
            os.environ.pop("NO_COLOR", None)
            os.execv(sys.executable, [sys.executable, "-m", "chargen", *arguments])
        self._pid = pid

    def wait_for(self, text: str, times: int = 1, after: str = "") -> None:
        deadline = time.monotonic() + 60
        while self.shown[self.shown.find(after) :].count(text) < times:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._descriptor], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._descriptor, 65536).decode("utf-8", "replace")
                except OSError:  # the process has ended
                    assert text in self.shown, self.shown
                    return
            while self._answered < self.shown.count("\x1b[6n"):  # where is the cursor?
                self._answered += 1
                os.write(self._descriptor, b"\x1b[1;1R")

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def end(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)


def test_a_terminal_shows_a_bar_and_samples(prose: str) -> None:
    write("text.txt", prose)
    terminal = Terminal("train", "text.txt", "--hidden", "16", "--time", "10s", "--threads", "1")
    terminal.wait_for("chars/s  train")
    terminal.wait_for("│")
    terminal.wait_for("write with it")
    assert terminal.end() == 0
    assert "━" in terminal.shown


def test_the_repl_in_a_terminal(with_model: Path) -> None:
    terminal = Terminal("repl", "-n", "100000", "--seed", "1")
    terminal.wait_for(PROMPT)
    terminal.type("The \r")
    terminal.wait_for("The ", after=PROMPT)
    time.sleep(0.5)
    terminal.type("\x03")  # stops the text
    terminal.wait_for(PROMPT, times=2)
    terminal.type("\x03")  # leaves the line
    terminal.wait_for(PROMPT, times=3)
    terminal.type("/temp 0.5\r")
    terminal.wait_for("temp is 0.5")
    terminal.wait_for(PROMPT, times=4)
    terminal.type("\x04")
    assert terminal.end() == 0


def test_control_characters_are_shown_and_never_obeyed() -> None:
    assert visible("a\x1b[31m\n\t\x07\x7f\x9b") == "a␛[31m\n\t␇␡\ufffd"


def test_the_python_face_is_typed() -> None:
    assert (Path(chargen.__file__).parent / "py.typed").exists()
