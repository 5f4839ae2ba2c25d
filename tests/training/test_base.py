"""The choice of a base model, and runs that begin from one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chargen.config import ReadConfig
from chargen.data.dataset import tokenize
from chargen.errors import CheckpointError
from chargen.model.saved import open_model, read_model
from chargen.storage.bases import base_models, card
from chargen.training import base as choosing
from chargen.training.base import base_loss, find_base, given_base
from tests.conftest import Run, text_of, write

CHAR = ReadConfig()
ENGLISH = """\
The rain had stopped before noon, and the two women walked down to the harbour to see whether the
boats had come in. Nobody spoke much. An old man sat on a barrel, mending a net, and he nodded when
they passed him.

“You are late,” he said. “The first of them was here at ten o’clock, and there was nothing in it
but two baskets of herring and a boy with a broken arm.”

“Whose boy?” asked the younger of the two, and she stood still at once.

“Not yours. He belongs to the people at the mill. They have taken him up to the doctor’s house,
and the doctor is away, as he always is when anybody needs him.”

She thanked him and went on along the wall, faster now than before. The sea lay grey and quite
calm under the clouds; far out, so small that one could hardly see it, a sail stood against the
light. It did not seem to move. Her mother came after her slowly, with one hand on the stones.

“It is no use to run,” she called. “They will not come any sooner for it.”

But the girl had reached the end of the wall already, and there she waited, holding her hat with
both hands, until the sail had grown and turned and become a boat with three men in it. Then she
began to count them, again and again, as though the number could change while she looked.
"""
DIGITS = "".join(f"{n * n % 9973} " for n in range(400))


def test_every_base_model_has_a_card_and_is_small_enough() -> None:
    for name, path in base_models().items():
        assert card(name).startswith(f"# {name}\n\n")
        assert path.stat().st_size < 16e6
        saved = read_model(path)
        assert saved.mixture is None  # no piece of a text is in it
        places = json.dumps(saved.training)
        assert "/" not in "".join(saved.section("corpus")["sources"])
        assert str(Path.home()) not in places


def test_english_knows_english_and_nothing_else() -> None:
    english = open_model("english")
    losses = {
        text: base_loss(english, tokenize(text_of(text), 0.5).validation)
        for text in (ENGLISH, DIGITS)
    }
    assert losses[ENGLISH] < 1.7  # quotation marks that it never saw included
    assert losses[DIGITS] > 3


@pytest.mark.parametrize(("nats", "taken"), [(1.2, True), (9.0, False)])
def test_a_base_is_taken_where_it_is_near_counting(
    monkeypatch: pytest.MonkeyPatch, nats: float, taken: bool
) -> None:
    monkeypatch.setattr(choosing, "base_loss", lambda *_: nats)
    saved, why = find_base(CHAR, tokenize(text_of(ENGLISH), 0.1))
    assert (saved is not None) == taken
    assert why.startswith("1.20 nats before training, n-grams 2.") == taken


def test_other_tokenizers_and_huge_texts_have_no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tokenize(text_of(ENGLISH * 9), 0.1)
    assert find_base(ReadConfig(tokenizer="byte"), dataset) == (None, "")
    monkeypatch.setattr(choosing, "LARGEST", 100)
    assert find_base(CHAR, dataset) == (None, "")


def test_the_names_auto_and_none_are_no_models() -> None:
    assert given_base("auto") is None
    assert given_base("none") is None
    with pytest.raises(CheckpointError, match="no model 'gone'"):
        given_base("gone")


QUICK = ("--steps", "2", "--threads", "1", "--batch-size", "2", "--bptt", "16", "--seed", "1")


def test_a_run_begins_from_english_by_itself(chargen: Run) -> None:
    text = write("diary.txt", ENGLISH)
    done = chargen("train", text, "--name", "mine", *QUICK, "--no-ngrams")
    assert done.returncode == 0, done.stderr
    assert "base    english (1." in done.stderr
    assert "--base none trains from scratch)" in done.stderr
    saved = open_model("checkpoints/mine")
    assert saved.section("corpus")["base"]["name"] == "english"
    assert "\u201c".encode() in saved.tokenizer.pieces
    settings = chargen("info", "mine", "--toml").stdout
    assert 'base = "english"' in settings
    assert "stack" not in settings
    again = write("again.toml", settings)
    same = chargen("train", text, "--config", again, "--name", "same", "--steps", "1")
    assert "base    english" in same.stderr
    first = json.loads(Path("checkpoints/mine/metrics.jsonl").read_text().splitlines()[0])
    assert (first["step"], first["val_loss"] < 2) == (0, True)


@pytest.mark.parametrize("options", [("--base", "none"), ("--hidden", "8"), ("--preset", "tiny")])
def test_none_and_an_architecture_train_from_scratch(chargen: Run, options: tuple[str]) -> None:
    text = write("diary.txt", ENGLISH)
    done = chargen("train", text, "--name", "mine", *QUICK, *options)
    assert done.returncode == 0, done.stderr
    assert "base    " not in done.stderr


def test_english_writes_at_once_without_any_run(chargen: Run) -> None:
    done = chargen("sample", "-m", "english", "-p", "It was", "--length", "60", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 60


def test_models_lists_them_and_shows_a_card(chargen: Run) -> None:
    assert "english" in chargen("models").stdout
    assert set(json.loads(chargen("models", "--json").stdout)) == set(base_models())
    assert chargen("models", "english").stdout == card("english")
    wrong = chargen("models", "klingon")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "allowed: english" in wrong.stderr


def test_a_run_of_the_same_name_comes_first(chargen: Run, with_model: Path) -> None:
    own = with_model.parent.parent / "english"
    own.mkdir()
    (own / "model.safetensors").write_bytes(with_model.read_bytes())
    assert json.loads(chargen("info", "english", "--json").stdout)["parameters"] < 1e6
