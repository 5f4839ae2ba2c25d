"""Records and files with labels: what is read comes back, each text in one part, with its label."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import ReadConfig
from chargen.data import collecting, dataset
from chargen.data.dataset import encode_dataset, read_like, read_text, tokenize
from chargen.errors import ConfigError, CorpusError
from chargen.evaluation.heldout import whole_text
from chargen.model.saved import open_model
from chargen.tokenizers import build_tokenizer
from tests.conftest import Run, content_of, write
from tests.data.record_files import Labelled, as_csv, as_jsonl, parts_of, read
from tests.labelled import LABELS, LINES, ROWS, save_labelled

TOKENIZERS = ("char", "byte", "unigram", "bpe")


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let the corpora of these tests be small, but for the test of that rule."""
    if "refused" not in request.node.name:
        monkeypatch.setattr(dataset, "SMALLEST", 0)
        monkeypatch.setattr(collecting, "FEWEST", 0)


# -- records --------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.sampled_from(["Poe", "Mary Shelley", "é, “x”", "7", ""])
RECORDS = st.lists(st.tuples(WORDS, NAMES), min_size=1, max_size=30)


def labels_hold(rows: Labelled) -> bool:
    """Tell whether rows can be learned: there are labels, each with two texts."""
    counts = Counter(label for text, label in rows if label and text and "\x1e" not in text)
    return bool(counts) and min(counts.values()) > 1


@settings(deadline=None, max_examples=30)
@given(RECORDS, st.sampled_from(["a.csv", "a.jsonl"]), st.sampled_from(["char", "byte"]))
def test_rows_come_back_each_in_one_part(rows: Labelled, name: str, tokenizer: str) -> None:
    rows = [(text.replace("\r", ""), label) for text, label in rows]
    rows += rows if rows and not labels_hold(rows) else []
    write(name, (as_csv if name == "a.csv" else as_jsonl)(rows))
    if not labels_hold(rows):
        with pytest.raises(CorpusError, match="no text has a label"):
            read(name, field="text", label="author", tokenizer=tokenizer)
        return
    text = read(name, field="text", label="author", newlines="keep", tokenizer=tokenizer)
    data = encode_dataset(text, build_tokenizer(tokenizer, text.pieces(), 0), 0.2, 0.1)
    parts = parts_of(data)
    expected = [(f"{t}\x1e", label or None) for t, label in rows if t and "\x1e" not in t]
    assert Counter(itertools.chain(*parts)) == Counter(expected)
    assert all(part == in_order(part, expected) for part in parts)
    everything = "".join(t for t, _ in expected)
    assert content_of(text) == everything
    assert text.length == len(everything.encode() if tokenizer == "byte" else everything)
    assert data.labels == tuple(sorted({label for _, label in expected if label}))
    assert not len(data.validation.context)


def in_order(part: Labelled, all_texts: Labelled) -> Labelled:
    """Return the texts of a part in the order of the corpus."""
    rest = iter(all_texts)
    return [found for own in part for found in [next(t for t in rest if t == own)]]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_lines_are_records_in_every_tokenizer_and_on_the_second_read(tokenizer: str) -> None:
    lines = [f"the name of number {n} is {n * n}" for n in range(60)]
    write("a.txt", "\n".join(lines[:30]) + "\n\n\n")
    write("b.txt", "\r\n".join(lines[30:]))
    options = {"records": "lines", "label": "file", "tokenizer": tokenizer, "vocab_size": 320}
    newlines = {} if tokenizer != "byte" else {"newlines": "keep"}
    text = read("a.txt", "b.txt", **options, **newlines)
    end = "\r\n" if tokenizer == "byte" else "\n"
    expected = [(f"{line}\n", "a") for line in lines[:30]]
    expected += [(f"{line}{end}", "b") for line in lines[30:59]] + [(f"{lines[59]}\n", "b")]
    first, second = tokenize(text, 0.1, 0.1), tokenize(text, 0.1, 0.1)
    assert Counter(itertools.chain(*parts_of(first))) == Counter(expected)
    assert parts_of(first) == parts_of(second)
    assert isinstance(second.train, np.memmap)
    assert [len(part) for part in parts_of(first)] == [48, 6, 6]
    assert first.texts is not None
    assert first.tokenizer.pieces[first.texts.before] == b"\n"
    assert "2 empty records left out" in text.notes
    assert "60 records, 2 labels: a 30, b 30" in text.notes


@pytest.mark.parametrize("tokenizer", ["unigram", "bpe"])
def test_no_piece_of_a_subword_tokenizer_crosses_the_end_of_a_record(tokenizer: str) -> None:
    rows = [(f"a row ends{'.' * (n % 4)}\n\n", None) for n in range(50)]
    write("a.jsonl", as_jsonl(rows))
    data = tokenize(read("a.jsonl", field="text", tokenizer=tokenizer, records="rows"), 0.2)
    assert Counter(itertools.chain(*parts_of(data))) == Counter((f"{t}\x1e", None) for t, _ in rows)
    assert sum(b"\x1e" in piece for piece in data.tokenizer.pieces) == 1
    (end,) = data.tokenizer.encode("\x1e")
    texts = data.texts
    assert texts is not None
    assert texts.before == end
    assert (data.train[texts.borders[1:] - 1] == end).all()
    alone = [*data.tokenizer.encode("a row ends\n\n"), end]
    assert data.tokenizer.encode("a row ends\n\n\x1e").tolist() == alone


def test_a_record_that_holds_its_end_is_left_out_and_counted() -> None:
    rows = [("one", "a"), ("t\x1ewo", "a"), ("three", "a"), ("", "b")]
    write("a.csv", as_csv(rows))
    text = read("a.csv", field="text", label="author")
    assert content_of(text) == "one\x1ethree\x1e"
    assert text.notes == (
        "1 empty record left out",
        "1 record left out: with the character that ends each, U+001E, inside",
        "2 records, 1 label: a 2",
    )


def test_labels_are_read_as_they_are_spelled() -> None:
    values = ["1.50", "true", "null", '""', '"x"', "[1]", '{"a": 1}']
    rows = [f'{{"text": "t", "author": {value}}}\n' for value in values] + ['{"text": "t"}\n']
    write("a.jsonl", "".join(rows) * 2)
    text = read("a.jsonl", field="text", label="author")
    assert text.collection is not None
    assert text.collection.names == ("1.50", "true", "x")
    assert text.notes == (
        "16 records, 3 labels: 1.50 2, true 2, x 2",
        "10 of 16 records have no label",
    )


def test_many_labels_are_counted_and_strange_ones_spelled() -> None:
    names = ["a\nb", "x" * 100, *"cdefg"]
    write("a.jsonl", as_jsonl([(f"t{n}", name) for name in names for n in range(2)]))
    (note,) = read("a.jsonl", field="text", label="author").notes
    assert note == "14 records, 7 labels: 'a\\nb' 2, c 2, d 2, e 2, f 2, ..."


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_files_are_records(tokenizer: str) -> None:
    contents = {f"d/{n % 3}/{n}.txt": f"file {n}\n{'x' * n}" for n in range(30)}
    for name, content in contents.items():
        write(name, content)
    text = read("d", records="files", label="folder", tokenizer=tokenizer)
    parts = parts_of(tokenize(text, 0.1))
    expected = [(f"{content}\x1e", name.split("/")[1]) for name, content in contents.items()]
    assert Counter(itertools.chain(*parts)) == Counter(expected)
    assert [Counter(label for _, label in part) for part in parts[:2]] == [
        {"0": 9, "1": 9, "2": 9},
        {"0": 1, "1": 1, "2": 1},
    ]


def test_line_ends_within_records_are_folded_and_said() -> None:
    write("a.jsonl", as_jsonl([("a\r\nb\r", "x"), ("\nc", "x")]))
    text = read("a.jsonl", field="text", label="author")
    assert content_of(text) == "a\nb\r\x1e\nc\x1e"
    assert text.notes[0] == "1 CRLF line ends read as LF (--newlines keep leaves them)"


@pytest.mark.parametrize(
    ("suffix", "packed"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_read_and_labelled_alike(
    suffix: str, packed: Callable[[bytes], bytes]
) -> None:
    write("a.csv", as_csv([("one", "x"), ("two", "x")]))
    write(f"a.csv{suffix}", packed(Path("a.csv").read_bytes()))
    plain, small = (read(n, field="text", label="author") for n in ("a.csv", f"a.csv{suffix}"))
    assert plain.sha256 == small.sha256
    write(f"Poe.txt{suffix}", packed(b"one\ntwo\n"))
    text = read(f"Poe.txt{suffix}", records="lines", label="file")
    assert text.notes == ("2 records, 1 label: Poe 2",)


def test_lines_of_standard_input_are_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert content_of(read("-", records="lines")) == "a\nb\n"


def test_statistics_count_texts_and_labels(chargen: Run) -> None:
    rows = [(f"text {n}", ["Poe", "a\nb"][n % 3 > 1]) for n in range(30)]
    write("a.csv", as_csv(rows))
    command = ("corpus", "stats", "a.csv", "--field", "text", "--label", "author")
    facts = json.loads(chargen(*command, "--json").stdout)
    assert (facts["texts"], facts["labels"]) == (30, {"Poe": 20, "a\nb": 10})
    assert facts["control_characters"] == 0
    done = chargen(*command)
    assert "Poe 20, 'a\\nb' 10" in done.stdout
    assert done.stderr == "chargen: 30 records, 2 labels: Poe 20, 'a\\nb' 10\n"


# -- a file for a model -------------------------------------------------------------------------


@pytest.fixture
def rows_model() -> Iterator[str]:
    yield str(save_labelled(Path("rows/model.safetensors"), LABELS, **ROWS))


def test_a_file_is_read_as_the_rows_that_a_model_learned(rows_model: str) -> None:
    saved = open_model(rows_model)
    write("a.csv", as_csv([("abc", "b"), ("de", ""), ("vwx", "Poe"), ("yz", "a")]))
    segment = whole_text("a.csv", saved)
    assert segment.texts is not None
    assert segment.texts.labels.tolist() == [1, -1, -1, 0]
    assert saved.tokenizer.decode(segment.ids) == "abc\x1ede\x1evwx\x1eyz\x1e"
    assert segment.notes == (
        "4 records, 3 labels: Poe 1, a 1, b 1",
        "1 of 4 records has no label",
        "labels that the model does not know count as none: Poe",
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "abc\nde", ["abc\nde\x1e"]),
        ("a.csv", "text\nabc\nde\n", ["abc\x1e", "de\x1e"]),
        ("a.jsonl", '{"text": "abc"}\n', ["abc\x1e"]),
    ],
)
def test_a_file_without_labels_is_texts_without_one(
    rows_model: str, name: str, content: str, expected: list[str]
) -> None:
    saved = open_model(rows_model)
    write(name, content)
    segment = whole_text(name, saved)
    assert segment.texts is not None
    assert segment.texts.labels.tolist() == [-1] * len(expected)
    borders = segment.texts.borders.tolist()
    ranges = itertools.pairwise(borders)
    assert [saved.tokenizer.decode(segment.ids[a:b]) for a, b in ranges] == expected
    assert "\x1e" not in content_of(read_like(saved.reading, name))


def test_lines_have_the_label_of_their_file_if_the_model_knows_it() -> None:
    saved = open_model(str(save_labelled(Path("m/model.safetensors"), LABELS, **LINES)))
    for name, label in (("b.txt", 1), ("c.txt", -1)):
        write(name, "abc\nde")
        segment = whole_text(name, saved)
        assert segment.texts is not None
        assert segment.texts.labels.tolist() == [label, label]
        assert len(segment.notes) == 1


def test_ids_are_numbered_alike_where_the_alphabet_lacks_the_end() -> None:
    write("a.txt", "abcabc" * 10)
    write("b.jsonl", as_jsonl([("abc", "x"), ("cab", "x")]))
    other = tokenize(read("a.txt"), 0.0).tokenizer
    data = encode_dataset(read("b.jsonl", field="text", label="author"), other, 0.0)
    assert data.texts is not None
    assert data.texts.before == other.unknown_id == 0
    assert data.texts.borders.tolist() == [0, 4, 8]


# -- refusals -----------------------------------------------------------------------------------

MANY = [(f"t{n}", "ab"[n % 2]) for n in range(40)]


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("a.txt", "one long line", {"records": "lines"}, "the corpus has 1 record, one a line; "),
        ("a.txt", "\n\n", {"records": "lines"}, "the corpus has 0 records, one a line; at least"),
        (
            "a.csv",
            as_csv([*MANY, ("x", "Poe"), ("y", "Doyle")]),
            {"label": "author"},
            "label Doyle has one record (and 1 more labels); each needs two",
        ),
        (
            "a.csv",
            as_csv([(f"t{n}", str(n)) for n in range(1200)]),
            {"label": "author"},
            "label 'author' has more than 1,000 values (0, 1, 2, ...); name a field with fewer",
        ),
        ("a.csv", as_csv(MANY), {"label": "writer"}, "'a.csv' has no column 'writer'; allowed: id"),
        (
            "a.jsonl",
            as_jsonl(MANY),
            {"label": "writer"},
            "no record of 'a.jsonl' has a field 'writer'; ",
        ),
        (
            "a.jsonl",
            as_jsonl([(text, "") for text, _ in MANY]),
            {"label": "author"},
            "no text has a label by 'author'; name another --label",
        ),
        ("a.txt", "x" * 100, {"field": "text", "label": "author"}, "field is 'text', but only"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    name: str, content: str, options: dict[str, str], words: str
) -> None:
    write(name, content)
    fields = {} if name == "a.txt" else {"field": "text"}
    with pytest.raises(CorpusError) as error:
        read(name, **fields, **options)
    assert str(error.value).startswith(words)


def test_bytes_of_rows_need_their_encoding() -> None:
    Path("a.csv").write_bytes(b"text\n\xe9\n" * 20)
    with pytest.raises(CorpusError, match="for example --encoding latin-1$"):
        read("a.csv", field="text", records="rows", tokenizer="byte")


def test_a_file_among_rows_that_has_no_fields_is_said() -> None:
    for name, content in (("a.csv", as_csv(MANY)), ("b.txt", "abc\n"), ("c.txt", "de\n")):
        write(name, content)
    notes = read_text(ReadConfig(("a.csv", "b.txt", "c.txt"), field="text", records="rows")).notes
    assert notes[0] == "no fields in 'b.txt' and 1 more: read as a whole"


@pytest.mark.parametrize("label", ["file", "folder"])
def test_what_has_no_name_is_refused_as_a_label(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n" * 40)))
    with pytest.raises(CorpusError, match="but 'standard input' is no file that has a name"):
        read("-", records="lines", label=label)


@pytest.mark.parametrize(
    "options",
    [
        {"label": "author"},
        {"label": "text", "field": "text"},
        {"records": "rows"},
        {"records": "lines", "field": "text"},
        {"records": "lines", "separator": "|"},
        {"label": "file", "separator": "|"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        ReadConfig(("a.csv",), **options)  # type: ignore[arg-type]


def test_a_corpus_that_changes_is_found_out() -> None:
    write("a.txt", "one\ntwo\nthree\n")
    text = read("a.txt", records="lines")
    write("a.txt", "one\ntwo\nfour\n")
    with pytest.raises(CorpusError, match="the corpus changed while it was being read"):
        tokenize(text, 0.4)
