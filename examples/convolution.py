"""A convolution in front of a recurrent layer: how far back it then reaches, and what it costs.

A causal convolution with kernel K reads the last K inputs. With stride S, the layers above it step
once every S characters: their sequence is S times as short, and k of their steps are k S characters
(``--stack conv:4x2:128,gru:256``: K = 4, S = 2). But each character has to be predicted by itself,
from all that come before it. Two ways:

- A decoder, as chargen does it: the output of the top layer is held until the next block of S
  characters ends. A hidden layer reads it beside the outputs of the convolution, which has read the
  characters since::

      d_t = relu(W [c_t, h_held] + b_p),  logits_t = W_y d_t + b_y     p the place t mod S

- Following: the top layer alone predicts the S characters that follow its step, each with weights
  of its own, logits_t = W_p h_held + b_p. None of them sees those between.

All models learn for as much processor time. Shapes: B batch size, T steps, V vocabulary.

    python examples/convolution.py [TEXT] [--seconds 60] [--hidden 256] [--plot convolution.svg]
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from chargen.config import ReadConfig, TrainConfig, require, require_count
from chargen.data.batches import Batches
from chargen.data.dataset import Dataset, read_text, tokenize
from chargen.display.charts import Chart, Series, as_text, check_picture, save
from chargen.errors import ChargenError
from chargen.evaluation.validation import score_streams
from chargen.inspection.gradients import follow_back
from chargen.model.cells.conv import held_product, tokens_read
from chargen.model.language_model import LanguageModel
from chargen.model.loss import token_losses
from chargen.model.spec import ModelConfig, format_stack, parse_stack
from chargen.training.optimizer import learning_rate, make_optimizer, peak_learning_rate

BATCH, BPTT, SEED = 16, 128, 0
BACK, SCORED = 256, 1 << 15  # steps over which the gradient is followed; tokens that are scored
FRONTS = ("", "conv:4:128,", "conv:4x2:128,", "conv:4x4:128,")


class Following(LanguageModel):
    """The alternative: the top layer alone predicts the S characters that follow its step."""

    def __init__(self, config: ModelConfig, start: TrainConfig):
        super().__init__(config, start)
        self.decoder = None
        self.head = nn.Linear(config.layers[-1].hidden, config.periods[-1] * config.vocab_size)
        nn.init.xavier_uniform_(self.head.weight, generator=torch.Generator().manual_seed(SEED))
        nn.init.zeros_(self.head.bias)

    def logits(self, outputs: Sequence[Tensor], place: Tensor) -> Tensor:
        """Return logits (B, T, V): at each place of a block, those of its own weights."""
        period = self.config.periods[-1]
        every = held_product(outputs[-1], self.head.weight, place, period) + self.head.bias
        every = every.view(*every.shape[:2], period, -1)  # (B, T, S, V)
        own = tokens_read(place, outputs[-1]) % period  # (B, T)
        return torch.take_along_dim(every, own[..., None, None], dim=2)[:, :, 0]


def train(model: LanguageModel, dataset: Dataset, seconds: float) -> Iterator[float]:
    """Train a model for so much processor time; yield the time used after each step."""
    recipe, used = TrainConfig(seed=SEED), 0.0
    peak = peak_learning_rate(recipe, model.config.layers)
    optimizer = make_optimizer(model.parameters(), recipe)
    batches, state = Batches.of(dataset, BATCH, BPTT), model.init_state(BATCH)
    for step in itertools.count():
        began = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(min(1.0, used / seconds), peak, recipe.warmup)
        losses, _, state = token_losses(model, torch.from_numpy(batches.batch(step).tokens), state)
        state = tuple(part.detach() for part in state)
        optimizer.zero_grad()
        losses.mean().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        used += time.process_time() - began
        yield used


def train_all(every: dict[str, LanguageModel], dataset: Dataset, seconds: float) -> dict[str, int]:
    """Train the models in turns, so that all meet the same load; return the steps of each."""
    runs = {name: train(model, dataset, seconds) for name, model in every.items()}
    used, steps = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0)
    while used[name := min(used, key=lambda name: used[name])] < seconds:
        used[name], steps[name] = next(runs[name]), steps[name] + 1
    return steps


def models(vocab_size: int, hidden: int) -> Iterator[tuple[str, LanguageModel]]:
    """Yield each model with its name in the table."""
    start = TrainConfig(seed=SEED)
    for front in FRONTS:
        config = ModelConfig(vocab_size, parse_stack(f"{front}gru:{hidden}"))
        yield format_stack(config.layers), LanguageModel(config, start)
        if config.periods[-1] > 1:
            yield f"following {config.periods[-1]}", Following(config, start)


def compare(dataset: Dataset, hidden: int, seconds: float) -> Chart:
    """Print loss and reach of the gradient (decay to 1 %) of each model; return its norms."""
    table = Table("model", "steps", "ms a step", "loss, nats", "reach, characters", box=None)
    every, series = dict(models(dataset.tokenizer.vocab_size, hidden)), []
    for name, steps in train_all(every, dataset, seconds).items():
        loss = score_streams(every[name], dataset.validation, SCORED).nats_per_token
        curve = follow_back(every[name], dataset.validation.first(1 << 14), BACK)[-1]
        reach = f"{curve.reach:.0f}" if curve.reach else f"beyond {BACK}"
        table.add_row(name, f"{steps:,}", f"{1000 * seconds / steps:.0f}", f"{loss:.3f}", reach)
        series.append(Series(name, curve.steps, curve.norms))
    Console().print(table)
    axis = "norm of the gradient of L_T at T - k"
    title = "How far back the loss reaches into the GRU"
    return Chart(title, "k, characters back", axis, tuple(series), log_y=True)


def main() -> None:
    """Compare the models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("text", nargs="?", default="builtin:pydoc", help="file or built-in text")
    parser.add_argument("--seconds", type=int, default=60, help="of processor time for each model")
    parser.add_argument("--hidden", type=int, default=256, help="units of the GRU")
    parser.add_argument("--plot", type=Path, help="picture, .svg or .png")
    given = parser.parse_args()
    require_count("seconds", given.seconds)
    if given.plot:
        check_picture(given.plot)
    dataset = tokenize(read_text(ReadConfig((given.text,))), TrainConfig.val_frac)
    held = len(dataset.validation)
    require(held > BACK, "held-out part", held, f"more than {BACK} tokens, of a longer text")
    torch.set_num_threads(1)  # the matrices are small: threads would wait for each other
    chart = compare(dataset, given.hidden, given.seconds)
    print(f"\n{as_text(chart)}")
    if given.plot:
        save(chart, given.plot)


if __name__ == "__main__":
    try:
        main()
    except ChargenError as error:
        raise SystemExit(f"convolution.py: {error}") from None
