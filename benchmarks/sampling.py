"""Speed of generation at batch size 1, beside all plain ways of doing it in torch.

    python -m benchmarks.sampling [--hidden 512] [--layers 2] [--seconds 2]

All figures come from one run, so that their ratios hold on a noisy machine, and each from a
process of its own, so that none suffers from the memory or the threads of another. "chargen"
is everything: engine, filters at their defaults, sampling, decoding, output. The torch loops run
the network and sample with ``torch.multinomial``, as their users do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from chargen.config import SampleConfig, TrainConfig
from chargen.display.output import Output
from chargen.engine.graph import build_graph
from chargen.engine.onnx import OnnxEngine
from chargen.model.language_model import LanguageModel
from chargen.model.spec import LayerConfig, ModelConfig
from chargen.sampling.sampler import Sampler
from chargen.tokenizers import build_tokenizer

ALPHABET = "".join(chr(code) for code in range(32, 96))


def characters_per_second(step: Callable[[], object], seconds: float) -> float:
    """Return how often a step runs per second: the median of five slices of the time."""
    for _ in range(20):
        step()
    rates = []
    for _ in range(5):
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds / 5:
            step()
            count += 1
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def chargen_stream(config: ModelConfig, threads: int) -> Callable[[], None]:
    """Return a step of the whole pipeline, with output to the null device."""
    graph = build_graph(LanguageModel(config, TrainConfig(seed=1)).weights(), config)
    sampler = Sampler(build_tokenizer("char", ALPHABET, 0), OnnxEngine(graph, threads))
    output = Output(open(os.devnull, "w"))  # noqa: SIM115, PTH123
    pieces = sampler.stream(sampler.read(""), SampleConfig(length=1 << 60, seed=1))
    return lambda: output.write(next(pieces))


def one_step_calls(config: ModelConfig) -> Callable[[], None]:
    """Return a step as PyTorch programs write it: ``nn.LSTM`` called with one token."""
    hidden, layers = config.layers[0].hidden, len(config.layers)
    embedding = nn.Embedding(config.vocab_size, config.embedding)
    lstm = nn.LSTM(config.embedding, hidden, layers, batch_first=True)
    head = nn.Linear(hidden, config.vocab_size)
    state = (torch.zeros(layers, 1, hidden), torch.zeros(layers, 1, hidden))
    token = torch.zeros(1, 1, dtype=torch.int64)

    @torch.no_grad()
    def step() -> None:
        nonlocal state, token
        y, state = lstm(embedding(token), state)
        token = torch.multinomial((head(y[0, -1]) / 0.8).softmax(-1), 1)[None]

    return step


def hand_written(config: ModelConfig) -> Callable[[], None]:
    """Return a step of LSTM cells written out with ``addmv``, the fastest plain torch."""
    model = LanguageModel(config, TrainConfig(seed=1))
    layers = [
        (cell.weight_ih_l0.detach(), cell.weight_hh_l0.detach(), cell.bias_ih_l0.detach())
        for cell in model.cells
    ]
    hs = [torch.zeros(cell.hidden_size) for cell in model.cells]
    cs = [torch.zeros(cell.hidden_size) for cell in model.cells]
    embedding, w, b = (
        weight.detach() for weight in (model.embedding.weight, model.head.weight, model.head.bias)
    )
    token = 0

    def cell(number: int, x: Tensor) -> Tensor:
        w_ih, w_hh, bias = layers[number]
        gates = torch.addmv(torch.addmv(bias, w_ih, x), w_hh, hs[number])
        i, f, g, o = gates.chunk(4)
        cs[number] = f.sigmoid() * cs[number] + i.sigmoid() * g.tanh()
        hs[number] = o.sigmoid() * cs[number].tanh()
        return hs[number]

    @torch.inference_mode()
    def step() -> None:
        nonlocal token
        x = embedding[token]
        for number in range(len(layers)):
            x = cell(number, x)
        logits = torch.addmv(b, w, torch.cat(hs))
        token = int(torch.multinomial((logits / 0.8).softmax(-1), 1))

    return step


def measure(name: str, config: ModelConfig, threads: int, mkldnn: bool, seconds: float) -> float:
    """Return the rate of one way of generating; runs in a process of its own."""
    if name == "chargen":
        return characters_per_second(chargen_stream(config, threads), seconds)
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = mkldnn  # type: ignore[assignment]
    make = {"one-step": one_step_calls, "addmv": hand_written}[name]
    return characters_per_second(make(config), seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    layers = (LayerConfig("lstm", options.hidden),) * options.layers
    config = ModelConfig(len(ALPHABET) + 1, layers)

    def rate(name: str, threads: int, mkldnn: bool = True) -> float:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(measure, name, config, threads, mkldnn, options.seconds).result()

    ours = {threads: rate("chargen", threads) for threads in (1, 2)}
    best = max(ours.values())
    print(f"{options.layers} x {options.hidden} LSTM, batch 1, characters/s")
    for threads, value in ours.items():
        print(f"{f'chargen, everything, {threads} threads':48} {value:8,.0f}")
    plain = 0.0
    for name, words in (
        ("one-step", "nn.LSTM, one step per call"),
        ("addmv", "hand-written, addmv"),
    ):
        for threads, mkldnn in ((1, True), (1, False), (2, True), (2, False)):
            value = rate(name, threads, mkldnn)
            plain = max(plain, value)
            label = f"{words}, {threads} threads, mkldnn {'on' if mkldnn else 'off'}"
            print(f"{label:48} {value:8,.0f}   chargen is {best / value:5.1f} times as fast")
    print(f"against the best plain torch loop: {best / plain:.1f} times")


if __name__ == "__main__":
    main()
