"""A session on a terminal.

One prompt is active during the whole session. The last row of the text is the prompt, so that what
is typed goes on where the text stands; complete rows go into the scrollback of the terminal. Text
is generated in a thread, for a thirtieth of a second at a time; all else happens in one event loop
between two such batches, so that no two actions change the session at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Generator, Iterator

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

from chargen.config import SampleConfig
from chargen.display.output import visible
from chargen.errors import ChargenError
from chargen.evaluation.surprisal import ScoredToken, by_word
from chargen.repl import Draft, Session, commands, files
from chargen.repl.assist import Alternatives, Ghost, is_command, remaining
from chargen.repl.keys import keys
from chargen.repl.screen import Fragment, WordWrap, cut, heat_map, side_by_side, style, width
from chargen.sampling.ghost import Lookahead

BATCH = 1 / 30  # seconds of generation between two updates of the screen
PROMPT = "> "  # at the beginning of a line, and of a command
ROWS = 4  # of a long line that are shown again
HINT = "Ctrl-C again quits"


class Conversation:
    """A session on a terminal.

    Args:
        session: the text and the model.
        input: keyboard; None is that of the terminal.
        output: screen; None is the terminal.
    """

    def __init__(
        self, session: Session, input: Input | None = None, output: Output | None = None
    ) -> None:
        self.session = session
        self._lookahead: tuple[Draft, SampleConfig, Lookahead] | None = None
        self._tail: list[Fragment] = []
        self._shown = session.draft
        self._busy = self._stopping = self._interrupted = False
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._ghost = ThreadedAutoSuggest(Ghost(self))
        self._predicted = "", ""  # a line, and the ghost text after it
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
            input_processors=[WordWrap(lambda: _width(self._last_row()))],
            enable_suspend=True,
            reserve_space_for_menu=6,
            input=input,
            output=output,
        )
        # The prompt never returns: lines are accepted here.
        buffer = self._prompt.default_buffer
        buffer.accept_handler = self._accept
        buffer.on_text_changed += self._changed
        buffer.on_cursor_position_changed += self._changed
        buffer.on_suggestion_set += self._remember

    def run(self) -> None:
        """Run until the user quits."""
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            self._prompt.prompt(pre_run=self._begin)

    # -- lines ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._prompt.app.create_background_task(self._work())

    def _accept(self, buffer: Buffer) -> bool:
        """Accept a line: a live one takes effect at once, another one stops the generation."""
        self._send(buffer.text)
        return False

    def _send(self, line: str) -> None:
        self._interrupted, self._predicted = False, ("", "")
        if self._busy and commands.is_live(line):
            self._run_live(line)
        elif line or not self._busy:
            self._stopping = True
            self._lines.put_nowait(line)

    async def _work(self) -> None:
        """Answer one line after the other."""
        while True:
            line = await self._lines.get()
            self._busy, self._stopping = True, False
            try:
                # In a thread: a long text takes seconds to read, keys must not wait.
                await self._show(await asyncio.to_thread(commands.answer, self.session, line))
            except ChargenError as error:
                self.say(str(error))
            finally:
                self._busy = False
            self._suggest(self._prompt.default_buffer.text)
            self._prompt.app.invalidate()

    def _run_live(self, line: str) -> None:
        try:
            answer = commands.answer(self.session, line)
        except ChargenError as error:
            self.say(str(error))
            return
        if isinstance(answer, commands.Message):
            self.say(answer.text)

    async def _show(self, answer: commands.Answer) -> None:
        match answer:
            case commands.Message(text):
                self._show_end()
                self.say(text)
            case commands.Heat(tokens):
                self._show_heat(tokens)
            case commands.Choice(texts):
                self._put(side_by_side(texts, self.columns()))
            case commands.Edit(text):
                await self._edit(text)
            case commands.Quit():
                self.quit()
            case commands.Generation():
                await self._generate(answer)

    async def _generate(self, answer: commands.Generation) -> None:
        if answer.warning:
            self.say(answer.warning)
        if answer.again:
            self._show_line(Draft(self.session.turns[:-1]).line + answer.line)
        else:
            self._add([("class:line", visible(answer.line))])
        more, errors = True, list[str]()
        while more:
            text, more = await asyncio.to_thread(self._batch, answer.pieces, errors)
            self._add([("", visible(text))])
        self._shown = self.session.draft
        for error in errors:
            self.say(error)

    def _batch(self, pieces: Iterator[str], errors: list[str]) -> tuple[str, bool]:
        """Return the text of a short time, and whether there may be more."""
        deadline, batch = time.monotonic() + BATCH, list[str]()
        try:
            for piece in pieces:
                batch.append(piece)
                if self._stopping or time.monotonic() > deadline:
                    break
            else:
                return "".join(batch), False
        except ChargenError as error:  # the text could not meet its constraints
            errors.append(str(error))
            return "".join(batch), False
        if self._stopping and isinstance(pieces, Generator):
            pieces.close()
        return "".join(batch), not self._stopping

    async def _edit(self, text: str) -> None:
        edited = await run_in_terminal(
            lambda: files.edited(text, self.session.sampler.reading), in_executor=True
        )
        if edited is None:
            self.say("the text is unchanged")
            return
        await asyncio.to_thread(self.session.load, edited)
        await self._show(commands.loaded(self.session, edited))

    # -- keys -----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Stop the generation, or clear the line; on an empty line, quit the second time."""
        buffer = self._prompt.default_buffer
        if self._busy:
            self._stopping = True
        elif buffer.text:
            buffer.reset()
        elif self._interrupted:
            self.quit()
        self._interrupted = True
        self._prompt.app.invalidate()

    def vary(self) -> None:
        """Show whole sentences that may follow what is typed."""
        buffer = self._prompt.default_buffer
        if not self._busy and not self._is_command():
            line = buffer.text
            buffer.reset(append_to_history=True)
            self._send(f"/variants {line}")

    def quit(self) -> None:
        """End the session."""
        self._stopping = True
        if self._prompt.app.is_running and not self._prompt.app.is_done:
            self._prompt.app.exit(result="")

    def _changed(self, buffer: Buffer) -> None:
        """Keep the rest of the ghost text, or ask for a new one, also after a deletion.

        prompt_toolkit asks for a suggestion after an insertion only, and shows none meanwhile.
        """
        self._interrupted = self._interrupted and not buffer.text
        if left := remaining(*self._predicted, buffer.text):
            buffer.suggestion = Suggestion(left)
            self._prompt.app.create_background_task(self._renew(buffer, buffer.document))
        elif buffer.text and buffer.suggestion is None:
            asyncio.get_running_loop().call_soon(self._suggest, buffer.text)

    async def _renew(self, buffer: Buffer, document: Document) -> None:
        """Extend the rest of the ghost text."""
        suggestion = await self._ghost.get_suggestion_async(buffer, document)
        if buffer.document == document and suggestion:
            buffer.suggestion = suggestion
            self._remember(buffer)
            self._prompt.app.invalidate()

    def _suggest(self, text: str) -> None:
        buffer = self._prompt.default_buffer
        here = text and buffer.text == text
        if here and buffer.complete_state is None and buffer.suggestion is None:
            # Not by prompt_toolkit: it drops a request while one from before is answered.
            self._prompt.app.create_background_task(self._renew(buffer, buffer.document))

    def _remember(self, buffer: Buffer) -> None:
        self._predicted = buffer.text, buffer.suggestion.text if buffer.suggestion else ""

    def _is_command(self) -> bool:
        return is_command(self._prompt.default_buffer.text)

    # -- lookahead ------------------------------------------------------------------------

    def lookahead(self) -> Lookahead | None:
        """Return the lookahead from the end of the text; None while text is generated."""
        if self._busy:
            return None
        draft, config = self.session.draft, self.session.config
        known = self._lookahead
        if known is None or known[0] is not draft or known[1] != config:
            lookahead = Lookahead(self.session.sampler, self.session.state, config)
            self._lookahead = known = draft, config, lookahead
        return known[2]

    def columns(self) -> int:
        """Return the width of the terminal."""
        return self._prompt.app.output.get_size().columns

    # -- the screen -----------------------------------------------------------------------

    def _message(self) -> FormattedText:
        """Return the rows of the text that end where what is typed begins."""
        if self._is_command():  # on a row of its own
            return FormattedText([*self._tail, ("", "\n" * bool(self._tail)), *self._last_row()])
        *above, last = self._rows()
        return FormattedText([f for row in above for f in (*row, ("", "\n"))] + last)

    def _last_row(self) -> list[Fragment]:
        """Return the last row of the prompt."""
        return [("class:prompt", PROMPT)] if self._is_command() else self._rows()[-1]

    def _rows(self) -> list[list[Fragment]]:
        """Return the end of the text: its last word is on the row where it is typed to its end."""
        if not _width(self._tail):
            return [[("class:prompt", PROMPT)]]
        buffer = self._prompt.default_buffer
        typed = buffer.text + (buffer.suggestion.text if buffer.suggestion else "")
        word = visible(typed.partition("\n")[0].partition(" ")[0])
        row, *others = cut([*self._tail, ("", word)], self.columns())
        if len(others) == 1 and others[0][-1:] == [("", word)]:
            return [row, others[0][:-1]]
        return [self._tail]

    def _toolbar(self) -> FormattedText:
        return FormattedText(cut([("", visible(self._hint()))], self.columns())[0])

    def _hint(self) -> str:
        """Return what can be done now."""
        if self._busy:
            return "generating; Ctrl-C stops, /temp and other settings take effect at once"
        if self._interrupted:
            return HINT
        if variants := self.session.variants:
            return f"1 to {len(variants.texts)} picks a variant; anything else leaves them"
        if rest := self.session.draft.rest:
            return f"{len(rest):,} characters stay behind: {rest[:30]!r}; /at: the end"
        config = self.session.config
        return (
            f"temp {config.temperature:g}  length {config.length}   Tab accepts the grey text, "
            "Ctrl-Space: others, /help"
        )

    def say(self, message: str) -> None:
        """Show a message above the last line of the text."""
        self._put(cut([("class:message", visible(message))], self.columns()))

    def _show_heat(self, tokens: list[ScoredToken]) -> None:
        if os.environ.get("NO_COLOR"):
            self.say(commands.heat_table(by_word(tokens)))
        else:
            self._put(cut(heat_map(tokens), self.columns()))

    def _show_end(self) -> None:
        """Show the end of the text as the prompt, if the text is another one."""
        old, self._shown = self._shown, self.session.draft
        if (old.before, old.rest) != (self._shown.before, self._shown.rest):
            self._show_line(self._shown.line)

    def _show_line(self, text: str) -> None:
        """Show the last line of a text below the last one, or the last rows of a long line."""
        old, columns = self._tail, self.columns()
        line = text.rpartition("\n")[2][-2 * ROWS * columns :]
        *above, self._tail = cut([("", visible(line))], columns)
        self._put([*([old] if old else []), *above[-ROWS + 1 :]])

    def _add(self, fragments: list[Fragment]) -> None:
        """Add to the text: complete lines go into the scrollback, the last one stays."""
        *complete, self._tail = cut([*self._tail, *fragments], self.columns())
        self._put(complete)

    def _put(self, lines: list[list[Fragment]]) -> None:
        """Write lines into the scrollback, and redraw the prompt below them."""
        app = self._prompt.app
        if lines:
            text = FormattedText([f for line in lines for f in (*line, ("", "\n"))])
            app.renderer.erase()
            print_formatted_text(app.output, text, self._style, color_depth=app.color_depth)
            app.renderer.reset()
            app.renderer.request_absolute_cursor_position()
        app.invalidate()


def _width(fragments: list[Fragment]) -> int:
    return sum(width(text) for _, text in fragments)
