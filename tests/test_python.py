"""Python interface: the examples of the pages run, and a wrong argument gets one line."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chargen
from chargen import errors
from chargen.errors import ChargenError
from tests.conftest import needs_torch, write
from tests.processes import finish

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {"steps": 60, "hidden": 32, "layers": 1, "seed": 1, "threads": 1}


def examples(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run_example(program: str) -> str:
    """Run a program in a process of its own, warnings being errors; return its stdout."""
    return str(finish([sys.executable, "-W", "error", "-c", program], text=True).stdout)


# -- examples of the pages ----------------------------------------------------------------


@needs_torch
@pytest.mark.timeout(300)  # a dozen processes, three of which train
def test_the_examples_of_the_page_run() -> None:
    outputs = [run_example(program) for program in examples("docs/python.md")]
    assert len(outputs) >= 9
    assert all(outputs), "each shows something"
    assert len(outputs[-1].splitlines()) == 5  # a line for each error
    assert Path("curve.png").stat().st_size > 5000


def test_the_examples_of_the_readme_run(trained: Path) -> None:
    shutil.copytree(trained / "small", "checkpoints/shakespeare")
    for program in examples("README.md"):
        assert len(run_example(program)) > 200


def test_a_notebook_needs_ten_lines_to_train_sample_score_and_plot() -> None:
    (program,) = [program for program in examples("docs/python.md") if "matplotlib" in program]
    for call in ("chargen.train(", ".generate(", ".score(", "plt.plot("):
        assert call in program
    assert len([line for line in program.splitlines() if line.strip()]) <= 10


# -- wrong arguments ----------------------------------------------------------------------


def assert_one_line(error: BaseException, kind: str, words: str) -> None:
    """Check the class of an error and the beginning of its message, which is one line."""
    assert type(error) is getattr(errors, kind)
    assert str(error).startswith(words)
    assert "\n" not in str(error)


@needs_torch
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hiden": 32}, "hiden is not a setting; did you mean hidden?"),
        ({"colour": "red"}, "colour is not a setting; allowed: tokenizer, "),
        ({"temperature": 0.8}, "temperature is not a setting"),
        ({"hidden": "32"}, "hidden is '32'; allowed: a whole number"),
        ({"layers": 1.5}, "layers is 1.5; allowed: a whole number"),
        ({"dropout": "much"}, "dropout is 'much'; allowed: a number"),
        ({"tokenizer": None}, "tokenizer is None; allowed: a text"),
        ({"steps": True}, "steps is True; allowed: a whole number"),
        ({"steps": 0}, "steps is 0; allowed: 1 to 1e12"),
        ({"time": "5m"}, "time is '5m'; allowed: a number"),
        ({"cell": "lstn"}, "cell is 'lstn'; allowed: rnn, "),
        ({"preset": "big"}, "preset is 'big'; allowed: tiny, "),
        ({"tokenizer": "word"}, "tokenizer is 'word'; allowed: char, "),
    ],
)
def test_a_wrong_setting_of_train_is_named_before_anything_is_read(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ChargenError) as raised:
        chargen.train("there-is-no-such-file.txt", **settings)
    assert_one_line(raised.value, "ConfigError", words)


@needs_torch
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no corpus given; name a file, a folder or builtin:pydoc"),
        ({"corpus": []}, "no corpus given"),
        ({"corpus": "x.txt", "threads": 0}, "threads is 0; allowed: 1 to 4096"),
        ({"corpus": "x.txt", "preset": "nano"}, "preset is 'nano'; allowed: tiny, small"),
        ({"corpus": "x.txt", "resume": True}, "resume goes on with a run's own text"),
        ({"resume": True, "force": True}, "resume goes on with a run's own text"),
        (
            {"resume": True, "hidden": 32},
            "resume goes on with a run's own settings; leave --hidden",
        ),
        (
            {"corpus": "x.txt", "base": "mine", "cell": "gru"},
            "base brings its own model and tokenizer; leave --cell",
        ),
    ],
)
def test_arguments_that_contradict_each_other_are_named(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ChargenError) as raised:
        chargen.train(**arguments)
    assert_one_line(raised.value, "ConfigError", words)


@needs_torch
def test_what_only_the_run_can_find_is_an_error_of_its_first_event() -> None:
    write("my.txt", "abcdefgh\n" * 100)
    cases: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({"corpus": "missing.txt"}, "CorpusError", "corpus 'missing.txt' does not exist"),
        ({"corpus": "my.txt", "device": "tpu"}, "DeviceError", "device is 'tpu'"),
        ({"corpus": "my.txt", "name": "a/b"}, "ConfigError", "name is 'a/b'"),
        ({"corpus": "my.txt", "base": "b"}, "CheckpointError", "no model 'b'"),
        ({"resume": True}, "CheckpointError", "no unfinished run in 'checkpoints'"),
        ({"resume": True, "name": "mine"}, "CheckpointError", "no run 'mine' to resume"),
    )
    for arguments, kind, words in cases:
        run = chargen.train(**arguments)
        with pytest.raises(ChargenError) as raised:
            next(run)
        assert_one_line(raised.value, kind, words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temprature": 0.8}, "temprature is not a setting; did you mean temperature?"),
        ({"hidden": 32}, "hidden is not a setting; allowed: length, "),
        ({"temperature": "0.8"}, "temperature is '0.8'; allowed: a number"),
        ({"temperature": -1}, "temperature is -1; allowed: 0 to 100"),
        ({"length": 2.5}, "length is 2.5; allowed: a whole number"),
        ({"top_p": 2.0}, "top-p is 2.0; allowed: more than 0, up to 1"),
        ({"seed": "one"}, "seed is 'one'; allowed: a whole number"),
        ({"stop": 5}, "stop is 5; allowed: a text, or a tuple of texts"),
        ({"stop": ("a", 5)}, "stop is ('a', 5); allowed: a text, or a tuple of texts"),
        ({"stop": ""}, "stop is ''; allowed: texts of one character or more"),
        ({"logit_bias": {"e": "less"}}, "logit-bias is {'e': 'less'}; allowed: pairs"),
        ({"logit_bias": {"the": 1.0}}, "logit-bias is 'the'; allowed: a character"),
        ({"regex": "("}, "regex is '('"),
        ({"regex": 5}, "regex is 5; allowed: a regular expression"),
        ({"words": 5}, "words is 5; allowed: a list of words"),
        ({"no_copy": "20"}, "no-copy is '20'; allowed: "),
        ({"no_copy": 20}, "no-copy needs copies.safetensors"),
    ],
)
def test_a_wrong_setting_of_generate_is_named(
    settings: dict[str, Any], words: str, with_model: Path
) -> None:
    model = chargen.load(threads=1)
    for generate in (model.generate, model.generate_batch):
        with pytest.raises(ChargenError) as raised:
            generate("The ", **settings)
        assert_one_line(raised.value, "ConfigError", words)


Call = Callable[[chargen.Model], object]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda m: m.generate(b"The"), "ConfigError", "prompt is b'The'; allowed: a text"),
        (lambda m: m.generate("\ud800"), "TokenizerError", "the text has the lone surrogate"),
        (lambda m: m.generate_batch("", 0), "ConfigError", "num-samples is 0; allowed: 1 to "),
        (lambda m: m.generate_batch("", "2"), "ConfigError", "num-samples is '2'; allowed: 1 to "),
        (lambda m: m.generate_batch("", beam=0), "ConfigError", "beam is 0; allowed: 1 to "),
        (
            lambda m: m.generate_batch("", beam=2, regex="a"),
            "ConfigError",
            "beam search takes no regex, words or no-copy",
        ),
        (lambda m: m.score(""), "ConfigError", "the text is empty"),
        (lambda m: m.score("\ud800"), "TokenizerError", "the text has the lone surrogate"),
        (lambda m: m.next("\ud800"), "TokenizerError", "the text has the lone surrogate"),
        (lambda m: m.next("The ", top=0), "ConfigError", "top is 0"),
    ],
)
def test_a_wrong_argument_of_a_model_is_named(
    call: Call, kind: str, words: str, with_model: Path
) -> None:
    with pytest.raises(ChargenError) as raised:
        call(chargen.load(threads=1))
    assert_one_line(raised.value, kind, words)


def test_a_wrong_number_of_threads_is_named(with_model: Path) -> None:
    with pytest.raises(ChargenError) as raised:
        chargen.load("small", threads=0)
    assert_one_line(raised.value, "ConfigError", "threads is 0; allowed: 1 to 4096")


def test_one_text_is_as_good_as_a_tuple_of_it(with_model: Path) -> None:
    model = chargen.load(threads=1)
    settings: dict[str, Any] = {"length": 200, "temperature": 0.5, "seed": 1}
    (whole,) = model.generate_batch("The ", **settings)
    for stop in (" ", (" ",), [" "]):
        (text,) = model.generate_batch("The ", stop=stop, **settings)
        assert (text.text, text.finish_reason) == (whole.text.partition(" ")[0], "stop")
    for bias in ({"e": 3.0}, (("e", 3.0),), [("e", 3)]):
        (text,) = model.generate_batch("The ", logit_bias=bias, **settings)
        assert text.text.count("e") > whole.text.count("e")


def test_a_model_that_is_not_there_is_named(with_model: Path) -> None:
    with pytest.raises(ChargenError) as raised:
        chargen.load("missing")
    assert_one_line(raised.value, "CheckpointError", "no model 'missing'; give a run's name")


# -- runs ---------------------------------------------------------------------------------


@needs_torch
def test_a_run_that_is_left_early_is_saved_and_resumes(prose: str) -> None:
    from chargen.training.events import Ended, Evaluated, Started

    write("my.txt", prose[:5000])
    for event in chargen.train("my.txt", name="mine", **SMALL):
        if isinstance(event, Evaluated):
            break
    assert isinstance(event, Evaluated) and event.step < 60
    early = chargen.load("mine", threads=1).score(prose[:200]).bits_per_char
    run = chargen.train(resume=True, name="mine")
    started, *_, ended = run
    assert isinstance(started, Started) and (started.step, started.steps) == (event.step, 60)
    assert isinstance(ended, Ended) and ended.metrics["steps"] == 60
    assert run.model.score(prose[:200]).bits_per_char < early


@needs_torch
def test_ctrl_c_inside_a_step_saves_the_run_and_comes_through(prose: str) -> None:
    write("my.txt", prose[:3000])
    program = """
import chargen, os, signal, threading
training = chargen.train("my.txt", name="mine", hidden=16, layers=1, threads=1, time=50)
next(training)
threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    training.finish(quiet=True)
except KeyboardInterrupt:
    print("interrupted")
again = chargen.train(resume=True, name="mine")
print(next(again).step > 0)
again.close()
"""
    done = finish([sys.executable, "-W", "error", "-c", program], text=True)
    assert done.stdout == "interrupted\nTrue\n"
    assert done.stderr == ""


@needs_torch
@pytest.mark.parametrize(
    "leave",
    ["training.close()", "del training", "pass", "training.__exit__()"],
)
def test_a_run_that_is_left_in_any_way_is_saved(prose: str, leave: str) -> None:
    write("my.txt", prose[:3000])
    program = f"""
import chargen
from chargen.training.events import Evaluated
training = chargen.train("my.txt", name="mine", hidden=16, layers=1, threads=1, steps=500, seed=1)
for event in training:
    if isinstance(event, Evaluated):
        break
{leave}
"""
    done = finish([sys.executable, "-W", "error", "-c", program], text=True)
    assert done.stderr == ""
    with chargen.train(resume=True, name="mine") as training:
        assert next(training).step > 0  # type: ignore[union-attr]


@needs_torch
def test_a_finished_run_needs_a_budget_to_go_on(prose: str) -> None:
    write("my.txt", prose[:3000])
    chargen.train("my.txt", name="mine", **{**SMALL, "steps": 4}).finish(quiet=True)
    with pytest.raises(ChargenError, match="run 'mine' is finished after 4 steps"):
        next(chargen.train(resume=True, name="mine"))
    *_, ended = chargen.train(resume=True, name="mine", steps=2)
    assert ended.metrics["steps"] == 6  # type: ignore[union-attr]


@needs_torch
def test_the_progress_is_shown_as_on_the_command_line(
    prose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("my.txt", prose[:3000])
    run = chargen.train("my.txt", name="mine", **{**SMALL, "steps": 4})
    assert isinstance(run.finish(), chargen.Model)
    shown = capsys.readouterr()
    assert "\ntraining mine\n" in shown.err and "done: 4 steps" in shown.err
    assert not shown.out
    run = chargen.train("my.txt", name="other", **{**SMALL, "steps": 4})
    run.finish(quiet=True)
    assert capsys.readouterr() == ("", "")


def test_python_and_the_command_line_generate_the_same_text(
    with_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"length": 60, "temperature": 0.7, "top_k": 5, "seed": 3}
    text = "".join(chargen.load("small", threads=1).generate("The ", **settings))
    command = ("sample", "-m", "small", "-p", "The ", "-n", "60", "--temp", "0.7", "--top-k", "5")
    line = [sys.executable, "-m", "chargen", *command, "--seed", "3", "--threads", "1"]
    assert finish(line, text=True).stdout.rstrip("\n") == f"The {text}".rstrip("\n")
    (batch,) = chargen.load("small", threads=1).generate_batch("The ", **settings)
    assert (batch.text, batch.finish_reason, batch.seed) == (text, "length", 3)
