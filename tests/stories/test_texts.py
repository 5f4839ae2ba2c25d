"""Texts that others stumbled over: what is learned and measured is what the user meant, or is said.

Each test starts the process as a user would.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chargen.data.dataset import read_like
from chargen.evaluation.heldout import own_dataset
from chargen.model.saved import SavedModel, open_model
from chargen.tokenizers.byte import bytes_of
from tests.conftest import Run, needs_torch, write
from tests.processes import run

SMALL = ("--steps", "2", "--hidden", "8", "--layers", "1", "--threads", "1", "--val-frac", "0")
LINE = "A line of a text, of the usual kind.\n"
TEXT = LINE * 300
TABLE = "".join(f"{number},a value of a table\n" for number in range(300))


def learn(chargen: Run, *args: str, **options: Any) -> tuple[SavedModel, str]:
    """Train a run named m; return its model, and what was said."""
    done = chargen("train", *args, *SMALL, "--name", "m", **options)
    assert done.returncode == 0, done.stderr
    return open_model("m"), done.stderr


def learned(saved: SavedModel) -> str:
    """Return the training text of a model, from the ids that it learned."""
    return saved.tokenizer.decode(own_dataset(saved).train.tolist())


def content(saved: SavedModel, file: str) -> str | bytes:
    """Return a file as a model reads it: a text, or bytes for a byte model."""
    text = read_like(saved.reading, file).whole()
    return bytes_of(text) if saved.tokenizer.kind == "byte" else text


def stats(chargen: Run, *args: str | Path, **options: Any) -> tuple[dict[str, Any], str]:
    """Return what `corpus stats` says of a text, and its notes."""
    done = chargen("corpus", "stats", *args, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that a command ended with one clear line."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("chargen: ")
    for each in words:
        assert each in line


@contextmanager
def pipe_of(name: str, data: bytes) -> Iterator[None]:
    """Make a FIFO that another program writes to, once."""
    os.mkfifo(name)
    writer = threading.Thread(target=lambda: Path(name).write_bytes(data), daemon=True)
    writer.start()
    yield
    writer.join(10)
    assert not writer.is_alive()


# -- bytes --------------------------------------------------------------------------------


@needs_torch
def test_a_byte_model_learns_the_field_and_not_the_records(chargen: Run) -> None:
    write("d.jsonl", "".join(json.dumps({"id": n, "text": f"größer {n}"}) + "\n" for n in range(9)))
    saved, _ = learn(chargen, "d.jsonl", "--field", "text", "--tokenizer", "byte")
    assert learned(saved) == "\n".join(f"größer {n}" for n in range(9))


@needs_torch
def test_a_byte_model_learns_an_encoding_as_utf8(chargen: Run) -> None:
    write("old.txt", ("café au lait\r\n" * 40).encode("latin-1"))
    saved, _ = learn(chargen, "old.txt", "--encoding", "latin-1", "--tokenizer", "byte")
    assert learned(saved) == "café au lait\r\n" * 40
    done = chargen("eval", "old.txt", "-m", "m", "--encoding", "latin-1", "--json")
    assert json.loads(done.stdout)["bytes"] == len("café au lait\r\n".encode()) * 40


def test_without_encoding_and_field_bytes_are_taken_as_they_are(with_byte_model: str) -> None:
    write("any.bin", bytes(range(256)))
    assert content(open_model(with_byte_model), "any.bin") == bytes(range(256))


# -- records ------------------------------------------------------------------------------


def test_values_that_are_no_text_are_skipped_and_counted(chargen: Run) -> None:
    values = ['"a first text"', "null", "true", "[1, 2]", '{"a": 1}', "1.50", '"a last text"']
    write("d.jsonl", "\n".join(f'{{"text": {value}}}' for value in values))
    facts, notes = stats(chargen, "d.jsonl", "--field", "text")
    assert facts["characters"] == len("a first text\n1.50\na last text")
    assert notes == (
        "chargen: 4 of 7 records of 'd.jsonl' skipped: field 'text' is no text "
        "(the first in line 2)\n"
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1,hello, world\n", "'d.csv' line 302 does not fit its 2 columns: it has 3;"),
        ("1\n", "'d.csv' line 302 does not fit its 2 columns: it has 1;"),
        ('1,"hello\n2,world\n3,x\n', "'d.csv' is not CSV in line 302: unexpected end of data; is"),
        ('1,"hello\n2,"world"\n', "'d.csv' is not CSV in line 302: ',' expected after '\"'"),
    ],
)
def test_malformed_rows_are_named(chargen: Run, rows: str, words: str) -> None:
    write("d.csv", "id,text\n" + TABLE + rows)
    refused(chargen("corpus", "stats", "d.csv", "--field", "text"), words)


def test_extensions_in_capitals_are_known(chargen: Run) -> None:
    write("D.CSV", "id,text\n" + TABLE)
    write("A.TXT.GZ", gzip.compress(TEXT.encode()))
    assert stats(chargen, "D.CSV", "--field", "text")[0]["lines"] == 300
    assert stats(chargen, "A.TXT.GZ")[0]["characters"] == len(TEXT)


# -- pipes --------------------------------------------------------------------------------


def test_a_pipe_is_read_whole(chargen: Run) -> None:
    long = LINE * 60_000  # more than two reads
    with pipe_of("pipe", long.encode()):
        facts, _ = stats(chargen, "pipe", "pipe")
    assert facts["characters"] == 2 * len(long) + 1
    write("a.txt", long)
    shell = f"{sys.executable} -m chargen corpus stats <(cat a.txt) --json"
    done = run(["bash", "-c", shell], text=True)
    assert json.loads(done.stdout)["characters"] == len(long)


@needs_torch
@pytest.mark.parametrize("kind", ["char", "byte"])
def test_a_run_from_a_pipe_can_resume(chargen: Run, kind: str) -> None:
    data = TEXT.encode() if kind == "char" else bytes(range(256)) * 20
    with pipe_of("pipe.gz", gzip.compress(data)):
        saved, _ = learn(chargen, "pipe.gz", "--tokenizer", kind)
    Path("pipe.gz").unlink()
    assert len(own_dataset(saved).train) == len(data)
    done = chargen("train", "--resume", "--name", "m", "--steps", "2")
    assert done.returncode == 0, done.stderr


def test_closed_input_and_devices_are_refused(chargen: Run) -> None:
    shell = f"{sys.executable} -m chargen corpus stats - <&-"
    refused(run(["bash", "-c", shell], text=True), "standard input")
    refused(chargen("corpus", "stats", "/dev/zero"), "corpus '/dev/zero' is a device")
    refused(chargen("corpus", "stats", "/dev/stdin"), "corpus '/dev/stdin' is a device")
    with Path(os.devnull).open() as nothing:
        refused(chargen("corpus", "stats", "-", stdin=nothing), "'standard input' is empty")


# -- texts that change --------------------------------------------------------------------


@needs_torch
def test_a_text_that_grows_while_it_is_read_is_noticed(chargen: Run, tmp_path: Path) -> None:
    write("log.txt", LINE * 1000)
    ended = threading.Event()

    def grow() -> None:
        with Path("log.txt").open("a") as file:
            while not ended.wait(0.001):
                file.write(LINE)
                file.flush()

    writer = threading.Thread(target=grow, daemon=True)
    writer.start()
    done = chargen("train", "log.txt", *SMALL, "--name", "m")
    ended.set()
    writer.join(10)
    refused(done, "the corpus changed while it was being read ('log.txt'); run the command again")
    assert not list(tmp_path.rglob("*.ids"))
    assert not Path("checkpoints/m").exists()


# -- tokenizers ---------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_space_stays_a_space_where_none_was_learned(chargen: Run, kind: str) -> None:
    write("names.txt", "anna\nbert\ncarla\ndora\n" * 20)
    learn(chargen, "names.txt", "--tokenizer", kind, "--vocab-size", "300")
    write("new.txt", "anna und bert \u2581")
    facts = json.loads(chargen("eval", "new.txt", "-m", "m", "--json").stdout)
    assert (facts["characters"], facts["bytes"]) == (15, 17)
    scored = chargen("score", "new.txt", "-m", "m", "--json")
    rows = [json.loads(line) for line in scored.stdout.splitlines()]
    assert "".join(row["text"] for row in rows) == "anna und bert \u2581"


@needs_torch
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_text_that_gives_no_subwords_is_refused(chargen: Run, kind: str) -> None:
    write("same.txt", "\r" * 200 if kind == "bpe" else "a" * 30)
    done = chargen("train", "same.txt", *SMALL, "--tokenizer", kind, "--name", "m")
    refused(done, f"the text has no words to learn with the tokenizer '{kind}': too few, or always")
    assert not Path("checkpoints/m").exists()


# -- line ends ----------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize("kind", ["char", "byte"])
def test_line_ends_are_kept_where_the_model_keeps_them(chargen: Run, kind: str) -> None:
    dos = TEXT.replace("\n", "\r\n")
    write("dos.txt", dos)
    saved, notes = learn(chargen, "dos.txt", "--tokenizer", kind, "--newlines", "keep")
    assert "CRLF" not in notes
    assert learned(saved) == dos
    facts = json.loads(chargen("eval", "dos.txt", "-m", "m", "--json").stdout)
    assert facts["characters"] == len(dos)
    assert content(saved, "dos.txt") == (dos if kind == "char" else dos.encode())


def test_line_ends_are_folded_where_the_model_folds_them(with_model: Path) -> None:
    write("dos.txt", "\ufeffone\r\ntwo\r\n")
    assert content(open_model("small"), "dos.txt") == "one\ntwo\n"


def test_a_model_of_a_field_measures_the_field(chargen: Run) -> None:
    write("d.jsonl", "".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(100)))
    saved, _ = learn(chargen, "d.jsonl", "--field", "text", "--separator", "|")
    assert content(saved, "d.jsonl") == learned(saved)
    write("plain.txt", TEXT)
    assert content(saved, "plain.txt") == TEXT


def test_a_lone_cr_is_said(chargen: Run) -> None:
    write("mac.txt", TEXT.replace("\n", "\r"))
    facts, notes = stats(chargen, "mac.txt")
    assert facts["characters"] == len(TEXT)
    assert notes == (
        "chargen: 300 CR without LF kept as characters; if they end lines, convert them first: "
        "tr '\\r' '\\n'\n"
    )


# -- names --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["corpus stats", "train", "eval -m small", "inspect gradients"])
def test_an_empty_argument_is_no_folder(chargen: Run, with_model: Path, command: str) -> None:
    write("a.txt", TEXT)
    done = chargen(*command.split(), "")
    refused(done, "corpus is '', an empty argument; give a file, a folder")


@pytest.mark.parametrize("command", ["corpus stats", "train", "eval -m small"])
def test_a_name_of_300_characters_does_not_exist(
    chargen: Run, with_model: Path, command: str
) -> None:
    refused(chargen(*command.split(), "x" * 300), "does not exist; give a file, a folder")
    refused(chargen(*command.split(), f"{'x' * 300}/y"), "does not exist; give a file, a folder")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-16", "does not start with BOM (utf-16-le and utf-16-be need none)"),
        ("utf-32", "byte 0x41 at offset 0"),
        ("utf-7", "byte 0xC3 at offset 11100"),
    ],
)
def test_a_wrong_encoding_is_one_line(chargen: Run, encoding: str, words: str) -> None:
    write("a.txt", TEXT + "é")
    done = chargen("corpus", "stats", "a.txt", "--encoding", encoding)
    refused(done, f"corpus 'a.txt' is not {encoding}: ", words)


def as_no_superuser() -> None:
    """Let root obey the modes of files, as everybody else does: drop what overrides them."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, from the next exec on


@pytest.mark.skipif(sys.platform != "linux", reason="modes of files; capabilities")
def test_what_may_not_be_read_is_named(chargen: Run) -> None:
    write("texts/a.txt", TEXT)
    inner = write("texts/sub/b.txt", TEXT)

    def refused_as_user(name: str, words: str) -> None:
        done = chargen("corpus", "stats", name, preexec_fn=as_no_superuser)
        if os.geteuid() == 0 and done.returncode == 0:
            pytest.skip("root keeps its rights here")
        refused(done, f"cannot read {words}: Permission denied; name a file that you can read")

    inner.chmod(0)
    refused_as_user("texts", "'texts/sub/b.txt'")
    refused_as_user("texts/sub/b.txt", "'texts/sub/b.txt'")
    inner.parent.chmod(0o600)
    refused_as_user("texts", "'texts/sub/b.txt'")
    inner.parent.chmod(0)
    refused_as_user("texts", "'texts/sub'")
    refused_as_user("texts/sub/b.txt", "'texts/sub/b.txt'")
    inner.parent.chmod(0o755)


# -- folders ------------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize("corpus", [".", "**/*"])
def test_runs_and_hidden_files_are_left_out_of_a_folder(
    chargen: Run, monkeypatch: pytest.MonkeyPatch, corpus: str
) -> None:
    monkeypatch.setenv("CHARGEN_CACHE", "cache")
    write("a.txt", TEXT)
    write("texts/b.txt", TEXT)
    write(".git/config", TEXT)
    write(".hidden.txt", TEXT)
    learn(chargen, "a.txt")
    Path("checkpoints").rename("old")  # no longer the folder of runs
    saved, notes = learn(chargen, corpus)
    assert learned(saved) == f"{TEXT}\n{TEXT}"
    assert f"left out of {corpus!r}: " in notes
    if corpus == ".":
        assert "hidden files or folders (2)" in notes
        assert "folders of runs (1)" in notes
        assert "folders of the cache (1)" in notes
    done = chargen("train", "--resume", "--name", "m", "--steps", "2")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def with_byte_model(chargen: Run) -> str:
    """Train a byte model; return its name."""
    write("text.txt", TEXT)
    learn(chargen, "text.txt", "--tokenizer", "byte")
    return "m"
