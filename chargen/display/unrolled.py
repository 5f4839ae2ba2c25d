"""Picture of a stack of layers, and beside it the same network unrolled over a few steps.

All coordinates are inches from the lower left corner, so that words fit their boxes at any height.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chargen.display.charts import COLOURS, label
from chargen.display.diagram import Block, Diagram, Shape, timed
from chargen.display.pen import BEHIND, Pen, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLE = "words"  # each letter but the last is the token of a step
WIDTH, TITLE = 14.2, 60  # of the picture; characters of its title
STACK, SIDE, RAIL = 2.7, 3.5, 0.3  # centre and width of the stack; distance of the edge to the head
FIRST, STEP, NARROW = 6.9, 1.95, 1.1  # centre of the first step; from step to step; width of a box
TOKENS, EMBEDDINGS, PITCH = 1.15, 2.25, 1.5  # heights of the rows; from layer to layer
TALL, LOW = 0.95, 0.7  # heights of the boxes of the stack and of a step
ORANGE, GREY = COLOURS[1], "#666666"
LAYERS = COLOURS[0], COLOURS[2], COLOURS[3], COLOURS[5]
EMBEDDING, HEAD = COLOURS[4], COLOURS[7]
LINE = 46  # characters of a line with shapes
UNROLLED = "Unrolled in time: the same weights at every step"
LETTERS = "$W$ reads the input of a layer, $R$ its state of the step before."
CAPTION = (
    "Grey numbers are the widths of the vectors. The state begins with zeros.\n"
    "In training the gradient flows back along every arrow."
)


def draw(diagram: Diagram, title: str) -> Figure:
    """Return the picture.

    Args:
        diagram: the stack; the middle ones of many layers are one box.
        title: a line above the picture.
    """
    short = diagram.shortened()
    height = _row(short, len(short.layers)) + 2.35
    pen, middle = Pen(WIDTH, height), FIRST + STEP * (len(EXAMPLE) - 2) / 2
    cut = title if len(title) <= TITLE else f"{title[:TITLE]}..."
    pen.text((0.3, height - 0.3), label(cut), ha="left", size=13, weight="bold")
    pen.text((STACK, height - 0.75), "The stack", size=11, weight="bold")
    pen.text((middle, height - 0.75), UNROLLED, size=11, weight="bold")
    totals = f"{diagram.parameters:,} parameters, a state of {diagram.state:,} numbers.\n{LETTERS}"
    pen.text((STACK, 0.45), totals, size=10, linespacing=1.5)
    pen.text((middle, 0.45), CAPTION, size=10, linespacing=1.5)
    _stack(pen, short)
    _steps(pen, short)
    return pen.figure


def _row(diagram: Diagram, number: int) -> float:
    """Return the height of the centre of a layer, counted from 0; the head follows them."""
    sum_of_several = 0.3 * (len(diagram.embeddings) > 1)
    return EMBEDDINGS + sum_of_several + PITCH * (number + 1)


def _tone(number: int) -> str:
    return LAYERS[number % len(LAYERS)]


def _symbol(diagram: Diagram, layer: Block, step: object, letter: str = "h") -> str:
    """Return the symbol of a part of a layer's state at a step."""
    over = "" if len(diagram.layers) == 1 else f"^{{{layer.first}}}"
    if layer.last > layer.first:
        over = rf"^{{{layer.first} \ldots {layer.last}}}"
    return f"${letter}{over}_{step}$"


def _edge(pen: Pen, place: Point, name: str, width: int) -> None:
    """Write the name of an edge at its left, and its width at its right."""
    pen.text((place[0] - 0.08, place[1]), name, ha="right")
    pen.text((place[0] + 0.08, place[1]), f"{width:,}", ha="left", color=GREY)


# -- the stack ----------------------------------------------------------------------------


def _stack(pen: Pen, diagram: Diagram) -> None:
    """Draw the stack from the tokens to the probabilities, with the shapes of all weights."""
    _embeddings(pen, diagram)
    for number in range(len(diagram.layers)):
        _layer(pen, diagram, number)
    _head(pen, diagram)


def _layer(pen: Pen, diagram: Diagram, number: int) -> None:
    """Draw a layer, its state, and the edges to the next layer and to the head."""
    layer, middle = diagram.layers[number], _row(diagram, number)
    edge, above = middle + TALL / 2, _row(diagram, number + 1) - TALL / 2
    pen.box((STACK, middle), (SIDE, TALL), _tone(number))
    _words(pen, (STACK, middle), f"{layer.name}: {timed(layer)}", layer)
    _loop(pen, middle, layer)
    pen.arrow((STACK, edge), (STACK, above))
    _edge(pen, (STACK, edge + 0.16), _symbol(diagram, layer, "t"), layer.outputs)
    if number < len(diagram.layers) - 1:
        head = _row(diagram, len(diagram.layers)) - TALL / 2
        _past(pen, STACK, STACK + SIDE / 2 + RAIL, edge + 0.3, head)


def _head(pen: Pen, diagram: Diagram) -> None:
    """Draw the head, as wide as all edges that reach it, and the probabilities."""
    middle, wide = _row(diagram, len(diagram.layers)), (RAIL + 0.15) * (len(diagram.layers) > 1)
    place, edge = (STACK + wide / 2, middle), middle + TALL / 2
    pen.box(place, (SIDE + wide, TALL), HEAD)
    _words(pen, place, f"head: {diagram.head_kind}", diagram.head)
    pen.arrow((STACK, edge), (STACK, middle + 0.9))
    _edge(pen, (STACK, edge + 0.2), "logits", diagram.head.outputs)
    mixed = ", mixed with n-gram counts" if diagram.counts else ""
    words = rf"softmax: $P(c_{{t+1}}\,|\,c_1 \ldots c_t)${mixed}"
    pen.text((STACK, middle + 1.1), words, size=11)


def _past(pen: Pen, column: float, rail: float, split: float, head: float) -> None:
    """Draw the edge from a lower layer past the others to the head."""
    pen.arrow((column, split), (rail, split), (rail, head), colour=GREY, width=0.9, order=BEHIND)


def _words(pen: Pen, place: Point, name: str, block: Block) -> None:
    """Write name, widths, parameters and shapes of a block into its box."""
    widths = f"{block.inputs:,} to {block.outputs:,}:  {block.parameters:,} parameters"
    pen.lines(place, SIDE, [name, widths, *_shapes(block.weights)])


def _shapes(weights: dict[str, Shape]) -> list[str]:
    """Return lines with the symbols of weights and their shapes, matrices first."""
    named: dict[Shape, list[str]] = {}
    for symbol, shape in sorted(weights.items(), key=lambda pair: -len(pair[1])):
        named.setdefault(shape, []).append(symbol)
    lines, length = [""], 0
    for shape, symbols in named.items():
        sizes = " x ".join(map(str, shape))
        length += sum(map(len, symbols)) + len(sizes) + 4
        if length > LINE:
            lines, length = [*lines, ""], 0
        between = "    " if lines[-1] else ""
        lines[-1] += f"{between}{', '.join(map(_formula, symbols))}  {sizes}"
    return [line for line in lines if line]


def _formula(symbol: str) -> str:
    """Return a symbol in matplotlib's language of formulas; words stand upright."""
    name, _, below = symbol.partition("_")
    base = name if len(name) == 1 else rf"\mathrm{{{name}}}"
    return f"${base}_{{{below}}}$" if below else f"${base}$"


def _loop(pen: Pen, middle: float, layer: Block) -> None:
    """Draw the state that a layer passes on to its next step."""
    left, width = STACK - SIDE / 2, sum(layer.state.values())
    out, high, low = left - 0.28, middle + 0.2, middle - 0.2
    pen.arrow((left, high), (out, high), (out, low), (left, low))
    pen.text((out, high + 0.14), ", ".join(f"${letter}$" for letter in layer.state))
    alike = layer.last == layer.first and len({*layer.state.values()}) == 1
    each = layer.outputs if alike else width
    pen.text((out, low - 0.14), f"{each:,}", color=GREY)


def _embeddings(pen: Pen, diagram: Diagram) -> None:
    """Draw the embeddings, their sum and the tokens that they read."""
    several, gap = len(diagram.embeddings), 0.2
    side = (SIDE - gap * (several - 1)) / several
    layer, edge = _row(diagram, 0) - TALL / 2, EMBEDDINGS + TALL / 2
    for number, block in enumerate(diagram.embeddings):
        centre = STACK - SIDE / 2 + side / 2 + number * (side + gap)
        pen.box((centre, EMBEDDINGS), (side, TALL), EMBEDDING)
        pen.lines((centre, EMBEDDINGS), side, _table(block))
        pen.arrow((centre, TOKENS + 0.2), (centre, EMBEDDINGS - TALL / 2))
        oldest = rf"s $c_{{t-{block.tokens - 1}}} \ldots\,$" if block.tokens > 1 else " "
        read = f"token{oldest}$c_t$" if block.tokens else "the text"
        pen.text((centre, TOKENS), read, size=11)
        if several > 1:
            level, inner = edge + 0.3, STACK + (0.12 if centre > STACK else -0.12)
            pen.arrow((centre, edge), (centre, level), (inner, level))
    if several > 1:
        pen.circle((STACK, edge + 0.3), 0.12, "+")
    pen.arrow((STACK, edge + 0.42 * (several > 1)), (STACK, layer))
    _edge(pen, (STACK, layer - 0.25), "$x_t$", diagram.layers[0].inputs)


def _table(block: Block) -> list[str]:
    orders = f" 2 to {block.tokens}" if block.tokens > 1 else ""
    sizes = f"{block.inputs:,} x {block.outputs:,}"
    symbols = ", ".join(map(_formula, block.weights))
    return [f"{block.name}{orders}", f"{symbols}  {sizes}", f"{block.parameters:,} parameters"]


# -- the unrolled network -----------------------------------------------------------------


def _steps(pen: Pen, diagram: Diagram) -> None:
    """Draw one column for each step, and the states between them."""
    columns = [FIRST + STEP * number for number in range(len(EXAMPLE) - 1)]
    for number, column in enumerate(columns):
        _step(pen, diagram, column, number + 1)
        _tokens(pen, diagram, columns[: number + 1])
    for number, layer in enumerate(diagram.layers):
        for step in range(len(columns) + 1):
            _state(pen, diagram, layer, _row(diagram, number), step)


def _step(pen: Pen, diagram: Diagram, column: float, step: int) -> None:
    """Draw the boxes of a step, and the edges that go up."""
    names = "\n+ ".join(block.name for block in diagram.embeddings)
    _small(pen, (column, EMBEDDINGS), names, EMBEDDING)
    edge = EMBEDDINGS + LOW / 2
    pen.arrow((column, edge), (column, _row(diagram, 0) - LOW / 2))
    _edge(pen, (column, edge + 0.2), f"$x_{step}$", diagram.layers[0].inputs)
    for number in range(len(diagram.layers)):
        _layer_at(pen, diagram, number, column, step)
    _head_at(pen, diagram, column, step)


def _layer_at(pen: Pen, diagram: Diagram, number: int, column: float, step: int) -> None:
    """Draw a layer at a step, and the edges to the next layer and to the head."""
    layer, middle = diagram.layers[number], _row(diagram, number)
    edge, above = middle + LOW / 2, _row(diagram, number + 1) - LOW / 2
    _small(pen, (column, middle), layer.kind, _tone(number))
    pen.arrow((column, edge), (column, above))
    _edge(pen, (column, edge + 0.2), _symbol(diagram, layer, step), layer.outputs)
    if number < len(diagram.layers) - 1:
        head = _row(diagram, len(diagram.layers)) - LOW / 2
        _past(pen, column, column + NARROW / 2 + 0.1, edge + 0.4, head)


def _head_at(pen: Pen, diagram: Diagram, column: float, step: int) -> None:
    """Draw the head at a step, and what it predicts."""
    middle, wide = _row(diagram, len(diagram.layers)), 0.2 * (len(diagram.layers) > 1)
    _small(pen, (column + wide / 2, middle), "head", HEAD, NARROW + wide)
    pen.arrow((column, middle + LOW / 2), (column, middle + 0.9))
    _edge(pen, (column, middle + LOW / 2 + 0.25), "", diagram.head.outputs)
    seen, following = EXAMPLE[:step], EXAMPLE[step]
    pen.text((column, middle + 1.1), f"$P$({following} | {seen})", size=11)


def _small(pen: Pen, place: Point, words: str, colour: str, width: float = NARROW) -> None:
    pen.box(place, (width, LOW), colour)
    pen.text(place, words)


def _tokens(pen: Pen, diagram: Diagram, columns: Sequence[float]) -> None:
    """Draw the token of a step, and the edges from the earlier ones that n-grams read."""
    here, bottom = columns[-1], EMBEDDINGS - LOW / 2
    longest = max(block.tokens for block in diagram.embeddings)
    for earlier in columns[-longest:-1]:
        points = (earlier, TOKENS), (here - 0.25, bottom)
        pen.arrow(*points, colour=EMBEDDING, width=0.8, order=BEHIND)
    pen.arrow((here, TOKENS), (here, bottom))
    pen.circle((here, TOKENS), 0.2, EXAMPLE[len(columns) - 1])


def _passed(layer: Block) -> list[str]:
    """Return the parts of a layer's state that its next step reads as vectors."""
    return ["x"] if "x" in layer.state else [letter for letter in layer.state if letter != "p"]


def _state(pen: Pen, diagram: Diagram, layer: Block, middle: float, step: int) -> None:
    """Draw the state of a layer from one step to the next one."""
    begin = FIRST + STEP * (step - 1) + NARROW / 2
    end = begin + STEP - NARROW
    first, last = step == 0, step == len(EXAMPLE) - 1
    passed = _passed(layer)
    heights = (-0.17, 0.17) if len(passed) > 1 else (0.0,)
    centre = (begin + end) / 2 + 0.03
    for letter, up in zip(passed, heights, strict=True):
        colour = ORANGE if letter == "c" else "black"
        ends = (begin + 0.25 * first, middle + up), (end - 0.25 * last, middle + up)
        pen.arrow(*ends, colour=colour)
        side = -0.15 if up < 0 else 0.15
        symbol = _symbol(diagram, layer, step, letter)
        pen.text((centre, middle + up + side), symbol, color=colour)
    below = 0.0 if len(heights) > 1 else -0.13
    if layer.first == layer.last:
        pen.text((centre, middle + below), f"{layer.state[passed[0]]:,}", size=8, color=GREY)
