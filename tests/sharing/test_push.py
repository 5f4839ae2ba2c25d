"""What is pushed, and what never is."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chargen.errors import ConfigError
from chargen.model.saved import KIND, open_model, read_model
from chargen.sharing.card import LICENCES, check_licence, licence_of, model_card
from chargen.sharing.push import push_model
from chargen.storage.checkpoint import read_tensors, write_tensors
from tests.conftest import Run
from tests.processes import finish

MODEL, README, SUMS = "model.safetensors", "README.md", "SHA256SUMS"


def changed(source: Path, target: Path, **training: Any) -> Path:
    """Write a copy of a model file that says something else of its training."""
    tensors, header = read_tensors(source, KIND)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(target, tensors, {**header, "training": {**header["training"], **training}})
    return target


def test_a_model_is_pushed_with_card_and_checksums(chargen: Run, with_model: Path) -> None:
    done = chargen("push", "small", "out", "--licence", "MIT")
    assert (done.returncode, done.stdout) == (0, "out\n"), done.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == [README, SUMS, MODEL]
    finish(["sha256sum", "--check", "--strict", SUMS], cwd="out")
    saved = read_model(Path("out") / MODEL)
    assert f"chargen: sha256 of the model: {saved.sha256}\n" in done.stderr
    for name, weight in open_model("small").weights().items():
        assert np.array_equal(weight, saved.weights()[name])


def test_the_training_text_stays_here(chargen: Run, with_model: Path, prose: str) -> None:
    """By default; one line says so, and what it costs."""
    done = chargen("push", "small", "out", "--licence", "mit")
    assert done.stderr.splitlines()[0].startswith(
        "chargen: pushing a copy without the n-gram counts (validation "
    )
    assert "they hold the training text (--with-text pushes them too)" in done.stderr
    whole, bare = read_model(with_model), read_model(Path("out") / MODEL)
    assert whole.mixture
    assert bare.mixture is None
    tensors, _ = read_tensors(bare.path, KIND)
    assert not [name for name in tensors if name.startswith("counts.")]
    alone = whole.training["final_network_loss"]
    assert bare.training["final_val_loss"] == alone
    bits = whole.training["final_val_bits_per_char"] / whole.training["final_val_loss"]
    assert bare.training["final_val_bits_per_char"] == pytest.approx(alone * bits)
    assert bare.training["final_stateless_loss"] is None
    card = (Path("out") / README).read_text()
    assert "no n-gram counts" in card
    assert f"stateful: {alone:.4f} (nats per token on the validation part" in card
    assert "the network alone as in this file" in card


def test_counts_that_nothing_is_mixed_of_stay_here_too(with_model: Path) -> None:
    tensors, header = read_tensors(with_model, KIND)
    write_tensors(Path("m.safetensors"), tensors, {**header, "mixture": None})
    push_model("m.safetensors", "out")
    held, _ = read_tensors(Path("out") / MODEL, KIND)
    assert not [name for name in held if name.startswith("counts.")]


def test_with_text_the_file_is_pushed_as_it_is(chargen: Run, with_model: Path) -> None:
    done = chargen("push", "small", "out", "--with-text", "--licence", "mit")
    assert done.stderr.splitlines()[0] == (
        "chargen: warning: the n-gram counts go with it: whoever has the file has the training text"
    )
    assert (Path("out") / MODEL).read_bytes() == with_model.read_bytes()
    assert "**The whole training text**" in (Path("out") / README).read_text()


def test_a_model_without_counts_is_pushed_as_it_is(pushed: Path) -> None:
    told: list[str] = []
    done = push_model("pushed", "out", licence="mit", tell=told.append)
    assert told == []
    assert (Path("out") / MODEL).read_bytes() == (pushed / MODEL).read_bytes()
    assert done.bytes == (pushed / MODEL).stat().st_size


def test_nothing_of_the_computer_is_pushed(
    with_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    corpus = {
        **read_model(with_model).training["corpus"],
        "sources": ["/home/anna/letters/diary.txt", r"C:\Users\anna\b.txt", "/home/anna/", "c.txt"],
        "folder": "/home/anna/checkpoints/x",
        "kept": {"sources": ["/home/anna/corpus.txt"]},
        "separator": "\n/home/anna is a separator\n",
    }
    notes = {"list": [{"of": "/srv/anna/x", "at": "https://example.org/a/b"}]}
    source = changed(with_model, Path("odd/m.safetensors"), corpus=corpus, base=notes)
    push_model(str(source), "out", licence="mit", with_text=True)
    said = read_model(Path("out") / MODEL).training
    assert said["corpus"]["sources"] == ["diary.txt", "b.txt", "home", "c.txt"]
    assert said["corpus"]["separator"] == corpus["separator"]  # it is a part of how to read
    assert not {"folder", "kept"} & said["corpus"].keys()
    assert said["base"] == {"list": [{"of": "x", "at": "https://example.org/a/b"}]}
    assert "anna" not in (Path("out") / README).read_text()
    whole = (Path("out") / MODEL).read_bytes()
    assert whole.count(b"anna") == 1  # the separator


def test_the_card_has_what_the_hub_reads(with_model: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    push_model("small", "out", licence="cc-by-4.0")
    card = hub.ModelCard((Path("out") / README).read_text())
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "chargen"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.tags == ["chargen", "recurrent-network", "lstm"]
    push_model("small", "own", licence="My-Licence-1.0")
    data = hub.ModelCard((Path("own") / README).read_text()).data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "my-licence-1.0")
    push_model("small", "none")
    text = (Path("none") / README).read_text()
    assert "license" not in hub.ModelCard(text).data.to_dict()
    assert text.endswith("## Licence\n\nnot stated\n")


def test_the_card_says_what_the_file_says(with_model: Path) -> None:
    push_model("small", "out", licence="mit", with_text=True)
    card = (Path("out") / README).read_text()
    saved = read_model(with_model)
    for words in (
        *("# small", "stack: lstm:48", "tokenizer: char", "texts: `prose.txt`"),
        *("20,000 characters", "18,000 training tokens", "optimizer adamw", "60 steps"),
        f"stateful: {saved.training['final_val_loss']:.4f} (nats per token on the validation part",
        *("in windows of 256 tokens", "Kneser-Ney on the same text", "trained with chargen 0."),
        *("## What it must not be used for", "Do not use it for facts, advice"),
    ):
        assert words in card, words


def test_names_of_texts_cannot_write_the_card(with_model: Path) -> None:
    names = ["`](http://x) <script>", "a\nlicense: mit", *(f"{n}.txt" for n in range(40))]
    corpus = {**read_model(with_model).training["corpus"], "sources": names}
    saved = read_model(changed(with_model, Path("x/m.safetensors"), corpus=corpus))
    card = model_card(saved, "x`\n---\n", None, whole=True)
    assert "<script>" not in card
    assert "](http" not in card
    assert licence_of(card) is None
    assert "and 22 more" in card
    assert card.startswith("---\nlibrary_name: chargen\n")
    assert card.count("\n---\n") == 1


def test_a_card_is_made_of_a_file_that_says_little(with_model: Path) -> None:
    tensors, header = read_tensors(with_model, KIND)
    write_tensors(Path("m.safetensors"), tensors, {**header, "training": {}})
    push_model("m.safetensors", "out", with_text=True)
    card = (Path("out") / README).read_text()
    assert "texts: not stated" in card
    assert "losses: not stated" in card


@pytest.mark.parametrize(
    "training",
    [
        {"seconds": 10**400, "step": 10**400, "best_val_loss": 10**400},
        {"corpus": {"sources": "x", "characters": []}, "versions": [1], "plan": {"bptt": {}}},
        {"corpus": {"sources": [1, None, {}]}, "config": {"optimizer": ["\n# x"]}, "history": 1},
        {"final_val_loss": True, "final_network_loss": "\x1b[2J", "seconds": float("nan")},
    ],
)
def test_a_file_may_claim_anything(
    chargen: Run, with_model: Path, training: dict[str, Any]
) -> None:
    source = changed(with_model, Path("odd.safetensors"), **training)
    assert chargen("pull", source).returncode == 0
    for command in (("runs",), ("info", "odd"), ("push", "odd", "out"), ("pull", "out")):
        done = chargen(*command)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_a_header_that_is_too_deep_is_one_clear_line(chargen: Run, with_model: Path) -> None:
    deep: list[Any] = []
    for _ in range(480):
        deep = [deep]
    source = changed(with_model, Path("odd.safetensors"), deep=deep)
    done = chargen("push", source, "out")
    if done.returncode:  # how deep is too deep depends on the version of Python
        last = done.stderr.splitlines()[-1]
        assert last.endswith("'odd.safetensors' is damaged: its header is nested too deep")
        assert not Path("out").exists()


def test_licences_are_short_names() -> None:
    assert check_licence("Apache-2.0") == "apache-2.0"
    assert all(check_licence(each) == each for each in LICENCES)
    for wrong in ("", "mit\nx: y", "a b", "x" * 99, "'"):
        with pytest.raises(ConfigError, match="licence is"):
            check_licence(wrong)


def test_a_pulled_licence_is_pushed_on(chargen: Run, pushed: Path) -> None:
    assert chargen("pull", "pushed", "--name", "a").returncode == 0
    done = chargen("push", "a", "again")
    assert "licence" not in done.stderr
    assert licence_of((Path("again") / README).read_text()) == "mit"
    assert (Path("again") / MODEL).read_bytes() == (pushed / MODEL).read_bytes()
    for odd in ("license: {a", "license: " + "x" * 999, "\xff"):
        Path("checkpoints/a/card.md").write_bytes(f"{odd}\n".encode("latin-1"))
        done = chargen("push", "a", "again", "--force")
        assert "the licence is not stated" in done.stderr


ERRORS = [
    (["gone", "out"], 1, "no model 'gone'; give a run's name, its folder"),
    (["small", "https://example.org/x"], 2, "destination is 'https://example.org/x'; allowed: a "
     "folder, which can then be copied to a web server, or hf:OWNER/NAME"),
    (["small", ""], 2, "destination is ''; allowed: a folder"),
    (["small", "file"], 1, "'file' is a file; name a folder"),
    (["small", "file/below"], 1, "cannot write 'file/below': Not a directory"),
    (["small", "full"], 1, "'full' has README.md; name another folder, or add --force"),
    (["small", "out", "--licence", "a b"], 2, "licence is 'a b'; allowed: a short name, such as"),
    (["small", "out", "--public"], 2, "--public is for hf:OWNER/NAME; a folder has no such"),
    (["small", "hf:me"], 2, "'hf:me' is no model on the hub; allowed: hf:OWNER/NAME"),
    (["small", "hf:../x"], 2, "'hf:../x' is no model on the hub; allowed: hf:OWNER/NAME"),
    (["small", "hf:me/x@main"], 2, "'hf:me/x@main' names a revision; push to hf:me/x"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), ERRORS)
def test_what_cannot_be_pushed_is_one_clear_line(
    chargen: Run, with_model: Path, arguments: list[str], code: int, message: str
) -> None:
    Path("file").write_text("mine")
    Path("full").mkdir()
    (Path("full") / README).write_text("mine")
    done = chargen("push", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"chargen: {message}")
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["file", "full"]
    assert (Path("full") / README).read_text() == "mine"


def test_the_folder_of_the_model_is_no_destination(chargen: Run, with_model: Path) -> None:
    done = chargen("push", "small", with_model.parent, "--force")
    assert done.returncode == 2
    assert "is the folder of the model itself; name another" in done.stderr
    assert not (with_model.parent / README).exists()


def test_a_push_is_replaced_with_force(chargen: Run, with_model: Path, pushed: Path) -> None:
    (pushed / README).write_text("old")
    (pushed / "mine.txt").write_text("mine")
    assert chargen("push", "small", "pushed").returncode == 1
    assert (pushed / README).read_text() == "old"
    done = chargen("push", "small", "pushed", "--force", "--json")
    assert json.loads(done.stdout)["sha256"] == read_model(pushed / MODEL).sha256
    assert sorted(path.name for path in pushed.iterdir()) == [README, SUMS, "mine.txt", MODEL]
    finish(["sha256sum", "--check", "--strict", SUMS], cwd="pushed")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_no_half_push(with_model: Path, chargen: Run, there: bool) -> None:
    if there:
        assert chargen("push", "small", "out").returncode == 0
        before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    done = chargen("push", "small", "out", "--force", preexec_fn=small_files)
    assert done.returncode == 1
    assert re.search(r"^chargen: cannot write '.*out.*: File too large; ", done.stderr, re.M)
    if there:
        assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    else:
        assert not Path("out").exists()


def small_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_what_a_killed_push_left_is_cleared_up(chargen: Run, with_model: Path) -> None:
    (Path("out") / ".push").mkdir(parents=True)
    (Path("out") / ".push" / MODEL).write_text("half")
    assert chargen("push", "small", "out").returncode == 0
    assert sorted(os.listdir("out")) == [README, SUMS, MODEL]
