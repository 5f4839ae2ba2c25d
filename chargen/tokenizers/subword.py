"""Subword tokenizers, unigram and bpe, trained on the corpus with sentencepiece.

sentencepiece writes a space as U+2581 inside its pieces, so a real U+2581 in a text would come back
as a space. Here such a character never reaches sentencepiece: the text is split at it, and the
character is encoded as its three bytes. Decoding uses our own table from ids to bytes, in which the
U+2581 of a piece is a space and the three bytes are the character. A vocabulary of a text without
spaces has no piece for one: then a space, too, is split off and encoded as its byte.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import sentencepiece

from chargen.errors import TokenizerError
from chargen.tokenizers.base import Ids, Tokenizer, to_utf8

SPACE = "\u2581"
RECORD_END = "\x1e"
SENTENCE = 1024  # characters; sentencepiece drops lines above 4192 bytes, so longer ones are cut
SAMPLE = 10_000_000  # most characters from which the vocabulary is learned
CHUNK = 1 << 16  # characters per chunk of the sample
LONG = 1 << 14  # characters from which a text is encoded line by line
CODE_MARGIN = 256 + 2  # byte pieces, unknown and newline


class SubwordTokenizer(Tokenizer):
    """Pieces of words, with bytes for everything else, so that every text can be encoded."""

    def __init__(self, kind: str, model: bytes) -> None:
        self.kind = kind
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            self.pieces = tuple(self._bytes_of(i) for i in range(self._processor.GetPieceSize()))
        except (RuntimeError, ValueError):  # not a model, or pieces that are not text
            raise TokenizerError("the model's sentencepiece vocabulary is damaged") from None
        self.never_sampled = (self._processor.unk_id(),)
        self._split_off = {SPACE: self._byte_ids(SPACE)}
        if self._processor.PieceToId(SPACE) == self._processor.unk_id():
            self._split_off[" "] = self._byte_ids(" ")
        self._splits = re.compile(f"([{''.join(self._split_off)}])")

    def _byte_ids(self, character: str) -> Ids:
        ids = [self._processor.PieceToId(f"<0x{byte:02X}>") for byte in character.encode()]
        return np.array(ids, np.uint32)

    def _bytes_of(self, id: int) -> bytes:
        piece = self._processor.IdToPiece(id)
        if self._processor.IsByte(id):
            return bytes([int(piece[3:5], 16)])
        if id == self._processor.unk_id():
            return "\ufffd".encode()
        return str(piece).replace(SPACE, " ").encode()

    @classmethod
    def from_text(cls, kind: str, text: Iterable[str], vocab_size: int) -> SubwordTokenizer:
        """Learn a vocabulary; the size is adjusted if the text is too small or too rich for it.

        The vocabulary is learned from up to ``SAMPLE`` characters, in chunks taken evenly from the
        whole text.

        Raises:
            TokenizerError: sentencepiece learns nothing from it: it is too short or too
                repetitive, or has no characters except newlines, U+2581 and NUL.
        """
        sample = _sample(text)
        to_utf8(sample)  # raises on lone surrogates
        try:
            return cls(kind, _train(kind, sample, vocab_size))
        except RuntimeError:  # the message is one for programmers of sentencepiece
            raise TokenizerError(
                f"the text has no words to learn with the tokenizer {kind!r}: too few, or always "
                "the same; give another text, or use --tokenizer char"
            ) from None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SubwordTokenizer:
        """Read what ``to_json`` wrote."""
        try:
            model = base64.b64decode(data["model"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise TokenizerError("the model's sentencepiece vocabulary is damaged") from None
        return cls(str(data["kind"]), model)

    def encode(self, text: str) -> Ids:
        """Return the ids of the most likely (unigram) or merged (bpe) pieces."""
        to_utf8(text)  # raises on lone surrogates
        parts = self._splits.split(text)  # every second one is a character that was split off
        ids = [self._encode_part(part) for part in parts]
        ids[1::2] = [self._split_off[part] for part in parts[1::2]]
        return np.concatenate(ids)

    def _encode_part(self, text: str) -> Ids:
        """Encode a text without U+2581, a long one line by line: no piece crosses a newline.

        For a megabyte at once, sentencepiece takes more than twice as long as for its lines, which
        it also distributes over all cores.
        """
        if len(text) < LONG:
            return np.array(self._processor.EncodeAsIds(text), np.uint32)
        lines = self._processor.EncodeAsIds(re.split("(?<=\n)", text), num_threads=-1)
        return np.fromiter(itertools.chain.from_iterable(lines), np.uint32)

    def to_json(self) -> dict[str, Any]:
        """Return the kind and the sentencepiece model in base64."""
        return {"kind": self.kind, "model": base64.b64encode(self._model).decode()}


def _sample(text: Iterable[str]) -> str:
    """Return all chunks of a text, or every second, every fourth ..., as many as fit the sample."""
    taken: list[str] = []
    every = 1
    for number, chunk in enumerate(_chunks(text)):
        if number % every == 0:
            taken.append(chunk)
        if len(taken) > SAMPLE // CHUNK:
            taken, every = taken[::2], 2 * every
    return "".join(taken)


def _chunks(text: Iterable[str]) -> Iterator[str]:
    """Split pieces of any length into chunks."""
    for whole in [text] if isinstance(text, str) else text:
        for start in range(0, len(whole), CHUNK):
            yield whole[start : start + CHUNK]


def _sentences(text: str) -> Iterator[str]:
    """Yield the lines of a text without U+2581; long lines are cut and empty ones skipped.

    Records are cut apart as well: the separator between them is a byte, and in no other piece.
    """
    for line in re.split(f"[\n{RECORD_END}{SPACE}]", text):
        for start in range(0, len(line), SENTENCE):
            yield line[start : start + SENTENCE]


def _train(kind: str, text: str, vocab_size: int) -> bytes:
    """Return a serialized sentencepiece model with about this many pieces."""
    smallest = len(set(text)) + CODE_MARGIN
    try:
        return _train_exactly(kind, text, max(vocab_size, smallest))
    except RuntimeError as error:
        # "Vocabulary size too high (8000). Please set it to a value <= 471."
        limit = re.search(r"value <= (\d+)", str(error))
        if limit is None:
            raise
    return _train_exactly(kind, text, int(limit[1]))


def _train_exactly(kind: str, text: str, vocab_size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_sentences(text),
        model_writer=model,
        model_type=kind,
        vocab_size=vocab_size,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        user_defined_symbols=["\n"],
        bos_id=-1,
        eos_id=-1,
        num_threads=1,  # the same vocabulary on every machine
        minloglevel=2,
    )
    return model.getvalue()
