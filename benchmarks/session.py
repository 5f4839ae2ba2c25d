"""Latency of ghost text in the interactive session.

    python -m benchmarks.session [--hidden 512] [--layers 2] [--threads N]

The line is typed key by key. "model" is the time of the ghost text after a key: reading the key and
looking ahead to the end of a line of 80 columns, or for the 12 ms that are allowed. "screen" is the
time from the key to the finished screen: the prompt of ``chargen repl`` with a pipe as its keyboard
and a terminal of 80 columns that notes the time.
"""

from __future__ import annotations

import argparse
import io
import statistics
import threading
import time
from collections.abc import Iterable, Iterator

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from chargen.config import TrainConfig
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.model.spec import LayerConfig, ModelConfig
from chargen.repl import Session
from chargen.repl.assist import GHOST
from chargen.repl.conversation import PROMPT, Conversation
from chargen.sampling import ghost
from chargen.sampling.ghost import Lookahead
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import build_tokenizer

ALPHABET = "".join(chr(code) for code in range(32, 96))
LINE = "IT WAS A COLD NIGHT IN THE HOUSE OF THE BAKER, AND NOBODY WAS ABOUT"
CONTEXT = "THE TEXT SO FAR. " * 20
COLUMNS = 80


def sampler(layers: int, hidden: int, threads: int | None) -> Sampler:
    """Return a model of this size with random weights; its text does not matter here."""
    from chargen.model.language_model import LanguageModel

    config = ModelConfig(len(ALPHABET) + 1, (LayerConfig("lstm", hidden),) * layers)
    graph = build_graph(LanguageModel(config, TrainConfig(seed=1)).weights(), config)
    return Sampler(build_tokenizer("char", ALPHABET, 0), OnnxEngine(graph, threads))


def lines(kind: str, lookahead: Lookahead) -> Iterator[str]:
    """Yield the line after each key."""
    if kind == "new text":
        yield from (LINE[:n] for n in range(1, len(LINE)))
    elif kind == "backspace":
        lookahead.ghost(LINE, 10, 1)
        yield from (LINE[:n] for n in range(len(LINE) - 1, 0, -1))
    elif kind == "what the ghost says":
        line = "IT WAS "
        for _ in range(60):
            line += lookahead.ghost(line, 1, 1)
            yield line
    else:
        yield from (LINE * 5 + key for key in "XYZ")


def model_times(model: Sampler, kind: str) -> list[float]:
    """Return the seconds of the ghost text after each key."""
    lookahead, times = Lookahead(model, model.read(CONTEXT)), []
    for line in lines(kind, lookahead):
        room = max(1, COLUMNS - 1 - (len(PROMPT) + len(line)) % COLUMNS)
        began = time.perf_counter()
        lookahead.ghost(line, room, GHOST)
        times.append(time.perf_counter() - began)
    return times


def alternatives_times(model: Sampler) -> list[float]:
    """Return the seconds of the list of alternatives after each key."""
    lookahead, times = Lookahead(model, model.read(CONTEXT)), []
    for count in range(1, len(LINE)):
        began = time.perf_counter()
        lookahead.alternatives(LINE[:count])
        times.append(time.perf_counter() - began)
    return times


class _Paper(io.StringIO):
    """A terminal that notes when grey text was last written to it."""

    grey = 0.0

    def write(self, text: str) -> int:
        if "\x1b[0;90m" in text:
            self.grey = time.perf_counter()
        return len(text)


def screen_times(model: Sampler) -> list[float]:
    """Return the seconds from each key to the screen with its ghost text."""
    paper, times = _Paper(), list[float]()
    output = Vt100_Output(paper, lambda: Size(24, COLUMNS), term="xterm", enable_cpr=False)
    with create_pipe_input() as keyboard:
        person = threading.Thread(target=_type, args=(keyboard, paper, times))
        person.start()
        Conversation(Session(model), keyboard, output).run()
        person.join()
    return times


def _type(keyboard: PipeInput, paper: _Paper, times: list[float]) -> None:
    """Press one key after the other, each when the ghost text of the last one is shown."""
    time.sleep(1)
    for key in LINE[:-1]:
        began = time.perf_counter()
        keyboard.send_text(key)
        while paper.grey < began and time.perf_counter() < began + 1:
            time.sleep(0.0002)
        times.append(paper.grey - began)
        time.sleep(0.05)
    keyboard.send_text("\x15\x04")


def row(name: str, times: Iterable[float]) -> str:
    """Return a line of the table."""
    in_ms = sorted(1000 * seconds for seconds in times)
    late = sum(value > 30 for value in in_ms)
    middle = statistics.median(in_ms)
    return f"{name:34} {len(in_ms):5} {middle:8.1f} {in_ms[-1]:8.1f} {late:8}"


def main() -> None:
    """Print the table."""
    ghost.SURE = 0.0  # random weights are never sure of a word
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = sampler(options.layers, options.hidden, options.threads)
    threads = f"{options.threads} threads" if options.threads else "the fastest number of threads"
    print(f"{options.layers} x {options.hidden} LSTM, {threads}; ms")
    print(f"{'':34} {'keys':>5} {'median':>8} {'worst':>8} {'above 30':>8}")
    for kind in ("new text", "what the ghost says", "backspace", "paste"):
        print(row(f"model: {kind}", model_times(model, kind)))
    print(row("model: alternatives", alternatives_times(model)))
    print(row("screen: new text", screen_times(model)))


if __name__ == "__main__":
    main()
