"""Key bindings of the session."""

from __future__ import annotations

from typing import Protocol

from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition, completion_is_selected
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from chargen.repl.assist import is_command


class Keyboard(Protocol):
    """Something that keys act on."""

    def interrupt(self) -> None:
        """Stop the current action."""
        ...

    def vary(self) -> None:
        """Show whole sentences that may follow what is typed."""
        ...


@Condition
def _has_ghost() -> bool:
    buffer = get_app().current_buffer
    return bool(buffer.suggestion and buffer.document.is_cursor_at_the_end)


def keys(conversation: Keyboard) -> KeyBindings:
    """Return the key bindings in addition to prompt_toolkit's, which has the right arrow."""
    bindings = KeyBindings()

    @bindings.add("c-c")
    @bindings.add("<sigint>")
    def _interrupt(_: KeyPressEvent) -> None:
        conversation.interrupt()

    @bindings.add("<vt100-mouse-event>")
    def _ignore(_: KeyPressEvent) -> None:
        """Ignore typed characters that look like a mouse event."""

    @bindings.add("tab")
    def _take(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state:
            buffer.complete_next()
        elif is_command(buffer.text):
            buffer.start_completion(insert_common_part=True)
        elif buffer.suggestion and _has_ghost():
            buffer.insert_text(buffer.suggestion.text)

    @bindings.add("escape", "right", filter=_has_ghost)
    @bindings.add("escape", "f", filter=_has_ghost)
    def _take_word(event: KeyPressEvent) -> None:
        if suggestion := event.current_buffer.suggestion:
            event.current_buffer.insert_text(first_word(suggestion.text))

    @bindings.add("escape", "enter")
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("escape", "v")
    def _vary(_: KeyPressEvent) -> None:
        conversation.vary()

    @bindings.add("c-space")
    def _list(event: KeyPressEvent) -> None:
        event.current_buffer.start_completion(select_first=False)

    @bindings.add("enter", filter=completion_is_selected)
    def _choose(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None
        event.current_buffer.insert_text("")

    return bindings


def first_word(text: str) -> str:
    """Return the space at the beginning of a text, its first word, and the space after that."""
    stripped = text.lstrip()
    word = stripped.split(" ", 1)[0]
    end = len(text) - len(stripped) + len(word)
    return text[: end + (text[end : end + 1] == " ")]
