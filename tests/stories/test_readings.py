"""One text, read by every command, prompt and Python call: always the same characters and bytes.

Each test starts the process as a user would.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import chargen as package
from chargen.evaluation.heldout import whole_text
from chargen.model.saved import open_model
from chargen.tokenizers.byte import bytes_of, text_of
from tests.conftest import Run, needs_torch, write
from tests.processes import finish, run

pytestmark = needs_torch
SMALL = ("--steps", "2", "--hidden", "8", "--layers", "1", "--threads", "1", "--seed", "1")
LINE = "A line of a text, of the usual kind.\r\n"
DOS = "\ufeffOne lín\r\nlone\rCR\r\n\r\n\u2581 \u2581two\0 \x85\u2028日本\r\nend\r".encode()
OLD = "café à la crème, garçon\r\n".encode("latin-1") + b"\xff\xfe\x80\r\n\xe2\x82"
READ = {  # a file, and what is read of it, by the model's own reading
    "fold": DOS[3:].replace(b"\r\n", b"\n"),
    "keep": DOS[3:],
    "bpe": DOS[3:].replace(b"\r\n", b"\n"),
    "byte": DOS + OLD,
}
OPTIONS = {
    "fold": (),
    "keep": ("--newlines", "keep"),
    "bpe": ("--tokenizer", "bpe", "--vocab-size", "290"),
    "byte": ("--tokenizer", "byte"),
}


def command(*args: str | bytes) -> Any:
    """Return a command; an argument in bytes may be no UTF-8."""
    return [sys.executable, "-W", "error", "-m", "chargen", *args]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a module: one per way of reading, and two of a Latin-1 text."""
    folder = tmp_path_factory.mktemp("readings")
    (folder / "dos.txt").write_bytes((LINE * 100).encode())
    (folder / "old.txt").write_bytes("café à la crème, garçon\r\n".encode("latin-1") * 100)
    environment = {**os.environ, "CHARGEN_CACHE": str(folder / "cache")}
    for name, options in OPTIONS.items():
        words = ("train", "dos.txt", "--name", name, *SMALL, *options)
        finish(command(*words), cwd=folder, env=environment)
    latin = ("--encoding", "latin-1", *SMALL)
    for name, kind in (("latin", "char"), ("latin-bytes", "byte")):
        words = ("train", "old.txt", "--name", name, *latin, "--tokenizer", kind)
        finish(command(*words), cwd=folder, env=environment)
    return folder / "checkpoints"


@pytest.fixture(autouse=True)
def known(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands find these runs, and the file that is read."""
    monkeypatch.setenv("CHARGEN_CHECKPOINTS", str(runs))


def rows(stdout: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def counted(told: str) -> int:
    """Return the characters that a summary names."""
    return int(re.findall(r"([\d,]+) characters?, ", told)[-1].replace(",", ""))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_command_measures_the_same_text(chargen: Run, name: str) -> None:
    file = write("text", DOS + (OLD if name == "byte" else b""))
    wanted = READ[name]
    text = text_of(wanted)
    facts = json.loads(chargen("eval", "text", "-m", name, "--json").stdout)
    assert (facts["characters"], facts["bytes"]) == (len(text), len(wanted))
    nats = facts["nats_per_token"] * facts["tokens"]
    assert facts["bits_per_byte"] * len(wanted) == pytest.approx(nats / 0.6931471805599453)

    for words, piped in (("text", None), ("-", file.read_bytes())):
        done = run(command("score", words, "-m", name, "--json"), input=piped)
        found = rows(done.stdout)
        assert b"".join(bytes(row["bytes"]) for row in found) == wanted
        assert -sum(row["logprob"] for row in found) == pytest.approx(nats, rel=1e-4)
        assert counted(done.stderr.decode()) == len(text)
    lines = rows(finish(command("score", "text", "-m", name, "--json", "--per-line")).stdout)
    assert sum(line["characters"] for line in lines) == len(text)
    assert sum(line["bits"] for line in lines) == pytest.approx(nats / 0.6931471805599453, rel=1e-4)
    heat = run(command("heat", "text", "-m", name))
    assert heat.returncode == 0
    assert counted(heat.stderr.decode()) == len(text)

    scored = package.load(name, threads=1).score(text_of(file.read_bytes()))
    assert scored.text == text
    assert scored.nats == pytest.approx(nats, rel=1e-5)
    segment = whole_text("text", open_model(name))  # what the commands of inspect read
    assert (len(segment), segment.characters) == (facts["tokens"], len(text))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_prompt_is_the_same_text(name: str) -> None:
    """A prompt cannot have a NUL on the command line."""
    data = (DOS + (OLD if name == "byte" else b"")).replace(b"\0", b"")
    wanted = READ[name].replace(b"\0", b"")
    write("text", data)
    model = package.load(name, threads=1)
    expected = model.next(text_of(data), top=3)
    told = [
        finish(command("next", "-m", name, "-n", "3", "--json", *words), input=piped)
        for words, piped in ((("-f", "text"), None), (("-f", "-"), data), (("-p", data), None))
    ]
    for done in told:
        found = json.loads(done.stdout)["next"]
        assert [row["token"] for row in found] == [guess.token for guess in expected]
        assert [row["probability"] for row in found] == pytest.approx(
            [guess.probability for guess in expected]
        )
        assert [bytes(row["bytes"]) for row in found] == [
            model.tokenizer.pieces[guess.token] for guess in expected
        ]
    settings: dict[str, Any] = {"length": 30, "seed": 1}
    generated = bytes_of("".join(model.generate(text_of(data), **settings)))
    options = ("-m", name, "-n", "30", "--seed", "1", "--threads", "1")
    for words in (("-f", "text"), ("-p", data)):
        assert finish(command("sample", *words, *options)).stdout == wanted + generated


@pytest.mark.parametrize("name", OPTIONS)
def test_a_session_loads_and_saves_the_same_text(name: str) -> None:
    write("text", DOS + (OLD if name == "byte" else b""))
    done = run(command("repl", "-m", name), input=b"/load text\r\n/save copy\r\n")
    assert done.returncode == 0, done.stderr
    told = f"loaded: the text has {len(text_of(READ[name]))} characters"
    assert told in done.stderr.decode()
    assert Path("copy").read_bytes() == READ[name]


# -- bytes that are not UTF-8 -------------------------------------------------------------


def test_a_byte_model_writes_the_bytes_that_it_draws() -> None:
    options = ("-m", "byte", "-n", "60", "--temp", "2", "--seed", "3", "--threads", "1")
    plain = finish(command("sample", *options)).stdout
    (line,) = rows(finish(command("sample", *options, "--json", "--logprobs")).stdout)
    drawn = b"".join(map(bytes, line["bytes"]))
    assert drawn.startswith(plain)
    assert len(text_of(plain)) == 60
    assert max(plain) >= 0x80
    assert b"\xef\xbf\xbd" not in plain
    assert line["text"] == plain.decode("utf-8", "replace")
    assert len(line["bytes"]) == len(line["tokens"]) == len(line["logprobs"])
    (line,) = rows(finish(command("sample", *options, "--json")).stdout)
    assert b"".join(map(bytes, line["bytes"])).startswith(plain)
    several = finish(command("sample", *options, "--num-samples", "2")).stdout
    assert several.startswith(plain + b"\n---\n")

    write("own", plain)
    for words in (("score",), ("heat",), ("heat", "--html", "own.html"), ("eval",)):
        done = run(command(*words, "own", "-m", "byte"))
        assert done.returncode == 0, done.stderr
    start = plain[:20].replace(b"\\", b"").replace(b"\0", b"")
    assert finish(command("sample", "-m", "byte", "-p", start, "-n", "0")).stdout == start


def test_a_session_goes_on_with_bytes() -> None:
    lines = b"caf\xe9\r\n/save one\n\n/heat\n/undo\n/undo\n/load one\n/save two\n/bye\n"
    done = run(command("repl", "-m", "byte", "-n", "20", "--seed", "2"), input=lines)
    assert done.returncode == 0, done.stderr
    saved = Path("one").read_bytes()
    assert saved.startswith(b"caf\xe9\r")
    assert len(text_of(saved)) == 25
    assert done.stdout.startswith(saved)
    assert Path("two").read_bytes() == saved


def test_text_on_a_terminal_has_no_bytes_and_table_cells_name_them(chargen: Run) -> None:
    write("old", b"\xe9a\\xe9")
    table = chargen("score", "old", "-m", "byte").stdout.splitlines()
    assert [line[20:] for line in table[1:3]] == [r"'\xe9'", "'a'"]
    heat = chargen("heat", "old", "-m", "byte").stdout.splitlines()
    assert heat[0] == "\ufffda\\xe9"


# -- encodings ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latin", "latin-bytes"])
def test_the_encoding_of_the_corpus_is_that_of_a_text(chargen: Run, name: str) -> None:
    text = "café à la crème, garçon\r\n" * 3
    read = text if name == "latin-bytes" else text.replace("\r\n", "\n")
    write("old", text.encode("latin-1"))
    write("new", text)
    facts = json.loads(chargen("eval", "new", "-m", name, "--json").stdout)
    assert (facts["characters"], facts["bytes"]) == (len(read), len(read.encode()))
    same = chargen("eval", "old", "-m", name, "--json")
    assert json.loads(same.stdout) == {**facts, "text": "old"}
    note = "chargen: 'old' is not UTF-8: read as latin-1, as the training text was\n"
    assert note in same.stderr
    for words in (("score", "old"), ("score", "new"), ("score", "old", "--encoding", "latin-1")):
        done = chargen(*words, "-m", name, "--json")
        assert b"".join(bytes(row["bytes"]) for row in rows(done.stdout)) == read.encode()
        assert (note in done.stderr) == (words == ("score", "old"))
    prompts = [
        finish(command("sample", "-m", name, "-n", "0", "-f", file)).stdout
        for file in ("old", "new")
    ]
    assert prompts == [read.encode()] * 2
    lines = run(command("repl", "-m", name, "-n", "1"), input=text.encode("latin-1"))
    assert lines.stdout.startswith(read.splitlines()[0].encode())


def test_a_text_in_another_encoding_is_one_line(chargen: Run) -> None:
    write("old", "café".encode("latin-1"))
    for words in (
        ("score", "old"),
        ("heat", "old"),
        ("next", "-f", "old"),
        ("sample", "-f", "old"),
    ):
        done = chargen(*words, "-m", "fold")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "chargen: corpus 'old' is not utf-8: byte 0xE9 at offset 3; name its encoding, for "
            "example --encoding latin-1, or train on its bytes with --tokenizer byte\n"
        )
        done = chargen(*words, "-m", "fold", "--encoding", "latin-1")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["next", "sample"])
def test_an_encoding_without_a_file_is_refused(chargen: Run, name: str) -> None:
    done = chargen(name, "-m", "fold", "-p", "x", "--encoding", "latin-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "chargen: --encoding applies to the file of --file; leave it out, or add --file\n"
    )


# -- the session in a pipe ----------------------------------------------------------------


def test_lines_of_a_pipe_are_read_as_those_of_a_file() -> None:
    options = ("-n", "5", "--seed", "1", "--threads", "1")
    marked = run(command("repl", "-m", "fold", *options), input=b"\xef\xbb\xbfA line\r\n/show\r\n")
    plain = run(command("repl", "-m", "fold", *options), input=b"A line\n/show\n")
    assert marked.stdout == plain.stdout
    assert marked.stderr == plain.stderr
    wide = run(command("repl", "-m", "fold", *options), input="A line\r\n/show".encode("utf-16"))
    assert wide.stdout == plain.stdout
    kept = run(command("repl", "-m", "keep", *options), input=b"A line\r\n")
    assert kept.stdout.startswith(b"A line\r")
    two = run(command("repl", "-m", "fold", *options), input=b"\xef\xbb\xbf\xef\xbb\xbfA line\n")
    assert b"not in the model's vocabulary: '\\ufeff'" in two.stderr


def test_a_line_that_is_refused_leaves_the_others() -> None:
    lines = "/set logit-bias é5\nA\n/set ban é\n/nothing\n/edit\n/temp x\n\xff\n/temp 0\nA\n"
    data = lines.encode().replace("ÿ".encode(), b"\xff")
    done = run(command("repl", "-m", "bpe", "-n", "5", "--threads", "1"), input=data)
    told = done.stderr.decode().splitlines()
    assert [line.partition(";")[0] for line in told] == [
        "chargen: logit-bias is 'é'",
        "chargen: ban is 'é'",
        "chargen: '/nothing' is not a command",
        "chargen: /edit needs a terminal",
        "chargen: temp is 'x'",
        "chargen: the text has the lone surrogate U+DCFF at character 1, which cannot be encoded",
        "chargen: temp is 0",
    ]
    assert done.stdout.count(b"A") >= 2
    assert done.returncode == 1
    good = run(command("repl", "-m", "bpe", "-n", "5"), input=b"A\n")
    assert good.returncode == 0


# -- notes --------------------------------------------------------------------------------


def test_notes_on_a_text_are_shown_by_all_that_read_it(chargen: Run) -> None:
    write("text", (LINE * 40 + "end\r").encode())
    notes = [
        "chargen: 40 CRLF line ends read as LF (as in the training text)",
        "chargen: 1 CR without LF kept as characters; if they end lines, convert them first: "
        "tr '\\r' '\\n'",
    ]
    calls = (
        *(("eval", "text"), ("score", "text"), ("heat", "text"), ("next", "-f", "text")),
        ("inspect", "memory", "text", "--longest", "2"),
    )
    for words in calls:
        done = chargen(*words, "-m", "fold")
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[:2] == notes, words
    done = chargen("eval", "text", "-m", "keep")
    assert "CRLF" not in done.stderr


def test_a_pipe_with_two_byte_order_marks_can_resume() -> None:
    mark = b"\xef\xbb\xbf"
    words = ("train", "-", "--name", "marked", *SMALL, "--val-frac", "0")
    finish(command(*words), input=2 * mark + LINE.encode() * 30)
    finish(command("train", "--resume", "--name", "marked", "--steps", "2"))
