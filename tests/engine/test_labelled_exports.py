"""Exports of a model with labels, of records: the same model, without chargen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from chargen.data.texts import Texts
from chargen.engine.export import to_onnx
from chargen.evaluation.ngram import KneserNey
from chargen.model.counts import NGramCounts
from chargen.model.label_counts import LabelCounts
from chargen.model.saved import Mixture, SavedModel, load_weights, read_model, save_model
from chargen.sampling.filters import probabilities
from chargen.sampling.sampler import load
from tests.conftest import Run
from tests.engine.test_export import PROGRAM, ROOT
from tests.engine.test_html_export import ask, exported, node
from tests.labelled import LINES, save_labelled
from tests.processes import finish

__all__ = ["node"]
ROWS = [-1, 0, 1]  # no label, a, b


@pytest.fixture
def saved() -> SavedModel:
    return read_model(save_labelled(Path("lines/model.safetensors"), **LINES))


def counted(saved: SavedModel) -> SavedModel:
    """Return the model with counts of each label."""
    text, size = "abcd\nbad\nxyz\nzyx\n" * 3, saved.config.vocab_size
    ids = saved.tokenizer.encode(text).astype(np.int64)
    borders = np.append(0, np.cumsum([5, 4, 4, 4] * 3))
    texts = Texts(borders, np.tile(np.array([0, 0, 1, 2], np.int32), 3), int(ids[4]))
    all_texts = KneserNey(ids, size, 3, texts).counts(3)
    own = LabelCounts(KneserNey(ids, size, 3, texts, labels=3).table(3))
    counts = NGramCounts(all_texts.table, all_texts.match, own)
    path, mixture = Path("counted/model.safetensors"), Mixture(0.5, 0.2, labels=0.4)
    path.parent.mkdir()
    weights = load_weights(saved.path)
    save_model(path, weights, saved.config, saved.tokenizer, saved.training, counts, mixture)
    return read_model(path)


def test_an_onnx_graph_has_the_label_as_an_input(saved: SavedModel) -> None:
    session = onnxruntime.InferenceSession(to_onnx(saved))
    data = json.loads(session.get_modelmeta().custom_metadata_map["chargen"])
    assert data["labels"] == list(saved.config.labels)
    assert data["end"] == saved.tokenizer.encode("\n")[0]
    ids = np.array([[data["end"], *saved.tokenizer.encode("ab")]], np.int64)
    _, *states = session.get_inputs()
    feeds = {state.name: np.zeros((1, 1, state.shape[2]), np.float32) for state in states}
    for label in ("a", "b"):
        feeds["label"][:] = 0
        feeds["label"][0, 0, data["labels"].index(label)] = 1
        logits = session.run(None, {"ids": ids, **feeds})[0]
        expected = load(saved.path, threads=1).labelled(label).read("ab").logits
        np.testing.assert_allclose(logits[0, -1], expected, atol=1e-4)


def test_the_example_writes_records_of_a_label(chargen: Run, saved: SavedModel) -> None:
    done = chargen("export", "-m", str(saved.path), "--onnx", "model.onnx")
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "examples/sample_onnx.py"), "model.onnx"]
    written = finish([*command, "ab", "100", "a"], text=True).stdout
    assert written.startswith("ab")
    assert set(written) <= set("abcde\n")
    assert len(written) < 100


@pytest.mark.usefixtures("node")
def test_the_page_knows_labels_and_records(saved: SavedModel) -> None:
    for model in (saved, counted(saved)):
        exported(model)
        sampler = load(model.path, threads=1)
        settings = {"text": "a", "length": 300, "temperature": 0.8, "seed": 7}
        questions = [
            q for r in ROWS for q in (("label", r), ("after", "ab\nxa"), ("write", settings))
        ]
        answers = ask(*questions)
        for row, found, text in zip(ROWS, answers[1::3], answers[2::3], strict=True):
            own = sampler if row < 0 else sampler.labelled(sampler.labels[row])
            expected = probabilities(own.read("xa").logits[None].astype(np.float64))[0]
            np.testing.assert_allclose(found, expected, atol=2e-3)
            assert text.endswith("\n")
            assert text.count("\n") == 1
        if model is saved:
            assert set(answers[5]) <= set("abcde\n")
            assert set(answers[8]) <= set("vwxyz\n")
