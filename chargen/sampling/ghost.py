"""Ghost text: what a model would generate after a line that is still being typed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from chargen.config import SampleConfig
from chargen.sampling.decoding import logit_bias
from chargen.sampling.endings import find_stop, phrase_end
from chargen.sampling.filters import Scores, Tokens, apply_penalties, probabilities
from chargen.sampling.sampler import DecodeState, Sampler

DEFAULTS = SampleConfig()

SURE = 0.2  # probability of ghost text as a whole: below it the next word is left out
LOOK_BACK = 200  # characters before the line that ghost text must not repeat
COPIES = ((1, 10), (2, 3), (6, 2))  # from so many characters on, so many copies are a repetition
STRIDE = 16  # tokens of a long paste read in one call, with one state kept
LONGEST = 12  # characters of an alternative
NO_TEXT = {"\ufffd", *map(chr, range(0xDC80, 0xDD00))}  # a character that is not whole, or no UTF-8
RECORD = "\x1e"  # ends a record
ENDS = {"\n", RECORD, *NO_TEXT}  # ghost text ends before them


class Lookahead:
    """Reads a line as it changes, one step per new token, and predicts its continuation.

    The tokens read so far, those of the ghost text included, are kept with the state after each
    of them. A changed line is read from the first different token: another key takes one step, a
    key that matches the ghost text or a deletion none. Subword tokens may change when the line
    grows; only those that change are read again.

    Args:
        sampler: the model.
        before: state before the line; None is the beginning of a text.
        config: sampling parameters; bans, bias, penalties and stop texts have an effect.
    """

    def __init__(
        self, sampler: Sampler, before: DecodeState | None, config: SampleConfig = DEFAULTS
    ) -> None:
        self._sampler, self._lock = sampler, threading.Lock()
        # A text begins in the initial state, but its first token is predicted after a newline.
        empty, self._end_ids = sampler.read(""), list[int]()
        begin = before or DecodeState(sampler.engine.init_state(1), empty.logits)
        if end := sampler.reading.end:  # a record begins in the state after END
            self._end_ids, begin = sampler.tokenizer.encode(end).tolist(), before or empty
        self._empty = empty
        self._tokens: list[int] = []
        self._states = {0: begin}  # by the number of tokens before
        self._bias = logit_bias(sampler.tokenizer, config)  # (V,)
        self._config, self._before = config, begin.before
        self._text_before = sampler.tokenizer.decode(begin.before[-LOOK_BACK:].tolist())
        penalties = (config.repeat_penalty - 1, config.presence_penalty, config.frequency_penalty)
        self._penalties = any(penalties)

    def read(self, text: str) -> DecodeState:
        """Return the state after a line.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        ids = self._sampler.tokenizer.encode(text).tolist()
        with self._lock:
            return self._read(ids)

    def ghost(self, text: str, width: int, seconds: float) -> str:
        """Return the greedy continuation of a line, as far as it is of use.

        It ends with a phrase or with the line, before a stop text, before the word at which its
        probability falls below ``SURE``, and before it repeats itself.

        Args:
            text: the line so far.
            width: characters at most.
            seconds: time after which no more words are added; one that has begun is completed.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        *_, ahead = self.growing(text, width, seconds)
        return ahead

    def growing(self, text: str, width: int, seconds: float) -> Iterator[str]:
        """Yield ghost text token by token, and at the end what ``ghost`` returns.

        The arguments are those of ``ghost``; its time begins with the first token.
        """
        deadline = time.perf_counter() + seconds
        ids = self._sampler.tokenizer.encode(text).tolist()
        decoder, ahead, prob = self._sampler.tokenizer.decoder(), "", 1.0
        with self._lock:
            state = self._read(ids)
            while len(ahead) < width:
                if time.perf_counter() >= deadline and (not ahead or _whole_words(ahead, "")):
                    yield _whole_words(ahead, "")
                    return
                scores = self._scores(state, ids)
                ids.append(int(scores.argmax()))
                prob /= float(np.exp(scores - scores.max()).sum())
                piece = decoder.push(ids[-1])
                if prob < SURE:
                    yield _whole_words(ahead, piece)
                    return
                ahead += piece
                if (end := self._end(text, ahead)) is not None:
                    yield ahead[:end]
                    return
                yield ahead
                state = self._read(ids)
        yield _whole_words(ahead[:width], ahead[width:]) or ahead[:width]

    def _scores(self, state: DecodeState, ids: list[int]) -> Scores:
        """Return the scores of the next token (V,), with bias and penalties."""
        scores: Scores = state.logits + self._bias
        if self._penalties:
            recent: Tokens = np.append(self._before, np.array(ids, np.int64))
            first = max(0, len(recent) - self._config.repeat_last_n)
            scores = apply_penalties(scores, recent[first:], self._config)
        return scores

    def _end(self, text: str, ahead: str) -> int | None:
        """Return where ghost text ends after a line; None if it may go on."""
        if not ENDS.isdisjoint(ahead):
            return len(_until(ahead, ENDS))
        if (stop := find_stop(ahead, self._config.stop)) is not None:
            return stop
        if copies := _repeated(self._text_before + text + ahead, len(ahead)):
            return len(ahead[: max(_word(text, ahead), len(ahead) - copies)].rstrip())
        begin = next((n for n, character in enumerate(ahead) if character.isalnum()), len(ahead))
        end = phrase_end(text + ahead, len(text) + begin)
        return None if end is None else end - len(text)

    def alternatives(self, text: str, count: int = 8) -> list[tuple[str, float]]:
        """Return continuations up to the end of a word with their probabilities, best first.

        Each of the most likely next tokens is continued greedily, all in one batch.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        state = self.read(text)
        probs = probabilities((state.logits + self._bias)[None])[0]  # (V,)
        first = np.argsort(-probs, kind="stable")[: min(count, int((probs > 0).sum()))]
        found: dict[str, float] = {}
        for words, prob in self._continue(first, probs[first], state):
            found[words] = found.get(words, 0.0) + prob
        return sorted(found.items(), key=lambda item: -item[1])

    def _continue(
        self, tokens: NDArray[np.int64], probs: NDArray[np.float64], state: DecodeState
    ) -> list[tuple[str, float]]:
        """Return the continuations of some first tokens (B,) up to the end of a word."""
        decoders = [self._sampler.tokenizer.decoder() for _ in tokens]
        words = [decoder.push(int(t)) for decoder, t in zip(decoders, tokens, strict=True)]
        totals, growing = probs.tolist(), [True] * len(tokens)
        recurrent = tuple(np.repeat(part, len(tokens), axis=1) for part in state.state)  # (1, B, H)
        while any(growing):
            out, recurrent = self._sampler.engine.run(tokens[:, None], recurrent)  # (B, 1, V)
            ahead = probabilities(out[:, 0] + self._bias)
            tokens = ahead.argmax(axis=1)
            for row, token in enumerate(tokens.tolist()):
                piece = decoders[row].push(token)
                growing[row] = growing[row] and not _is_word(words[row], piece)
                if growing[row]:
                    words[row] += piece
                    totals[row] *= ahead[row, token]
        texts = [_until(text, {RECORD, *NO_TEXT}) for text in words]
        return [(text, prob) for text, prob in zip(texts, totals, strict=True) if text]

    def _read(self, ids: list[int]) -> DecodeState:
        """Return the state after some tokens; run only those that are different."""
        if self._tokens[: len(ids)] != ids:
            self._forget(_shared(self._tokens, ids))
            self._tokens = list(ids)
        if self._end_ids and (ended := _last(ids, self._end_ids[0])):
            self._states[ended] = self._empty
        if len(ids) not in self._states:
            self._run(max(n for n in self._states if n < len(ids)), ids)
        return self._states[len(ids)]

    def _forget(self, count: int) -> None:
        """Forget the states after more than so many tokens."""
        self._states = {n: state for n, state in self._states.items() if n <= count}

    def _run(self, start: int, ids: list[int]) -> None:
        """Read on from a token: in strides, and the last ones, which may be deleted, singly."""
        while start < len(ids):
            end = start + (STRIDE if start + STRIDE < len(ids) else 1)
            chunk = np.array([ids[start:end]], np.int64)  # (1, T)
            out, recurrent = self._sampler.engine.run(chunk, self._states[start].state)
            self._states[end] = DecodeState(recurrent, out[0, -1])
            start = end


def _last(ids: list[int], token: int) -> int:
    """Return the number of tokens up to the last one like this; 0 if there is none."""
    return next((n for n in range(len(ids), 0, -1) if ids[n - 1] == token), 0)


def _shared(ours: list[int], theirs: list[int]) -> int:
    """Return the number of tokens that two lists begin with alike."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


def _is_word(words: str, piece: str) -> bool:
    """Tell whether an alternative ends before a piece."""
    ends = bool(piece) and not piece[0].isalnum()
    return len(words) >= LONGEST or "\n" in words or (ends and any(c.isalnum() for c in words))


def _repeated(text: str, longest: int) -> int:
    """Return the characters at the end of a text that repeat the ones before them.

    Args:
        text: what is looked at.
        longest: characters of the longest passage that counts as repeated.
    """
    for size in range(1, min(longest, LOOK_BACK // 2, len(text) // 2) + 1):
        if text[-1 - size] == text[-1]:  # which is rare; all else takes longer
            copies = next(count for least, count in reversed(COPIES) if size >= least)
            part = text[-size:]
            if text.endswith(part * copies) and (size == 1 or len(set(part)) > 1):
                return size * (copies - 1)
    return 0


def _word(text: str, ahead: str) -> int:
    """Return the characters ahead that end the word in which a text ends, if they end it."""
    if not text[-1:].isalnum():
        return 0
    return next((n for n, character in enumerate(ahead) if not character.isalnum()), 0)


def _whole_words(text: str, after: str) -> str:
    """Return a text without the word at its end, unless that is whole before what comes after."""
    text, size = text + after[:1], len(text)
    cut = max((n for n in range(size + 1) if not _inside_word(text, n)), default=0)
    return text[:cut].rstrip()


def _inside_word(text: str, place: int) -> bool:
    """Tell whether a place of a text is inside a word; wide characters are words of their own."""
    around = text[max(0, place - 1) : place + 1]
    return all((c.isalnum() and cell_len(c) == 1) or c in "'’-" for c in around)


def _until(text: str, ends: set[str]) -> str:
    """Return the part of a text before the first of some characters."""
    return text[: next((n for n, character in enumerate(text) if character in ends), len(text))]
