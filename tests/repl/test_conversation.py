"""The session and its commands, without a terminal."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.config import SampleConfig
from chargen.errors import ChargenError
from chargen.evaluation.surprisal import ScoredToken
from chargen.repl import CHUNK, DEFAULTS, MAX_READ, Rules, Session, commands
from chargen.repl.commands import COMMANDS, Generation, Heat, Message, Quit, answer, is_live
from tests.conftest import Run, write
from tests.hashing import hashing, steps
from tests.processes import run

TOTAL = "1.00 bits per character"


def session(**settings: object) -> Session:
    config = replace(DEFAULTS, length=12, seed=1)
    return Session(hashing(), replace(config, **settings))  # type: ignore[arg-type]


def say(session: Session, line: str) -> str:
    """Return the message, the generated text or the error that a line leads to."""
    try:
        given = answer(session, line)
    except ChargenError as error:
        return str(error)
    match given:
        case Message(text):
            return text
        case Generation():
            return "".join(given.pieces)
        case _:
            return type(given).__name__


def holds(session: Session) -> None:
    """Check that the states of each turn are those after the text before them."""
    state = None
    for turn in session.turns:
        assert turn.before is state
        state = turn.after
    if session.turns:
        begin = "" if session.turns[0].line else "\n"  # what an empty first line starts after
        again = session.sampler.read(begin + session.draft.before)
        assert session.state is not None
        assert (again.logits == session.state.logits).all()


# -- turns --------------------------------------------------------------------------------


def test_the_text_is_what_stands_on_the_screen() -> None:
    ours = session()
    first, second, third = say(ours, "ab"), say(ours, "cd"), say(ours, "")
    assert [len(text) for text in (first, second, third)] == [12, 12, 12]
    assert ours.text == f"ab{first}cd{second}{third}"
    holds(ours)
    ours.load("a cat")
    assert ours.on_own_line("sat") == "\nsat"  # as the lines of a pipe
    assert ours.on_own_line("") == ""
    ours.load("a cat\n")
    assert ours.on_own_line("sat") == "sat"


def test_the_same_lines_and_seed_give_the_same_text() -> None:
    texts = []
    for seed in (1, 1, 2):
        ours = session(seed=seed)
        texts.append([say(ours, line) for line in ("ab", "", "/retry", "cd", "/undo", "e")])
    assert texts[0] == texts[1] != texts[2]
    assert texts[0][0] == "".join(
        ours.sampler.stream(ours.sampler.read("ab"), replace(ours.config, seed=1))
    )


def test_a_stopped_text_keeps_what_was_generated() -> None:
    ours = session(length=1000)
    pieces = ours.generate("ab")
    came = "".join(islice(pieces, 5))
    pieces.close()  # type: ignore[attr-defined]
    assert ours.text == "ab" + came
    holds(ours)


def test_settings_change_during_generation() -> None:
    ours = session(length=40, temperature=0)
    pieces = ours.generate("ab")
    came = "".join(islice(pieces, 10))
    ours.config = replace(ours.config, temperature=50, length=60)
    rest = "".join(pieces)
    greedy = "".join(ours.sampler.generate("ab", length=60, temperature=0))
    assert came == greedy[:10]
    assert rest != greedy[10:]
    assert len(rest) == 50
    ours.config = replace(ours.config, length=5)
    pieces = ours.generate()
    list(islice(pieces, 3))
    ours.config = replace(ours.config, length=2)
    assert list(pieces) == []
    holds(ours)


def test_a_long_text_is_read_meanwhile_so_that_stopping_it_takes_no_time() -> None:
    ours = session(length=5 * CHUNK)
    pieces = ours.generate("ab")
    came = "".join(islice(pieces, 4 * CHUNK + 7))
    before = steps(ours.sampler)
    pieces.close()  # type: ignore[attr-defined]
    assert steps(ours.sampler) - before == 7
    assert ours.text == "ab" + came
    holds(ours)


def test_retry_generates_again_from_the_same_state() -> None:
    ours = session()
    first = say(ours, "ab")
    again = say(ours, "/retry")
    assert again != first
    assert ours.text == "ab" + again
    say(ours, "/undo")
    assert ours.text == "ab" + first
    assert say(session(), "/retry") == "there is no text yet; type the beginning of a line"


def test_undo_takes_back_whatever_changed_the_text() -> None:
    ours = session()
    write("a.txt", "bad cab\n")
    texts = [ours.text]
    for line in ("ab", "", "/retry", "/load a.txt", "c", "/reset", "d"):
        say(ours, line)
        texts.append(ours.text)
    for text in reversed(texts[:-1]):
        assert say(ours, "/undo") == f"undone: the text has {len(text)} characters"
        assert ours.text == text
        holds(ours)
    assert say(ours, "/undo") == "there is nothing to undo"


def test_branches_keep_texts() -> None:
    ours = session()
    assert say(ours, "/go") == "there are no branches; /branch NAME makes one"
    assert say(ours, "/branch") == "/branch needs a name"
    say(ours, "ab")
    text = ours.text
    assert say(ours, "/branch a fork") == "the text is branch 'a fork'; /go a fork returns to it"
    say(ours, "c")
    other = ours.text
    say(ours, "/branch two")
    assert say(ours, "/go a fork") == "branch 'a fork': the text has 14 characters"
    assert ours.text == text
    say(ours, "/go two")
    assert ours.text == other
    assert say(ours, "/go three") == "branch is 'three'; allowed: a fork, two"
    listed = say(ours, "/go").splitlines()
    assert listed[0] == f"'a fork': 14 characters, the last are {text[-30:]!r}"
    assert len(listed) == 2


TEXTS = "ab", "", "c", "\n", "1", "/retry", "/undo", "/reset", "/branch x", "/go x", "/variants a"
commands_of_texts = st.sampled_from([*TEXTS, "/temp 0", "/seed 7", "/at 1", "/at b", "/at"])


@settings(deadline=None)
@given(st.lists(commands_of_texts, max_size=12))
def test_any_sequence_leaves_text_and_states_in_agreement(lines: list[str]) -> None:
    ours = session(length=3)
    for line in lines:
        say(ours, line)
        holds(ours)


# -- settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "field", "value", "told"),
    [
        ("/temp 0.7", "temperature", 0.7, "temp is 0.7"),
        ("/length 9", "length", 9, "length is 9"),
        ("/seed 3", "seed", 3, "seed is 3"),
        ("/seed none", "seed", None, "seed is none"),
        ("/set top_p 0.9", "top_p", 0.9, "top-p is 0.9"),
        ("/set top-k  4 ", "top_k", 4, "top-k is 4"),
        ("/set seed", "seed", None, "seed is none"),
        ("/set temp 0.7", "temperature", 0.7, "temp is 0.7"),
        ("/set temperature 0.7", "temperature", 0.7, "temperature is 0.7"),
        ("/set t 0.7", "temperature", 0.7, "t is 0.7"),
        ("/set n 9", "length", 9, "n is 9"),
        ("/set repeat-penalty 1.2", "repeat_penalty", 1.2, "repeat-penalty is 1.2"),
        ("/set repeat_penalty 1.2", "repeat_penalty", 1.2, "repeat-penalty is 1.2"),
        (
            "/set dry-sequence-breaker a b",
            "dry_sequence_breakers",
            ("a", "b"),
            "dry-sequence-breaker is 'a' 'b'",
        ),
        ("/set until sentence", "until", "sentence", "until is 'sentence'"),
        ("/set until none", "until", None, "until is none"),
        (r"/stop  THE END\n", "stop", ("THE END\n",), r"stop is 'THE END\n'"),
        ("/stop", "stop", (), "stop is none"),
        (r'/set stop "THE END" \n', "stop", ("THE END", "\n"), r"stop is 'THE END' '\n'"),
        ("/set stop none", "stop", (), "stop is none"),
        ("/set ban xyz", "ban", "xyz", "ban is 'xyz'"),
        ("/set ban", "ban", "", "ban is none"),
        (
            r"/set logit-bias e-2 \n+1.5",
            "logit_bias",
            (("e", -2.0), ("\n", 1.5)),
            r"logit-bias is 'e-2' '\n+1.5'",
        ),
    ],
)
def test_each_setting_is_read_by_its_type(line: str, field: str, value: object, told: str) -> None:
    ours = session(stop=("x",), ban="q")
    assert say(ours, line) == told
    assert getattr(ours.config, field) == value


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/temp x", "temp is 'x'; allowed: a number"),
        ("/temp 101", "temperature is 101.0; allowed: 0 to 100"),
        ("/temp nan", "temperature is nan; allowed: 0 to 100"),
        ("/length 1.5", "length is '1.5'; allowed: a whole number"),
        ("/length -1", "length is -1; allowed: 0 or more characters"),
        ("/set until word", "until is 'word'; allowed: sentence, line, paragraph"),
        ("/set regex [^a", "regex is '[^a', which cannot be read: unterminated character set"),
        ("/set regex (?=a)", "regex is '(?=a)'"),
        ("/set words none.txt", "cannot read 'none.txt': No such file or directory"),
        ("/set words ~nobody-at-all/x", "cannot read '~nobody-at-all/x': No such file or direc"),
        ("/set no-copy 20", "no-copy"),
        ("/set no-copy x", "no-copy is 'x'; allowed: a whole number"),
        ("/at 9", "line is 9; allowed: 0 (before the first line) to "),
        ("/at " + "9" * 5000, "'999"),
        ("/at zzz", "'zzz' is not in the text; give a line's number or other words"),
        ("/set top_q 1", "top_q is not a setting; did you mean top-p?"),
        ("/set zzz 1", "zzz is not a setting; /show lists them"),
        ("/set stop 'a", 'stop is "\'a"; allowed: texts with closed quotes'),
        (
            "/set logit-bias ex",
            "logit-bias is 'ex'; allowed: a character and a number, such as e-2",
        ),
        (r"/stop \s", r"stop has \s; allowed escapes: \n, \t, \r, and \\ for a backslash"),
        (r"/set ban \s", r"ban has \s; allowed escapes: \n, \t, \r, and \\ for a backslash"),
        ("/tmp 1", "'/tmp' is not a command; did you mean /temp?"),
        ("/", "'/' is not a command; /help lists them"),
        ("/reset now", "/reset takes no argument; leave 'now' out"),
        ("a\udc80", "the text has the lone surrogate U+DC80 at character"),
    ],
)
def test_an_error_is_one_line_and_changes_nothing(line: str, told: str) -> None:
    ours = session()
    say(ours, "ab")
    before = ours.config, ours.turns
    words = say(ours, line)
    assert words.startswith(told)
    assert "\n" not in words
    assert (ours.config, ours.turns) == before


def test_show_marks_what_was_changed() -> None:
    ours = Session(hashing())
    assert "* " not in say(ours, "/show").partition("* differs")[0]
    say(ours, "/set top_p 0.5")
    marked = [line for line in say(ours, "/set").splitlines() if line.startswith("*")]
    assert marked[0].split() == ["*", "top-p", "0.5"]
    assert len(marked) == 2
    lines = len(fields(SampleConfig)) + len(fields(Rules)) + 1
    assert len(say(ours, "/show").splitlines()) == lines
    assert say(ours, "/temp") == "temp is 0.8"


def test_a_seed_counts_from_the_next_turn() -> None:
    ours = session(seed=5)
    first = say(ours, "ab")
    say(ours, "/reset")
    assert say(ours, "ab") != first
    for line in ("/reset", "/seed none", "/seed 5"):
        say(ours, line)
    assert say(ours, "ab") == first


# -- the table ----------------------------------------------------------------------------


def test_help_names_every_command_with_its_help() -> None:
    words = say(session(), "/help")
    assert max(map(len, words.splitlines())) < 80
    for command in COMMANDS:
        assert f"/{command.name} {command.argument}".strip() in words
        assert command.help in words
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


def test_settings_are_live_and_texts_are_not() -> None:
    live = {command.name for command in COMMANDS if command.live}
    assert live == {"temp", "length", "seed", "stop", "set", "show", "help"}
    assert is_live("/temp 1")
    assert not any(is_live(line) for line in ("/undo", "text", "", "/temperature", "temp"))


def test_two_slashes_begin_a_line_with_one() -> None:
    ours = session()
    say(ours, "//a")
    assert ours.text.startswith("/a")


def test_bye_and_edit_are_left_to_the_caller() -> None:
    ours = session()
    assert answer(ours, "/bye") == Quit()
    ours.load("abc")
    assert answer(ours, "/edit") == commands.Edit("abc")


def test_heat_is_of_the_last_turn() -> None:
    ours = session()
    assert say(ours, "/heat") == "there is no text yet; type the beginning of a line"
    for line in ("", "ab"):
        say(ours, line)
        heat = answer(ours, "/heat")
        assert isinstance(heat, Heat)
        assert "".join(token.text for token in heat.tokens) == ours.turns[-1].text
    table = commands.heat_table([ScoredToken("ab", 3.0), ScoredToken(" c", 1.0)])
    assert table.splitlines() == ["  bits  word", "   3.0  'ab'", "   1.0  ' c'", TOTAL]


def test_a_line_with_unknown_characters_warns() -> None:
    given = answer(session(), "ab!")
    assert isinstance(given, Generation)
    assert given.warning == "not in the model's vocabulary: '!'; read as unknown characters (UNK)"


# -- files --------------------------------------------------------------------------------


def test_a_text_is_saved_and_loaded() -> None:
    ours = session()
    say(ours, "ab")
    text = ours.text
    assert say(ours, "/save my text.txt") == "14 characters saved in 'my text.txt'"
    assert Path("my text.txt").read_text() == text
    assert say(ours, "/save my text.txt") == (
        "'my text.txt' exists; /save! my text.txt overwrites it"
    )
    say(ours, "/reset")
    assert say(ours, "/load my text.txt") == "loaded: the text has 14 characters"
    assert ours.text == text
    holds(ours)
    say(ours, "c")
    say(ours, "/save! my text.txt")
    assert Path("my text.txt").read_text() == ours.text
    assert say(ours, "/load") == "/load needs the name of a file"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/load none.txt", "corpus 'none.txt' does not exist; give another file"),
        ("/load .", "corpus 'bad.txt' is not utf-16"),
        ("/load -", "corpus './-' does not exist; give another file"),
        ("/load /dev/zero", "corpus '/dev/zero' is a device; give another file"),
        ("/load bad.txt", "corpus 'bad.txt' is not utf-16: byte 0xFF at offset 2; give another"),
        ("/load a\0b", "/load needs the name of a file"),
        ("/load ~nobody-at-all/x", "corpus '~nobody-at-all/x' does not exist"),
        ("/save none/x", "cannot write 'none/x': No such file or directory"),
        ("/save " + "x" * 300, "cannot write"),
        ("/save! .", "cannot write '.'"),
    ],
)
def test_a_file_that_cannot_be_read_or_written_is_one_line(line: str, told: str) -> None:
    write("bad.txt", b"\xff\xfe\xff")
    ours = session()
    say(ours, "ab")
    turns = ours.turns
    words = say(ours, line)
    assert words.startswith(told)
    assert "\n" not in words
    assert ours.turns is turns


def test_loading_names_unknown_characters_and_folds_newlines() -> None:
    write("other.txt", b"\xef\xbb\xbfab\r\nz")
    ours = session()
    words = say(ours, "/load other.txt")
    assert "\n1 CRLF line ends read as LF (as in the training text)\n" in words
    assert words.endswith("\nnot in the model's vocabulary: 'z'; read as unknown characters (UNK)")
    assert ours.text == "ab\nz"
    write("empty.txt", "")
    say(ours, "/load empty.txt")
    assert ours.text == ""


def test_of_a_long_text_the_model_reads_the_end() -> None:
    ours = session()
    ours.load("abcdefgh" * MAX_READ)
    assert len(ours.text) == 8 * MAX_READ
    again = ours.sampler.read(("abcdefgh" * MAX_READ)[-MAX_READ:])
    assert ours.state is not None
    assert (ours.state.logits == again.logits).all()


# -- a pipe -------------------------------------------------------------------------------


def test_commands_work_in_a_pipe(chargen: Run, with_model: Path) -> None:
    lines = (
        "The \n/save a.txt\n/undo\n/load a.txt\n\n/retry\n/branch b\n/go\n/heat\n/edit\n"
        "/load nothing\n\x1b[31m\n/bye\nnever\n"
    )
    first, done = (
        chargen("repl", "--seed", "1", "-n", "30", "--threads", "1", input=lines) for _ in range(2)
    )
    assert done.returncode == 1  # lines that were refused: /edit, /load nothing
    assert first.stdout == done.stdout
    assert Path("a.txt").read_text() == done.stdout[:34]
    assert "\n\x1b[31m" in done.stdout  # raw in a pipe; read as unknown
    assert "chargen: undone: the text has 0 characters\n" in done.stderr
    assert "bits per character\n" in done.stderr
    assert "chargen: /edit needs a terminal; /save and /load do not\n" in done.stderr
    assert "chargen: corpus 'nothing' does not exist; give another file\n" in done.stderr
    assert "never\n" not in done.stdout


def test_invalid_bytes_are_an_error_of_their_line(with_model: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-W", "error", "-m", "chargen", "repl"]
    lines = b"/length 9\n\xff\nThe \n"
    done = run(command, input=lines)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if not line.startswith(b"import time:")]
    assert told[0] == b"chargen: length is 9"
    assert told[1].startswith(b"chargen: the text has the lone surrogate U+DCFF")
    assert len(told) == 2
    assert not re.search(rb"\| +torch\b", done.stderr)
    assert done.stdout.startswith(b"The ")
    assert len(done.stdout.decode()) == len("The ") + 9 + 1
