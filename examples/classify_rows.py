"""Images read row by row and classified by the last state of a recurrent network.

An image of T rows and I columns is a sequence of T inputs of I numbers each::

    h^1_t = cell^1(x_t, h^1_{t-1});  h^l_t = cell^l(dropout(h^{l-1}_t), h^l_{t-1})
    P(class | image) = softmax(W_y h^L_T + b_y)

The only loss, -ln P(its class), is at the last step T; its gradient reaches the first row through
all steps (Le, Jaitly and Hinton 2015 read images so, a pixel a step). Dropout between the layers
keeps 0.8 of the outputs (Zaremba et al. 2014). Shapes: N images, B of them a batch, K classes.

    python examples/classify_rows.py [FOLDER] [--stack gru:64,gru:64] [--plot digits.svg]
"""

import argparse
import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from chargen.config import TrainConfig, require, require_count
from chargen.display.charts import Chart, Series, check_picture, save
from chargen.errors import ChargenError, CorpusError
from chargen.model.cells import make_layers, timed
from chargen.model.spec import LayerConfig, ModelConfig, format_stack, parse_stack
from chargen.training.optimizer import learning_rate, make_optimizer, peak_learning_rate

STACKS = [parse_stack(s) for s in ("rnn-relu:128", "lstm-peephole:128", "gru:64,gru:64")]
BATCH, DROPOUT, SEED, PARTS = 64, 0.2, 0, ("train", "t10k")
Layers = tuple[LayerConfig, ...]
Images = tuple[Tensor, Tensor]  # (N, T, I) from 0 to 1, and their classes (N,)


class RowClassifier(nn.Module):
    """A stack of chargen's cells, with one linear layer on the last state of the top one."""

    def __init__(self, layers: Layers, columns: int, classes: int):
        super().__init__()
        config = ModelConfig(classes, layers, columns)
        self.layers = make_layers(config)  # registers their weights
        self.cells = timed(self.layers, config.periods)
        self.dropout, self.head = nn.Dropout(DROPOUT), nn.Linear(layers[-1].hidden, classes)
        with torch.no_grad():
            for cell in self.cells:
                cell.reset(torch.default_generator, TrainConfig())

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) for images (B, T, I)."""
        y, state = images, self.cells[0].init_state(len(images))  # y is (B, T, I)
        for number, cell in enumerate(self.cells):
            y = self.dropout(y) if number else y
            y, state = cell.run(y, cell.init_state(len(y)))  # (B, T, H)
        return self.head(state[0][0])  # type: ignore[no-any-return]


def train(layers: Layers, learn: Images, test: Images, epochs: int) -> Iterator[float]:
    """Train a stack; yield its accuracy after each epoch."""
    torch.manual_seed(SEED)  # of the weights, the order of the images, and dropout
    config, (images, labels) = TrainConfig(), learn
    model = RowClassifier(layers, images.shape[2], int(labels.max()) + 1)
    optimizer, peak = make_optimizer(model.parameters(), config), peak_learning_rate(config, layers)
    steps = math.ceil(len(labels) / BATCH)
    for epoch in range(epochs):
        model.train()
        for step, rows in enumerate(torch.split(torch.randperm(len(labels)), BATCH)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate((epoch + step / steps) / epochs, peak, config.warmup)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
        with torch.no_grad():
            logits = torch.cat([model.eval()(part) for part in torch.split(test[0], 1000)])
        yield float((logits.argmax(dim=1) == test[1]).float().mean())


def read_idx(folder: Path, name: str, dimensions: int) -> Tensor:
    """Read an idx file of bytes: 0, 0, 8, the number of dimensions, each size, the bytes."""
    path = next(folder.glob(f"{name}-ubyte*"), folder / f"{name.replace('?', '-')}-ubyte")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"cannot read {str(path)!r} (packed or not): {error}") from None
    begin = 4 + 4 * dimensions
    sizes = np.frombuffer(data[4:begin].ljust(begin - 4, b"\0"), ">u4").tolist()
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) != begin + math.prod(sizes):
        raise CorpusError(f"{str(path)!r} is not a complete idx file; download it again")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=begin).view(sizes)


def mnist(folder: Path, part: str) -> Images:
    """Return the images of a part of MNIST, ``train`` or ``t10k``."""
    images = read_idx(folder, f"{part}-images?idx3", 3)
    labels = read_idx(folder, f"{part}-labels?idx1", 1)
    require(len(images) == len(labels), f"number of {part} labels", len(labels), f"{len(images)}")
    return images / 255, labels.long()


def digits() -> tuple[Images, Images]:
    """Return three quarters of scikit-learn's digits for training, and the others for testing."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415
    except ModuleNotFoundError:
        raise CorpusError("the digits need scikit-learn: pip install scikit-learn") from None
    held = load_digits()
    order = np.random.default_rng(SEED).permutation(len(held.target))
    images, labels = torch.tensor(held.images[order] / 16).float(), torch.tensor(held.target[order])
    return (images[:1347], labels[:1347]), (images[1347:], labels[1347:])


def main() -> None:
    """Train each stack in turn, and compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of MNIST; default: sklearn's digits")
    parser.add_argument("--stack", action="append", type=parse_stack, help="may be repeated")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--plot", type=Path, help="picture, .svg or .png")
    given = parser.parse_args()
    require_count("epochs", given.epochs)
    if given.plot:
        check_picture(given.plot)
    torch.set_num_threads(1)  # the matrices are small: threads would wait for each other
    learn, test = (mnist(given.folder, p) for p in PARTS) if given.folder else digits()
    print(f"{len(learn[1]):,} images for training, {len(test[1]):,} for testing")
    epochs, series = range(1, given.epochs + 1), []
    for layers in given.stack or STACKS:
        name, accuracy = format_stack(layers), train(layers, learn, test, given.epochs)
        curve = list(track(accuracy, name, given.epochs, console=Console(stderr=True)))
        series.append(Series(name, epochs, curve))
    table = Table("epoch", *(own.name for own in series), title="Test accuracy", box=None)
    for number, *row in zip(epochs, *(own.y for own in series), strict=True):
        table.add_row(str(number), *(f"{value:.1%}" for value in row))
    Console().print(table)
    if given.plot:
        save(Chart("Images read row by row", "epoch", "test accuracy", tuple(series)), given.plot)


if __name__ == "__main__":
    try:
        main()
    except ChargenError as error:
        raise SystemExit(f"classify_rows.py: {error}") from None
