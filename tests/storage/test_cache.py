"""Ids in the cache: made once, whole or absent, made anew when they are damaged."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chargen.data.dataset import encode_dataset, tokenize
from chargen.errors import CorpusError
from chargen.storage.cache import cached_bytes, cached_ids
from chargen.storage.files import cache_folder
from tests.conftest import text_of

KEY = "0" * 64
U1 = np.dtype(np.uint8)


class Encoder:
    """Yields 100 blocks of ids, and counts how often it is asked."""

    def __init__(self, stop: int = 100) -> None:
        self.calls, self.stop = 0, stop

    def __call__(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        self.calls += 1
        for number in range(100):
            if number == self.stop:
                raise CorpusError("the text ended in the middle")
            yield bytes([number] * 10), {"train_tokens": 10 * (number + 1)}


def files() -> list[str]:
    return sorted(path.name for path in (cache_folder() / "corpora").glob("*"))


def test_ids_are_made_once_and_mapped_afterwards() -> None:
    encoder = Encoder()
    for _ in range(2):
        ids, facts = cached_ids(KEY, U1, encoder)
        assert isinstance(ids, np.memmap)
        assert ids.tolist() == [number for number in range(100) for _ in range(10)]
        assert facts["train_tokens"] == 1000
    assert encoder.calls == 1


def test_an_interrupted_encoding_leaves_nothing() -> None:
    with pytest.raises(CorpusError):
        cached_ids(KEY, U1, Encoder(stop=50))
    assert files() == []
    assert len(cached_ids(KEY, U1, Encoder())[0]) == 1000


@pytest.mark.parametrize("damage", ["cut", "flipped", "no facts", "torn facts", "other facts"])
def test_damaged_ids_are_made_anew(damage: str) -> None:
    cached_ids(KEY, U1, Encoder())
    ids = cache_folder() / "corpora" / f"{KEY}.ids"
    facts = ids.with_suffix(".json")
    data = bytearray(ids.read_bytes())
    data[500] ^= 1
    match damage:
        case "cut":
            ids.write_bytes(ids.read_bytes()[:-1])
        case "flipped":
            ids.write_bytes(data)
        case "no facts":
            facts.unlink()
        case "torn facts":
            facts.write_bytes(facts.read_bytes()[:20])
        case _:
            facts.write_text("[]")
    encoder = Encoder()
    assert cached_ids(KEY, U1, encoder)[0].tolist()[500:501] == [50]
    assert encoder.calls == 1


def test_without_a_cache_the_ids_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_bytes(b"")
    monkeypatch.setenv("CHARGEN_CACHE", os.fspath(Path("file").absolute()))
    ids, facts = cached_ids(KEY, U1, Encoder())
    assert not isinstance(ids, np.memmap)
    assert (len(ids), facts["train_tokens"]) == (1000, 1000)


def test_a_corpus_is_found_again_by_its_text_and_tokenizer() -> None:
    first = tokenize(text_of("some text to be learned " * 9), 0.1)
    count = len(files())
    again = encode_dataset(text_of("some text to be learned " * 9), first.tokenizer, 0.1)
    assert (again.train.tolist(), again.unknown_rate) == (first.train.tolist(), first.unknown_rate)
    assert len(files()) == count
    encode_dataset(text_of("some text to be learned " * 9), first.tokenizer, 0.2)
    encode_dataset(text_of("another text to be learned" * 9), first.tokenizer, 0.1)
    assert len(files()) == count + 4


@pytest.mark.parametrize(("letters", "size"), [("ab", 1), ("".join(map(chr, range(200, 800))), 2)])
def test_ids_take_no_more_room_than_they_need(letters: str, size: int) -> None:
    assert tokenize(text_of(letters * 30), 0.1).train.dtype.itemsize == size


def test_long_lines_are_cut_for_subwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chargen.data.encoding.LONGEST_LINE", 100)
    content = ("a very long line of words " * 40 + "\n") * 3
    corpus = tokenize(text_of(content, "bpe"), 0.0)
    assert corpus.tokenizer.decode(corpus.train.tolist()) == content


@pytest.mark.parametrize("age", [29, 31])
def test_what_was_not_used_for_a_month_is_forgotten(age: int) -> None:
    for key in "ab":
        cached_ids(key, U1, Encoder())
        cached_bytes(f"graphs/{key}", lambda: b"graph")
    old = time.time() - age * 86400
    for path in cache_folder().rglob("*"):
        os.utime(path, (old, old))
    cached_ids("a", U1, Encoder())  # used again
    cached_bytes("graphs/a", lambda: b"graph")
    cached_ids("c", U1, Encoder())
    cached_bytes("graphs/c", lambda: b"graph")
    left = "abc" if age < 30 else "ac"
    assert files() == sorted(f"{key}.{end}" for key in left for end in ("ids", "json"))
    assert sorted(path.name for path in (cache_folder() / "graphs").iterdir()) == list(left)


def test_a_damaged_file_is_made_anew_and_a_whole_one_is_not() -> None:
    made = iter((b"first", b"second", b"third"))
    assert cached_bytes("graphs/a", lambda: next(made)) == b"first"
    assert cached_bytes("graphs/a", lambda: next(made)) == b"first"
    path = cache_folder() / "graphs/a"
    for damage in (b"", path.read_bytes()[:-1], path.read_bytes().replace(b"f", b"g")):
        path.write_bytes(damage)
        assert cached_bytes("graphs/a", lambda: b"made anew") == b"made anew"
