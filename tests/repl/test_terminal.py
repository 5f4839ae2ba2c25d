"""The session on a pseudo-terminal of 80 columns."""

from __future__ import annotations

import random
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from chargen.config import ReadConfig
from chargen.errors import ConfigError
from chargen.repl import DEFAULTS, Rules, Session, files
from chargen.repl.assist import Alternatives, remaining, unslashed
from chargen.repl.conversation import Conversation
from chargen.repl.keys import first_word
from chargen.sampling.constraints.copies import build_index, save_index
from chargen.sampling.ghost import Lookahead
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
    """Return the ghost text after a line at the beginning of a text."""
    return Lookahead(load(model, threads=1), None).ghost(line, 80, 9)


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
    terminal.type("t wa")
    after = predicted(with_model, "It wa")
    assert after == "s a cold night,"
    terminal.until(lambda screen: ghost(screen) == after)
    assert terminal.screen.column == len("> It wa")
    terminal.type("\x1b[1;3C")  # Alt-right accepts a word
    word = first_word(after)
    terminal.until(lambda screen: screen.column == len(f"> It wa{word}"))
    terminal.until(lambda screen: ghost(screen) == after[len(word) :])
    terminal.type("\x1bf")  # and so does Alt-f; the rest of the ghost text stays
    word += first_word(after[len(word) :])
    terminal.until(lambda screen: screen.column == len(f"> It wa{word}"))
    terminal.type("\t")
    terminal.until(lambda screen: screen.column == len(f"> It wa{after}"))
    assert terminal.screen.line(terminal.screen.row).startswith(f"> It wa{after}")
    terminal.until(lambda screen: ghost(screen) == " and nobody was about.")  # the next phrase
    terminal.type("\x7f\x7f")  # a line that got shorter has its ghost text too
    terminal.until(lambda screen: ghost(screen) == after[-2:])
    terminal.type("\x1b[C")  # right
    terminal.until(lambda screen: screen.column == len(f"> It wa{after}"))
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
    # The end of the text is the prompt, as it was saved.
    end = kept.rpartition("\n")[2] or "> "
    terminal.until(lambda screen: screen.line(screen.row) == end.rstrip())
    terminal.type("ab\x03")  # clears the line
    terminal.until(lambda screen: screen.column == len(end))
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


def test_typing_goes_on_in_the_middle_of_a_line(with_model: Path) -> None:
    terminal = repl("-n", "0")
    terminal.type("The cat sat\r")
    terminal.until(lambda screen: screen.line(screen.row) == "The cat sat")
    terminal.type(" on the m")
    terminal.until(lambda screen: ghost(screen) == "at and looked at the moon.")
    assert terminal.screen.line(terminal.screen.row).startswith("The cat sat on the mat and")
    assert terminal.screen.column == len("The cat sat on the m")
    terminal.type("\t\x1b\rIt w")  # Alt-Enter begins a line
    terminal.until(lambda screen: ghost(screen) == "as a cold night,")
    assert terminal.screen.line(terminal.screen.row - 1) == (
        "The cat sat on the mat and looked at the moon."
    )
    terminal.type("\r/s")  # a command stands on a row of its own
    rows = ["It w", "> /s"]
    terminal.until(lambda screen: [screen.line(screen.row - n) for n in (1, 0)] == rows)
    terminal.type("ave! a.txt\r")
    terminal.see("51 characters saved")
    assert Path("a.txt").read_text() == "The cat sat on the mat and looked at the moon.\nIt w"
    terminal.type("/length 12\r/temp 0\r")
    terminal.see("temp is 0")
    terminal.type("as\r")  # the end of a word that stands in the text
    terminal.until(lambda screen: screen.line(screen.row) == "It was a cold nigh")
    terminal.type("\x03\x04")
    assert terminal.end() == 0


def test_words_are_not_cut_at_the_edge(with_model: Path) -> None:
    words = [f"{'cat' * (n % 4 + 1)}{n}" for n in range(60)]
    write("long.txt", " ".join(words))
    terminal = repl("-n", "700")
    terminal.type("/set ban \\n\r/load long.txt\r")  # all is one line
    terminal.see(words[-1])
    terminal.type(" " + " ".join(f"word{n:03}" for n in range(40)))
    terminal.until(lambda screen: "word039" in screen.text())
    rows = terminal.screen.text().split()
    assert [word for word in rows if word.startswith("word")] == [f"word{n:03}" for n in range(40)]
    terminal.type("\x1b[D" * 300 + "X\r")  # in the middle of it
    terminal.see("generating")
    terminal.see("Tab accepts")
    shown = terminal.screen.text().split()
    terminal.type("/save! all.txt\r")
    terminal.see("characters saved")
    text = Path("all.txt").read_text()
    assert "worXd002" in text
    kept = text.split()[-100:]
    assert any(shown[n : n + len(kept)] == kept for n in range(len(shown)))
    terminal.type("\x03 " + "日本語の文章。" * 9 + " cat")
    terminal.until(lambda screen: screen.line(screen.row).endswith(" cat"))
    terminal.type("\x15\x04")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.shown


def test_the_middle_variants_and_constraints_in_a_terminal(with_model: Path) -> None:
    write("text.txt", "The cat sat on the mat.\nIt was a cold night.\n(What a moon!)")
    terminal = repl("-n", "60")
    terminal.type("/load text.txt\r/at 2\r")
    terminal.see("line 2, after 'It was a cold night.'; 15 characters stay behind; /at: the end")
    terminal.until(lambda screen: screen.line(screen.row) == "It was a cold night.")
    terminal.see(r"15 characters stay behind: '\n(What a moon!)'; /at: the end")
    terminal.type("/set until sentence\r/temp 2\r")
    terminal.see("temp is 2")
    terminal.type(" The c\x1bv")  # Alt-v
    terminal.see("1 to 3 picks a variant")
    rows = terminal.screen.text().splitlines()
    assert any(row.split() == ["1", "2", "3"] for row in rows)
    terminal.type("2\r")
    terminal.see("It was a cold night. The c")
    terminal.see(r"15 characters stay behind: '\n(What a moon!)'; /at: the end")  # it is added
    terminal.type("/set until none\r/set regex (cat ){3}\r/length 12\r")
    terminal.see("length is 12")
    terminal.type("\r")
    terminal.see("cat cat cat")
    terminal.type("/save! all.txt\r")
    terminal.see("characters saved")
    text = Path("all.txt").read_text()
    assert text.startswith("The cat sat on the mat.\nIt was a cold night. The c")
    assert text.endswith("cat cat cat \n(What a moon!)")
    terminal.type("/at\r")
    terminal.see("at the end of the text")
    terminal.until(lambda screen: screen.line(screen.row) == "(What a moon!)")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_edit_opens_the_systems_editor_or_says_that_there_is_none(with_model: Path) -> None:
    write("programs/nano", "#!/bin/sh\nprintf 'The new text\\n' > \"$1\"\n").chmod(0o755)
    for path, told in (
        ("programs", "loaded: the text has 12 char"),
        ("none", "no editor was found"),
    ):
        terminal = repl("-n", "9", VISUAL="", EDITOR="", PATH=str(Path(path).absolute()))
        terminal.type("/edit\r")
        terminal.see(told)
        terminal.type("\x04")
        assert terminal.end() == 0


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


def converse(keys: str, session: Session | None = None) -> Session:
    """Return the session after these keys; the last ones must quit."""
    session = session or Session(hashing(), DEFAULTS)
    with create_pipe_input() as keyboard:
        keyboard.send_text(keys)
        Conversation(session, keyboard, DummyOutput()).run()
    return session


@pytest.mark.parametrize("last", ["\x04", "/bye\r", "\x03\x03"])
def test_a_session_ends(last: str) -> None:
    assert converse(last).turns == ()


def test_a_text_that_cannot_meet_its_constraints_keeps_what_came() -> None:
    session = Session(hashing(), replace(DEFAULTS, length=40))
    text = "abcdefgh" * 20
    session.sampler.run = write("run/model", "").parent
    save_index(session.sampler.run, build_index([text], len(text), 5))
    session.change(session.config, Rules(regex="abcdefgh", no_copy=5))
    converse("e\r/bye\r", session)
    assert session.text == "eabcd"


def test_lines_typed_ahead_are_run_in_order() -> None:
    session = converse("/length 5\rab\r/seed 3\r/temp 0\r/branch b\r/reset\r/nonsense\r/bye\r")
    assert (session.config.length, session.config.seed, session.config.temperature) == (5, 3, 0)
    assert session.branches["b"].turns[0].line == "ab"
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
    assert completions("/at ") == ["1"]
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
    unknown = "set VISUAL or EDITOR"
    for editor, told in (("false", "failed"), ("none-such", unknown), ("'", unknown)):
        monkeypatch.setenv("EDITOR", editor)
        with pytest.raises(ConfigError, match=told):
            files.edited("text", ReadConfig())
    monkeypatch.setenv("EDITOR", "true")
    assert files.edited("text", ReadConfig()) is None


@pytest.mark.parametrize(
    ("visual", "editor", "there", "used"),
    [
        ("./a", "./b", ["editor", "nano", "vi"], "a"),
        (" ", "./b", ["editor", "nano", "vi"], "b"),
        ("", "", ["vi", "nano", "editor"], "editor"),
        ("", "", ["vi", "nano"], "nano"),
        (None, None, ["vi"], "vi"),
        (None, None, [], None),
    ],
)
def test_the_editor_is_the_users_or_one_of_the_system(
    visual: str | None,
    editor: str | None,
    there: list[str],
    used: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("VISUAL", visual), ("EDITOR", editor)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    for program in ("a", "b", *there):
        folder = "." if program in "ab" else "programs"
        write(f"{folder}/{program}", f'#!/bin/sh\necho {program} >> "$1"\n').chmod(0o755)
    monkeypatch.setenv("PATH", str(Path("programs").absolute()))
    if used:
        assert files.edited("text\n", ReadConfig()) == f"text\n{used}\n"
        return
    with pytest.raises(ConfigError) as caught:
        files.edited("text\n", ReadConfig())
    assert str(caught.value) == (
        "no editor was found (editor, nano, vi); set EDITOR, or use /save and /load"
    )
