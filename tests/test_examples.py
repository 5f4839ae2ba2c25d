"""The examples of the textbook run, in small, and say the truth."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import re
import runpy
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ("classify_rows", "time_series", "unrolling", "convolution")


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Put back the number of threads, which the examples change."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def error_of(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Run an example as a program; return the line with which it ends."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    line = str(ended.value)
    assert line.startswith(f"{name}.py: ") and "\n" not in line
    return line


def is_picture(path: str) -> bool:
    return ET.parse(path).getroot().tag.endswith("svg")


def test_each_example_is_short() -> None:
    for name in NAMES:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_picture_is_one_line_before_anything_is_trained(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = error_of(name, monkeypatch, "--plot", "a.jpg")
    assert "'a.jpg'; allowed: a name that ends in .png, .svg or .pdf" in line


# -- images -------------------------------------------------------------------------------


def test_a_stack_reads_digits_row_by_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--stack", "gru:64,gru:64", "--stack", "lstm-peephole:8", "--epochs", "3"]
    monkeypatch.setattr(sys, "argv", ["classify_rows.py", *arguments, "--plot", "digits.svg"])
    load("classify_rows").main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1,347 images for training, 450 for testing"
    assert lines[2].split() == ["epoch", "gru:64,gru:64", "lstm-peephole:8"]
    epoch, accuracy, _ = lines[-1].split()
    assert epoch == "3" and float(accuracy[:-1]) > 75
    assert is_picture("digits.svg")


def write_idx(name: str, array: NDArray[np.uint8]) -> None:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = head + array.tobytes()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def write_mnist() -> None:
    """Write files as those of MNIST: each image has one white row, and its class is where."""
    labels = np.arange(40, dtype=np.uint8) % 4
    images = np.zeros((40, 4, 6), np.uint8)
    images[np.arange(40), labels] = 255
    for part, packed in (("train", ""), ("t10k", ".gz")):
        write_idx(f"{part}-images-idx3-ubyte{packed}", images)
        write_idx(f"{part}-labels-idx1-ubyte{packed}", labels)


def test_idx_files_are_read_packed_or_not() -> None:
    write_mnist()
    rows = load("classify_rows")
    for part in rows.PARTS:
        images, labels = rows.mnist(Path(), part)
        assert images.shape == (40, 4, 6)
        assert (images.argmax(dim=1) == labels[:, None]).all()
        assert (images.min(), images.max()) == (0, 1)
    *_, accuracy = rows.train(rows.parse_stack("gru:16"), (images, labels), (images, labels), 60)
    assert accuracy == 1


def test_files_that_are_not_mnist_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    line = error_of("classify_rows", monkeypatch, "nowhere")
    assert "cannot read 'nowhere/train-images-idx3-ubyte'" in line
    write_mnist()
    Path("train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x05abc")
    line = error_of("classify_rows", monkeypatch, ".")
    assert "'train-labels-idx1-ubyte' is not a complete idx file" in line
    write_idx("train-labels-idx1-ubyte", np.zeros(39, np.uint8))
    line = error_of("classify_rows", monkeypatch, ".")
    assert "number of train labels is 39; allowed: 40" in line


def test_without_scikit_learn_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install scikit-learn" in error_of("classify_rows", monkeypatch)


# -- series -------------------------------------------------------------------------------


def test_a_network_forecasts_and_reads_its_own_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--steps", "2", "--cell", "rnn", "--plot", "series.svg"]
    monkeypatch.setattr(sys, "argv", ["time_series.py", *options])
    load("time_series").main()
    errors = dict(re.findall(r"^(.+?)  +([0-9.]+)$", capsys.readouterr().out, re.MULTILINE))
    assert float(errors["without noise"]) == pytest.approx(0.05, rel=0.1)
    assert float(errors["linear, 128 numbers"]) < float(errors["linear, 8 numbers"])
    assert {"rnn", "on its own output, step 300"} <= set(errors)
    assert is_picture("series.svg")


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_what_follows_a_seed_is_what_is_forecast_after_it(kind: str) -> None:
    import torch

    series = load("time_series")
    torch.manual_seed(1)
    model = series.Forecaster(kind)
    seed = series.SERIES[None, : series.GIVEN]
    own = model.run_on(seed)
    assert own.shape == (1, series.OWN)
    whole = torch.tensor(np.concatenate([seed, own[:, :-1]], axis=1)).float()
    forecasts = model(whole)[0].detach()[:, series.GIVEN - 1 :]  # by the fast form
    assert np.abs(forecasts.numpy() - own).max() < 1e-5


# -- unrolling ----------------------------------------------------------------------------


def test_three_forms_agree_and_windows_are_compared(
    prose: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unrolling = load("unrolling")
    monkeypatch.setattr("chargen.inspection.gradients.PLACES", 4)
    small = {"WINDOWS": (8, 16), "CHARACTERS": 64, "UNROLLED": 12, "BACK": 12}
    for name, value in small.items():
        monkeypatch.setattr(unrolling, name, value)
    Path("prose.txt").write_text(prose)
    options = ["prose.txt", "--steps", "2", "--plot", "unrolling.svg"]
    monkeypatch.setattr(sys, "argv", ["unrolling.py", *options])
    unrolling.main()
    forms, windows = re.split(r"\n *\n", capsys.readouterr().out)[:2]
    rows = [line.split() for line in forms.splitlines()[1:]]
    assert [row[0] for row in rows][:3] == ["rnn", "rnn-relu", "lstm"] and len(rows) == 8
    assert all(float(number) < 5e-4 for row in rows for number in row[2:])
    assert [line.split()[:2] for line in windows.splitlines()[1:]] == [["8", "8"], ["16", "4"]]
    assert is_picture("unrolling.svg")


def test_a_text_that_is_too_short_is_named_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("short.txt").write_text("a short text\n" * 20)
    line = error_of("unrolling", monkeypatch, "short.txt")
    assert "held-out part is 26; allowed: more than 256 tokens" in line


def test_the_static_graph_has_the_step_once_for_each_step() -> None:
    from torch import fx

    unrolling = load("unrolling")
    cell = unrolling.CELL_CLASSES["gru"](2, 3)
    counts = [len(fx.symbolic_trace(unrolling.Unrolled(cell, n)).graph.nodes) for n in (4, 5, 6)]
    assert counts[1] - counts[0] == counts[2] - counts[1] > 5


# -- convolution --------------------------------------------------------------------------


def test_models_with_and_without_a_stride_learn_for_as_long(
    prose: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    convolution = load("convolution")
    monkeypatch.setattr("chargen.inspection.gradients.PLACES", 4)
    for name, value in {"BATCH": 2, "BPTT": 9, "BACK": 12, "SCORED": 320}.items():
        monkeypatch.setattr(convolution, name, value)
    clock = itertools.count(0, 0.25)  # a step takes as long with each model
    monkeypatch.setattr(convolution.time, "process_time", lambda: next(clock))
    Path("prose.txt").write_text(prose)
    options = ["prose.txt", "--seconds", "1", "--hidden", "8", "--plot", "convolution.svg"]
    monkeypatch.setattr(sys, "argv", ["convolution.py", *options])
    convolution.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:7]]
    fronts = ["gru:8", "conv:4:128,gru:8", "conv:4x2:128,gru:8", "following", "conv:4x4:128,gru:8"]
    assert [row[0] for row in rows] == [*fronts, "following"]
    assert all(row[1:3] == ["4", "250"] or row[1:4] == [row[1], "4", "250"] for row in rows)
    assert is_picture("convolution.svg")


def test_the_decoder_reads_the_characters_of_a_block_and_the_alternative_does_not() -> None:
    import torch

    convolution = load("convolution")
    ids = torch.arange(12)[None] % 5
    changed = ids.clone()
    changed[:, 4] += 1  # the first of a block of four
    for name, model in convolution.models(6, 8):
        before, after = (model(own, model.init_state(1))[0] for own in (ids, changed))
        assert torch.equal(before[:, :4], after[:, :4])
        assert torch.equal(before[:, 4], after[:, 4]) == name.startswith("following")
        assert torch.equal(before[:, 4:7], after[:, 4:7]) == (name == "following 4")
        assert not torch.equal(before[:, 7], after[:, 7])


# -- notebook -----------------------------------------------------------------------------


def test_the_notebook_runs_from_the_top(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.setattr("chargen.inspection.gradients.PLACES", 4)
    monkeypatch.setattr("chargen.inspection.trial.SCORED", 320)
    notebook = json.loads((EXAMPLES / "inside.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells), "it is shown as it was run"
    source = "\n".join("".join(cell["source"]) for cell in cells)
    small, count = re.subn(r"(?m)^(STEPS|STEPS_BACK|SCORED) = \d+", r"\1 = 2", source)
    assert count == 3
    exec(compile(small, "inside.ipynb", "exec"), {})
    plt.close("all")
    out = capsys.readouterr().out
    assert "lstm:256" in out and "lstm c: decay to 1 %" in out
    assert "the same logits: True" in out
