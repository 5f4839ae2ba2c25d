"""Readings: every command takes the same text from a file, or refuses it in one line.

A case is a model, options and fragments of a file. What the dataset of ``train`` holds is compared
with what ``eval``, ``score``, ``heat``, ``next``, ``sample``, ``corpus stats`` and a session say of
the file, from its name, from standard input, and line by line.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import chargen.engine
from benchmarks.fuzz.cases import BrokenError, Outcome, call
from chargen.config import ReadConfig
from chargen.data.dataset import encode_dataset, read_text
from chargen.engine import Engine
from chargen.errors import ChargenError
from chargen.model import saved
from chargen.model.saved import OWN, SavedModel, open_model, save_model
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from chargen.sampling import sampler
from chargen.storage.files import cache_folder
from chargen.tokenizers import build_tokenizer

LEARNED = "one line and another, of words: caf\u00e9 \u2581 \U0001f600 0123456789\t\r\n" * 20
ESCAPED = "surrogateescape"  # how bytes that are not UTF-8 stand in a text
REFUSED = b"what train refuses"
CLEARED = 500  # cases after which the cache is emptied, which looks through its files
AT_ONCE = 2  # commands of a case
FRAGMENTS = (
    *(b"one line\n", b"and words ", b"a", b"\n", b"\r\n", b"\r", b"\r\r\n", b"\t", b" ", b"\0"),
    *(b"\x1b[31m", b"\x7f", b"\x0c", b"\x1a", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x96\x81"),
    *(b"caf\xc3\xa9", b"caf\xe9", b"\xc3", b"\xff", b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"e\xcc\x81"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xed\xa0\x80", b"\xe4\xb8\xad", b"\\n", b'"'),
)
ROWS = (
    *(b'{"text": "one line", "id": 1}', b'{"text": "a\\r\\nb"}', b'{"text": "\\u0000 \\u2581"}'),
    *(b'{"text": null}', b'{"text": 1.50}', b'{"text": [1]}', b'{"text": ""}', b"", b" "),
    *(b'{"text": "\\ud83d\\ude00"}', b'{"text": "caf\xc3\xa9"}', b'{"id": 2, "text": "\\t"}'),
)
BAD_ROWS = (b'{"id": 1}', b"[1]", b'{"text": "caf\xe9"}', b'{"text": "\\ud800"}', b"{")
LINES = (b"1,one line", b'2,"a, b"', b'3,"two\nlines"', b'4,""', b'5,"say ""x"""', b"6,caf\xc3\xa9")
BAD_LINES = (b"1,a,b", b"1", b'1,"open', b"1,caf\xe9", b'1,a"b', b"1,a\rb", b"\0,\0")
ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig")


@dataclass(frozen=True)
class Setting:
    """What a case is read with.

    Attributes:
        model: its name, which says how its corpus was read.
        suffix: of the file.
        recoded: the encoding in which the file is written, if its fragments are text.
        encoding: given with ``--encoding``.
        commands: numbers of the commands that are compared.
    """

    model: str
    suffix: str
    recoded: str | None
    encoding: str | None
    commands: tuple[int, ...]

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"text{self.suffix}"


def models() -> Iterator[tuple[str, ReadConfig]]:
    """Yield a name for each way to read a corpus."""
    for kind in ("char", "byte", "bpe", "unigram"):
        for newlines in ("fold", "keep"):
            for field in (None, "text"):
                for separator in ("\n", "|"):
                    name = f"{kind}-{newlines}-{field}-{'line' if separator == chr(10) else 'bar'}"
                    reading = ReadConfig((), kind, 300, None, newlines, separator, field)
                    yield name, reading


MODELS = dict(models())


class Readings:
    """Random texts, read by all commands."""

    def __init__(self) -> None:
        self._count = 0
        for name in MODELS:
            save_model_of(name)
        for place, name in ((saved, "read_model"), (sampler, "load")):
            mock.patch.object(place, name, functools.cache(getattr(place, name))).start()
        engine = chargen.engine.open_engine
        known: dict[Path, Engine] = {}

        def opened(saved: SavedModel, *given: Any) -> Engine:
            if saved.path not in known:
                known[saved.path] = engine(saved, *given)
            return known[saved.path]

        mock.patch.object(chargen.engine, "open_engine", opened).start()

    def make(self, chosen: random.Random) -> list[Any]:
        """Return settings and the fragments of a file."""
        model = chosen.choice(list(MODELS))
        suffixes = [".txt", ".txt", ".txt.gz", ".TXT.BZ2", ".jsonl", ".csv", ".JSONL.gz"]
        suffix = chosen.choice(suffixes)
        bad = chosen.random() < 0.2
        if ".jsonl" in suffix.lower():
            rows = chosen.choices(ROWS + BAD_ROWS if bad else ROWS, k=chosen.randint(1, 5))
            ends = [b"\n", b"\r\n"]
            parts = [row + chosen.choice(ends) for row in rows]
        elif suffix == ".csv":
            lines = chosen.choices(LINES + BAD_LINES if bad else LINES, k=chosen.randint(1, 5))
            end = chosen.choice([b"\n", b"\r\n"])
            parts = [b"id,text" + end, *(line + end for line in lines)]
        else:
            usual = [part for part in FRAGMENTS if bad or _is_text(part)]
            parts = chosen.choices(usual, k=chosen.randint(0, 9))
        recoded = chosen.choice(ENCODINGS) if chosen.random() < 0.2 else None
        encoding = chosen.choice(ENCODINGS) if chosen.random() < 0.2 else None
        commands = tuple(chosen.sample(range(len(READERS)), AT_ONCE))
        return [Setting(model, suffix, recoded, encoding, commands), *parts]

    def check(self, case: list[Any]) -> None:
        """Compare what commands say of the file with what the dataset of ``train`` holds."""
        setting, data = case[0], _content(case)
        self._count += 1
        if self._count % CLEARED == 0:
            shutil.rmtree(cache_folder(), ignore_errors=True)
        _dataset.cache_clear()
        Path(setting.file).write_bytes(_packed(setting, data))
        for number in setting.commands:
            name, applies, read = READERS[number]
            if not applies(setting):
                continue
            encoding = None if name.startswith("repl") else setting.encoding
            piped, least = "stdin" in name, LEAST.get(name, 1)
            wanted = _dataset(setting, encoding, piped=piped, least=least)
            found = read(setting, data)
            if name.startswith("next") and wanted is not None:  # its JSON has Unicode only
                wanted = wanted.decode("utf-8", "replace").encode()
            if found != wanted:
                raise BrokenError(f"{name} reads {_said(found)}; train reads {_said(wanted)}")

    def told(self, case: list[Any]) -> str:
        """Return the settings and the content of the file."""
        return f"{case[0]}\nwith the bytes {_content(case)!r} ({len(case) - 1} fragments)"


def _is_text(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _content(case: list[Any]) -> bytes:
    data = b"".join(case[1:])
    if case[0].recoded and _is_text(data):
        return data.decode().encode(case[0].recoded, "replace")
    return data


def _packed(setting: Setting, data: bytes) -> bytes:
    suffix = setting.suffix.lower()
    if suffix.endswith(".gz"):
        return gzip.compress(data, 1)
    return bz2.compress(data) if suffix.endswith(".bz2") else data


def _said(reading: bytes | None) -> str:
    if reading is None:
        return "nothing and refuses"
    text = reading.decode("utf-8", ESCAPED)
    return f"{len(text)} characters, {len(reading)} bytes: {reading!r}"


def model_file(name: str) -> Path:
    """Return the file of a model; no folder of runs is looked through for it."""
    return Path("models", f"{name}.safetensors")


def save_model_of(name: str) -> None:
    """Write a tiny model with the corpus section of a run."""
    reading, path = MODELS[name], model_file(name)
    path.parent.mkdir(exist_ok=True)
    tokenizer = build_tokenizer(reading.tokenizer, LEARNED, reading.vocab_size)
    config = ModelConfig(tokenizer.vocab_size, parse_stack("lstm:2"), 2)
    numbers = np.random.default_rng(1)
    shapes = weight_shapes(config).items()
    weights = {name: numbers.random(shape, np.float32) for name, shape in shapes}
    how = {name: getattr(reading, name) for name in OWN}
    corpus = {"sources": ["gone.txt"], "sha256": "", **how}
    save_model(path, weights, config, tokenizer, {"corpus": corpus})


# -- the readers: bytes of the text in UTF-8, or None where it is refused -------------------

Reader = Callable[[Setting, bytes], bytes | None]


@functools.cache
def _dataset(
    setting: Setting, encoding: str | None, *, piped: bool, least: int | None = 1
) -> bytes | None:
    """Return what the dataset of a run holds of a file; through a pipe it has no extension."""
    own = MODELS[setting.model]
    records = re.search(r"\.(jsonl|csv)", setting.suffix.lower()) and not piped
    file = setting.file
    if piped:
        file = "piped"
        Path(file).write_bytes(_unpacked(setting))
    tokenizer = open_model(str(model_file(setting.model))).tokenizer
    field = own.field if records else None
    reading = ReadConfig(
        (file,), own.tokenizer, own.vocab_size, encoding, own.newlines, own.separator, field
    )
    try:
        text = read_text(reading, least=least)
        ids = encode_dataset(text, tokenizer, 0.0).train
    except ChargenError:
        return None
    content = b"".join(p if isinstance(p, bytes) else p.encode() for p in text.pieces())
    learned = b"".join(tokenizer.pieces[i] for i in ids)
    if learned != content and (own.tokenizer != "char" or len(ids) != text.length):
        raise BrokenError(f"train learns {learned!r} of {content!r}")
    return content


def _unpacked(setting: Setting) -> bytes:
    """Return what ``cat`` writes of the file."""
    return Path(setting.file).read_bytes()


def _how(setting: Setting) -> list[str]:
    """Return the options that name the model and the encoding."""
    encoding = ["--encoding", setting.encoding] if setting.encoding else []
    return ["-m", str(model_file(setting.model)), *encoding]


def _text(outcome: Outcome, text: Callable[[Outcome], str]) -> bytes | None:
    return None if outcome.code else text(outcome).encode("utf-8", ESCAPED)


def _stats(setting: Setting, data: bytes) -> bytes | None:
    own = MODELS[setting.model]
    options = ["--newlines", own.newlines, "--separator", own.separator.replace("\n", r"\n")]
    if own.field and not setting.suffix.lower().startswith((".txt",)):
        options += ["--field", own.field]
    if setting.encoding:
        options += ["--encoding", setting.encoding]
    done = call("corpus", "stats", setting.file, *options, "--json")
    return _counted(setting, setting.encoding, done, lambda facts: (facts["characters"], None))


def _eval(setting: Setting, data: bytes) -> bytes | None:
    done = call("eval", setting.file, *_how(setting), "--json")
    wanted = lambda facts: (facts["characters"], facts["bytes"])  # noqa: E731
    return _counted(setting, setting.encoding, done, wanted)


def _counted(
    setting: Setting, encoding: str | None, done: Outcome, counts: Callable[[Any], tuple[Any, Any]]
) -> bytes | None:
    """Return what the dataset holds if the counts are those; else raise."""
    if done.code:
        return None
    characters, size = counts(json.loads(done.out))
    wanted = _dataset(setting, encoding, piped=False)
    if wanted is None:
        raise BrokenError(f"counts {characters} characters of what train refuses")
    length = len(wanted.decode("utf-8", ESCAPED))
    if characters != length or size not in (None, len(wanted)):
        raise BrokenError(
            f"counts {characters} characters, {size} bytes; train reads {_said(wanted)}"
        )
    return wanted


def _score(setting: Setting, data: bytes) -> bytes | None:
    return _scored(call("score", setting.file, *_how(setting), "--json"))


def _score_stdin(setting: Setting, data: bytes) -> bytes | None:
    return _scored(call("score", *_how(setting), "--json", stdin=_unpacked(setting)))


def _scored(done: Outcome) -> bytes | None:
    if done.code:
        return None
    rows = [json.loads(line) for line in done.out.splitlines()]
    parts = [bytes(row["bytes"]) if "bytes" in row else row["text"].encode() for row in rows]
    _check_summary(done, sum(len(row["text"]) for row in rows))
    return b"".join(parts)


def _check_summary(done: Outcome, characters: int) -> None:
    found = re.search(r"^chargen: ([\d,]+) characters?, ", done.err, re.MULTILINE)
    if not found or int(found[1].replace(",", "")) != characters:
        raise BrokenError(f"{characters} characters are scored, but it says {done.err!r}")


def _heat(setting: Setting, data: bytes) -> bytes | None:
    done = call("heat", setting.file, *_how(setting))
    wanted = _dataset(setting, setting.encoding, piped=False)
    if not done.code and wanted is not None:
        _check_summary(done, len(wanted.decode("utf-8", ESCAPED)))
    return None if done.code else wanted or REFUSED


def _next(setting: Setting, data: bytes) -> bytes | None:
    done = call("next", "-f", setting.file, *_how(setting), "--json")
    return _text(done, lambda done: str(json.loads(done.out)["prompt"]))


def _next_stdin(setting: Setting, data: bytes) -> bytes | None:
    done = call("next", "-f", "-", *_how(setting), "--json", stdin=_unpacked(setting))
    return _text(done, lambda done: str(json.loads(done.out)["prompt"]))


def _sample(setting: Setting, data: bytes) -> bytes | None:
    done = call("sample", "-f", setting.file, *_how(setting), "-n", "0", "--seed", "1")
    return None if done.code else done.out


def _load(setting: Setting, data: bytes) -> bytes | None:
    Path("saved").unlink(missing_ok=True)
    lines = f"/load {setting.file}\n/save saved\n"
    done = call("repl", "-m", str(model_file(setting.model)), "-n", "0", stdin=lines.encode())
    if done.code or not Path("saved").exists():
        return None
    return Path("saved").read_bytes() if "loaded: " in done.err else None


def _lines(setting: Setting, data: bytes) -> bytes | None:
    """Read the file line by line in a session; refused is what no line can hold."""
    wanted = _dataset(setting, None, piped=True)
    lines = _unpacked(setting)
    usual = wanted is not None and _is_text(lines) and b"\n/" not in b"\n" + wanted
    done = call("repl", "-m", str(model_file(setting.model)), "-n", "0", stdin=lines)
    if not usual or wanted is None:
        return wanted
    return done.out if wanted.endswith(b"\n") else done.out.removesuffix(b"\n")


def _always(setting: Setting) -> bool:
    return True


def _is_not_packed(setting: Setting) -> bool:
    return not setting.suffix.lower().endswith((".gz", ".bz2"))


def _is_no_byte_model(setting: Setting) -> bool:
    return not setting.model.startswith("byte")


LEAST = {"corpus stats": None, "next": 0, "next stdin": 0, "sample": 0, "repl /load": 0}
READERS: tuple[tuple[str, Callable[[Setting], bool], Reader], ...] = (
    ("corpus stats", _is_no_byte_model, _stats),
    ("eval", _always, _eval),
    ("score", _always, _score),
    ("score stdin", _is_not_packed, _score_stdin),
    ("heat", _always, _heat),
    ("next", _always, _next),
    ("next stdin", _is_not_packed, _next_stdin),
    ("sample", _always, _sample),
    ("repl /load", _always, _load),
    ("repl stdin", _is_not_packed, _lines),
)
