from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.config import ReadConfig
from chargen.data import dataset as module
from chargen.data.batches import Batches, fit_batches
from chargen.data.dataset import Text, read_text, tokenize
from chargen.data.decoding import folded
from chargen.errors import ConfigError, CorpusError
from tests.conftest import content_of, text_of


def read(*sources: str | Path, **options: str) -> Text:
    return read_text(ReadConfig(tuple(map(str, sources)), **options))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let the texts of these tests be short, but for the test of that rule."""
    if "too_small" not in request.node.name:
        monkeypatch.setattr(module, "SMALLEST", 0)


def write(name: str, data: bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)
    return name


# -- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf_is_read_by_its_byte_order_mark(encoding: str) -> None:
    assert content_of(read(write("t.txt", "héllo 日本\n".encode(encoding)))) == "héllo 日本\n"


def test_big_endian_marks_are_known() -> None:
    assert content_of(read(write("t", b"\xfe\xff" + "hé".encode("utf-16-be")))) == "hé"
    assert content_of(read(write("t", b"\0\0\xfe\xff" + "hé".encode("utf-32-be")))) == "hé"


@pytest.mark.parametrize("named", ["utf-8", "UTF8", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_a_byte_order_mark_is_no_text_under_a_named_encoding(named: str) -> None:
    write("t", "\ufeffhéllo".encode(named))
    assert content_of(read("t", encoding=named)) == content_of(read("t")) == "héllo"
    write("t", "héllo".encode(named))
    assert content_of(read("t", encoding=named)) == "héllo"


def test_several_files_are_joined_by_a_newline_in_the_order_given() -> None:
    write("b", b"second")
    write("a", b"first\n")
    assert content_of(read("a", "b")) == "first\n\nsecond"
    assert content_of(read("b", "a")) == "second\nfirst\n"


def test_standard_input_is_a_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("päper".encode())))
    assert content_of(read("-")) == "päper"


def test_line_ends_are_folded_and_said_once_unless_kept() -> None:
    write("dos", b"a\r\nb\r\nc\rd")
    folded = read("dos")
    assert content_of(folded) == "a\nb\nc\rd"
    assert folded.notes == (
        "2 CRLF line ends read as LF (--newlines keep leaves them)",
        "1 CR without LF kept as characters; if they end lines, convert them first: tr '\\r' '\\n'",
    )
    for options in ({"newlines": "keep"}, {"tokenizer": "byte"}):
        kept = read("dos", **options)
        assert (content_of(kept), kept.notes) == ("a\r\nb\r\nc\rd", ())


def test_a_named_encoding_is_used() -> None:
    write("old", "café".encode("latin-1"))
    assert content_of(read("old", encoding="latin-1")) == "café"


def test_a_folder_gives_its_texts_in_order_and_skips_the_rest() -> None:
    write("d/b.txt", b"b")
    write("d/a/z.txt", b"z")
    write("d/.git/config", b"hidden")
    write("d/empty.txt", b"")
    write("d/image.png", bytes(range(256)) * 4)
    text = read("d")
    assert content_of(text) == "z\nb"
    assert text.notes == (
        "2 of 4 files of 'd' skipped: no text",
        "left out of 'd': hidden files or folders (1)",
    )


def test_links_and_pipes_in_a_folder_are_left_out_and_said() -> None:
    write("d/a.txt", b"a")
    write("e/b.txt", b"b")
    Path("d/link").symlink_to(Path("e").absolute())
    Path("d/dead").symlink_to("nowhere")
    text = read("d")
    assert content_of(text) == "a"
    assert text.notes == ("left out of 'd': linked folders (1), pipes or dead links (1)",)


def test_files_of_runs_are_read_where_they_are_asked_for() -> None:
    write("checkpoints/a/corpus.txt", b"mine")
    write("checkpoints/a/model.safetensors", b"")
    with pytest.raises(CorpusError, match=r"corpus '\*\*/corpus.txt' does not exist"):
        read("**/corpus.txt")
    assert content_of(read("checkpoints/*/corpus.txt")) == "mine"
    assert content_of(read("checkpoints/a/corpus.txt")) == "mine"


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_a_text_that_has_changed_is_not_kept(tokenizer: str, tmp_path: Path) -> None:
    write("t", b"one text, long enough")
    text = read("t", tokenizer=tokenizer)
    write("t", b"another text of a size")
    with pytest.raises(CorpusError, match=r"changed while it was being read \('t'\); run the"):
        tokenize(text, 0.1)
    assert not list(tmp_path.rglob("*.ids"))


def as_bytes(text: Text) -> bytes:
    return b"".join(piece for piece in text.pieces() if isinstance(piece, bytes))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["utf-8", "utf-16"]))
def test_bytes_of_a_named_encoding_are_those_of_utf8(text: str, encoding: str) -> None:
    content = f"begin {text}"
    write("t", content.encode(encoding))
    read_as = read("t", tokenizer="byte", encoding=encoding)
    assert as_bytes(read_as) == content.encode()
    assert as_bytes(read("t", tokenizer="byte")) == content.encode(encoding)


def test_the_builtin_texts_need_no_download() -> None:
    assert read("builtin:pydoc").length > 400_000
    stdlib = read("builtin:stdlib")
    assert stdlib.length > 5_000_000
    assert "import" in next(stdlib.pieces())


def test_an_existing_path_wins_over_a_builtin_name() -> None:
    assert content_of(read(write("builtin:pydoc", b"mine"))) == "mine"


def test_a_nul_alone_makes_no_binary() -> None:
    assert content_of(read(write("t", b"a text with \0 one nul, for long enough" * 9)))
    assert content_of(read(write("t", b"\x1b[1mbold\x1b[0m\f\r\t" * 9)))


MISSING = (
    "corpus 'no.txt' does not exist; give a file, a folder, a pattern, - for standard input, or a "
    "known text (builtin:pydoc, builtin:stdlib, tinyshakespeare, warandpeace, names, alice29, "
    "text8, enwik8)"
)
BINARY = "corpus 'bin' is a binary file, not a text; train on its bytes with --tokenizer byte"
LATIN = (
    "corpus 'latin' is not utf-8: byte 0xE9 at offset 3; name its encoding, "
    "for example --encoding latin-1, or train on its bytes with --tokenizer byte"
)
FOLDER = (
    "folder 'images' holds no text file (1 others); name the files, "
    "with --tokenizer byte to train on their bytes"
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no.txt", MISSING),
        ("empty", "corpus 'empty' is empty; give a text of a few thousand characters"),
        ("bin", BINARY),
        ("controls", BINARY.replace("'bin'", "'controls'")),
        ("latin", LATIN),
        ("images", FOLDER),
    ],
)
def test_what_cannot_be_read_is_explained(source: str, message: str) -> None:
    write("empty", b"")
    write("bin", b"\x7fELF\x02\x01\x01\0\0\0\0\xff\xfe" * 50)
    write("controls", b"\0\x01\x02ab" * 50)
    write("latin", "café au lait, s'il vous plaît".encode("latin-1"))
    write("images/a.png", bytes(range(256)))
    with pytest.raises(CorpusError) as error:
        read(source)
    assert str(error.value) == message


def test_a_wrong_byte_under_a_named_encoding_is_explained() -> None:
    write("t", b"abc\xff")
    with pytest.raises(CorpusError, match="'t' is not ascii: byte 0xFF at offset 3"):
        read("t", encoding="ascii")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "utf-42"}, "encoding is 'utf-42'; allowed: names Python knows"),
        ({"encoding": "hex"}, "encoding is 'hex'"),
        ({"newlines": "unix"}, "newlines is 'unix'; allowed: fold, keep"),
        ({"tokenizer": "word"}, "tokenizer is 'word'; allowed: char, byte, unigram, bpe"),
    ],
)
def test_a_wrong_way_of_reading_is_explained(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ReadConfig(("x",), **options)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)


def test_the_checksum_is_of_the_content() -> None:
    write("one", b"ab\ncd")
    write("a", b"ab")
    write("c", b"cd")
    assert read("one").sha256 == read("one", tokenizer="byte").sha256 == read("a", "c").sha256
    assert read("one").sha256 != read("c", "a").sha256


# -- splitting and encoding ---------------------------------------------------------------


def parts(content: str, val_frac: float, test_frac: float) -> list[str]:
    cut = text_of(content).parts(val_frac, test_frac)
    return ["".join(str(piece) for piece in part) for part in cut]


def test_the_last_tenth_is_for_validation() -> None:
    assert parts("x" * 900 + "y" * 100, 0.1, 0) == ["x" * 900, "y" * 100, ""]
    assert len(parts("x" * 1_115_394, 0.1, 0)[0]) == 1_003_854
    assert parts("z" * 20, 0, 0) == ["z" * 20, "", ""]


def test_a_test_part_comes_after_the_validation_part() -> None:
    text = "a" * 700 + "b" * 200 + "c" * 100
    assert parts(text, 0.2, 0.1) == ["a" * 700, "b" * 200, "c" * 100]
    dataset = tokenize(text_of(text), 0.2, 0.1)
    validation, test = dataset.validation, dataset.test
    assert [len(part) for part in (dataset.train, validation, test)] == [700, 200, 100]
    assert test.ids.tolist() == dataset.tokenizer.encode("c" * 100).tolist()
    assert test.context.tolist() == [*dataset.train[-56:], *validation.ids]
    assert test.with_context.tolist() == [*test.context, *test.ids]
    assert test.characters_per_token == 1
    assert (test.characters, test.bytes) == (100, 100)


def test_a_long_validation_part_is_all_the_context_of_the_test_part() -> None:
    dataset = tokenize(text_of("abc" * 400), 0.3, 0.1)
    assert len(dataset.validation) > 256
    assert dataset.test.context.tolist() == dataset.validation.ids[-256:].tolist()


def test_the_beginning_of_a_segment_has_its_share_of_characters_and_bytes() -> None:
    segment = tokenize(text_of("日本" * 500, "byte"), 0.2).validation
    assert (len(segment), segment.characters, segment.bytes) == (600, 200, 600)
    part = segment.first(300)
    assert part.ids.tolist() == segment.ids[:300].tolist()
    assert part.context.tolist() == segment.context.tolist()
    assert (len(part), part.characters, part.bytes) == (300, 100, 300)
    assert segment.first(10**9).characters == 200
    assert (len(segment.first(0)), segment.first(0).characters) == (0, 0)


def test_the_end_of_the_training_part_can_be_scored() -> None:
    dataset = tokenize(text_of("日本" * 500, "byte"), 0.2)
    seen = dataset.end_of_train(90)
    assert seen.ids.tolist() == dataset.train[-90:].tolist()
    assert seen.context.tolist() == dataset.train[-346:-90].tolist()
    assert seen.characters == 30


@given(st.lists(st.text(max_size=9)), st.floats(0, 0.5), st.floats(0, 0.4))
def test_pieces_are_cut_where_the_whole_would_be(
    pieces: list[str], val_frac: float, test_frac: float
) -> None:
    whole = "".join(pieces)
    first = int((1 - val_frac - test_frac) * len(whole))
    second = max(first, int((1 - test_frac) * len(whole)))
    cut = module._cut(iter(pieces), [first, second])
    expected = [whole[:first], whole[first:second], whole[second:]]
    assert ["".join(map(str, part)) for part in cut] == expected


@given(st.lists(st.sampled_from(["a", "\r", "\n", "\r\n", "b\r", "\nc", ""])))
def test_line_ends_are_folded_across_pieces(pieces: list[str]) -> None:
    assert "".join(folded(pieces)) == "".join(pieces).replace("\r\n", "\n")


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_a_text_too_small_is_refused(tokenizer: str) -> None:
    assert len(content_of(read(write("t", b"x" * 20), tokenizer=tokenizer))) == 20
    with pytest.raises(CorpusError, match="corpus has 19 characters; at least 20 are needed"):
        read(write("t", b"x" * 19), tokenizer=tokenizer)


def test_the_alphabet_is_of_the_training_part_only() -> None:
    dataset = tokenize(text_of("ab" * 45 + "cdcdcdcdcd"), 0.1)
    assert dataset.tokenizer.vocab_size == 3
    assert dataset.validation.ids.tolist() == [0] * 10
    assert dataset.validation.characters_per_token == 1
    assert dataset.validation.context.tolist() == dataset.train.tolist()


def test_the_context_is_the_end_of_the_training_part() -> None:
    dataset = tokenize(text_of("abc" * 400), 0.1)
    assert dataset.validation.context.tolist() == dataset.train[-256:].tolist()


def test_bytes_are_counted_as_the_characters_they_spell() -> None:
    dataset = tokenize(text_of("日本".encode() * 100, "byte"), 0.1)
    assert dataset.validation.characters_per_token == pytest.approx(1 / 3)
    assert dataset.unknown_rate == 0


@pytest.mark.parametrize(
    ("text", "rate"), [("ab" * 1000, 1 / 5000), ("ab" * 500 + "xyz", 3 / 1003), ("abcdef", 0.01)]
)
def test_hidden_characters_are_as_many_as_good_and_turing_expect(text: str, rate: float) -> None:
    assert tokenize(text_of(text), 0.0).unknown_rate == pytest.approx(rate)


# -- batches ------------------------------------------------------------------------------


@given(count=st.integers(2, 300), batch_size=st.integers(1, 9), bptt=st.integers(1, 20))
def test_streams_read_on_where_they_stopped_and_miss_nothing(
    count: int, batch_size: int, bptt: int
) -> None:
    batches = Batches(np.arange(count, dtype=np.uint32), batch_size, bptt)
    steps = int(np.ceil(batches.steps_per_epoch)) + 1
    tokens = [batches.batch(step).tokens for step in range(steps)]
    assert {part.shape for part in tokens} == {(batch_size, bptt + 1)}
    inputs = np.concatenate([part[:, :-1] for part in tokens], axis=1)
    targets = np.concatenate([part[:, 1:] for part in tokens], axis=1)
    assert inputs.shape == (batch_size, steps * bptt)
    assert np.array_equal((inputs + 1) % count, targets)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    assert inputs[:, 0].tolist() == [row * count // batch_size for row in range(batch_size)]
    assert set(inputs.ravel()) == set(range(count))


def test_a_few_characters_are_hidden_by_seed_and_step() -> None:
    ids = np.full(1000, 5, np.uint32)
    batches = Batches(ids, 20, 50, unknown_id=0, unknown_rate=0.1, seed=7)
    tokens = batches.batch(3).tokens
    assert tokens.shape == (20, 51)
    assert 60 < np.count_nonzero(tokens[:, :-1] == 0) < 140  # 1000 draws at 0.1: 4 sigma is 38
    assert np.array_equal(tokens, batches.batch(3).tokens)
    assert not np.array_equal(tokens, batches.batch(4).tokens)
    other = Batches(ids, 20, 50, unknown_id=0, unknown_rate=0.1, seed=8)
    assert not np.array_equal(tokens, other.batch(3).tokens)


def test_batches_of_a_dataset_hide_as_many_characters_as_it_says() -> None:
    dataset = tokenize(text_of("ab" * 500 + "xyz"), 0.0)
    batches = Batches.of(dataset, 4, 16, seed=7)
    assert np.array_equal(batches.ids, dataset.train)
    assert (batches.batch_size, batches.bptt, batches.seed) == (4, 16, 7)
    assert batches.unknown_id == dataset.tokenizer.unknown_id
    assert batches.unknown_rate == dataset.unknown_rate > 0


@pytest.mark.parametrize(
    ("count", "fitted"),
    [
        (100_000, (32, 64)),
        (4096, (32, 64)),
        (1280, (10, 64)),
        (100, (1, 64)),
        (18, (1, 17)),
        (2, (1, 1)),
    ],
)
def test_a_small_text_gets_smaller_batches_then_shorter_ones(
    count: int, fitted: tuple[int, int]
) -> None:
    assert fit_batches(count, 32, 64) == fitted
