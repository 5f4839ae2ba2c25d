"""An exported model is the same model, and needs nothing of chargen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from chargen.engine import make_engine
from chargen.engine.export import to_onnx
from chargen.model.saved import read_model
from tests.conftest import Run
from tests.processes import finish

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; sys.modules['chargen'] = None; import runpy; runpy.run_path(sys.argv.pop(1), "
)
PROGRAM += "run_name='__main__')"


@pytest.mark.parametrize("int8", [False, True])
def test_an_exported_model_computes_the_same(with_model: Path, int8: bool) -> None:
    session = onnxruntime.InferenceSession(to_onnx(read_model(with_model), int8=int8))
    saved = read_model(with_model)
    network = make_engine(saved.weights(), saved.config, "cpu", int8=int8)  # without counts
    ids = saved.tokenizer.encode("The value of").astype(np.int64)[None]
    _, *states = session.get_inputs()
    feeds = {state.name: np.zeros((1, 1, state.shape[2]), np.float32) for state in states}
    logits = session.run(None, {"ids": ids, **feeds})[0]
    expected, _ = network.run(ids, network.init_state(1))
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_example_samples_without_chargen(chargen: Run, with_model: Path) -> None:
    done = chargen("export", "--onnx", "model.onnx", "--int8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "model.onnx\n"
    example = str(ROOT / "examples/sample_onnx.py")
    command = [sys.executable, "-c", PROGRAM, example, "model.onnx", "The val§", "50"]
    written = finish(command, text=True).stdout
    assert written.startswith("The val§")
    assert len(written) == 8 + 50 + 1
    again = chargen("export", "--onnx", "model.onnx")
    assert again.returncode == 1
    assert again.stderr == "chargen: 'model.onnx' exists; name another file, or add --force\n"
    assert chargen("export", "--onnx", "model.onnx", "--force").returncode == 0
