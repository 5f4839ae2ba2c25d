"""Layout of the session: lines that are cut between words, the cursor, variants side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.layout.processors import TransformationInput
from rich.cells import cell_len

from chargen.display.heat import level
from chargen.repl.keys import first_word
from chargen.repl.screen import WordWrap, cut, heat_style, side_by_side, wrap

parts = st.text("ab \n日。é", max_size=30)


@given(st.lists(st.tuples(st.sampled_from("ab"), parts), max_size=5), st.integers(2, 12))
def test_cut_loses_nothing_but_spaces_at_the_edge_and_fits(
    fragments: list[tuple[str, str]], columns: int
) -> None:
    lines = cut(fragments, columns)
    text = "".join(part for _, part in fragments)
    shown = ["".join(part for _, part in line) for line in lines]
    assert "".join(shown).replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert len(shown) >= text.count("\n") + 1
    assert all(cell_len(line) <= columns for line in shown)
    again = cut([("", part) for _, part in fragments], columns)  # styles make no difference
    assert ["".join(part for _, part in line) for line in again] == shown
    styles = {style: [p for own, p in fragments if own == style] for style in "ab"}
    for style, own in styles.items():
        kept = "".join(part for line in lines for mine, part in line if mine == style)
        assert kept.replace(" ", "") == "".join(own).replace("\n", "").replace(" ", "")


@given(st.lists(st.text("abé", min_size=1, max_size=9), max_size=30), st.integers(0, 9))
def test_words_are_never_cut(words: list[str], used: int) -> None:
    text = " ".join(words)
    rows = [text[row.begin : row.end] for row in wrap(text, 9, used)]
    assert [word for row in rows for word in row.split()] == words


def test_a_word_longer_than_a_row_is_cut_and_wide_characters_are_not() -> None:
    def rows(text: str, columns: int, used: int = 0) -> list[str]:
        return [text[row.begin : row.end] for row in wrap(text, columns, used)]

    assert rows("the cat sat on the mat", 7) == ["the cat", "sat on ", "the mat"]
    assert rows("x aaaaaaaaaaaa bb", 7) == ["x ", "aaaaaaa", "aaaaa ", "bb"]
    assert rows("aaaaaaaaaa", 7, 6) == ["", "aaaaaaa", "aaa"]
    assert rows("日本語の文。日本語", 7) == ["日本語", "の文。", "日本語"]
    assert rows("日本語の文章。", 6) == ["日本語", "の文", "章。"]  # no row begins with a full stop
    assert rows("The 日本 cat", 5) == ["The ", "日本 ", "cat"]
    assert rows("", 7) == [""]


@given(st.text("ab 日。", max_size=40), st.integers(2, 9), st.integers(0, 9))
def test_the_cursor_is_where_its_character_is(text: str, columns: int, used: int) -> None:
    used = min(used, columns)
    wrapped = WordWrap(lambda: used).apply_transformation(
        TransformationInput(None, Document(text), 0, lambda n: n, [("", text)], columns, 24)  # type: ignore[arg-type]
    )
    shown = fragment_list_to_text(wrapped.fragments)
    assert shown.replace(" ", "") == text.replace(" ", "")
    for place, character in enumerate(text):
        column = wrapped.source_to_display(place)
        if character != " ":
            assert shown[column] == character
            assert wrapped.display_to_source(column) == place
            begin = (used + cell_len(shown[:column])) % columns
            assert begin + cell_len(character) <= columns
    assert wrapped.source_to_display(len(text)) == len(shown)


def test_variants_stand_side_by_side_or_one_under_another() -> None:
    texts = "The cat sat on the mat.", "It\nwas cold.", "日本語の文章です。"
    wide = ["".join(part for _, part in row) for row in side_by_side(texts, 72)]
    assert wide == [
        "1                        2                        3                     ",
        "The cat sat on the       It                       日本語の文章です。    ",
        "mat.                     was cold.                                      ",
    ]
    narrow = ["".join(part for _, part in row) for row in side_by_side(texts, 40)]
    assert narrow == [
        "1  The cat sat on the mat.",
        "2  It",
        "   was cold.",
        "3  日本語の文章です。",
    ]


def test_small_things_of_layout() -> None:
    assert cut([("", "a" * 80)], 80) == [[("", "a" * 80)]]
    assert [first_word(t) for t in (" the cat", "the  cat", "x", "", "  ")] == [
        " the ", "the ", "x", "", "  ",
    ]  # fmt: skip
    assert heat_style(level(0.5)) == ""
    assert len({heat_style(level(bits)) for bits in (1, 3, 5, 7, 20)}) == 5
