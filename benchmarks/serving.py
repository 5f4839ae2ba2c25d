"""Load on a server: many streams at once, new ones among them, and a long prompt.

    python -m benchmarks.serving [--streams 64] [--length 2000] [--hidden 512] [--layers 2]

A real ``chargen serve`` runs a model with random weights, and clients on loopback read its events.
"sample" is ``chargen sample --num-samples`` with as many texts, without the time of its start; it
and the server take turns, and the figures are medians. "first character" is that of a new stream
after a prompt of 100 characters while all the others run. The largest gap is the time between two
events of one of the others, alone, and while a prompt of 100,000 characters is read.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chargen.config import TrainConfig
from chargen.model.saved import save_model
from chargen.model.spec import LayerConfig, ModelConfig
from chargen.tokenizers import build_tokenizer

ALPHABET = "\n" + "".join(chr(code) for code in range(32, 96))
PROMPT = ("IT WAS A COLD NIGHT IN THE HOUSE OF THE BAKER. " * 3)[:100]
LONG = 100_000  # characters of the long prompt
ENDLESS = 65_536  # characters, as many as a request may have
EVENT = re.compile(rb'"text": ?"((?:[^"\\]|\\.)*)"')


def write_model(path: Path, layers: int, hidden: int) -> None:
    """Write a model of this size with random weights; its text does not matter here."""
    from chargen.model.language_model import LanguageModel

    config = ModelConfig(len(ALPHABET) + 1, (LayerConfig("lstm", hidden),) * layers)
    weights = LanguageModel(config, TrainConfig(seed=1)).weights()
    save_model(path, weights, config, build_tokenizer("char", ALPHABET, 0), {})


def sampling_seconds(model: Path, streams: int, length: int) -> float:
    """Return how long ``chargen sample`` takes for so many texts."""
    command = [sys.executable, "-m", "chargen", "sample", "-m", str(model), "--seed", "1"]
    options = ["--num-samples", str(streams), "--length", str(length)]
    began = time.perf_counter()
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@contextmanager
def serving(model: str, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server on a free port; yield the port and the process."""
    command = [sys.executable, "-m", "chargen", "serve", "-m", model, "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        found = re.search(r"http://\S+?:(\d+)", process.stderr.readline())
        assert found, process.stderr.read()
        try:
            yield int(found[1]), process
        finally:
            process.terminate()
            process.communicate(timeout=30)


class Client:
    """A client of a stream.

    Attributes:
        began: when the request was sent.
        events: time and data of what came.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.began = 0.0
        self.events: list[tuple[float, bytes]] = []

    async def run(self, prompt: str, length: int, seed: int) -> None:
        """Read a stream to its end."""
        fields: dict[str, Any] = {"prompt": prompt, "max_tokens": length, "seed": seed}
        body = json.dumps(fields | {"stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
        kind = "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            self.began = time.perf_counter()
            writer.write((head + kind).encode() + body)
            while data := await reader.read(1 << 16):
                self.events.append((time.perf_counter(), data))
        finally:
            writer.close()

    @property
    def characters(self) -> int:
        """Number of characters that came."""
        found = EVENT.findall(b"".join(data for _, data in self.events))
        return sum(len(json.loads(b'"' + text + b'"')) for text in found)

    @property
    def first(self) -> float:
        """Seconds until the first character."""
        return next(moment for moment, data in self.events if b"data: " in data) - self.began

    def gap(self, start: float, end: float) -> float:
        """Return the largest time between two events within some time."""
        moments = [moment for moment, _ in self.events if start <= moment <= end]
        return max((b - a for a, b in itertools.pairwise(moments)), default=0.0)


async def total(port: int, streams: int, length: int) -> float:
    """Return the characters/s of so many streams together."""
    clients = [Client(port) for _ in range(streams)]
    began = time.perf_counter()
    await asyncio.gather(*(c.run(PROMPT[:10], length, n) for n, c in enumerate(clients)))
    seconds = time.perf_counter() - began
    assert all(client.characters == length for client in clients)
    return streams * length / seconds


async def beside_others(port: int, streams: int, count: int) -> None:
    """Print the first characters of new streams, and the gaps of the others."""
    others = [Client(port) for _ in range(streams)]
    tasks = [asyncio.create_task(c.run("A", ENDLESS, n)) for n, c in enumerate(others)]
    await asyncio.sleep(1)
    start, firsts = time.perf_counter(), []
    for number in range(count):
        new = Client(port)
        await new.run(PROMPT, 20, number)
        firsts.append(1000 * new.first)
    middle = time.perf_counter()
    long = Client(port)
    await long.run("A" * LONG, 20, 1)
    end = time.perf_counter()
    running = sum(not task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    firsts.sort()
    median, late = statistics.median(firsts), firsts[int(0.99 * count)]
    print(f"first character beside {running} streams, ms: median {median:.0f}, of 99 % {late:.0f}")
    alone, reading = (
        1000 * max(c.gap(*t) for c in others) for t in ((start, middle), (middle, end))
    )
    print(f"largest gap of the others, ms: {alone:.0f}; beside a long prompt {reading:.0f}")
    print(f"first character after {LONG:,} characters: {long.first:.1f} s")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--length", type=int, default=2000)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--new", type=int, default=200, help="new streams beside the others")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARGEN_CACHE"] = str(Path(folder) / "cache")
        os.environ["CHARGEN_CHECKPOINTS"] = folder
        model = Path(folder) / "model.safetensors"
        write_model(model, options.layers, options.hidden)
        streams, length = options.streams, options.length
        rows = str(streams + 16)
        with serving(str(model), "--batch-size", rows, "--queue", rows) as (port, _):
            served, sampled = [], []
            for _ in range(options.times):
                start = sampling_seconds(model, streams, 1)
                took = sampling_seconds(model, streams, length) - start
                sampled.append(streams * (length - 1) / took)
                served.append(asyncio.run(total(port, streams, length)))
            ours, alone = statistics.median(served), statistics.median(sampled)
            print(f"{options.layers} x {options.hidden}, {streams} texts at once, characters/s")
            print(f"sample {alone:10,.0f}   ({', '.join(f'{rate:,.0f}' for rate in sampled)})")
            print(f"served {ours:10,.0f}   ({', '.join(f'{rate:,.0f}' for rate in served)})")
            print(f"served is {ours / alone:.0%} of sample")
            asyncio.run(beside_others(port, streams, options.new))


if __name__ == "__main__":
    main()
