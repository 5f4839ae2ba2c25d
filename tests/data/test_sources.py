"""Files of every kind, read in pieces of any size."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import encodings.aliases
import gzip
import io
import json
import lzma
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chargen.config import ReadConfig
from chargen.data import sources
from chargen.data.dataset import read_text
from chargen.data.decoding import text_pieces
from chargen.data.sources import Source, find_sources
from chargen.errors import ChargenError, CorpusError, TokenizerError
from tests.conftest import write

LINES = "first line\nzweite Zeile, größer\n三行目\n" * 50


def read(*names: str, **options: str) -> str:
    found, _ = find_sources(names)
    return "".join(text_pieces(found, ReadConfig(names, **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_read_as_what_they_hold(
    ending: str, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(LINES.encode())
    write(f"a.txt{ending}", data)
    assert read(f"a.txt{ending}") == LINES
    for damaged in (data[: len(data) // 2], b"no archive at all", data[:20] + b"\0" + data[21:]):
        write(f"b.txt{ending}", damaged)
        with pytest.raises(CorpusError, match=rf"'b.txt{ending}' is damaged or not {ending[1:]}"):
            read(f"b.txt{ending}")


def test_patterns_stand_for_files_in_order_of_their_names() -> None:
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "d.md"):
        write(name, name)
    assert read("*.txt") == "a.txt\nb.txt"
    assert read("**/*.txt") == "a.txt\nb.txt\ndeep/er/c.txt"
    assert read(str(Path.cwd() / "*.md")) == "d.md"
    assert read("d.md", "[ab].txt", separator="--") == "d.md--a.txt--b.txt"
    with pytest.raises(CorpusError, match=r"corpus '\*.rst' does not exist"):
        read("*.rst")


def test_records_give_the_text_of_a_field() -> None:
    rows = [{"id": 1, "text": "one,\n two"}, {"id": 2, "text": "drei “3”"}]
    write("a.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    assert read("a.jsonl", field="text", separator="|") == "one,\n two|drei “3”"
    assert read("a.jsonl", field="id") == "1\n2"
    write("a.csv", 'id,text\n1,"one,\n two"\n2,drei\n')
    assert read("a.csv", field="text", separator="|") == "one,\n two|drei"
    write("a.csv.gz", gzip.compress(b"text\nx\ny\n"))
    assert read("a.csv.gz", field="text") == "x\ny"
    write("long.csv", "text\n" + "x" * 200_000 + "\n")
    assert read("long.csv", field="text") == "x" * 200_000
    assert read("a.csv") == 'id,text\n1,"one,\n two"\n2,drei\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.jsonl",
            '{"text": "x"}\n{"other": 1}\n',
            "'a.jsonl' line 2 is not a JSON object with a f",
        ),
        ("a.jsonl", "[1]\n", "'a.jsonl' line 1 is not a JSON object with a field 'text'"),
        ("a.jsonl", "{broken\n", "'a.jsonl' line 1 is not a JSON object"),
        ("a.jsonl", "[" * 100_000 + "\n", "'a.jsonl' line 1 is not a JSON object"),
        ("a.csv", "id,body\n1,x\n", "'a.csv' has no column 'text'; allowed: id, body"),
        ("a.csv", "\r0", "'a.csv' is not CSV in line 1: new-line character seen"),
        ("a.csv", "text\nx\ry\n", "'a.csv' is not CSV in line 2: new-line character seen"),
        ("a.csv", "text,text\nx,y\n", "'a.csv' has more than one column 'text'; allowed: "),
        ("a.csv", 'text\n"x"y\n', "'a.csv' is not CSV in line 2: ',' expected after"),
        ("a.jsonl", '{"text": NaN}\n', "'a.jsonl' line 1 is not a JSON object"),
        ("a.txt", "text", "field is 'text', but only .jsonl and .csv files have fields"),
    ],
)
def test_wrong_records_are_named(name: str, content: str, words: str) -> None:
    write(name, content)
    with pytest.raises(CorpusError) as error:
        read_text(ReadConfig((name,), field="text"))
    assert str(error.value).startswith(words)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NO_TEXT = st.recursive(
    st.none() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


def notes_and_text(name: str, content: str) -> tuple[list[str], str]:
    write(name, content)
    notes: list[str] = []
    config = ReadConfig((name,), field="text", newlines="keep", separator="|")
    return notes, "".join(text_pieces([Source(name)], config, notes.append))


@given(st.lists(st.tuples(TEXTS | NO_TEXT | st.integers(), st.booleans())))
def test_any_record_gives_its_text_or_is_counted(rows: list[tuple[object, bool]]) -> None:
    values = [value for value, _ in rows]
    lines = [
        json.dumps({"id": 1, "text": value}, ensure_ascii=ascii) + "\n" for value, ascii in rows
    ]
    notes, text = notes_and_text("a.jsonl", "".join(lines))
    texts = [v for v in values if isinstance(v, str | int) and not isinstance(v, bool)]
    assert text == "|".join(map(str, texts))
    skipped = [
        number
        for number, v in enumerate(values, 1)
        if not isinstance(v, str | int) or isinstance(v, bool)
    ]
    words = f"{len(skipped)} of {len(values)} records of 'a.jsonl' skipped: field 'text' is no text"
    assert notes == [f"{words} (the first in line {number})" for number in skipped[:1]]


def test_a_number_is_read_as_it_is_spelled() -> None:
    spelled = ["1.50", "1e3", "-0", "1" * 5000]
    lines = "".join(f'{{"text": {number}}}\n' for number in spelled)
    assert notes_and_text("a.jsonl", lines) == ([], "|".join(spelled))


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2)), st.sampled_from(["\n", "\r\n"]))
def test_any_table_gives_its_column(rows: list[list[str]], end: str) -> None:
    table = io.StringIO()
    csv.writer(table, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["id", "text"], *rows])
    assert notes_and_text("a.csv", table.getvalue()) == ([], "|".join(row[1] for row in rows))


@given(st.text(st.sampled_from('a,"\n\r x')))
def test_a_malformed_table_is_an_error_and_never_another_text(content: str) -> None:
    with contextlib.suppress(CorpusError):
        _, text = notes_and_text("a.csv", "id,text\n" + content)
        rows = [row for row in csv.reader(io.StringIO(content, newline="")) if row]
        assert {len(row) for row in rows} <= {2}
        assert text == "|".join(row[1] for row in rows)


@example(data=b"0", encoding="punycode", size=1)  # Python 3.13 places the error behind the end
@given(
    data=st.binary(),
    encoding=st.sampled_from(sorted({*encodings.aliases.aliases.values(), "idna", "punycode"})),
    size=st.integers(1, 9),
)
def test_any_bytes_in_any_encoding_are_a_text_or_one_line(
    data: bytes, encoding: str, size: int
) -> None:
    class Blocks(Source):
        def blocks(self):  # type: ignore[no-untyped-def]
            yield from (data[start : start + size] for start in range(0, len(data), size))

    with contextlib.suppress(ChargenError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for piece in text_pieces([Blocks("x")], ReadConfig(("x",), encoding=encoding)):
            assert isinstance(piece, str)


@given(
    text=TEXTS,
    size=st.integers(1, 9),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_blocks_of_any_size_decode_to_the_same_text(text: str, size: int, encoding: str) -> None:
    data = ("begin " + text).encode(encoding)
    blocks = [data[start : start + size] for start in range(0, len(data), size)]

    class Blocks(Source):
        def blocks(self):  # type: ignore[no-untyped-def]
            yield from blocks

    config = ReadConfig(("x",), encoding=encoding, newlines="keep")
    assert "".join(text_pieces([Blocks("x")], config)) == "begin " + text


def test_a_wrong_byte_is_found_wherever_the_blocks_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(1, 12):
        monkeypatch.setattr(sources, "PIECE", size)
        write("t", "é".encode() * 5 + b"\xff" + "日本".encode())
        with pytest.raises(CorpusError, match="not utf-8: byte 0xFF at offset 10;"):
            read("t", encoding="utf-8")
        write("t", "abc日".encode()[:-1])
        with pytest.raises(CorpusError, match="byte 0xE6 at offset 3;"):
            read("t", encoding="utf-8")


def test_marks_are_known_in_the_first_block() -> None:
    write("t", codecs.BOM_UTF16_BE + "hé".encode("utf-16-be"))
    assert read("t") == "hé"


def test_records_read_as_they_stand_are_said() -> None:
    write("a.jsonl", '{"text": "one"}\n' * 9)
    text = read_text(ReadConfig(("a.jsonl",)))
    assert text.notes == ("'a.jsonl' is read as plain text; --field NAME extracts a field",)
    assert read_text(ReadConfig(("a.jsonl",), field="text")).notes == ()


def test_half_a_character_in_a_record_is_no_text() -> None:
    write("a.jsonl", json.dumps({"text": "many words, and then \ud800"}))
    with pytest.raises(TokenizerError, match="lone surrogate U\\+D800 at character 21"):
        read_text(ReadConfig(("a.jsonl",), field="text"))


@pytest.mark.parametrize("encoding", sorted({*encodings.aliases.aliases.values(), "undefined"}))
def test_any_encoding_of_python_reads_a_text_refuses_it_or_is_refused(encoding: str) -> None:
    write("t", bytes(range(256)) * 8)
    with contextlib.suppress(ChargenError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_text(ReadConfig(("t",), encoding=encoding))


@given(st.text(st.characters()))
def test_any_name_that_is_no_file_is_one_line(name: str) -> None:
    with pytest.raises(CorpusError, match="^corpus ['\\\"]x.* does not exist; give a file"):
        find_sources([f"x{name}"])


def test_standard_input_that_is_closed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CorpusError, match="standard input is closed; pipe a text in, or name a f"):
        find_sources(["-"])


def test_a_pipe_that_cannot_be_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 99)))
    monkeypatch.setattr(sources, "IN_MEMORY", 9)
    monkeypatch.setattr(tempfile, "tempdir", str(Path("nowhere").absolute()))
    with pytest.raises(CorpusError, match="cannot keep 'standard input' in a temporary file: No s"):
        find_sources(["-"])


def test_names_without_a_text_are_no_source() -> None:
    write("empty.gz", gzip.compress(b""))
    with pytest.raises(CorpusError, match="corpus 'empty.gz' is empty"):
        read_text(ReadConfig(("empty.gz",)))
