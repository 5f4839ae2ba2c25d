"""A series forecast step by step, and continued by a network that reads its own output.

The layer reads one number a step. A dense layer without activation projects each of its H outputs
to one number, in one product for all steps (Williams and Zipser 1989 train so, with the target)::

    h_t = cell(x_t, h_{t-1})
    y_t = w_y h_t + b_y             forecast of x_{t+1}
    loss = mean over t of (y_t - x_{t+1})^2

A series goes on when each forecast is read as the next input, x_{t+1} = y_t: after zeros, or after
a seed, a piece of the series itself. The series is a sine of changing frequency with normal noise,
x_t = sin(2 pi (t / 25 + 0.8 sin(2 pi t / 100))) + 0.05 e_t; its last 1,000 numbers are held out.
Shapes: N numbers, B batch size, T steps, H hidden units.

    python examples/time_series.py [--cell lstm] [--steps 1000] [--plot series.svg]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chargen.config import TrainConfig, require_count
from chargen.display.charts import check_picture, save_figure
from chargen.errors import ChargenError
from chargen.model.cells import CELL_CLASSES, State
from chargen.model.spec import CELLS
from chargen.training.optimizer import learning_rate, make_optimizer

LENGTH, LEARNED, NOISE, SEED = 6000, 5000, 0.05, 0  # of the series, and how much of it is learned
HIDDEN, BATCH, BPTT, GIVEN, OWN = 64, 32, 200, 200, 300  # GIVEN numbers of a seed, OWN after it
Numbers = NDArray[np.float64]
TIME = np.arange(LENGTH)
CLEAN: Numbers = np.sin(2 * np.pi * (TIME / 25 + 0.8 * np.sin(2 * np.pi * TIME / 100)))
SERIES = CLEAN + NOISE * np.random.default_rng(SEED).standard_normal(LENGTH)  # (N,)


class Forecaster(nn.Module):
    """One of chargen's cells, with a projection of each output to one number."""

    def __init__(self, kind: str):
        super().__init__()
        self.cell = CELL_CLASSES[kind](1, HIDDEN)
        self.projection = nn.Linear(HIDDEN, 1)
        with torch.no_grad():
            self.cell.reset(torch.default_generator, TrainConfig())

    def forward(self, x: Tensor) -> tuple[Tensor, State]:
        """Return forecasts (B, T) of what follows each number of x (B, T), and the last state."""
        y, state = self.cell.run(x[..., None], self.cell.init_state(len(x)))  # (B, T, H)
        return self.projection(y)[..., 0], state

    @torch.no_grad()
    def run_on(self, seed: Numbers) -> Numbers:
        """Return the numbers (B, OWN) after a seed (B, GIVEN), each read as the next input."""
        forecasts, state = self(torch.tensor(seed).float())
        own = [forecasts[:, -1:]]  # (B, 1)
        while len(own) < OWN:
            state = self.cell.step(own[-1], state)
            own.append(self.projection(state[0][0]))
        return torch.cat(own, dim=1).double().numpy()


def train(kind: str, steps: int) -> Forecaster:
    """Train on random windows of the series, from an initial state of zeros."""
    torch.manual_seed(SEED)
    series = torch.tensor(SERIES[:LEARNED]).float()
    model, config = Forecaster(kind), TrainConfig()
    optimizer = make_optimizer(model.parameters(), config)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / steps, CELLS[kind].learning_rate, config.warmup)
        starts = torch.randint(len(series) - BPTT, (BATCH, 1))
        window = series[starts + torch.arange(BPTT + 1)]  # (B, T + 1)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(window[:, :-1])[0], window[:, 1:]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
    return model


def linear(order: int) -> Numbers:
    """Return linear forecasts of the held-out numbers: least squares on the numbers before."""
    rows = np.lib.stride_tricks.sliding_window_view(SERIES, order + 1)
    learned = rows[: LEARNED - order]
    weights = np.linalg.lstsq(learned[:, :-1], learned[:, -1], rcond=None)[0]
    return np.asarray(rows[LEARNED - order :, :-1] @ weights)


def compare(model: Forecaster, forecasts: Numbers) -> None:
    """Print the errors of forecasts of the held-out part, one step ahead and many."""
    rows = {"the last number": SERIES[LEARNED - 1 : -1]}
    rows |= {f"linear, {order} numbers": linear(order) for order in (8, 32, 128)}
    rows |= {model.cell.kind: forecasts, "without noise": CLEAN[LEARNED:]}
    errors = {name: own - SERIES[LEARNED:] for name, own in rows.items()}
    starts = np.linspace(LEARNED, LENGTH - OWN, 20).astype(int)[:, None]
    own = model.run_on(SERIES[starts + np.arange(-GIVEN, 0)]) - CLEAN[starts + np.arange(OWN)]
    errors |= {f"on its own output, step {n}": own[:, n - 1] for n in (1, 10, 100, OWN)}
    print("root mean square errors of forecasts")
    for name, error in errors.items():
        print(f"{name:<30}{np.sqrt(np.mean(error**2)):.4f}")


def draw(model: Forecaster, forecasts: Numbers, path: Path) -> None:
    """Write a picture of forecasts, and of what follows a seed and zeros."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 6), layout="constrained")
    one_step, *others = figure.subplots(3)
    one_step.plot(SERIES[LEARNED:][:OWN], ".", label="series", markersize=3)
    one_step.plot(forecasts[:OWN], label="forecast one step ahead", linewidth=1)
    after, seed = range(GIVEN, GIVEN + OWN), SERIES[LEARNED : LEARNED + GIVEN]
    for axes, name, given in zip(others, ("seed", "zeros"), (seed, 0 * seed), strict=True):
        axes.plot(given, label=name, linewidth=1)
        axes.plot(after, model.run_on(given[None])[0], label="on its own output", linewidth=1)
    others[0].plot(after, CLEAN[LEARNED + GIVEN :][:OWN], "k:", label="series without noise")
    for axes in (one_step, *others):
        axes.legend(loc="upper right", ncols=3)
        axes.set(xlabel="step", ylabel="x", ylim=(-1.3, 1.9))
    save_figure(figure, path)


def main() -> None:
    """Train, compare and continue."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", default="lstm", choices=CELLS)
    parser.add_argument("--steps", type=int, default=1000, help="of training")
    parser.add_argument("--plot", type=Path, help="picture, .svg or .png")
    given = parser.parse_args()
    require_count("steps", given.steps)
    if given.plot:
        check_picture(given.plot)
    torch.set_num_threads(1)  # the matrices are small: threads would wait for each other
    model = train(given.cell, given.steps)
    with torch.no_grad():
        every: Tensor = model(torch.tensor(SERIES[None, :-1]).float())[0]  # (1, N - 1)
    forecasts = every[0, LEARNED - 1 :].double().numpy()
    compare(model, forecasts)
    if given.plot:
        draw(model, forecasts, given.plot)


if __name__ == "__main__":
    try:
        main()
    except ChargenError as error:
        raise SystemExit(f"time_series.py: {error}") from None
