"""The authorship benchmark: nothing that is asked was learned, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from benchmarks.authorship import Author

authorship = pytest.importorskip("benchmarks.authorship", reason="not from a checkout")


def text(length: int, begin: int = 0) -> str:
    """Return a text without equal parts: of the characters from some code point on."""
    return "".join(chr(0x4E00 + begin + i) for i in range(length))


def authors() -> list[Author]:
    texts = {"a": [text(3000), text(5000, 3000)], "b": [text(4000, 8000)]}
    found: list[Author] = authorship.portion(texts, 6000)
    return found


def test_authors_have_as_many_characters_and_the_last_tenth_is_held_out() -> None:
    for author in authors():
        both = sum(map(len, author.learned)), sum(map(len, author.held_out))
        assert both == (3600, 400)
    assert authors()[0].learned[1] == text(2250, 3000)
    assert authors()[0].held_out[1] == text(250, 5250)


def test_a_file_of_many_works_gives_pieces_of_all() -> None:
    assert authorship.pieces(text(100), 10) == [text(10)]
    assert authorship.pieces(text(1000), 50) == [text(5, i) for i in range(0, 1000, 100)]


def test_passages_of_held_out_parts_are_not_in_those_to_learn(tmp_path: Path) -> None:
    authorship.write(authors(), tmp_path)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt"))
    assert files == ["train/a/001.txt", "train/a/002.txt", "train/b/001.txt"]
    lines = (tmp_path / "heldout.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["label"] for row in rows] == ["a", "b", "b"]  # of 150, 250 and 400 characters
    learned = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.txt"))
    assert not set(learned) & {character for row in rows for character in row["text"]}


def test_overlapping_passages() -> None:
    found, labels = authorship.passages([[text(399)], [text(400, 500)]], 100)
    starts = [(0, 0), (100, 0), (500, 1), (600, 1), (700, 1)]
    assert list(zip(found, labels, strict=True)) == [(text(200, s), label) for s, label in starts]


def test_an_n_gram_model_of_each_label_tells_the_texts_apart() -> None:
    own = [
        authorship.Author("a", ["ab" * 2000], ["ab" * 200]),
        authorship.Author("b", ["ac" * 2000], ["ac" * 150 + "ad" * 50]),
    ]
    found = authorship.by_kneser_ney(own)
    assert found.argmax(axis=1).tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)


def test_a_model_gives_the_likelihoods_by_its_own_order_of_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = SimpleNamespace(labels=("b", "a"))

    def told(
        saved: object, given: object, texts: list[str], *, prior: str, whole: bool
    ) -> np.ndarray:
        assert (saved, given, prior, whole) == ("run", sampler, "uniform", False)
        found: np.ndarray = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
        return found

    monkeypatch.setattr(authorship, "load", lambda *_, **__: SimpleNamespace(sampler=sampler))
    monkeypatch.setattr(authorship, "open_model", lambda name: name)
    monkeypatch.setattr(authorship, "log_label_probabilities", told)
    found = np.exp(authorship.by_model("run", authors(), None))  # columns: a, b
    np.testing.assert_allclose(found[:, 0], [0.1, 0.8, 0.5])
    sampler.labels = ()
    with pytest.raises(authorship.ConfigError, match="the labels of run are none; needed are a, b"):
        authorship.by_model("run", authors(), None)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.arange(40) % 2
    right = np.log(np.where(np.arange(2) == labels[:, None], 0.9, 0.1))
    works = {"logistic-regression": lambda: right[::-1], "own": lambda: right}
    authorship.print_table(works, labels)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "40 passages, at most 20 of a label"
    begin = "| own | 1.0000 | 0.9124 to 1.0000 | 1.0000 | 0.105 | 0.25 | 0.000 | 0.100 | 0.000 |"
    assert lines[5].startswith(begin)
    assert lines[7].startswith("own less logistic-regression: accuracy +1.0000")


def test_the_texts_are_there(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGEN_TEST_CORPORA", str(corpora))
    found = authorship.portion(authorship.read_authors(), 20_000)
    assert [author.name for author in found] == [*authorship.BOOKS, *authorship.MODULES]
    assert len(found[2].learned) == authorship.PIECES


def test_without_texts_the_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARGEN_TEST_CORPORA", str(tmp_path))
    with pytest.raises(authorship.CorpusError, match="austen, .*; set CHARGEN_TEST_CORPORA"):
        authorship.read_authors()
