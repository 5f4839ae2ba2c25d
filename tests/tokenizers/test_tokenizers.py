from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.errors import TokenizerError
from chargen.tokenizers import Tokenizer, build_tokenizer, subword, tokenizer_from_json
from chargen.tokenizers.byte import begins_character, bytes_of, replaced, text_of

NASTY = [
    "", "a", "\n", "\n\n\n", " ", "  two  spaces  ", " \n \n", "\t\ttabs\t", "\r\n\r", "\x0b\x0c",
    "\u2581", "\u2581\u2581 \u2581", " \u2581 ", "a\u2581b", "\0", "a\0b\0", "e\u0301 a\u0308",
    "\ufb01 \ufb02", "🎉👩‍👩‍👧‍👦🇯🇵", "日本語。", "\u200b\ufeff", "\x85\u2028\u2029", "<unk><s></s>",
    "<0x41><0xE2>", "\ufffd", "\U0010ffff", "ＡＢＣ ①", "İi̇ıI", "\x1b[31mred\x1b[0m",
]  # fmt: skip
KINDS = ["char", "byte", "unigram", "bpe"]
BASE = "the quick brown fox jumps over the lazy dog. " * 40


@functools.cache
def tokenizer(kind: str) -> Tokenizer:
    text = BASE + "\n".join(NASTY) if kind == "char" else BASE
    return build_tokenizer(kind, text, 400)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", NASTY)
def test_nasty_strings_come_back(kind: str, text: str) -> None:
    built = tokenizer(kind)
    ids = built.encode(text)
    assert ids.dtype == np.uint32
    assert built.decode(ids.tolist()) == text
    assert built.unknown_id is None or built.unknown_id not in ids


@pytest.mark.parametrize("kind", ["byte", "unigram", "bpe"])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(kind: str, text: str) -> None:
    built = tokenizer(kind)
    assert built.decode(built.encode(text).tolist()) == text


ESCAPES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])


@given(text=st.text(st.characters(exclude_categories=["Cs"]) | ESCAPES), data=st.binary())
def test_any_bytes_come_back(text: str, data: bytes) -> None:
    """In a text a byte that is not UTF-8 is a lone surrogate, as in Python's file names."""
    built = tokenizer("byte")
    assert bytes(built.encode(built.decode(data)).tolist()) == data
    assert bytes_of(text_of(data)) == data
    read = text_of(bytes_of(text))  # escapes that together are UTF-8 are that
    assert built.decode(built.encode(text).tolist()) == read
    assert begins_character(data).sum() == len(text_of(data))
    assert replaced(read).encode() == replaced(read).encode("utf-8", "strict")


@functools.cache
def without(characters: str, kind: str) -> Tokenizer:
    """Return a tokenizer of a text that lacks some characters."""
    return build_tokenizer(kind, "".join(c for c in BASE if c not in characters) + "\nb" * 9, 400)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("missing", [" ", " .", "aeiou", " \n"])
@given(text=st.text(st.sampled_from(" a\u2581\n.\te ") | st.characters(exclude_categories=["Cs"])))
@settings(max_examples=50)
def test_any_text_comes_back_whatever_was_not_learned(kind: str, missing: str, text: str) -> None:
    built = without(missing, kind)
    ids = built.encode(text).tolist()
    assert built.decode(ids) == text
    assert not set(built.never_sampled) & set(ids)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("text", NASTY)
def test_nasty_strings_come_back_where_no_space_was_learned(kind: str, text: str) -> None:
    built = without(" ", kind)
    assert built.decode(built.encode(text).tolist()) == text


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_char_brings_back_every_text_of_its_alphabet(text: str) -> None:
    built = build_tokenizer("char", text, 0)
    assert built.decode(built.encode(text).tolist()) == text
    assert built.vocab_size == len(set(text)) + 1
    assert built.unknown_characters(text) == []


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=50)
def test_streaming_equals_decoding_at_once(kind: str, data: st.DataObject) -> None:
    built = tokenizer(kind)
    ids = data.draw(st.lists(st.integers(0, built.vocab_size - 1)))
    decoder = built.decoder()
    streamed = "".join(decoder.push(i) for i in ids) + decoder.flush()
    assert streamed == built.decode(ids)


def test_streaming_never_shows_half_a_character() -> None:
    decoder = build_tokenizer("byte", b"", 0).decoder()
    assert [decoder.push(byte) for byte in "é🎉".encode()] == ["", "é", "", "", "", "🎉"]
    assert decoder.push(0xE2) == ""
    assert decoder.flush() == "\udce2"  # the byte, as in Python's file names
    spelled = tokenizer("bpe").decoder()
    assert spelled.push(tokenizer("bpe").encode("\u00e9").tolist()[0]) == ""
    assert spelled.flush() == "\ufffd"


@pytest.mark.parametrize("kind", KINDS)
def test_json_holds_the_whole_vocabulary(kind: str) -> None:
    built = tokenizer(kind)
    again = tokenizer_from_json(built.to_json())
    assert again.kind == built.kind == kind
    assert again.pieces == built.pieces
    assert again.never_sampled == built.never_sampled
    assert np.array_equal(again.encode(BASE), built.encode(BASE))


@pytest.mark.parametrize("kind", KINDS)
def test_surrogates_that_stand_for_no_byte_are_refused(kind: str) -> None:
    with pytest.raises(TokenizerError, match=r"lone surrogate U\+D800 at character 2"):
        tokenizer(kind).encode("ab\ud800c")
    if kind == "byte":
        assert tokenizer(kind).encode("a\udce9").tolist() == [0x61, 0xE9]
    else:
        with pytest.raises(TokenizerError, match=r"lone surrogate U\+DC80 at character 0"):
            build_tokenizer(kind, "\udc80", 300)


def test_char_ids_follow_code_points_and_leave_zero_for_the_unknown() -> None:
    built = build_tokenizer("char", "banana\n", 0)
    assert built.encode("\nabnz\U0010ffff").tolist() == [1, 2, 3, 4, 0, 0]
    assert built.pieces == ("\ufffd".encode(), b"\n", b"a", b"b", b"n")
    assert built.unknown_characters("bazza!") == ["!", "z"]
    assert built.never_sampled == (0,)
    assert built.decode([3, 0]) == "b\ufffd"


def test_unknown_characters_cost_the_choice_among_all_the_others() -> None:
    assert build_tokenizer("char", "abc", 0).unknown_count == 1_112_064 - 3
    assert tokenizer("byte").unknown_count == 1
    assert tokenizer("bpe").unknown_count == 1


def test_byte_ids_are_the_bytes() -> None:
    built = tokenizer("byte")
    assert built.vocab_size == 256
    assert built.encode("é").tolist() == [0xC3, 0xA9]
    assert built.never_sampled == ()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("size", [1, 8000])
@pytest.mark.parametrize("text", ["a", "hello world\n" * 20, "a" * 9000, "日本語の文字"])
def test_a_vocabulary_that_does_not_fit_is_moved(kind: str, size: int, text: str) -> None:
    built = build_tokenizer(kind, text, size)
    assert 256 < built.vocab_size < 8000
    if size == 1:
        assert len(set(text)) + 256 < built.vocab_size <= len(set(text)) + 256 + 2
    assert built.decode(built.encode(text).tolist()) == text


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_subwords_shorten_the_text_and_reach_the_size(kind: str, prose: str) -> None:
    built = build_tokenizer(kind, prose, 600)
    assert built.vocab_size == 600
    ids = built.encode(prose)
    assert len(ids) < 0.6 * len(prose)
    assert built.decode(ids.tolist()) == prose
    assert built.pieces[built.encode("\n")[0]] == b"\n"
    assert len(built.never_sampled) == 1
    assert built.pieces[built.never_sampled[0]] == "\ufffd".encode()


def test_a_line_of_any_length_is_learned_from() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve "
    built = build_tokenizer("bpe", words * 500, 330)
    assert len(built.encode(words)) < 20


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_long_text_has_the_ids_of_its_beginning_and_end(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tokenizer(kind)
    text = "".join(f"the {number} quick\u2028 foxes\x85\n\n" * 2 for number in range(500))
    long = built.encode(text)
    monkeypatch.setattr(subword, "LONG", len(text) + 1)
    assert long.tolist() == built.encode(text).tolist()
    assert built.decode(long.tolist()) == text


def test_a_vocabulary_is_learned_from_all_of_a_large_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subword, "SAMPLE", 8000)
    monkeypatch.setattr(subword, "CHUNK", 100)
    seen: list[str] = []

    def train(kind: str, text: str, vocab_size: int) -> bytes:
        seen.append(text)
        return learn(kind, text, vocab_size)

    learn = subword._train
    monkeypatch.setattr(subword, "_train", train)
    pieces = [f"{number:03} is a number, and so on\n" * 5 for number in range(1000)]
    build_tokenizer("bpe", pieces, 300)
    assert len(seen[0]) <= 8100
    hundreds = {line[:1] for line in seen[0].split("\n") if line[:3].isdigit()}
    assert hundreds == set("0123456789")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("text", ["\n\n\n", "\u2581", "", "\r", "\r\n\r\n", "\0" * 50])
def test_a_text_without_words_has_no_subwords(kind: str, text: str) -> None:
    with pytest.raises(TokenizerError, match=f"no words to learn with the tokenizer '{kind}'"):
        build_tokenizer(kind, text, 300)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@given(text=st.text(st.sampled_from("ab \n\r\0\u2581"), max_size=3), times=st.integers(1, 99))
@settings(max_examples=60, deadline=None)
def test_a_repetitive_text_is_learned_or_refused_in_our_words(
    kind: str, text: str, times: int
) -> None:
    try:
        built = build_tokenizer(kind, text * times, 300)
    except TokenizerError as error:
        assert str(error).endswith("give another text, or use --tokenizer char")
    else:
        assert built.decode(built.encode(text).tolist()) == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "tokenizer is None; known: char, byte, unigram, bpe"),
        ({"kind": "word"}, "tokenizer is 'word'"),
        ({"kind": "char"}, "alphabet is damaged"),
        ({"kind": "char", "alphabet": "ba"}, "alphabet is damaged"),
        ({"kind": "char", "alphabet": "aa"}, "alphabet is damaged"),
        ({"kind": "char", "alphabet": "\ud800"}, "lone surrogate"),
        ({"kind": "bpe"}, "sentencepiece vocabulary is damaged"),
        ({"kind": "bpe", "model": "%%%"}, "sentencepiece vocabulary is damaged"),
        ({"kind": "unigram", "model": "AAAA"}, "sentencepiece vocabulary is damaged"),
    ],
)
def test_a_damaged_vocabulary_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_json(data)


def test_junk_in_a_vocabulary_is_noticed() -> None:
    data = tokenizer("bpe").to_json()
    data["model"] = "%%" + data["model"]
    with pytest.raises(TokenizerError, match="sentencepiece vocabulary is damaged"):
        tokenizer_from_json(data)
