"""Ends of sentences, lines and paragraphs, and of the phrases of ghost text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen import load
from chargen.config import UNITS as NAMES
from chargen.errors import ConfigError
from chargen.sampling.endings import UNITS, phrase_end
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import build_tokenizer
from tests.conftest import Run
from tests.hashing import hashing
from tests.sampling.reciting import reciting

SENTENCES = [  # the prompt, the sentence that is generated, and what would follow
    ("", "It was cold.", " Nobody came."),
    ("", "It was cold!?", "\nNobody came."),
    ("It was", " cold.", " Nobody came."),
    ("It was cold.", " Nobody came.", " Then"),
    ("It was cold", ".", " Then"),
    ("", "Mr. Smith met Mrs. J. K. Brown, Dr. Who and St. Peter.", " They"),
    ("He met Mr", ". Smith.", " They"),
    ("", "It costs 3.14 or 2,50, or 1.000.", " Then"),
    ("It costs 3", ".14.", " Then"),
    ("", "He was born on Jan. 5 at No. 10, see p. 3.", " Then"),
    ("", "He said no.", " Then he left."),
    ("", "The U.S. Army came at 5 p.m. to e.g. Paris.", " It"),
    ("", "It was I.", " Then"),
    ("", "He waited... and waited... then left...", " Then"),
    ("", "He waited… and left…", " Then"),
    ("", "“It was cold.”", " He left."),
    ("", '"Hello!" he said.', ' "Bye."'),
    ("", "'Stop!'", " 'Why?'"),
    ("", "(It was cold.)", " Then"),
    ("", "»Es war kalt.«", " Er"),
    ("", "„Es war kalt.“", " Er"),
    ("", "*It was cold.*", " _Then_"),
    ("", "It was cold.", ' ("Very cold.")'),
    ("", "It was cold.", "\n\nthe end"),
    ("", "1. Take an egg.", "\n2. Boil it."),
    ("The list:\n", "1. Take an egg.", "\n2. Boil it."),
    ("", "He was 42.", " Then"),
    ("", "See www.example.com or a.txt.", " Then"),
    ("", "it was cold.", " nobody came."),  # without capital letters
    ("he said:", " who are you?", "\ni am"),
    ("He", " said: who are you? i am he.", " And"),
    ("", "It was by J. R. R. Tolkien.", " He"),
    ("", '"It is cold," he said, "isn\'t it?"', ' "No."'),
    ("", "夜だった。", "誰もいない。"),
    ("", "「寒い。」", "彼は言った。"),
    ("", "「どこ？」と彼は言った。", "寒い。"),
    ("", "“你好！”", "他走了。"),
    ("", "वह आया।", " फिर"),
    ("", "هل هو بارد؟", " نعم"),
]
LINES = [
    ("", "The cat", "\nsat"),
    ("The", " cat", "\nsat"),
    ("The cat", "\nsat down.", "\n\nThen"),
    ("The cat\n", "  \n sat", "\nThen"),
    ("", "The cat", "\r\nsat"),
]
PARAGRAPHS = [
    ("", "The cat\nsat. It was cold.", "\n\nThen"),
    ("", "The cat\nsat", "\n \t\nThen"),
    ("The end.\n\n", "\n\nThe cat\n sat", "\n\nThen"),
    ("", "The cat\r\nsat", "\r\n\r\nThen"),
]
CASES = [
    (unit, *case)
    for unit, cases in (("sentence", SENTENCES), ("line", LINES), ("paragraph", PARAGRAPHS))
    for case in cases
]


@pytest.mark.parametrize(("unit", "before", "text", "after"), CASES)
def test_a_unit_ends_where_a_reader_ends_it(unit: str, before: str, text: str, after: str) -> None:
    at_once, by_characters = UNITS[unit](before), UNITS[unit](before)
    assert at_once.push(text + after) == text
    shown = ""
    for character in text + after:
        shown += by_characters.push(character)
        assert text.startswith(shown)  # nothing is shown that is cut off later
    assert shown == text
    assert at_once.ended and by_characters.ended


@pytest.mark.parametrize("unit", NAMES)
@given(before=st.text('aA .\n\r"”1。', max_size=9), text=st.text('aA .\n\r"”1。と', max_size=30))
def test_pieces_make_no_difference(unit: str, before: str, text: str) -> None:
    at_once, by_characters = UNITS[unit](before), UNITS[unit](before)
    shown = at_once.push(text)
    assert "".join(map(by_characters.push, text)) == shown
    assert (at_once.ended, at_once.held) == (by_characters.ended, by_characters.held)
    assert text.startswith(shown + at_once.held)
    if not at_once.ended:
        assert shown + at_once.held == text


def test_phrases_end_at_punctuation_but_not_inside_numbers_and_abbreviations() -> None:
    def phrase(text: str, start: int = 0) -> str:
        return text[: phrase_end(text, start)]

    assert phrase("a cold night, and nobody") == "a cold night,"
    assert phrase("a cold night, and nobody. It", 14) == "a cold night, and nobody."
    assert phrase("at 10:30 Mr. Smith paid 3.50, then") == "at 10:30 Mr. Smith paid 3.50,"
    assert phrase("“Hello!” he") == "“Hello!”"
    assert phrase_end("a cold night,", 0) is None  # the next character decides
    assert phrase("寒い、夜") == "寒い、"


# -- a sampler ----------------------------------------------------------------------------

STORY = "It was Mr. Smith.  “Who?” he said.\n\nNobody\nknew 3.14 things. The end"


@pytest.mark.parametrize(
    ("until", "text"),
    [
        ("sentence", "It was Mr. Smith."),
        ("line", "It was Mr. Smith.  “Who?” he said."),
        ("paragraph", "It was Mr. Smith.  “Who?” he said."),
        (None, STORY),
    ],
)
@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_a_text_ends_with_its_unit(kind: str, until: str, text: str) -> None:
    sampler = reciting(STORY, kind=kind)
    generate: dict[str, Any] = {"until": until, "temperature": 0, "length": len(STORY)}
    assert "".join(sampler.generate(**generate)) == text
    first, second = sampler.generate_batch("", 2, **generate)
    assert first.text == second.text == text
    assert first.finish_reason == ("length" if until is None else "stop")
    assert len(second.tokens) > 0


def test_at_most_its_length_and_never_what_was_held_back() -> None:
    sampler = reciting(STORY)
    for length in range(len(STORY)):
        generated = sampler.generate_batch(until="sentence", length=length, temperature=0)[0]
        whole = "It was Mr. Smith."
        assert generated.text == whole[:length]
        assert generated.finish_reason == ("stop" if length >= len(whole) + 4 else "length")


def test_the_prompt_counts_and_stop_texts_do_too() -> None:
    sampler = reciting(STORY)
    after: dict[str, Any] = {"temperature": 0, "length": 60}
    assert "".join(sampler.generate("It was Mr", until="sentence", **after)) == ". Smith."
    assert "".join(sampler.generate("It was", until="sentence", stop="Sm", **after)) == " Mr. "
    assert "".join(sampler.generate("It was Mr. Smith.", until="sentence", **after)) == (
        "  “Who?” he said."
    )
    assert "".join(sampler.generate("he said.", until="line", **after)) == "\n\nNobody"
    stopped = "".join(sampler.generate("It was", until="sentence", stop="Smith. ", **after))
    assert stopped == " Mr. Smith."


def test_a_text_without_punctuation_ends_at_its_length() -> None:
    sampler = reciting("no end at all and no rest " * 4)
    assert len("".join(sampler.generate(until="sentence", length=50, temperature=0))) == 50


def test_each_text_of_a_batch_ends_by_itself() -> None:
    sampler = hashing(build_tokenizer("char", "ab. AB\n", 0))
    texts = sampler.generate_batch("a", 40, until="sentence", length=60, temperature=1, seed=1)
    alone = "".join(sampler.generate("a", until="sentence", length=60, temperature=1, seed=1))
    assert alone == texts[0].text
    assert len({len(text.text) for text in texts}) > 10
    for text in texts:
        unit = UNITS["sentence"]("a")
        assert unit.push(text.text) + unit.held == text.text
        assert not unit.ended
        assert text.finish_reason == "length" or text.text.rstrip('"')[-1] == "."


def test_words_hold_beside_a_unit_and_a_regex_is_refused(hashed: Sampler) -> None:
    texts = hashed.generate_batch("", 20, words=["ab", "ba"], until="sentence", length=40, seed=2)
    for text in texts:
        assert set(re.findall("[a-z]+", text.text.lower())) <= {"ab", "ba"}
    with pytest.raises(ConfigError, match="a regex itself says where a text ends"):
        hashed.generate(regex="a+", until="sentence")
    with pytest.raises(ConfigError, match="until is 'word'; allowed: sentence, line, paragraph"):
        hashed.generate(until="word")
    with pytest.raises(ConfigError, match="leave --until out"):
        hashed.generate_batch(beam=2, until="line")


@pytest.fixture
def hashed() -> Sampler:
    return hashing(build_tokenizer("char", "ab. AB\n", 0))


# -- the command --------------------------------------------------------------------------


def test_the_command_ends_texts_with_their_unit(chargen: Run, with_model: Path) -> None:
    for unit in NAMES:
        given = ("sample", "-p", "The ", "--seed", "1", "-n", "2000", "--until", unit)
        streamed = chargen(*given)
        assert streamed.returncode == 0
        done = chargen(*given, "--json", "--num-samples", "3")
        texts = [json.loads(line) for line in done.stdout.splitlines()]
        assert streamed.stdout == f"The {texts[0]['text']}"
        for text in texts:
            again = UNITS[unit]("The ")
            assert again.push(text["text"]) == text["text"]
            assert text["finish_reason"] in ("stop", "length")
    model = load("small")
    text = "".join(model.generate("The ", until=unit, length=2000, seed=1))
    assert text == texts[0]["text"]
    refused = chargen("sample", "--until", "word")
    assert refused.returncode != 0
    assert "until is 'word'; allowed: sentence, line, paragraph" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
