"""What a model would write next, while a line is still being typed."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig
from chargen.sampling.decoding import bias
from chargen.sampling.filters import probabilities
from chargen.sampling.sampler import DecodeState, Sampler

DEFAULTS = SampleConfig()

STRIDE = 16  # tokens of a long paste read in one call, which keeps only the place after it
LONGEST = 12  # characters of an alternative
ENDS = "\n\ufffd"  # what no ghost text goes beyond: the line, and half a character


class Foresight:
    """Reads a line as it changes, a step for each new token, and looks ahead.

    The tokens read so far, those of the ghost text included, lie on one trail with the place
    after each of them. A changed line is read from where it leaves the trail: one more key costs
    one step, a key that the ghost text foretold or a deletion none. Subword tokens may change
    when the line grows; only those that did are read again.

    Args:
        sampler: the model.
        before: the place that the line begins at; None is the beginning of a text.
        config: the settings, of which bans and bias count.
    """

    def __init__(
        self, sampler: Sampler, before: DecodeState | None, config: SampleConfig = DEFAULTS
    ) -> None:
        self._sampler, self._lock = sampler, threading.Lock()
        # What begins a text is told by the place after a newline, but reading begins at zero.
        begin = before or DecodeState(sampler.engine.init_state(1), sampler.read("").logits)
        self._trail: list[int] = []
        self._places = {0: begin}
        self._bias = bias(sampler.tokenizer, config)  # (V,)

    def read(self, text: str) -> DecodeState:
        """Return the place after a line.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        ids = self._sampler.tokenizer.encode(text).tolist()
        with self._lock:
            return self._read(ids)

    def ghost(self, text: str, width: int, seconds: float) -> str:
        """Return the likeliest continuation, token by token, of a line up to its end.

        Args:
            text: the line so far.
            width: characters that there is room for.
            seconds: after which no more tokens are added.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        deadline = time.perf_counter() + seconds
        ids = self._sampler.tokenizer.encode(text).tolist()
        decoder, ahead = self._sampler.tokenizer.decoder(), ""
        with self._lock:
            place = self._read(ids)
            while len(ahead) < width and time.perf_counter() < deadline:
                ids.append(int((place.logits + self._bias).argmax()))
                ahead += decoder.push(ids[-1])
                if any(end in ahead for end in ENDS):
                    break
                place = self._read(ids)
        return _until(ahead, ENDS)[:width]

    def alternatives(self, text: str, count: int = 8) -> list[tuple[str, float]]:
        """Return continuations up to the end of a word, likeliest first, each with its probability.

        The likeliest next tokens are each continued greedily, side by side in lanes.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        place = self.read(text)
        probs = probabilities((place.logits + self._bias)[None])[0]  # (V,)
        first = np.argsort(-probs, kind="stable")[: min(count, int((probs > 0).sum()))]
        found: dict[str, float] = {}
        for words, chance in self._continue(first, probs[first], place):
            found[words] = found.get(words, 0.0) + chance
        return sorted(found.items(), key=lambda item: -item[1])

    def _continue(
        self, tokens: NDArray[np.int64], probs: NDArray[np.float64], place: DecodeState
    ) -> list[tuple[str, float]]:
        """Return what follows each of some first tokens (B,) up to the end of a word."""
        decoders = [self._sampler.tokenizer.decoder() for _ in tokens]
        words = [decoder.push(int(t)) for decoder, t in zip(decoders, tokens, strict=True)]
        odds, going = probs.tolist(), [True] * len(tokens)
        state = tuple(np.repeat(part, len(tokens), axis=1) for part in place.state)  # (1, B, H)
        while any(going):
            out, state = self._sampler.engine.run(tokens[:, None], state)  # (B, 1, V)
            ahead = probabilities(out[:, 0] + self._bias)
            tokens = ahead.argmax(axis=1)
            for lane, token in enumerate(tokens.tolist()):
                piece = decoders[lane].push(token)
                going[lane] = going[lane] and not _is_word(words[lane], piece)
                if going[lane]:
                    words[lane] += piece
                    odds[lane] *= ahead[lane, token]
        return [(_until(w, "\ufffd"), odd) for w, odd in zip(words, odds, strict=True) if w]

    def _read(self, ids: list[int]) -> DecodeState:
        """Return the place after some tokens, running only what leaves the trail."""
        if self._trail[: len(ids)] != ids:
            self._leave(_shared(self._trail, ids))
            self._trail = list(ids)
        if len(ids) not in self._places:
            self._run(max(n for n in self._places if n < len(ids)), ids)
        return self._places[len(ids)]

    def _leave(self, count: int) -> None:
        """Forget the places after more than so many tokens."""
        self._places = {n: place for n, place in self._places.items() if n <= count}

    def _run(self, start: int, ids: list[int]) -> None:
        """Read on from a place: in strides, and the last tokens, which may be deleted, singly."""
        while start < len(ids):
            end = start + (STRIDE if start + STRIDE < len(ids) else 1)
            chunk = np.array([ids[start:end]], np.int64)  # (1, T)
            out, state = self._sampler.engine.run(chunk, self._places[start].state)
            self._places[end] = DecodeState(state, out[0, -1])
            start = end


def _shared(ours: list[int], theirs: list[int]) -> int:
    """Return how many tokens two lists begin with alike."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


def _is_word(words: str, piece: str) -> bool:
    """Tell whether an alternative ends before a piece."""
    ends = bool(piece) and not piece[0].isalnum()
    return len(words) >= LONGEST or "\n" in words or (ends and any(c.isalnum() for c in words))


def _until(text: str, ends: str) -> str:
    """Return the part of a text before the first of some characters."""
    return text[: min((text.find(end) for end in ends if end in text), default=len(text))]
