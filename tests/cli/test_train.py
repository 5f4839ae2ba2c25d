"""Training as a process: told, stopped, killed and resumed."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Run, needs_torch, start_training, write
from tests.processes import running, wait_for

SMALL = ("--steps", "3", "--hidden", "8", "--layers", "1", "--threads", "1", "-q")
QUICK = ("--hidden", "16", "--batch-size", "4", "--bptt", "16", "--threads", "1", "--steps", "12")


# -- training -----------------------------------------------------------------------------


def test_a_run_is_told_line_by_line_in_a_pipe(chargen: Run, prose: str) -> None:
    write("my text.txt", prose[:4000].replace("\n", "\r\n"))
    done = chargen("train", "my text.txt", "--seed", "1", *QUICK)
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"chargen: \d+ CRLF line ends read as LF \(--newlines keep .*\)", lines[0])
    assert re.fullmatch(r"training my-text-\d{4}-\d\d-\d\d", lines[1])
    facts = ["corpus", "n-gram", "model", "recipe", "plan"]
    assert [line.split()[0] for line in lines[2:7]] == facts
    assert re.search(r"  \d\.\d{4} nats \(Kneser-Ney, order \d\)$", lines[3])
    assert lines[6].endswith(", seed 1")
    evaluations = [line for line in lines if "val " in line and "bits/char" in line]
    assert len(evaluations) >= 2
    assert lines[-7].startswith("done: 12 steps in 0:0")
    assert re.match(r"validation \d\.\d{4} nats per token, \d\.\d{4} bits per char", lines[-6])
    assert re.fullmatch(r"stateless, in windows of 256 tokens: \d\.\d{4} nats per token", lines[-5])
    told = r"(under|over)?fitted: \d\.\d\d nats on text it learned, \d\.\d\d on new text, .*"
    assert re.fullmatch(told, lines[-4])
    assert re.match(
        r"the n-gram baseline is better, with \d\.\d{4}: train longer: chargen ", lines[-3]
    )
    assert re.fullmatch(r"checkpoints/my-text-\S+/model.safetensors", lines[-2])
    assert lines[-1].startswith("generate with: chargen sample -m my-text-")
    assert "\x1b" not in done.stderr
    assert chargen(*lines[-1].split()[3:], "-n", "9", "--seed", "1").returncode == 0


def test_quiet_says_nothing_and_a_small_text_is_fitted(chargen: Run) -> None:
    write("small.txt", "to be or not to be. " * 3)
    quiet = chargen("train", "small.txt", "--name", "a", "-q", *QUICK)
    assert quiet.returncode == 0
    small, smaller = quiet.stderr.splitlines()
    assert small == "chargen: the text is small: batch size 1, bptt 16 (instead of 4 and 16)"
    told = r"chargen: the text is small for this model \(54 tokens for [\d,]{5} parameters\): .*"
    assert re.fullmatch(told, smaller)
    assert chargen("sample", "-m", "a", "--seed", "1", "-n", "5").returncode == 0


@pytest.mark.parametrize(("tokenizer", "frac"), [("byte", "0.1"), ("unigram", "0"), ("bpe", "0.1")])
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


def test_a_stopped_run_is_saved_and_goes_on(chargen: Run, prose: str) -> None:
    with start_training(prose) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
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


def test_a_time_budget_is_kept(chargen: Run, prose: str) -> None:
    write("text.txt", prose)
    began = time.monotonic()
    done = chargen("train", "text.txt", "--hidden", "32", "--time", "8s", "--threads", "1")
    assert done.returncode == 0, done.stderr
    # How exactly it is kept is measured by benchmarks/quality.py; a busy machine may be late.
    assert 5.0 < time.monotonic() - began < 20


@needs_torch
def test_a_run_belongs_to_one_process(chargen: Run, prose: str) -> None:
    write("text.txt", prose)
    command = [sys.executable, "-m", "chargen", "train", "text.txt", "--hidden", "16"]
    command += ["--steps", "100000", "--name", "a", "--threads", "1"]
    with running(command) as process:
        wait_for(Path("checkpoints/a/metrics.jsonl"), process)
        for options in (("text.txt", "--name", "a", "--force"), ("--resume", "--name", "a")):
            refused = chargen("train", *options, "--steps", "5")
            assert refused.returncode == 1
            assert refused.stderr == (
                "chargen: run 'a' is being trained by another process; wait until it ends, "
                "or give this one another --name\n"
            )
        process.send_signal(signal.SIGKILL)
    assert chargen("train", "--resume", "--name", "a", "--steps", "1").returncode == 0


@needs_torch
def test_a_run_interrupted_while_measuring_leaves_no_folder(prose: str) -> None:
    write("text.txt", prose)
    command = [sys.executable, "-m", "chargen", "train", "text.txt", "--name", "a"]
    command += ["--stack", "lstm:2048,lstm:2048", "--steps", "9"]  # measuring takes seconds
    with running(command) as process:
        wait_for(Path("checkpoints/a"), process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert not Path("checkpoints/a").exists()


# -- options that a run takes no part of --------------------------------------------------


@needs_torch
def test_the_tightest_budget_counts_to_the_end_of_a_resumed_run(chargen: Run, prose: str) -> None:
    write("text", prose)
    assert chargen("train", "text", "--name", "a", *SMALL).returncode == 0
    done = chargen("train", "--resume", "--name", "a", "--time", "10m", "--steps", "40")
    assert done.returncode == 0, done.stderr
    assert "done: 43 steps" in done.stderr


@needs_torch
def test_what_a_byte_model_does_not_do_is_refused(chargen: Run, prose: str) -> None:
    write("text", prose)
    assert chargen("train", "text", "--name", "a", "--tokenizer", "byte", *SMALL).returncode == 0
    for begun in (("--tokenizer", "byte"), ("--base", "a")):
        done = chargen("train", "text", *begun, "--newlines", "fold", *SMALL[-3:])
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "leave --newlines fold out" in done.stderr
    write("again.toml", chargen("info", "-m", "a", "--toml").stdout)
    again = chargen("train", "text", "--config", "again.toml", "--name", "b", *SMALL[-3:])
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--base", "small", "--forget-bias", "3"), "leave --forget-bias out"),
        (("--base", "small", "--recurrent-init", "identity"), "leave --recurrent-init out"),
        (("--base", "small", "--input-init", "orthogonal"), "leave --input-init out"),
        (("--base", "small", "--recurrent-scale", "2"), "leave --recurrent-scale out"),
        (("--json", "--quiet"), "--json and --quiet cannot be combined; leave one out"),
        (
            ("--optimizer", "sgd", "--weight-decay", "0.5"),
            "weight decay is 0.5; allowed: 0, unless",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(
    chargen: Run, with_model: Path, options: tuple[str, ...], words: str
) -> None:
    write("text", "to be or not to be. " * 9)
    done = chargen("train", "text", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
