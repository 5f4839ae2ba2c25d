"""Every option of every command is used: changed, it changes what the command says or does.

The options come from the command line itself, so that a new one without a row here fails. A row is
two command lines, which differ in the option and must differ in what is written, printed or run.
"""

from __future__ import annotations

import functools
import hashlib
import io
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from chargen.cli import app, common
from chargen.errors import ChargenError
from chargen.model.saved import open_model, save_model
from chargen.storage.checkpoint import read_tensors
from tests.cli.option_rows import DEFAULTS, ELSEWHERE, ROWS, TRAIN
from tests.conftest import needs_torch, write
from tests.labelled import ROWS as LABELS_OF_ROWS
from tests.labelled import save_labelled

COMMAND = typer.main.get_command(app)


def commands(found: Any = COMMAND, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all commands by their names."""
    yield name, found
    for own, inner in getattr(found, "commands", {}).items():
        yield from commands(inner, f"{name} {own}".strip())


def test_every_option_has_a_row() -> None:
    options = {(name, option.name) for name, found in commands() for option in found.params}
    rows = {(name, option) for name, own in ROWS.items() for option in own}
    assert options == rows | ELSEWHERE.keys()
    assert not rows & ELSEWHERE.keys()


# -- what a command line leads to ---------------------------------------------------------

Known = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def known() -> Known:
    """What command lines led to: many rows have one side in common."""
    return {}


@pytest.fixture
def files(with_model: Path, prose: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write texts and models into the working directory; leave the process as it was."""
    import torch

    line = "The value of it is 12, caf\u00e9\r\nand the other is 3.\r\n"
    write("prose.txt", prose)
    write("text.txt", line * 40)
    write("old.txt", line.upper() * 30)
    write("a.txt", prose[:1500].replace("\n", "\r\n") + "\u00e9")
    write("b.jsonl", '{"text": "a record of words", "id": 1}\n' * 20)
    write("page.html", f"<html><body>{prose[:500]}</body></html>")
    write("words.txt", "the value of a word\n")
    write("my.toml", "clip = 0.001\n")
    write("small.safetensors", with_model.read_bytes())
    saved = open_model("small")
    weights = {name: array * 0.5 for name, array in saved.weights().items()}
    save_model(Path("other.safetensors"), weights, saved.config, saved.tokenizer, saved.training)
    save_labelled(Path("labelled.safetensors"), **LABELS_OF_ROWS)
    save_labelled(Path("labels.safetensors"), ("b", "a"), **LABELS_OF_ROWS)
    monkeypatch.setattr(common, "BEGAN", time.monotonic())
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    handlers, threads = [signal.getsignal(number) for number in numbers], torch.get_num_threads()
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    torch.set_num_threads(threads)


def result(line: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Run a command line in this process; return all that can be seen of it, but no times."""
    engines = spied(monkeypatch)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    raws = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(raw, "utf-8") for raw in raws)
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"The value\n")), "utf-8")
    for name, stream in (("stdin", stdin), ("stdout", out), ("stderr", err)):
        monkeypatch.setattr(sys, name, stream)
    try:
        code: object = COMMAND.main(shlex.split(line), standalone_mode=False)
    except ChargenError as error:
        code = repr(error)
    changed = [p for p in Path().rglob("*") if p.is_file() and p.read_bytes() != before.get(p)]
    out.flush()
    err.flush()
    printed, told = (raw.getvalue() for raw in raws)
    seen = {"code": code}
    if line.startswith("train"):  # some of its engines are only timed
        seen |= {"json": bool(printed), "told": b"validation" in told, **trained(changed)}
        seen["threads"] = {threads for threads, _ in engines}
    else:
        files = [(str(path), digest(path)) for path in sorted(changed)]
        seen |= {"printed": printed, "told": told, "files": files, "engines": engines}
    for path in changed:
        path.unlink()
    return seen


def spied(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, str]]:
    """Return a set that collects with which threads and graphs the engines run."""
    import onnxruntime
    import torch

    seen: set[tuple[int, str]] = set()
    session, set_threads = onnxruntime.InferenceSession, torch.set_num_threads

    def spy(graph: bytes, options: Any, **others: Any) -> Any:
        seen.add((options.intra_op_num_threads, hashlib.sha256(graph).hexdigest()))
        return session(graph, options, **others)

    def spy_threads(count: int) -> None:
        seen.add((count, "torch"))
        set_threads(count)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    monkeypatch.setattr(torch, "set_num_threads", spy_threads)
    for module in ("engine.onnx", "machine.torch"):  # no choice by time, which would vary
        monkeypatch.setattr(f"chargen.{module}.count_cores", lambda: 1)
    return seen


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trained(changed: list[Path]) -> dict[str, object]:
    """Return what a run has learned and written, except what depends on time: its evaluations."""
    seen: dict[str, object] = {"files": sorted({str(path.parent / path.stem) for path in changed})}
    for path in changed:
        if path.name == "resume.safetensors":
            tensors, header = read_tensors(path, "resume")
            arrays = [tensors[name] for name in sorted(tensors)]
            seen["learned"] = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
            seen["step"] = header["step"]
        if path.name == "model.safetensors":
            seen["held"] = sorted(read_tensors(path, "model")[0])
    return seen


def filled(command: str, words: str) -> str:
    """Return the whole command line of one side of a row."""
    if command != "train":
        return f"{command} {words}"
    more = [own for names, own in DEFAULTS.items() if not any(name in words for name in names)]
    base = TRAIN.replace("a.txt ", "") if words == "b.jsonl" else TRAIN
    return " ".join(["train", base, *more, words.replace("b.jsonl", "")])


@functools.cache
def looked() -> dict[str, Any]:
    """Return the facts about this machine, which are never twice the same."""
    from chargen.machine.report import look

    return look({"checkpoints": Path("checkpoints")})


def prepare(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep training out of the folder of all tests, and what changes by itself out of reports."""
    if command in ("train", "pull"):
        monkeypatch.setenv("CHARGEN_CHECKPOINTS", "checkpoints")
    if command == "demo":
        monkeypatch.setattr(sys.modules["chargen.cli.demo"], "speed", lambda _: 9.0)
    if command == "doctor":
        facts = looked()
        monkeypatch.setattr("chargen.machine.report.look", lambda _: {**facts})
        monkeypatch.setattr("chargen.training.probe.speeds", lambda: {"matrices": {"1": 9.0}})


@needs_torch
@pytest.mark.parametrize("command", ROWS)
def test_the_same_line_leads_to_the_same(
    command: str, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(command, monkeypatch)
    line = filled(command, next(iter(ROWS[command].values()))[0])
    seen = []
    for _ in range(2):
        with monkeypatch.context() as patch:
            seen.append(result(line, patch))
    assert seen[0] == seen[1]


@needs_torch
@pytest.mark.parametrize(
    ("command", "option"), [(name, option) for name, own in ROWS.items() for option in own]
)
def test_an_option_that_is_changed_changes_something(
    command: str, option: str, files: None, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(command, monkeypatch)
    seen = []
    for words in ROWS[command][option]:
        line = filled(command, words)
        if line not in known:
            with monkeypatch.context() as patch:
                known[line] = result(line, patch)
        seen.append(known[line])
    assert seen[0] != seen[1]
    codes = {found["code"] or 0 for found in seen}
    assert codes == {0} or option in ("device", "force", "debug"), seen  # one side is refused
