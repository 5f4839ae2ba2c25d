"""Texts that grow: a run goes on with the old text and what came behind it."""

from __future__ import annotations

import pytest

import chargen as package
from chargen.config import ReadConfig, TrainConfig
from chargen.errors import CheckpointError, ConfigError, CorpusError
from chargen.evaluation.heldout import own_dataset
from chargen.model.saved import open_model
from chargen.training.events import Started
from chargen.training.start import start_run
from tests.conftest import Run, write

SMALL = {"hidden": 12, "steps": 3, "batch_size": 4, "bptt": 16, "seed": 1, "threads": 1}


def learn(corpus: str, name: str, **settings: object) -> None:
    package.train(corpus, name=name, **{**SMALL, **settings}).finish(quiet=True)  # type: ignore[arg-type]


def grow(corpus: str | None = None, base: str = "auto") -> str:
    """Go on with a text; return what was said at the start."""
    settings: dict[str, object] = {key: SMALL[key] for key in SMALL if key != "hidden"}
    started, *_ = list(package.train(corpus, name="new", append=True, base=base, **settings))  # type: ignore[arg-type]
    assert isinstance(started, Started)
    return "\n".join(started.notes)


def test_a_file_is_read_behind_the_old_text(prose: str) -> None:
    write("old.txt", prose[:3000])
    write("more.txt", prose[3000:3400])
    learn("old.txt", "old", val_frac=0.2)
    said = grow("more.txt")
    assert "401 characters behind those of run 'old'" in said
    saved = open_model("new")
    assert saved.section("corpus")["base"]["name"] == "old"
    dataset = own_dataset(saved)
    whole = f"{prose[:3000]}\n{prose[3000:3400]}"
    border = int(0.8 * len(whole))
    assert dataset.tokenizer.decode(dataset.train.tolist()) == whole[:border]
    assert len(dataset.validation) == len(whole) - border
    before = own_dataset(open_model("old"))
    assert len(before.train) <= len(dataset.train)  # so that nothing learned is held out


def test_a_file_that_has_grown_is_read_again(prose: str) -> None:
    write("diary.txt", prose[:3000])
    learn("diary.txt", "old")
    write("diary.txt", prose[:3500])
    with pytest.raises(CheckpointError, match="chargen train --append --base old"):
        next(package.train(resume=True, name="old", steps=3))
    said = grow(base="old")
    assert "500 characters behind those of run 'old'" in said


def test_a_text_that_changed_before_its_end_is_said_to(prose: str) -> None:
    write("diary.txt", prose[:3000])
    learn("diary.txt", "old")
    write("diary.txt", "x" + prose[:3500])
    recipe = TrainConfig(steps=2, batch_size=4, bptt=16)
    with start_run(ReadConfig(), None, recipe, base="old", append=True, threads=1) as run:
        assert any("has changed before its end" in note for note in run.notes)


def test_what_came_through_a_pipe_grows_too(chargen: Run, prose: str) -> None:
    few = ("--steps", "2", "--batch-size", "4", "--bptt", "16", "--threads", "1")
    first = chargen("train", "-", "--name", "old", "--hidden", "12", *few, input=prose[:3000])
    assert first.returncode == 0, first.stderr
    write("more.txt", prose[3000:3300])
    second = chargen("train", "more.txt", "--append", "--name", "new", *few)
    assert second.returncode == 0, second.stderr
    assert "301 characters behind those of run 'old'" in " ".join(second.stderr.split())


def test_a_text_that_has_not_grown_is_refused(prose: str) -> None:
    write("old.txt", prose[:3000])
    learn("old.txt", "old")
    with pytest.raises(CorpusError, match=r"has not grown.*--resume --name old --time 5m"):
        package.train(append=True).finish()


def test_a_model_without_its_text_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'english' does not say where its text is"):
        package.train("x.txt", append=True, base="english").finish()


def test_settings_of_the_text_stay(chargen: Run) -> None:
    for setting in ({"val_frac": 0.3}, {"encoding": "latin-1"}, {"hidden": 3}, {"resume": True}):
        with pytest.raises(ConfigError, match="append"):
            package.train(append=True, **setting)
    done = chargen("train", "--append", "--tokenizer", "byte")
    assert done.returncode == 2
    assert done.stderr == (
        "chargen: --append goes on with a run's own text and model; leave --tokenizer out\n"
    )
