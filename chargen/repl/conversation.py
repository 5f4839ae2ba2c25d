"""A session on a terminal.

One prompt is alive from the beginning to the end. The last line of the text stands above it as
a part of the prompt; a line that is complete goes up into what the terminal scrolls. While text
comes, the model works in a thread, a thirtieth of a second at a time; between two such batches
everything happens in one loop, so that no two things change the session at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.auto_suggest import Suggestion, ThreadedAutoSuggest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.utils import get_cwidth

from chargen.config import SampleConfig
from chargen.display.output import visible
from chargen.errors import ChargenError
from chargen.evaluation.surprisal import HEAT, ScoredToken, by_word
from chargen.repl import Session, Turns, commands, files
from chargen.repl.assist import Alternatives, Ghost, is_command, remaining
from chargen.repl.ghost import Foresight
from chargen.repl.keys import keys
from chargen.repl.screen import Fragment, cut, heat_style, style

BATCH = 1 / 30  # seconds of writing between two pictures
PROMPT = "> "
HINT = "Ctrl-C again leaves"


class Conversation:
    """A session on a terminal.

    Args:
        session: the text and the model.
        input: keys; None is the terminal's.
        output: where to show; None is the terminal.
    """

    def __init__(
        self, session: Session, input: Input | None = None, output: Output | None = None
    ) -> None:
        self.session = session
        self._foresight: tuple[Turns, SampleConfig, Foresight] | None = None
        self._tail: list[Fragment] = []
        self._ends = session.turns
        self._busy = self._stopping = self._interrupted = False
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._ghost = ThreadedAutoSuggest(Ghost(self))
        self._foretold = "", ""  # a line, and the ghost text behind it
        self._style = style()
        self._prompt: PromptSession[str] = PromptSession(
            self._message,
            auto_suggest=self._ghost,
            completer=Alternatives(self),
            complete_while_typing=Condition(self._is_command),
            history=files.history(),
            key_bindings=keys(self),
            bottom_toolbar=self._toolbar,
            style=self._style,
            enable_suspend=True,
            reserve_space_for_menu=6,
            input=input,
            output=output,
        )
        # The prompt never returns a line: it is taken here, and the prompt stays.
        buffer = self._prompt.default_buffer
        buffer.accept_handler = self._take
        buffer.on_text_changed += self._changed
        buffer.on_cursor_position_changed += self._changed
        buffer.on_suggestion_set += self._remember

    def run(self) -> None:
        """Converse until the user leaves."""
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            self._prompt.prompt(pre_run=self._begin)

    # -- lines ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._prompt.app.create_background_task(self._work())

    def _take(self, buffer: Buffer) -> bool:
        """Take a line: what is live acts at once, anything else ends the text that comes."""
        line, self._interrupted, self._foretold = buffer.text, False, ("", "")
        if self._busy and commands.is_live(line):
            self._obey_live(line)
        elif line or not self._busy:
            self._stopping = True
            self._lines.put_nowait(line)
        return False

    async def _work(self) -> None:
        """Answer one line after the other."""
        while True:
            line = await self._lines.get()
            self._busy, self._stopping = True, False
            try:
                # In a thread: a long text takes seconds to read, and keys should not wait.
                await self._show(await asyncio.to_thread(commands.answer, self.session, line))
            except ChargenError as error:
                self.say(str(error))
            finally:
                self._busy = False
            self._suggest(self._prompt.default_buffer.text)
            self._prompt.app.invalidate()

    def _obey_live(self, line: str) -> None:
        try:
            answer = commands.answer(self.session, line)
        except ChargenError as error:
            self.say(str(error))
            return
        if isinstance(answer, commands.Said):
            self.say(answer.words)

    async def _show(self, answer: commands.Answer) -> None:
        match answer:
            case commands.Said(words):
                self._show_end()
                self.say(words)
            case commands.Heat(pieces):
                self._show_heat(pieces)
            case commands.Edit(text):
                await self._edit(text)
            case commands.Leave():
                self.leave()
            case commands.Writing():
                await self._write(answer)

    async def _write(self, answer: commands.Writing) -> None:
        if answer.warning:
            self.say(answer.warning)
        if self._tail and (answer.line or answer.again):
            self._add([("", "\n")])
        self._add([("class:line", visible(answer.line.removeprefix("\n")))])
        going = True
        while going:
            written, going = await asyncio.to_thread(self._batch, answer.pieces)
            self._add([("", visible(written))])
        self._ends = self.session.turns

    def _batch(self, pieces: Iterator[str]) -> tuple[str, bool]:
        """Return what the model writes in a short while, and whether there may be more."""
        deadline, written = time.monotonic() + BATCH, []
        for piece in pieces:
            written.append(piece)
            if self._stopping or time.monotonic() > deadline:
                break
        else:
            return "".join(written), False
        if self._stopping:
            pieces.close()  # type: ignore[attr-defined]
        return "".join(written), not self._stopping

    async def _edit(self, text: str) -> None:
        edited = await run_in_terminal(lambda: files.edited(text), in_executor=True)
        if edited is None:
            self.say("the text is as it was")
            return
        await asyncio.to_thread(self.session.rewrite, edited)
        await self._show(commands.rewritten(self.session, edited))

    # -- keys -----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Stop the text, or clear the line; on an empty line a second time leaves."""
        buffer = self._prompt.default_buffer
        if self._busy:
            self._stopping = True
        elif buffer.text:
            buffer.reset()
        elif self._interrupted:
            self.leave()
        self._interrupted = True
        self._prompt.app.invalidate()

    def leave(self) -> None:
        """End the session."""
        self._stopping = True
        if self._prompt.app.is_running and not self._prompt.app.is_done:
            self._prompt.app.exit(result="")

    def _changed(self, buffer: Buffer) -> None:
        """Keep what is left of the ghost text; else see to it, also where no key was inserted.

        prompt_toolkit looks for a suggestion after an insertion only, and shows none meanwhile.
        """
        self._interrupted = self._interrupted and not buffer.text
        if left := remaining(*self._foretold, buffer.text):
            buffer.suggestion = Suggestion(left)
            self._prompt.app.create_background_task(self._renew(buffer, buffer.document))
        elif buffer.text and buffer.suggestion is None:
            asyncio.get_running_loop().call_soon(self._suggest, buffer.text)

    async def _renew(self, buffer: Buffer, document: Document) -> None:
        """Look further ahead than what is left of the ghost text."""
        suggestion = await self._ghost.get_suggestion_async(buffer, document)
        if buffer.document == document and suggestion:
            buffer.suggestion = suggestion
            self._remember(buffer)
            self._prompt.app.invalidate()

    def _suggest(self, text: str) -> None:
        buffer = self._prompt.default_buffer
        here = text and buffer.text == text
        if here and buffer.complete_state is None and buffer.suggestion is None:
            buffer.insert_text("")

    def _remember(self, buffer: Buffer) -> None:
        self._foretold = buffer.text, buffer.suggestion.text if buffer.suggestion else ""

    def _is_command(self) -> bool:
        return is_command(self._prompt.default_buffer.text)

    # -- what the model would write -------------------------------------------------------

    def foresight(self) -> Foresight | None:
        """Return what looks ahead from where the text stands; None while text is being written."""
        if self._busy:
            return None
        turns, config = self.session.turns, self.session.config
        known = self._foresight
        if known is None or known[0] is not turns or known[1] != config:
            foresight = Foresight(self.session.sampler, self.session.place, config)
            self._foresight = known = turns, config, foresight
        return known[2]

    def room(self, line: str) -> int:
        """Return how many columns are free behind a line."""
        columns = self._columns()
        used = get_cwidth(PROMPT) + get_cwidth(visible(line.rpartition("\n")[2]))
        return columns - 1 - used % columns

    # -- the screen -----------------------------------------------------------------------

    def _message(self) -> FormattedText:
        lines = cut(self._tail, self._columns()) if self._tail else []
        above = [fragment for line in lines for fragment in (*line, ("", "\n"))]
        return FormattedText([*above, ("class:prompt", PROMPT)])

    def _toolbar(self) -> str:
        if self._busy:
            return "writing; Ctrl-C stops, /temp and other settings act at once"
        if self._interrupted:
            return HINT
        config = self.session.config
        return (
            f"temp {config.temperature:g}  length {config.length}   Tab takes the grey text, "
            "Ctrl-Space more, /help"
        )

    def say(self, words: str) -> None:
        """Show words of ours, above the line where the text stands."""
        self._put(cut([("class:said", visible(words))], self._columns()))

    def _show_heat(self, pieces: list[ScoredToken]) -> None:
        if os.environ.get("NO_COLOR"):
            self.say(commands.heat_table(by_word(pieces)))
            return
        text = [(heat_style(p.bits_per_character), visible(p.text)) for p in pieces]
        legend = [(heat_style(bits), f" {bits:.0f} bits ") for _, bits in HEAT]
        whole = [*text, ("", "\n"), *legend, ("", " or more a character")]
        self._put(cut(whole, self._columns()))

    def _show_end(self) -> None:
        """Let the end of the text stand above the prompt, if the text was moved."""
        if self._ends is self.session.turns:
            return
        self._ends = self.session.turns
        last = self._ends[-1].text.rpartition("\n")[2] if self._ends else ""
        columns = self._columns()
        self._tail = cut([("", visible(last[-columns:]))], columns)[-1]

    def _add(self, fragments: list[Fragment]) -> None:
        """Add to the text: complete lines go up, the last one stays above the prompt."""
        *complete, self._tail = cut([*self._tail, *fragments], self._columns())
        self._put(complete)

    def _put(self, lines: list[list[Fragment]]) -> None:
        """Write lines into what the terminal scrolls, and draw the prompt anew below them."""
        app = self._prompt.app
        if lines:
            text = FormattedText([f for line in lines for f in (*line, ("", "\n"))])
            app.renderer.erase()
            print_formatted_text(app.output, text, self._style, color_depth=app.color_depth)
            app.renderer.reset()
            app.renderer.request_absolute_cursor_position()
        app.invalidate()

    def _columns(self) -> int:
        return self._prompt.app.output.get_size().columns
