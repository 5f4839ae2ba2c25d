"""Diagram of a stack of layers: its blocks, and its drawing in characters.

The tokens stand at the bottom and the logits at the top. ``unrolled`` draws it as a picture.

Legend of shapes: V vocabulary, E embedding, I inputs and H hidden units of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

Shape = tuple[int, ...]
Marks = dict[int, str]  # characters by their columns

RAIL, LEFT, RIGHT, END = 2, 4, 55, 77  # columns: edge to the head, sides of layers, end of boxes
AXIS, GAP = 21, 3  # column of the edges from box to box; columns between two embeddings
NARROW = 28  # columns of one of several embeddings at least: three are wider than a terminal
ASCII = str.maketrans("┌┐└┘├┤┬┴─│▲◄", "++++++++-|^<")
MOST = 6  # layers of a diagram that is not shortened
FIRST, LAST = 3, 2  # layers that a shortened one keeps
FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Block:
    """A box of the diagram.

    Attributes:
        name: what it is, such as ``layer 1``.
        inputs: width of what it reads (I); rows of an embedding (V).
        outputs: width of what it gives (H, E, or V of the head).
        weights: shapes of its weights, by their symbols in the equations.
        parameters: number of its parameters.
        kind: cell of a layer.
        state: width of each part of its recurrent state, by its letter.
        tokens: number of last tokens that an embedding looks up together; 0 for what the whole
            text has.
        period: tokens for one step of a layer.
        decoder: width of a hidden layer within the head; 0 if there is none.
        first: number of a layer; 0 for others.
        last: number of the last layer that a box stands for.
    """

    name: str
    inputs: int
    outputs: int
    weights: dict[str, Shape]
    parameters: int
    kind: str = ""
    state: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    period: int = 1
    decoder: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Diagram:
    """A stack of layers.

    Attributes:
        embeddings: their sum is the input of the first layer.
        layers: bottom first.
        head: reads the outputs of all layers, side by side.
        counts: whether n-gram counts are mixed with the probabilities of the network.
    """

    embeddings: tuple[Block, ...]
    layers: tuple[Block, ...]
    head: Block
    counts: bool = False

    @property
    def head_kind(self) -> str:
        """What the head consists of, in words."""
        return f"relu {self.head.decoder:,}, linear" if self.head.decoder else "linear"

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return sum(block.parameters for block in (*self.embeddings, *self.layers, self.head))

    @property
    def state(self) -> int:
        """Numbers in the recurrent state of one text."""
        return sum(sum(layer.state.values()) for layer in self.layers)

    def shortened(self) -> Diagram:
        """Return the diagram with one box for the middle of many layers."""
        if len(self.layers) <= MOST:
            return self
        begin, end = self.layers[:FIRST], self.layers[-LAST:]
        middle = _together(self.layers[FIRST:-LAST])
        return replace(self, layers=(*begin, middle, *end))


def _together(layers: tuple[Block, ...]) -> Block:
    """Return one box for several layers."""
    begin, end, kinds = layers[0], layers[-1], {layer.kind for layer in layers}
    state: dict[str, int] = {}
    for letter, width in (part for layer in layers for part in layer.state.items()):
        state[letter] = state.get(letter, 0) + width
    return Block(
        f"layers {begin.first} to {end.last}",
        begin.inputs,
        end.outputs,
        {},
        sum(layer.parameters for layer in layers),
        begin.kind if len(kinds) == 1 else f"{len(kinds)} different cells",
        state,
        first=begin.first,
        last=end.last,
    )


# -- characters ---------------------------------------------------------------------------


def as_text(diagram: Diagram, *, ascii_only: bool = False) -> str:
    """Return a drawing of at most 79 columns.

    Args:
        diagram: the stack.
        ascii_only: use the characters of ASCII alone.
    """
    short = diagram.shortened()
    lines = _top(short)
    for layer in reversed(short.layers):
        lines += [*_above(layer, short), *_layer(layer)]
    lines += [*_inputs(short), "", *_totals(diagram)]
    text = "\n".join(line.rstrip() for line in lines)
    return text.translate(ASCII) if ascii_only else text


def _top(diagram: Diagram) -> list[str]:
    """Return the head and what it gives."""
    head, several = diagram.head, len(diagram.layers) > 1
    between = f"{head.inputs:,} -> V {head.outputs:,}"
    rows = [("head", f"{diagram.head_kind}, of [{_read(diagram)}]"), (between, _counted(head))]
    below = {RAIL: "▲", AXIS: "▲"} if several else {AXIS: "▲"}
    return [
        _line({AXIS: "▲ P(c_t+1 | c_1 ... c_t) = softmax(logits)"}),
        _edge("logits", head.outputs),
        *_box(0 if several else LEFT, RIGHT, rows, {AXIS: "┴"}, below),
    ]


def _read(diagram: Diagram) -> str:
    """Return the names of what the head reads."""
    names = [_output(layer) for layer in diagram.layers]
    return ", ".join(names if len(names) <= FIRST else (names[0], "...", names[-1]))


def _output(layer: Block) -> str:
    """Return the name of the outputs of a layer."""
    many = layer.last > layer.first
    return f"h{layer.first}...h{layer.last}" if many else f"h{layer.first}"


def _above(layer: Block, diagram: Diagram) -> list[str]:
    """Return the edges from a layer to the next one and to the head."""
    low, high = layer is diagram.layers[0], layer is diagram.layers[-1]
    if high:
        return [_edge(_output(layer), layer.outputs, rail=not low)]
    corner = ("└" if low else "├") + "─" * (AXIS - RAIL - 1) + "┤"
    return [_line({RAIL: corner}), _edge(_output(layer), layer.outputs, rail=not low)]


def _layer(layer: Block) -> list[str]:
    """Return the box of a layer, with the loop of its state and the edge that passes by."""
    between = f"I {layer.inputs:,} -> H {layer.outputs:,}"
    rows = [(layer.name, timed(layer)), (between, _counted(layer))]
    lines = _box(LEFT, RIGHT, rows, {AXIS: "┴"}, {AXIS: "▲"})
    lines[1] = lines[1][:RIGHT] + "├──┐"
    lines[2] += f"◄─┘ {_state(layer)}"
    return lines if layer.first == 1 else [_over(line, {RAIL: "│"}) for line in lines]


def timed(layer: Block) -> str:
    """Return the kind of a layer, and how often it steps if not at each token."""
    return f"{layer.kind}, every {layer.period} tokens" if layer.period > 1 else layer.kind


def _state(layer: Block) -> str:
    """Return the parts of a layer's state and their width."""
    widths = layer.state.values()
    if layer.last > layer.first:
        return f"{sum(widths):,} numbers"
    if len({*widths}) > 1:
        return f"{', '.join(layer.state)}: {sum(widths):,}"
    return f"{', '.join(layer.state)}: {layer.outputs:,}{' each' * (len(layer.state) > 1)}"


def _inputs(diagram: Diagram) -> list[str]:
    """Return the embeddings, their sum and the tokens."""
    several, width = len(diagram.embeddings), diagram.layers[0].inputs
    if several == 1:
        (block,) = diagram.embeddings
        rows = [(block.name, ""), (_table(block), _counted(block))]
        lines = _box(LEFT, RIGHT, rows, {AXIS: "┴"}, {AXIS: "▲"})
        return [_edge("x", width), *lines, _line({AXIS - 4: "token c_t"})]
    side = max(NARROW, (END - LEFT - GAP * (several - 1)) // several)
    lefts = [LEFT + number * (side + GAP) for number in range(several)]
    boxes = zip(diagram.embeddings, lefts, strict=True)
    columns = [_embedding(block, left, left + side - 1) for block, left in boxes]
    axes = [left + AXIS - LEFT for left in lefts]
    plus = {AXIS - 1: "(+)◄" + "─" * (axes[-1] - AXIS - 3) + "┐"}
    plus |= dict.fromkeys(axes[1:-1], "┬")
    return [_edge("x", width), _line(plus), *map(_joined, zip(*columns, strict=True))]


def _embedding(block: Block, left: int, right: int) -> list[str]:
    """Return the box of one of several embeddings, with the tokens that it reads."""
    axis = left + AXIS - LEFT
    orders = f", orders 2 to {block.tokens}" if block.tokens > 1 else ""
    rows = [(f"{block.name}{orders}", ""), (_table(block), ""), (_counted(block), "")]
    several = f"tokens c_t-{block.tokens - 1} ... c_t" if block.tokens > 1 else "token c_t"
    tokens = several if block.tokens else "the text"
    lines = _box(left, right, rows, {axis: "┴"}, {axis: "▲"})
    return [*lines, _line({axis - len(tokens) // 2: tokens})]


def _table(block: Block) -> str:
    rows = "V " if block.tokens == 1 else ""
    return f"{rows}{block.inputs:,} x E {block.outputs:,}"


def _counted(block: Block) -> str:
    return f"{block.parameters:,} parameters"


def _totals(diagram: Diagram) -> list[str]:
    numbers = diagram.state
    return [
        f"parameters  {diagram.parameters:,}",
        f"state       {numbers:,} numbers per text ({numbers * FLOAT:,} bytes in float32)",
        *(["mixed with  n-gram counts, after the softmax: chargen info"] * diagram.counts),
    ]


# -- lines --------------------------------------------------------------------------------


def _box(left: int, right: int, rows: list[tuple[str, str]], top: Marks, low: Marks) -> list[str]:
    """Return the lines of a box; its rows have words at the left and at the right."""
    inner, bar = right - left - 3, "─" * (right - left - 1)
    inside = [f"│ {words}{other:>{inner - len(words)}} │" for words, other in rows]
    ends = _line({left: f"┌{bar}┐", **top}), _line({left: f"└{bar}┘", **low})
    return [ends[0], *(_line({left: words}) for words in inside), ends[1]]


def _edge(name: str, width: int, *, rail: bool = False) -> str:
    """Return a line with the edge that goes up, its name and its width."""
    marks = {AXIS - 1 - len(name): f"{name} │ {width:,}"}
    return _line({RAIL: "│", **marks} if rail else marks)


def _line(marks: Marks) -> str:
    return _over("", marks)


def _over(line: str, marks: Marks) -> str:
    """Return a line with other characters put over it."""
    for column, words in marks.items():
        line = line.ljust(column)
        line = line[:column] + words + line[column + len(words) :]
    return line


def _joined(lines: tuple[str, ...]) -> str:
    """Return lines that stand side by side as one."""
    whole = ""
    for line in lines:
        whole += line[len(whole) :]
    return whole
