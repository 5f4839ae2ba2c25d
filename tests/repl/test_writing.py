"""The session: the middle of a text, variants of a sentence, constraints; without a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from chargen.errors import ChargenError
from chargen.repl import DEFAULTS, Session, commands
from chargen.repl.commands import Choice, answer
from chargen.sampling.constraints.copies import build_index, save_index
from chargen.sampling.endings import UNITS
from chargen.tokenizers import build_tokenizer
from tests.conftest import write
from tests.hashing import hashing, steps
from tests.repl.test_conversation import holds, say, session

# -- the middle of a text -----------------------------------------------------------------


def test_text_is_inserted_in_the_middle_and_the_rest_stays_behind() -> None:
    ours = session(length=5)
    ours.load("a bad cab\nhad a bag\nbe a head")
    told = "line 2, after 'had a bag'; 10 characters stay behind; /at: the end"
    assert say(ours, "/at 2") == told
    came = say(ours, " beef")
    assert ours.text == f"a bad cab\nhad a bag beef{came}\nbe a head"
    assert ours.draft.rest == "\nbe a head"
    again = say(ours, "/retry")
    assert ours.text == f"a bad cab\nhad a bag beef{again}\nbe a head"
    holds(ours)
    say(ours, "/save middle.txt")
    assert Path("middle.txt").read_text() == ours.text
    assert answer(ours, "/edit") == commands.Edit(ours.text)
    assert say(ours, "/at") == "at the end of the text"
    end = say(ours, "")
    assert ours.text == f"a bad cab\nhad a bag beef{again}\nbe a head{end}"
    holds(ours)


@pytest.mark.parametrize(
    ("place", "before"),
    [
        ("0", ""),
        ("1", "a bad cab"),
        ("3", "a bad cab\n7 bad bags\n"),
        ("4", "a bad cab\n7 bad bags\n\na cab"),
        ("cab", "a bad cab"),  # the cursor is behind the last one
        ("bad bags", "a bad cab\n7 bad bags"),
        ('"7"', "a bad cab\n7"),
        (r"bags\n", "a bad cab\n7 bad bags\n"),
    ],
)
def test_a_place_is_a_lines_number_or_words(place: str, before: str) -> None:
    ours = session()
    text = "a bad cab\n7 bad bags\n\na cab"
    ours.load(text)
    say(ours, f"/at {place}")
    assert (ours.draft.before, ours.text) == (before, text)
    if before:
        assert ours.state is not None
        assert (ours.state.logits == ours.sampler.read(before).logits).all()
    say(ours, "/undo")
    assert ours.draft.before == text


def test_words_are_searched_backwards_from_the_cursor() -> None:
    ours = session()
    ours.load("a cab, a cab and a cab.")
    ends = []
    for _ in range(4):
        say(ours, "/at cab")
        ends.append(len(ours.draft.before))
    assert ends == [22, 12, 5, 22]


def test_the_cursor_moves_without_reading_all_again() -> None:
    ours = session(length=100)
    for _ in range(5):
        say(ours, "ab\n")
    ours.sampler.read("")
    before = steps(ours.sampler)
    ours.move(len(ours.text) - 7)
    ours.move(len(ours.text))
    assert steps(ours.sampler) - before <= 103
    holds(ours)


# -- variants -----------------------------------------------------------------------------


def sentences(**settings: object) -> Session:
    sampler = hashing(build_tokenizer("char", "ab. AB\n", 0))
    config = replace(DEFAULTS, **{"length": 60, "seed": 1, "temperature": 1, **settings})  # type: ignore[arg-type]
    return Session(sampler, config)


def test_one_of_three_variants_of_a_sentence_is_picked() -> None:
    ours = sentences()
    ours.load("A b. ")
    given = answer(ours, "/variants  ab a")
    assert isinstance(given, Choice)
    assert len(set(given.texts)) == 3
    assert ours.text == "A b. "
    for text in given.texts:
        unit = UNITS["sentence"]("A b.  ab a")
        assert unit.push(text) + unit.held == text
    assert say(ours, "2") == given.texts[1]
    assert ours.text == f"A b.  ab a{given.texts[1]}"
    assert ours.turns[-1].line == " ab a"
    holds(ours)
    say(ours, "/undo")
    assert ours.text == "A b. "
    say(ours, "2")  # they can be picked again
    assert ours.text == f"A b.  ab a{given.texts[1]}"
    say(ours, "2")  # and then a number is a text
    assert ours.turns[-1].line == "2"


def test_other_text_leaves_the_variants_and_they_are_different() -> None:
    ours = sentences()
    answer(ours, "/variants")
    say(ours, "/temp 0")  # a setting does not
    assert ours.variants
    assert say(ours, "4") != ""
    assert not ours.variants
    assert ours.turns[-1].line == "4"
    greedy = answer(ours, "/variants")
    assert isinstance(greedy, Choice)
    assert len(greedy.texts) == 1
    say(ours, "/set until line")
    say(ours, "/temp 1")
    lines = answer(ours, "/variants")
    assert isinstance(lines, Choice)
    assert not any("\n" in text.strip() for text in lines.texts)
    say(ours, "/set until none")
    say(ours, "/set regex (ab|B){3}")
    rules = answer(ours, "/variants")
    assert isinstance(rules, Choice)
    assert all(re.fullmatch("(ab|B){3}", text) for text in rules.texts)
    say(ours, "/set regex none")
    say(ours, "/length 0")
    assert say(ours, "/variants").startswith("the model found no variants")


def test_each_turn_ends_with_its_unit() -> None:
    ours = sentences(length=200)
    say(ours, "/set until sentence")
    for line in ("A b", "", " b", "", ""):
        begin = ours.text + line
        came = say(ours, line)
        unit = UNITS["sentence"](begin)
        assert unit.push(came) + unit.held == came
        assert came.rstrip("\"'").endswith(".") or len(came) == 200
    assert ours.text.startswith("A b")
    holds(ours)


# -- constraints --------------------------------------------------------------------------


def test_constraints_hold_for_each_turn() -> None:
    ours = session(length=40)
    assert say(ours, r"/set regex (ab|cd)* [a-h]{3}") == r"regex is (ab|cd)* [a-h]{3}"
    for line in ("e", "", "/retry"):
        assert re.fullmatch(r"(ab|cd)* [a-h]{3}", say(ours, line))
    assert "* regex                  (ab|cd)* [a-h]{3}" in say(ours, "/show")
    write("my words.txt", "bad cab\n")
    assert say(ours, "/set words my words.txt").startswith("regex and words cannot be combined")
    assert say(ours, "/set until line").startswith("a regex itself says where a text ends")
    assert ours.config.until is None
    assert say(ours, "/set regex") == "regex is none"
    assert say(ours, "/set words my words.txt") == "words is my words.txt"
    for line in ("", "", "/retry"):
        assert set(say(ours, line).split()) <= {"bad", "cab"}
    assert say(ours, "/set words none") == "words is none"
    holds(ours)


def test_nothing_is_copied_and_a_dead_end_is_said() -> None:
    ours = session(length=40)
    assert say(ours, "/set no-copy 16").endswith("train with --copy-index to have it")
    text = "abcdefgh" * 20
    ours.sampler.run = write("run/model", "").parent
    save_index(ours.sampler.run, build_index([text], len(text), 5))
    assert say(ours, "/set no-copy 5") == "no-copy is 5"
    for _ in range(10):
        came = say(ours, "abc")
        assert not any(came[n : n + 5] in text for n in range(len(came) - 4))
    say(ours, "/set regex abcdefghab")
    say(ours, "/reset")
    with pytest.raises(ChargenError, match="the text ended before it met the constraints"):
        say(ours, "")
    assert ours.text == "abcd"
    holds(ours)


def test_a_constraint_that_no_text_of_the_length_meets_changes_nothing() -> None:
    ours = session(length=5)
    say(ours, "/set regex [a-h]{9}")
    told = say(ours, "ab")
    assert told.startswith("length is 5; allowed: 9 or more, the shortest text")
    assert ours.turns == ()
    say(ours, "/length 9")
    assert len(say(ours, "ab")) == 9


def test_with_a_constraint_settings_act_from_the_next_turn() -> None:
    ours = session(length=40)
    say(ours, "/set regex [a-h]{30}")
    pieces = ours.generate("")
    came = "".join(islice(pieces, 10))
    say(ours, "/temp 2")
    say(ours, "/set regex none")
    assert re.fullmatch("[a-h]{30}", came + "".join(pieces))
    assert say(ours, "").strip("abcdefgh")
