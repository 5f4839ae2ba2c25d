from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargen.errors import ChargenError, CheckpointError, ConfigError
from chargen.model.saved import load_weights, read_model, save_model
from chargen.model.spec import CELLS, ModelConfig, parse_stack, weight_shapes
from chargen.storage import checkpoint, runs
from chargen.storage.checkpoint import (
    load_resume,
    read_metrics,
    read_tensors,
    save_resume,
    write_tensors,
)
from chargen.tokenizers import build_tokenizer

PATH = Path("model.safetensors")
TOKENIZER = build_tokenizer("char", "abcde\n", 0)
STACK = ",".join(f"{kind}:3" for kind in CELLS)
CONFIG = ModelConfig(TOKENIZER.vocab_size, parse_stack(STACK), 5)


def saved() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    shapes = weight_shapes(CONFIG).items()
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes}
    save_model(PATH, weights, CONFIG, TOKENIZER, {"step": 7})
    return weights


def rewrite(change: dict[str, Any], tensors: dict[str, Any] | None = None) -> None:
    """Write a model file with another header and a right checksum."""
    weights, header = read_tensors(PATH, "model")
    write_tensors(PATH, weights if tensors is None else tensors, {**header, **change})


# -- model files --------------------------------------------------------------------------


def test_a_model_comes_back_whole_from_a_file_moved_anywhere() -> None:
    weights = saved()
    Path("elsewhere").mkdir()
    path = PATH.rename("elsewhere/renamed.safetensors")
    model, again = read_model(path), load_weights(path)
    assert model.config == CONFIG
    assert model.tokenizer.to_json() == TOKENIZER.to_json()
    assert model.training == {"step": 7}
    assert again.keys() == weights.keys()
    for name, array in weights.items():
        assert again[name].dtype == np.float32
        assert np.array_equal(again[name], array)


def test_the_same_model_gives_the_same_bytes() -> None:
    saved()
    first = PATH.read_bytes()
    saved()
    assert PATH.read_bytes() == first


def test_the_header_is_canonical_json_under_one_key() -> None:
    saved()
    with safetensors.safe_open(PATH, framework="np") as file:
        metadata = file.metadata()
    assert list(metadata) == ["chargen"]
    header = json.loads(metadata["chargen"])
    assert metadata["chargen"] == json.dumps(header, sort_keys=True, separators=(",", ":"))
    assert header["format"] == 4
    assert header["kind"] == "model"


def test_weights_have_the_names_and_shapes_of_torch() -> None:
    from chargen.model.language_model import LanguageModel

    shapes = {name: tuple(p.shape) for name, p in LanguageModel(CONFIG).named_parameters()}
    assert weight_shapes(CONFIG) == shapes


@pytest.mark.parametrize("place", ["start", "header", "weights", "end"])
def test_a_flipped_bit_is_noticed(place: str) -> None:
    saved()
    data = bytearray(PATH.read_bytes())
    offset = {"start": 3, "header": data.index(b"abcde"), "weights": -300, "end": -1}[place]
    data[offset] ^= 1
    PATH.write_bytes(data)
    with pytest.raises(CheckpointError):
        load_weights(PATH)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_or_garbled_file_is_a_clear_error(data: st.DataObject) -> None:
    saved()
    whole = PATH.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    PATH.write_bytes(whole[:cut] + data.draw(st.binary(max_size=40)))
    with pytest.raises(CheckpointError):
        load_weights(PATH)
    with contextlib.suppress(CheckpointError):  # the weights' bytes are not in the header
        read_model(PATH)


class Bomb:
    """Makes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_a_pickle_is_not_opened() -> None:
    PATH.write_bytes(pickle.dumps(Bomb()))
    for read in (load_weights, read_model):
        with pytest.raises(CheckpointError, match="is truncated or not a safetensors file"):
            read(PATH)
    assert not Path("exploded").exists()
    pickle.loads(PATH.read_bytes())
    assert Path("exploded").exists()  # it would have


def test_a_small_file_that_claims_to_be_large_takes_no_memory() -> None:
    claim = {"dtype": "F32", "shape": [1 << 30, 4], "data_offsets": [0, 1 << 34]}
    header = json.dumps({"x": claim, "__metadata__": {"chargen": "{}"}}).encode()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    for length in (len(header), 1 << 40):
        PATH.write_bytes(length.to_bytes(8, "little") + header)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, most))
        try:
            with pytest.raises(CheckpointError, match="is truncated or not a safetensors file"):
                load_weights(PATH)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def test_wrong_files_are_explained() -> None:
    with pytest.raises(CheckpointError) as error:
        load_weights(PATH)
    assert str(error.value) == "'model.safetensors' does not exist; `chargen runs` lists the models"
    PATH.write_bytes(b"not a safetensors file")
    with pytest.raises(CheckpointError) as error:
        load_weights(PATH)
    assert str(error.value) == "'model.safetensors' is truncated or not a safetensors file"
    safetensors.numpy.save_file({"x": np.zeros(3)}, PATH)
    with pytest.raises(CheckpointError) as error:
        load_weights(PATH)
    assert str(error.value) == (
        "'model.safetensors' was written by another program, not by chargen train"
    )
    safetensors.numpy.save_file({"x": np.zeros(3)}, PATH, metadata={"chargen": "[" * 9999})
    with pytest.raises(CheckpointError, match="is damaged: its header cannot be read"):
        load_weights(PATH)
    write_tensors(PATH, {}, {"kind": "resume"})
    with pytest.raises(CheckpointError, match="is a resume file, not a model file"):
        load_weights(PATH)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (5, "a newer chargen; upgrade chargen"),
        (3, "an older chargen; train it again"),
        (1, "an older chargen; train it again"),
    ],
)
def test_another_format_is_explained(
    other: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", other)
        saved()
    with pytest.raises(CheckpointError) as error:
        read_model(PATH)
    has = f"'{PATH}' has format {other}, this chargen reads format 4"
    assert str(error.value) == f"{has}: it was written by {words}"


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"vocab_size": 7, "embedding": 5, "stack": "lstm:4"}},
        {"model": {"vocab_size": 8, "embedding": 5, "stack": "lstm:4,gru:3,rnn:2"}},
        {"model": {"vocab_size": 7, "embedding": 5, "stack": "lstm:9999,gru:9999"}},
        {"model": {"vocab_size": 7, "embedding": 5}},
        {"model": None},
        {"model": {"vocab_size": 7, "embedding": 5, "stack": "magic:3"}},
        {"tokenizer": {"kind": "char", "alphabet": "zz"}},
        {"tokenizer": {"kind": "byte"}},
        {"tokenizer": 3},
        {"training": 3},
    ],
)
def test_a_header_that_does_not_fit_is_refused_before_memory_is_taken(
    change: dict[str, Any],
) -> None:
    saved()
    rewrite(change)
    with pytest.raises(CheckpointError, match="'model.safetensors' is damaged: its"):
        read_model(PATH)


def test_weights_of_another_type_are_refused() -> None:
    weights = saved()
    rewrite({}, {name: array.astype(np.float64) for name, array in weights.items()})
    with pytest.raises(CheckpointError, match="its weights do not fit its description"):
        read_model(PATH)


# -- resume files -------------------------------------------------------------------------


def test_resume_keeps_the_file_before_and_falls_back_on_it() -> None:
    run = Path()
    for step in (1, 2):
        save_resume(run, {"x": np.array([step])}, {"step": step})
    assert sorted(os.listdir()) == ["resume.previous.safetensors", "resume.safetensors"]
    assert load_resume(run)[1]["step"] == 2
    Path("resume.safetensors").write_bytes(b"torn")
    assert load_resume(run).header["step"] == 1
    assert load_resume(run).passed_over == (
        "'resume.safetensors' is truncated or not a safetensors file"
    )
    assert checkpoint.read_resume_header(run)["step"] == 1
    Path("resume.safetensors").unlink()  # stopped between the two renames
    tensors, header, passed_over = load_resume(run)
    assert (tensors["x"].tolist(), header["step"], header["kind"]) == ([1], 1, "resume")
    assert passed_over is None
    Path("resume.previous.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="resume.previous.safetensors' is truncated"):
        load_resume(run)
    Path("resume.previous.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has nothing to resume"):
        load_resume(run)


def test_lines_of_the_metrics_that_are_torn_or_garbled_are_left_out() -> None:
    assert read_metrics(Path()) == []
    whole = [{"event": "evaluation", "step": 1}, {"event": "evaluation", "step": 2}]
    lines = [json.dumps(whole[0]), '{"ev\0', "[1]", '{"step": 2}', json.dumps(whole[1]), '{"st']
    Path("metrics.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\n{}")
    assert read_metrics(Path()) == whole


# -- runs ---------------------------------------------------------------------------------


def new_run(name: str, age: int) -> Path:
    run = Path("checkpoints") / name
    run.mkdir(parents=True)
    saved()
    path = Path(shutil.move(PATH, run / PATH))
    os.utime(path, (age, age))
    return path


def test_a_model_is_found_by_run_folder_file_or_as_the_newest() -> None:
    old, new = new_run("old", 1000), new_run("new", 2000)
    assert runs.find_model(None) == new
    for name in ("old", "checkpoints/old", str(old)):
        assert runs.find_model(name) == old
    assert [run.name for run in runs.list_runs()] == ["new", "old"]
    new.unlink()
    save_resume(new.parent, {}, {"step": 1})
    assert runs.find_model(None) == old
    with pytest.raises(CheckpointError, match="run 'new' has no model yet"):
        runs.find_model("new")


def test_a_model_that_is_not_there_is_explained() -> None:
    with pytest.raises(CheckpointError) as error:
        runs.find_model(None)
    assert str(error.value) == (
        "no model in 'checkpoints'; take one that is there: -m english; "
        "or make one: chargen train builtin:pydoc --time 1m"
    )
    new_run("mine", 1000)
    with pytest.raises(CheckpointError) as error:
        runs.find_model("other")
    assert str(error.value) == (
        "no model 'other'; give a run's name, its folder or a .safetensors file (runs: 'mine')"
    )


def test_a_run_gets_a_readable_name_that_is_free() -> None:
    first = runs.new_run_folder(None, ("texts/My poem (1).txt",), force=False)
    assert first.name.startswith("My-poem-1-20")
    second = runs.new_run_folder(None, ("texts/My poem (1).txt",), force=False)
    assert second.name == f"{first.name}-2"
    assert runs.new_run_folder(None, ("-",), force=False).name.startswith("stdin-20")
    assert runs.new_run_folder(None, ("builtin:pydoc",), force=False).name.startswith("pydoc-20")
    assert runs.new_run_folder(None, ("...",), force=False).name.startswith("run-20")


def test_a_name_in_use_is_refused_unless_forced() -> None:
    path = new_run("mine", 1000)
    with pytest.raises(CheckpointError) as error:
        runs.new_run_folder("mine", ("x",), force=False)
    assert str(error.value) == (
        "run 'mine' exists; go on with --resume --name mine, or begin it again with --force"
    )
    assert runs.new_run_folder("mine", ("x",), force=True) == path.parent
    assert path.exists()  # until the folder is ours
    runs.clear_run(path.parent)
    assert not path.exists()


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a\nb"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="allowed: letters, digits"):
        runs.new_run_folder(name, ("x",), force=False)


def test_the_newest_unfinished_run_is_found() -> None:
    def resumable(name: str, step: int) -> Path:
        run = Path("checkpoints") / name
        run.mkdir(parents=True)
        save_resume(run, {}, {"step": step, "plan": {"schedule": [[0, 5, 0.0], [2, 9, 0.5]]}})
        return run

    with pytest.raises(ChargenError, match="no unfinished run in 'checkpoints'"):
        runs.find_unfinished(None)
    half = resumable("half", 8)
    whole = resumable("whole", 9)
    assert runs.find_unfinished(None) == whole  # its end was not written yet
    (whole / "metrics.jsonl").write_text('{"event": "end"}\n')
    assert runs.find_unfinished(None) == half
    assert runs.find_unfinished("whole").name == "whole"
    save_resume(resumable("odd", 1), {}, {"step": "x", "plan": {}})
    assert runs.find_unfinished(None) == half  # a damaged run is passed over
    with pytest.raises(CheckpointError, match="the resume file of run 'odd' is damaged"):
        runs.steps_of(Path("checkpoints/odd"))
    (half / "resume.safetensors").rename(half / "resume.previous.safetensors")
    assert runs.find_unfinished(None) == half  # killed between the two renames
    with pytest.raises(
        CheckpointError, match=r"no run 'none' to resume \(runs: 'odd', 'whole', 'half'\)"
    ):
        runs.find_unfinished("none")
