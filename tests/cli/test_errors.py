"""What a user does wrong is one clear line on stderr; what we do wrong is a bug."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Run, needs_torch, write
from tests.processes import run

# -- what is wrong ------------------------------------------------------------------------

TRAIN_ERRORS = [
    (
        ["no.txt"],
        1,
        "corpus 'no.txt' does not exist; give a file, a folder, a pattern, - for standard input, "
        "or a known text (builtin:pydoc, builtin:stdlib, tinyshakespeare, warandpeace, names, "
        "alice29, text8, enwik8)",
    ),
    (["empty"], 1, "corpus 'empty' is empty; give a text of a few thousand characters"),
    (
        ["images"],
        1,
        "folder 'images' holds no text file (1 others); name the files, "
        "with --tokenizer byte to train on their bytes",
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
     "leave the corpus out"),
    (["--resume", "--force"], 2, "--resume goes on with a run's own settings; leave --force out"),
    (["--resume", "--hidden", "99", "--lr", ".5", "--seed", "7"], 2,
     "--resume goes on with a run's own settings; leave --hidden, --learning-rate, --seed out"),
    (["x", "--base", "m", "--tokenizer", "bpe"], 2,
     "--base brings its own model and tokenizer; leave --tokenizer out"),
    (["x", "--separator", "\\q"], 2, 
     r"separator has \q; allowed escapes: \n, \t, \r, and \\ for a backslash"),
    (["x", "--hidden", "0"], 2, "hidden size is 0; allowed: 1 to 16384"),
    (["x", "--ngram-order", "17"], 2, "n-gram order is 17; allowed: 1 to 16"),
    (["x", "--ngram-dropout", "1"], 2, "ngram-dropout is 1.0; allowed: 0 to below 1"),
    (
        ["x", "--ngram-order", "1", "--ngram-dropout", "0.5"],
        2,
        "the model has no n-gram embeddings; leave --ngram-dropout out",
    ),
    (["x", "--stack", "lstm"], 2, "stack part 'lstm' is not CELL:WIDTH; write for example "
     "gru:128,lstm:64 or conv:4:128,gru:256"),
    (["x", "--cell", "tcn"], 2, "cell is 'tcn'; allowed: rnn, rnn-relu, lstm, "
     "lstm-peephole, lstm-coupled, lstm-norm, gru, gru-before, mingru, minlstm, conv"),
    (["x", "--recurrent-init", "zero"], 2, "recurrent-init is 'zero'; allowed: auto, orthogonal, "
     "xavier, identity"),
    (["x", "--input-init", "one"], 2, "input-init is 'one'; allowed: xavier, orthogonal"),
    (["x", "--recurrent-scale", "-1"], 2, "recurrent-scale is -1.0; allowed: 0 to 100"),
    (["x", "--forget-bias", "101"], 2, "forget-bias is 101.0; allowed: -100 to 100"),
    (["x", "--dropout", "1"], 2, "dropout is 1.0; allowed: 0 to below 1"),
    (["x", "--tokenizer", "word"], 2, "tokenizer is 'word'; allowed: char, byte, unigram, bpe"),
    (["x", "--device", "tpu"], 2, "device is 'tpu'; allowed: auto, cpu, cuda, mps"),
    (["x", "--encoding", ""], 2, "encoding is ''; allowed: names Python knows, "
     "such as utf-8, latin-1, cp1252"),
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
    (None, 1, "no model in 'checkpoints'; take one that is there: -m english; "
     "or make one: chargen train builtin:pydoc --time 1m"),
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
@needs_torch
def test_a_read_only_folder_is_one_clear_line(isolated: Path) -> None:
    write("good", "good text " * 30)
    Path("sealed").mkdir(mode=0o555)
    command = [sys.executable, "-m", "chargen", "train", "good", "--name", "x"]
    environment = {**os.environ, "CHARGEN_CHECKPOINTS": str(isolated / "sealed" / "runs")}
    if os.geteuid() == 0:  # root writes anywhere unless it gives that right up
        if shutil.which("setpriv") is None:
            pytest.skip("runs as root, and there is no setpriv to give rights up with")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *command]
    done = run(command, text=True, env=environment)
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
        "import chargen.sampling.decoding, chargen.cli\n"
        "def fail(*args, **kwargs):\n"
        f"    raise {error}\n"
        "chargen.sampling.decoding.sample_tokens = fail\n"
        "chargen.cli.main()\n"
    )
    done = run([sys.executable, "-c", inject, "sample", "-n", "5"], text=True)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert error.split("(", maxsplit=1)[0] in done.stderr.splitlines()[-1]
