"""What needs torch says so in one line where it is not installed; the rest works without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write
from tests.processes import run

HIDDEN = "import sys; sys.modules['torch'] = None; "  # as if it were not installed
INSTALL = "pip install 'torch>=2.6,<2.14'"
DEVICE_COMMANDS = ["sample", "repl", "serve", "eval", "score", "next", "heat", "inspect memory"]


def without_torch(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    return run(
        [sys.executable, "-W", "error", "-c", HIDDEN + program, *args],
        stdin=subprocess.DEVNULL,
        text=True,
    )


def command(line: str) -> subprocess.CompletedProcess[str]:
    return without_torch("from chargen.cli import main; main()", *line.split())


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("train x", "chargen train"),
        ("train builtin:pydoc --device cuda", "chargen train"),
        ("train --resume", "chargen train"),
        ("eval --dynamic", "chargen eval --dynamic"),
        ("inspect neurons", "chargen inspect neurons"),
        ("inspect gates x", "chargen inspect gates"),
        ("inspect gradients x --cells rnn", "chargen inspect gradients"),
        ("cells", "chargen cells"),
        *((f"{name} --device cuda", "--device cuda") for name in DEVICE_COMMANDS),
        *((f"{name} --device mps", "--device mps") for name in DEVICE_COMMANDS),
    ],
)
def test_a_command_that_needs_torch_says_how_to_get_it(line: str, what: str) -> None:
    """There is neither a text nor a model: nothing was looked for before."""
    done = command(line)
    told = f"chargen: {what} needs torch, which is not installed; install it: {INSTALL}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
    assert not list(Path.cwd().iterdir())


def test_from_python_a_gpu_needs_torch_too(with_model: Path) -> None:
    done = without_torch(
        "import chargen\n"
        "from chargen.errors import DeviceError\n"
        "try: chargen.load(device='cuda')\n"
        "except DeviceError as error: print(error)\n"
    )
    told = f"device 'cuda' needs torch, which is not installed; install it: {INSTALL}\n"
    assert (done.stdout, done.stderr) == (told, "")


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "train --help",
        "sample -n 9 --seed 1",
        "sample -n 9 --seed 1 --int8 --device cpu",
        "repl",
        "eval text.txt",
        "score text.txt",
        "next -p a",
        "heat text.txt --html page.html",
        "info",
        "runs",
        "compare",
        "inspect memory text.txt",
        "inspect stack",
        "export --onnx model.onnx",
        "corpus stats text.txt",
    ],
)
def test_all_others_do_without(line: str, with_model: Path, prose: str) -> None:
    write("text.txt", prose[:3000])
    done = command(line)
    assert done.returncode == 0, done.stderr
