"""Which texts are held out: records at random by label, of files with labels the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargen.data import collecting, dataset
from chargen.data.collection import drawn
from chargen.data.dataset import tokenize
from chargen.data.texts import Texts
from tests.conftest import content_of, write
from tests.data.record_files import parts_of, read, texts_in


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the corpora of these tests be small."""
    monkeypatch.setattr(dataset, "SMALLEST", 0)
    monkeypatch.setattr(collecting, "FEWEST", 0)


TOKENIZERS = ("char", "byte", "unigram", "bpe")


# -- which texts are held out -----------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-1, 4), min_size=1, max_size=200),
    st.sampled_from([(0.1, 0.0), (0.1, 0.1), (0.25, 0.3), (0.0, 0.0), (1.0, 0.0)]),
    st.integers(0, 3),
)
def test_each_label_has_its_fraction_in_each_part(
    given_labels: list[int], fractions: tuple[float, float], seed: int
) -> None:
    labels = np.array(given_labels, np.int32)
    parts = drawn(labels, *fractions, seed)
    assert (parts == drawn(labels, *fractions, seed)).all()
    for label in np.unique(labels):
        own = parts[labels == label]
        for part, fraction in enumerate(fractions, 1):
            assert abs((own == part).sum() - fraction * len(own)) < 1 + (len(own) < 4)
        assert (own == 0).any() or fractions[0] == 1


def test_the_draw_depends_on_its_seed_and_is_random() -> None:
    labels = np.zeros(1000, np.int32)
    parts = [drawn(labels, 0.1, 0.1, seed) for seed in range(20)]
    assert all((part == 1).sum() == 100 and (part == 2).sum() == 100 for part in parts)
    overlap = [((a == 1) & (b == 1)).sum() for a in parts for b in parts if a is not b]
    assert 8 < np.mean(overlap) < 12  # a tenth of a tenth of 1,000
    places = np.concatenate([np.flatnonzero(part == 1) for part in parts])
    assert 470 < places.mean() < 530  # 2,000 of them, with a deviation of 6.5


def test_the_seed_of_the_split_changes_the_parts_and_not_the_corpus() -> None:
    write("a.txt", "".join(f"line {n}\n" for n in range(100)))
    texts = [read("a.txt", records="lines", split_seed=seed) for seed in (0, 0, 1)]
    assert len({text.sha256 for text in texts}) == 1
    held = [[t for t, _ in parts_of(tokenize(text, 0.1))[1]] for text in texts]
    assert held[0] == held[1] != held[2]
    assert [len(set(part)) for part in held] == [10, 10, 10]


def test_records_that_are_held_out_and_learned_are_said() -> None:
    write("a.txt", "the same\n" * 10 + "".join(f"{n}\n" for n in range(10)))
    text = read("a.txt", records="lines")
    _, validation, test = parts_of(data := tokenize(text, 0.3, 0.2))
    held = [found for found, _ in validation + test]
    count = held.count("the same\n")
    assert 0 < count < 10
    words = f"{count} of 10 held-out records are word for word in the training part too"
    assert data.notes == tokenize(text, 0.3, 0.2).notes == (words,)


def test_an_unlabelled_text_is_not_that_with_records() -> None:
    write("a.txt", "one\ntwo\n")
    plain, lines, named = (
        read("a.txt"),
        read("a.txt", records="lines"),
        read("a.txt", records="lines", label="file"),
    )
    assert content_of(plain) == content_of(lines) == content_of(named)
    assert len({text.sha256 for text in (plain, lines, named)}) == 3


# -- files with labels --------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_of_each_file_with_a_label_the_end_is_held_out(tokenizer: str) -> None:
    contents = {
        f"d/{name}.txt": "".join(f"{name} wrote line {n}\n" for n in range(size))
        for name, size in [("Poe/a", 40), ("Poe/b", 80), ("old/Shelley/c", 120), ("x", 60)]
    }
    for name, content in contents.items():
        write(name, content)
    text = read("d", label="folder", tokenizer=tokenizer, vocab_size=300)
    data = tokenize(text, 0.2, 0.1)
    parts = parts_of(data)
    assert data.labels == ("Poe", "Shelley", "d")
    assert [[label for _, label in part] for part in parts] == [["Poe", "Poe", "Shelley", "d"]] * 3
    for number, content in enumerate(contents.values()):
        pieces = [part[number][0] for part in parts]
        assert "".join(pieces) == content
        assert len(pieces[0]) == int(0.7 * len(content))
    assert data.texts is not None
    assert data.tokenizer.pieces[data.texts.before] == b"\n"
    assert text.notes == ("4 files, 3 labels: Poe 2, Shelley 1, d 1",)


def test_documents_have_labels_too() -> None:
    write(
        "d/web/a.html",
        "<!DOCTYPE html><html><body><p>ein Absatz</p><p>noch einer</p></body></html>",
    )
    write("d/plain/b.txt", "some lines\n" * 5)
    data = tokenize(read("d", label="folder"), 0.0)
    assert parts_of(data)[0] == [
        ("some lines\n" * 5, "plain"),
        ("ein Absatz\n\nnoch einer\n\n", "web"),
    ]


def test_a_binary_file_is_split_by_its_bytes() -> None:
    data = bytes(range(256)) * 4
    write("a.bin", data)
    write("b.bin", data[::-1])
    found = tokenize(read("a.bin", "b.bin", label="file", tokenizer="byte"), 0.1)
    assert found.texts is not None
    assert found.train.tobytes() == data[:921] + data[::-1][:921]
    assert found.texts.labels.tolist() == [0, 1]


# -- parts of a part ----------------------------------------------------------------------------

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 50))
def test_the_first_and_the_last_tokens_are_texts_of_which_one_is_cut(
    sizes: list[int], count: int
) -> None:
    borders = np.cumsum([0, *sizes])
    texts = Texts(borders, np.arange(len(sizes), dtype=np.int32), 0)
    owner = np.repeat(texts.labels, sizes)
    for cut, owners in ((texts.first(count), owner[:count]), (texts.last(count), owner[-count:])):
        assert np.repeat(cut.labels, cut.lengths).tolist() == owners.tolist()
        assert (cut.lengths > 0).all()


def test_the_end_of_the_training_part_is_texts() -> None:
    write("a.txt", "".join(f"line {n}\n" for n in range(10, 60)))
    data = tokenize(read("a.txt", records="lines"), 0.2)
    end = data.end_of_train(20)
    assert texts_in(data, end.ids, end.texts)[1:] == texts_in(data, data.train, data.texts)[-2:]
    assert not len(end.context)
