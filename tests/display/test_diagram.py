"""The drawing of a stack, in characters and as a picture."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import Bbox

from chargen.display.charts import save_figure
from chargen.display.diagram import ASCII, Diagram, as_text
from chargen.display.unrolled import draw
from chargen.inspection.stack import diagram
from chargen.model.ngrams import MOST_ROWS, NGramConfig
from chargen.model.spec import CELLS, LayerConfig, ModelConfig, parse_stack

TWO = """\
                     ▲ P(c_t+1 | c_1 ... c_t) = softmax(logits)
              logits │ 95
┌────────────────────┴─────────────────────────────────┐
│ head                             linear, of [h1, h2] │
│ 192 -> V 95                        18,335 parameters │
└─▲──────────────────▲─────────────────────────────────┘
  │               h2 │ 64
  │ ┌────────────────┴─────────────────────────────────┐
  │ │ layer 2                                     lstm ├──┐
  │ │ I 128 -> H 64                  49,664 parameters │◄─┘ h, c: 64 each
  │ └────────────────▲─────────────────────────────────┘
  └──────────────────┤
                  h1 │ 128
    ┌────────────────┴─────────────────────────────────┐
    │ layer 1                                      gru ├──┐
    │ I 64 -> H 128                  74,496 parameters │◄─┘ h: 128
    └────────────────▲─────────────────────────────────┘
                   x │ 64
    ┌────────────────┴─────────────────────────────────┐
    │ embedding                                        │
    │ V 95 x E 64                     6,080 parameters │
    └────────────────▲─────────────────────────────────┘
                 token c_t

parameters  148,575
state       256 numbers per text (1,024 bytes in float32)"""
NGRAMS = """\
                   x │ 4
                    (+)◄───────────────────────────────────┐
    ┌────────────────┴────────────────┐   ┌────────────────┴────────────────┐
    │ embedding                       │   │ n-grams, orders 2 to 3          │
    │ V 9 x E 4                       │   │ 30 x E 4                        │
    │ 36 parameters                   │   │ 120 parameters                  │
    └────────────────▲────────────────┘   └────────────────▲────────────────┘
                 token c_t                       tokens c_t-2 ... c_t
"""


def drawn(stack: str, vocab_size: int = 95, embedding: int = 64, *rows: int) -> Diagram:
    ngrams = NGramConfig(rows, (1,) * vocab_size) if rows else None
    return diagram(ModelConfig(vocab_size, parse_stack(stack), embedding, ngrams))


EVERY = drawn(",".join(f"{cell}:{8 + n}" for n, cell in enumerate(CELLS)), 95, 64, 10, 20)
LARGEST = drawn("lstm-norm:16384,lstm-norm:16384", 300, 16384, *[MOST_ROWS] * 15)

# -- characters ---------------------------------------------------------------------------


def test_two_layers_with_the_edge_past_the_second() -> None:
    assert as_text(drawn("gru:128,lstm:64")) == TWO


def test_ngrams_are_added_to_the_embedding() -> None:
    text = as_text(drawn("rnn:5", 9, 4, 10, 20))
    assert NGRAMS in text
    assert text.splitlines()[3] == "    │ head                             linear, of [h1] │"


def test_counts_beside_the_network_are_named() -> None:
    config = ModelConfig(9)
    last = as_text(diagram(config, counts=True)).splitlines()[-1]
    assert last.startswith("mixed with  n-gram counts")
    assert "counts" not in as_text(diagram(config))


def test_in_ascii_each_character_has_its_place() -> None:
    plain = as_text(EVERY, ascii_only=True)
    assert plain.isascii()
    assert plain == as_text(EVERY).translate(ASCII)


def test_the_middle_of_many_layers_is_one_box_and_counts() -> None:
    text = as_text(EVERY)
    assert text.count("│ layer") == 6
    assert "│ layers 4 to 8                  5 different cells ├──┐" in text
    assert "h4...h8 │ 15" in text and "linear, of [h1, ..., h10]" in text
    assert f"parameters  {EVERY.parameters:,}" in text
    assert EVERY.shortened().parameters == EVERY.parameters
    assert EVERY.shortened().state == EVERY.state
    assert "layers" not in as_text(drawn(",".join(["gru:8"] * 6)))


LAYERS = st.builds(LayerConfig, st.sampled_from(list(CELLS)), st.integers(1, 16384))


@given(
    st.lists(LAYERS, min_size=1, max_size=9),
    st.integers(1, 500),
    st.integers(1, 16384),
    st.lists(st.integers(1, MOST_ROWS), max_size=4),
)
def test_any_stack_fits_80_columns_and_its_boxes_are_closed(
    layers: list[LayerConfig], vocab_size: int, embedding: int, rows: list[int]
) -> None:
    ngrams = NGramConfig(tuple(rows), (1,) * vocab_size) if rows else None
    text = as_text(diagram(ModelConfig(vocab_size, tuple(layers), embedding, ngrams)))
    lines = text.splitlines()
    assert max(map(len, lines)) < 80
    corners = [{line.index(c) for line in lines if c in line} for c in "┌┐"]
    assert all(line.rindex("│") > 37 for line in lines if "parameters │" in line)
    assert len(corners[0]) <= 3
    sides = [line[55] for line in lines if "->" in line or "layer " in line]
    assert set(sides) <= {"│", "├"}


# -- pictures -----------------------------------------------------------------------------


def words(path: Path) -> str:
    return "".join(part.text or "" for part in ElementTree.parse(path).iter())


def test_the_picture_says_shapes_and_steps() -> None:
    save_figure(draw(drawn("gru:128,lstm:64"), "a $ name\x1b"), Path("stack.svg"))
    told = words(Path("stack.svg"))
    for part in ("a $ name␛", "layer 2: lstm", "128 to 64:  49,664 parameters", "192"):
        assert part in told
    first = Path("stack.svg").read_bytes()
    save_figure(draw(drawn("gru:128,lstm:64"), "a $ name\x1b"), Path("stack.svg"))
    assert Path("stack.svg").read_bytes() == first
    assert len(first) < 100_000


@pytest.mark.parametrize("stack", [EVERY, LARGEST, drawn("mingru:1", 1, 1, 1)])
def test_all_words_fit_their_boxes_and_none_cover_others(stack: Diagram) -> None:
    words, boxes = measured(draw(replace(stack, counts=True), "name " * 50))
    inside = 0
    for place, said in words:
        for box in boxes:
            middle = (place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2
            if box.contains(*middle):
                inside += 1
                assert box.x0 <= place.x0 and place.x1 <= box.x1, said
                assert box.y0 <= place.y0 and place.y1 <= box.y1, said
    assert inside > 20
    for (one, said), (other, too) in itertools.combinations(words, 2):
        assert not one.overlaps(other), (said, too)


def measured(figure: Figure) -> tuple[list[tuple[Bbox, str]], list[Bbox]]:
    """Return the places of all words and of all boxes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, (axes,) = canvas.get_renderer(), figure.axes
    said = [text for text in axes.texts if text.get_text()]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    words = [(text.get_window_extent(renderer), text.get_text()) for text in said]
    return words, [box.get_window_extent(renderer) for box in boxes]
