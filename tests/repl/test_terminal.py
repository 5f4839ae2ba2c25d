"""The session on a pseudo-terminal of 80 columns, and how its screen is laid out."""

from __future__ import annotations

import random
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from chargen.config import ReadConfig
from chargen.display.heat import level
from chargen.errors import ConfigError
from chargen.repl import DEFAULTS, Session, files
from chargen.repl.assist import Alternatives, remaining, unslashed
from chargen.repl.conversation import Conversation
from chargen.repl.keys import first_word
from chargen.repl.screen import cut, fitting, heat_style
from chargen.sampling.sampler import load
from tests.conftest import run_chargen, write
from tests.hashing import hashing
from tests.processes import finish
from tests.screen import Screen, Watched

GREY = "90"
HINT = "Ctrl-C again quits"


def repl(*arguments: str, **environment: str) -> Watched:
    terminal = Watched("repl", "--threads", "1", "--seed", "1", *arguments, **environment)
    terminal.see("Tab accepts the grey text")
    return terminal


def ghost(screen: Screen) -> str:
    """Return the grey characters of the line with the cursor."""
    row = screen.cells[screen.row]
    return "".join(row[column][0] for column in sorted(row) if row[column][1].endswith(GREY))


def predicted(model: Path, line: str) -> str:
    """Return the greedy continuation up to the end of the line."""
    return "".join(load(model, threads=1).generate(line, length=70, temperature=0)).split("\n")[0]


@pytest.fixture(scope="module")
def moon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three lines, so that its ghost text has words."""
    lines = (
        "The cat sat on the mat and looked at the moon.",
        "It was a cold night, and nobody was about.",
        "(What a moon!)",
    )
    folder, rng = tmp_path_factory.mktemp("moon"), random.Random(1)
    (folder / "moon.txt").write_text("\n".join(rng.choice(lines) for _ in range(300)))
    done = run_chargen(
        *("train", "moon.txt", "--name", "moon", "--steps", "120", "--hidden", "48"),
        *("--batch-size", "8", "--bptt", "32", "--seed", "3", "--precision", "float32"),
        *("--threads", "1"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder / "checkpoints/moon/model.safetensors"


@pytest.fixture
def with_model(moon: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARGEN_CHECKPOINTS", str(moon.parent.parent))
    return moon


# -- a person at work ---------------------------------------------------------------------


def test_ghost_text_follows_the_keys_and_is_accepted(with_model: Path) -> None:
    terminal = repl("-n", "60")
    terminal.type("I")
    terminal.until(lambda screen: ghost(screen) == predicted(with_model, "I"))
    terminal.type("t is")
    after = predicted(with_model, "It is")
    assert len(after.split()) > 3
    terminal.until(lambda screen: ghost(screen) == after)
    assert terminal.screen.column == len("> It is")
    terminal.type("\x1b[1;3C")  # Alt-right accepts a word
    word = first_word(after)
    terminal.until(lambda screen: screen.column == len(f"> It is{word}"))
    terminal.until(lambda screen: ghost(screen) == after[len(word) :])
    terminal.type("\x1bf")  # and so does Alt-f; the rest of the ghost text stays
    word += first_word(after[len(word) :])
    terminal.until(lambda screen: screen.column == len(f"> It is{word}"))
    terminal.type("\t")
    terminal.until(lambda screen: screen.column == len(f"> It is{after}"))
    assert terminal.screen.line(terminal.screen.row) == f"> It is{after}"
    terminal.until(lambda screen: ghost(screen) == "")
    terminal.type("\x7f\x7f")  # a line that got shorter has its ghost text too
    terminal.until(lambda screen: ghost(screen) == after[-2:])
    terminal.type("\x1b[C")  # right
    terminal.until(lambda screen: ghost(screen) == "" and screen.column == len(f"> It is{after}"))
    terminal.type("\x15/b")
    terminal.see("/branch NAME")
    terminal.until(lambda screen: ghost(screen) == "")
    terminal.type("\x15\x04")
    assert terminal.end() == 0


def test_text_streams_is_stopped_and_settings_act_meanwhile(with_model: Path) -> None:
    terminal = repl("-n", "1000000")
    terminal.type("The \r")
    terminal.see("generating; Ctrl-C stops")
    terminal.type("/temp 0\r")
    terminal.see("temp is 0")
    terminal.type("/temp hot\r")
    terminal.see("temp is 'hot'; allowed: a number")
    terminal.see("generating; Ctrl-C stops")
    terminal.until(lambda screen: len(screen.text()) > 1000)  # some text, on a busy machine too
    terminal.type("\x03")
    terminal.see(HINT)
    assert "The " in terminal.screen.text()
    terminal.type("/save kept.txt\r")
    terminal.see("characters saved in 'kept.txt'")
    kept = Path("kept.txt").read_text()
    assert kept.startswith("The ")
    assert len(kept) > 50
    # The end of the text is above the prompt, as it was saved.
    end = kept.rpartition("\n")[2].rstrip()
    terminal.until(lambda screen: not end or screen.line(screen.row - 1) == end)
    terminal.type("ab\x03")  # clears the line
    terminal.until(lambda screen: screen.column == 2)
    terminal.type("\x03")
    assert terminal.end() == 0


def test_commands_in_a_terminal(with_model: Path) -> None:
    write("text.txt", "The \x1b[31mred\x07 and \x9b2J\x85 text")
    write("editor", "#!/bin/sh\nprintf 'The new text\\n' > \"$1\"\n").chmod(0o755)
    terminal = repl("-n", "70", VISUAL="./editor")
    terminal.type("/load text.txt\r")
    terminal.see("The ␛[31mred␇ and \ufffd2J\ufffd text")
    terminal.type("\r/heat\r")  # which stops the text, unless it has ended
    terminal.see(" or more per character")
    assert terminal.screen.coloured("48;5;171")
    assert "31" not in {own for row in terminal.screen.cells for _, own in row.values()}
    assert not set(terminal.screen.odd)
    terminal.type("/edit\r")
    terminal.see("loaded: the text has 12 characters")
    terminal.type("/undo\r/branch fork\r/go fork\r")
    terminal.see("branch 'fork': the text has ")
    terminal.type("/set to\t")
    terminal.see("top-p")
    terminal.type("\x15\x1b[31m\x1b[200~a\x1b[2Jb\x1b[201~\x03")  # typed, and pasted
    terminal.see(HINT)
    terminal.type("The \x00")
    terminal.see(" %")
    terminal.type("\x1b[B\r")  # chooses the first
    terminal.until(lambda screen: " %" not in screen.text())
    terminal.type("\x03/bye\r")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.shown
    history = Path("../cache/history")
    assert "+/load text.txt\n" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_ctrl_c_twice_quits_and_no_color_is_respected(with_model: Path) -> None:
    terminal = repl("-n", "20", NO_COLOR="1")
    terminal.type("The \r/heat\r")
    terminal.see("  bits  word")
    terminal.type("\x03")
    terminal.see(HINT)
    terminal.type("\x03")
    assert terminal.end() == 0
    assert not any(code in terminal.shown for code in ("\x1b[0;90m", "\x1b[0;36m", "48;5"))


# -- in one process -----------------------------------------------------------------------


def converse(keys: str) -> Session:
    """Return the session after these keys; the last ones must quit."""
    session = Session(hashing(), DEFAULTS)
    with create_pipe_input() as keyboard:
        keyboard.send_text(keys)
        Conversation(session, keyboard, DummyOutput()).run()
    return session


@pytest.mark.parametrize("last", ["\x04", "/bye\r", "\x03\x03"])
def test_a_session_ends(last: str) -> None:
    assert converse(last).turns == ()


def test_lines_typed_ahead_are_run_in_order() -> None:
    session = converse("/length 5\rab\r/seed 3\r/temp 0\r/branch b\r/reset\r/nonsense\r/bye\r")
    assert (session.config.length, session.config.seed, session.config.temperature) == (5, 3, 0)
    assert session.branches["b"][0].line == "ab"
    assert session.turns == ()


def completions(line: str, *, asked: bool = True) -> list[str]:
    session = Session(hashing(), DEFAULTS)
    session.branch("fork")
    with create_pipe_input() as keyboard:
        conversation = Conversation(session, keyboard, DummyOutput())
        event = CompleteEvent(completion_requested=asked)
        return [c.text for c in Alternatives(conversation).get_completions(Document(line), event)]


def test_commands_and_arguments_are_completed(isolated: Path) -> None:
    write("a file.txt", "")
    assert completions("/re") == ["/retry", "/reset"]
    assert completions("/set top") == ["top-k", "top-p"]
    assert completions("/go ", asked=False) == ["fork"]
    assert completions("/load a f") == ["ile.txt"]
    assert completions("/nonsense x") == completions("/bye ") == []


def test_alternatives_come_on_request() -> None:
    assert completions("ab", asked=False) == []
    assert len(completions("ab")) == 8
    assert len(completions("")) == 8
    assert completions("a\udc80") == []
    assert unslashed("//a") == "/a"


def test_the_rest_of_the_ghost_text() -> None:
    assert remaining("It", " was", "It w") == "as"
    assert remaining("It", " was", "It was") == remaining("It", " was", "It is") == ""
    assert remaining("It", " was", "I") == ""


def test_the_session_in_a_terminal_does_not_import_torch() -> None:
    program = "import sys, chargen.repl.conversation; sys.exit('torch' in sys.modules)"
    finish([sys.executable, "-c", program])


# -- files --------------------------------------------------------------------------------


def test_without_a_folder_the_history_is_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("taken", "")
    monkeypatch.setenv("CHARGEN_CACHE", "taken")
    history = files.history()
    history.append_string("a")
    assert list(history.load_history_strings()) == ["a"]


def test_an_editor_that_fails_leaves_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    for editor, told in (("false", "failed"), ("none-such", "set EDITOR"), ("'", "set EDITOR")):
        monkeypatch.setenv("EDITOR", editor)
        with pytest.raises(ConfigError, match=told):
            files.edited("text", ReadConfig())
    monkeypatch.setenv("EDITOR", "true")
    assert files.edited("text", ReadConfig()) is None


# -- layout -------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("ab\n日é", max_size=30)), max_size=5))
def test_cut_loses_nothing_and_fits(fragments: list[tuple[str, str]]) -> None:
    lines = cut(fragments, 7)
    text = "".join(part for _, part in fragments)
    shown = ["".join(part for _, part in line) for line in lines]
    assert "".join(shown) == text.replace("\n", "")
    assert len(shown) >= text.count("\n") + 1
    assert all(sum(2 if c == "日" else 1 for c in line) <= 7 for line in shown)


def test_small_things_of_layout() -> None:
    assert fitting("日本語", 5) == "日本"
    assert cut([("", "a" * 80)], 80) == [[("", "a" * 80)]]
    assert [first_word(t) for t in (" the cat", "the  cat", "x", "", "  ")] == [
        " the ", "the ", "x", "", "  ",
    ]  # fmt: skip
    assert heat_style(level(0.5)) == ""
    assert len({heat_style(level(bits)) for bits in (1, 3, 5, 7, 20)}) == 5
