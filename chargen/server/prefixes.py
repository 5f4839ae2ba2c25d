"""States after the beginnings of texts, so that a text which grows is not read anew."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Generator, Iterator

from chargen.sampling.sampler import DecodeState, Sampler

STRIDE = 256  # characters between two states that are kept, about
LONGEST = 64  # characters of a word that is not cut: a token of several characters ends with it
MEMORY = 64 << 20  # bytes of the states of one model


class Prefixes:
    """States of one model after the beginnings of texts, the least recently used dropped first.

    A text is cut in strides, before a space. A state is found by a hash of all strides before it,
    so that it is that of the same beginning of a text with the same label.

    Args:
        sampler: the model.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._states = OrderedDict[bytes, DecodeState]()

    def read(
        self, text: str, sampler: Sampler | None = None
    ) -> Generator[None, None, tuple[DecodeState | None, str]]:
        """Read a text, and yield after each stride.

        Args:
            text: what to read.
            sampler: the model for texts with a label; None for texts without one.

        Returns:
            The state after the last whole stride, None at the beginning of a text, and what is
            left of the text.
        """
        sampler = sampler or self._sampler
        ends = [_word_end(text, end) for end in range(STRIDE, len(text), STRIDE)]
        keys = list(_hashes(text, ends, json.dumps(sampler.label, sort_keys=True)))
        known = next((n for n in range(len(ends), 0, -1) if keys[n - 1] in self._states), 0)
        state = None
        for key in keys[:known]:  # the earlier ones are as recent as the last
            if key in self._states:
                self._states.move_to_end(key)
                state = self._states[key]
        start = ends[known - 1] if known else 0
        for key, end in zip(keys[known:], ends[known:], strict=True):
            state = sampler.read(text[start:end], state)
            self._keep(key, state)
            start = end
            yield
        return state, text[start:]

    def _keep(self, key: bytes, state: DecodeState) -> None:
        self._states[key] = DecodeState(state.state, state.logits, state.before[-STRIDE:])
        size = sum(part.nbytes for part in state.state) + state.logits.nbytes + 8 * STRIDE
        while len(self._states) > max(1, MEMORY // size):
            self._states.popitem(last=False)


def _word_end(text: str, end: int) -> int:
    """Return the place of the last space before an end, if there is one near."""
    space = text.rfind(" ", end - LONGEST, end)
    return end if space < 0 else space


def _hashes(text: str, ends: list[int], label: str) -> Iterator[bytes]:
    """Yield a hash of the label, and of the text up to each of these places."""
    whole, start = hashlib.blake2b(label.encode(), digest_size=16), 0
    for end in ends:
        whole.update(text[start:end].encode("utf-8", "surrogatepass"))
        yield whole.copy().digest()
        start = end
