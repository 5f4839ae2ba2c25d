"""Three forms of the same recurrence, and back-propagation through time, truncated at 8, 64, 256.

A recurrent layer is one step, applied at every t with the same weights (``step`` of the cells)::

    s_t = step(x_t, s_{t-1}),    in the simple layer h_t = tanh(W_I x_t + W_R h_{t-1} + b)

- Static unrolling: a graph with T copies of the step, made once, for exactly T steps.
- Dynamic loop: one step, repeated as long as there are inputs.
- Fast form: ``run``, the layer of torch.nn or, for other cells, derivatives written by hand.

Unrolled, the loss at step T reaches the weights through every earlier state (Werbos 1990)::

    dL_T/dW_R = sum over k of dL_T/da_{T-k} h_{T-k-1}^T,    a_t the argument of tanh

Truncated back-propagation (Williams and Peng 1990) cuts the sum at the beginning of each window of
``bptt`` steps; the state itself goes on into the next window. Each row below learns from as many
characters in as many steps: a window of 8 has 256 streams side by side, one of 256 has 8.
Shapes: B batch size, T steps, I inputs, H hidden units.

    python examples/unrolling.py [TEXT] [--steps 2000] [--plot unrolling.svg]
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, fx, nn

from chargen.config import ReadConfig, TrainConfig, require, require_count
from chargen.data.batches import Batches
from chargen.data.dataset import Dataset, read_text, tokenize
from chargen.display.charts import Chart, Series, as_text, check_picture, save
from chargen.errors import ChargenError
from chargen.evaluation.validation import score_streams
from chargen.inspection.gradients import follow_back
from chargen.model.cells import CELL_CLASSES, Cell, State
from chargen.model.language_model import LanguageModel
from chargen.model.spec import CELLS, LayerConfig, ModelConfig
from chargen.training.learner import Learner

WINDOWS, CHARACTERS = (8, 64, 256), 2048  # of truncated BPTT, and of a batch
UNROLLED, BACK = 64, 256  # steps that are unrolled, and over which the gradient is followed


class Unrolled(nn.Module):
    """A cell with T steps written out one after the other."""

    def __init__(self, cell: Cell, steps: int):
        super().__init__()
        self.cell, self.steps = cell, steps

    def forward(self, x: Tensor, *state: Tensor) -> Tensor:
        """Return the outputs (B, T, H) for inputs x (B, T, I)."""
        outputs = []
        for t in range(self.steps):
            state = self.cell.step(x[:, t], state)
            outputs.append(state[0][0])
        return torch.stack(outputs, dim=1)


def loop(cell: Cell, x: Tensor, state: State) -> Tensor:
    """Return the outputs (B, T, H) for inputs x (B, T, I), however many there are."""
    outputs = []
    for now in x.unbind(dim=1):  # (B, I)
        state = cell.step(now, state)
        outputs.append(state[0][0])
    return torch.stack(outputs, dim=1)


def compare_forms(steps: int) -> Table:
    """Return how far apart the outputs and the gradients of the three forms are, by cell."""
    torch.manual_seed(0)
    table = Table("cell", "operations", "static - loop", "fast - loop", "their gradients", box=None)
    for kind in (kind for kind, spec in CELLS.items() if "weight_hh_l0" in spec.weights):
        cell = CELL_CLASSES[kind](32, 64)
        with torch.no_grad():
            cell.reset(torch.default_generator, TrainConfig())
        x, state = torch.randn(8, steps, 32), cell.init_state(8)
        graph = fx.symbolic_trace(Unrolled(cell, steps))
        static, dynamic, fast = graph(x, *state), loop(cell, x, state), cell.run(x, state)[0]
        apart = [float((form - dynamic).detach().abs().max()) for form in (static, fast)]
        pairs = zip(*(weight_gradients(cell, form) for form in (dynamic, fast)), strict=True)
        apart.append(max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs))
        count = sum(node.op.startswith("call") for node in graph.graph.nodes)
        table.add_row(kind, f"{count:,}", *(f"{value:.1e}" for value in apart))
    return table


def weight_gradients(cell: Cell, outputs: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of the sum of all outputs squared."""
    weights = list(cell.parameters())
    return torch.autograd.grad(outputs.square().sum(), weights, retain_graph=True)


def learn(dataset: Dataset, bptt: int, steps: int) -> LanguageModel:
    """Train a language model on windows of this many steps."""
    recipe = TrainConfig(steps=steps, bptt=bptt, batch_size=CHARACTERS // bptt)
    config = ModelConfig(dataset.tokenizer.vocab_size, (LayerConfig("lstm", 128),))
    learner = Learner(config, recipe, recipe.batch_size, torch.device("cpu"))
    batches = Batches.of(dataset, recipe.batch_size, bptt)
    for step in range(steps):
        learner.learn(batches.batch(step), step / steps, "float32")
    return learner.averaged


def compare_windows(dataset: Dataset, steps: int) -> Chart:
    """Print loss and reach of the gradient (decay to 1 %) for each window; return its norms."""
    names = ("bptt", "streams", "loss, nats", "reach of h", "of c", f"norm of c at k = {BACK}")
    table, series = Table(*names, box=None), []
    for bptt in WINDOWS:
        model = learn(dataset, bptt, steps)
        loss = score_streams(model, dataset.validation, 1 << 15).nats_per_token
        curves = follow_back(model, dataset.validation.first(1 << 14), BACK)
        reach = (f"{c.reach:.0f}" if c.reach else f"beyond {BACK}" for c in curves)
        last = f"{curves[-1].norms[-1]:.1e}"
        table.add_row(str(bptt), str(CHARACTERS // bptt), f"{loss:.3f}", *reach, last)
        series += [Series(f"bptt {bptt}, {c.part}", c.steps, c.norms) for c in curves]
    Console().print(table)
    axis = "norm of the gradient of L_T at T - k"
    return Chart("How far back the loss reaches", "k, steps back", axis, tuple(series), log_y=True)


def main() -> None:
    """Compare the forms, then the windows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("text", nargs="?", default="builtin:pydoc", help="file or built-in text")
    parser.add_argument("--steps", type=int, default=2000, help="of training, for each window")
    parser.add_argument("--plot", type=Path, help="picture, .svg or .png")
    given = parser.parse_args()
    require_count("steps", given.steps)
    if given.plot:
        check_picture(given.plot)
    dataset = tokenize(read_text(ReadConfig((given.text,))), TrainConfig.val_frac)
    held = len(dataset.validation)
    require(held > BACK, "held-out part", held, f"more than {BACK} tokens, of a longer text")
    torch.set_num_threads(1)  # the matrices are small: threads would wait for each other
    Console().print(compare_forms(UNROLLED), "")
    chart = compare_windows(dataset, given.steps)
    print(f"\n{as_text(chart)}")
    if given.plot:
        save(chart, given.plot)


if __name__ == "__main__":
    try:
        main()
    except ChargenError as error:
        raise SystemExit(f"unrolling.py: {error}") from None
