"""What a model is and how it is trained, as frozen dataclasses.

Each field carries its meaning and unit, which the command line shows as its help;
the defaults of the command line are the defaults here, written once.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from chargen.errors import ConfigError

T = TypeVar("T")

NEWLINES = ("fold", "keep")
TOKENIZERS = ("char", "byte", "unigram", "bpe")
RECURRENT_INITS = ("auto", "orthogonal", "xavier", "identity")
INPUT_INITS = ("xavier", "orthogonal")
OPTIMIZERS = ("adamw", "adam", "rmsprop", "sgd")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")


DEFAULT_TIME = 300.0  # seconds that a run takes when no budget is given


def fresh_seed() -> int:
    """Draw a seed for those who gave none; short enough to be typed again."""
    return random.randrange(1 << 32)


def documented(default: T, help: str) -> T:
    """Declare a dataclass field with its default and its help text."""
    return field(default=default, metadata={"help": help})


def help_of(config: type, name: str) -> str:
    """Return the help text of one field of a config class, as a sentence."""
    text = str(next(f.metadata["help"] for f in fields(config) if f.name == name))
    return f"{text[0].upper()}{text[1:]}."


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a ConfigError that names the setting, its value and what is allowed."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}; allowed: {allowed}")


def unescape(text: str) -> str:
    r"""Return a text with ``\n``, ``\t`` and ``\\`` in place of what shells cannot type."""
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)


@dataclass(frozen=True)
class ReadConfig:
    """Which text is read, and how it is cut into tokens."""

    sources: tuple[str, ...] = documented((), "files, folders, - and built-in texts")
    tokenizer: str = documented("char", f"one of {', '.join(TOKENIZERS)}; byte reads any file")
    vocab_size: int = documented(1000, "wanted number of pieces of unigram and bpe")
    encoding: str | None = documented(None, "of all files; default: UTF-8, or what a mark says")
    newlines: str = documented("fold", "fold turns CRLF into LF, keep leaves it")
    separator: str = documented("\n", "text between two files, or two records; \\n is a newline")
    field: str | None = documented(None, "of .jsonl and .csv files: the field that holds the text")

    def __post_init__(self) -> None:
        require(self.tokenizer in TOKENIZERS, "tokenizer", self.tokenizer, ", ".join(TOKENIZERS))
        require(self.vocab_size >= 1, "vocab-size", self.vocab_size, "1 or more")
        require(self.newlines in NEWLINES, "newlines", self.newlines, ", ".join(NEWLINES))
        known = "names Python knows, such as utf-8, latin-1, cp1252"
        require(_is_encoding(self.encoding or "utf-8"), "encoding", self.encoding, known)


def _is_encoding(name: str) -> bool:
    try:
        b"0".decode(name)
    except UnicodeDecodeError:  # of one that takes several bytes a character
        return True
    except (LookupError, UnicodeError):
        return False
    return True


@dataclass(frozen=True)
class TrainConfig:
    """The recipe and the budget of one training run."""

    time: float | None = documented(None, "budget: wall-clock seconds from start to end")
    steps: int | None = documented(None, "budget: number of optimizer steps")
    epochs: float | None = documented(None, "budget: passes over the training text")
    lanes: int = documented(32, "lanes of text read side by side (batch size, B)")
    window: int = documented(64, "steps of back-propagation through time (T)")
    optimizer: str = documented("adamw", f"one of {', '.join(OPTIMIZERS)}")
    learning_rate: float | None = documented(None, "peak learning rate; default by cell")
    warmup: float = documented(0.05, "share of the run in which the learning rate rises")
    clip: float = documented(1.0, "largest norm of the gradient")
    weight_decay: float = documented(0.01, "decay of the weight matrices (adamw only)")
    dropout: float | None = documented(
        None, "share of units dropped between layers and before the head; default: by passes"
    )
    weight_drop: float | None = documented(
        None, "share of the recurrent weights dropped at a step; default: by passes"
    )
    average: float = documented(0.99, "decay per step of the averaged weights; 0 turns them off")
    recurrent_init: str = documented(
        "auto",
        f"one of {', '.join(RECURRENT_INITS)}; auto: identity for rnn-relu, else orthogonal",
    )
    recurrent_scale: float = documented(1.0, "factor on the recurrent weights at the start")
    input_init: str = documented("xavier", f"one of {', '.join(INPUT_INITS)}")
    forget_bias: float = documented(1.0, "bias of the forget gates at the start")
    patience: int = documented(
        10, "evaluations clearly above the best after which the run ends; 0: never"
    )
    precision: str = documented("auto", f"one of {', '.join(PRECISIONS)}; auto takes the faster")
    seed: int = documented(0, "seed of weights, dropout and draws; default: a random one")
    val_frac: float = documented(0.1, "share of the text, at its end, kept for validation")
    test_frac: float = documented(0.0, "share after that, scored once at the end of the run")

    def __post_init__(self) -> None:
        finite = self.time is None or (math.isfinite(self.time) and self.time > 0)
        require(finite, "time", self.time, "more than 0 seconds")
        require(self.steps is None or self.steps > 0, "steps", self.steps, "1 or more")
        require(self.epochs is None or self.epochs > 0, "epochs", self.epochs, "more than 0")
        require(1 <= self.lanes <= 4096, "lanes", self.lanes, "1 to 4096")
        require(1 <= self.window <= 65536, "window", self.window, "1 to 65536")
        require(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, ", ".join(OPTIMIZERS))
        rate = self.learning_rate
        require(rate is None or 0 < rate < 1e3, "learning rate", rate, "more than 0, below 1000")
        require(0 <= self.warmup <= 1, "warm-up", self.warmup, "0 to 1")
        require(self.clip > 0, "clip", self.clip, "more than 0")
        require(self.weight_decay >= 0, "weight decay", self.weight_decay, "0 or more")
        require(0 <= (self.dropout or 0) < 1, "dropout", self.dropout, "0 to below 1")
        weight_drop = self.weight_drop
        require(0 <= (weight_drop or 0) <= 0.9, "weight-drop", weight_drop, "0 to 0.9")
        require(0 <= self.average < 1, "average", self.average, "0 to below 1")
        init, inits = self.recurrent_init, ", ".join(RECURRENT_INITS)
        require(init in RECURRENT_INITS, "recurrent-init", init, inits)
        init, inits = self.input_init, ", ".join(INPUT_INITS)
        require(init in INPUT_INITS, "input-init", init, inits)
        scale = self.recurrent_scale
        require(0 <= scale <= 100, "recurrent-scale", scale, "0 to 100")
        require(abs(self.forget_bias) <= 100, "forget-bias", self.forget_bias, "-100 to 100")
        require(self.patience >= 0, "patience", self.patience, "0 (never) or more")
        require(self.precision in PRECISIONS, "precision", self.precision, ", ".join(PRECISIONS))
        require(0 <= self.seed < 1 << 63, "seed", self.seed, "0 to 2^63 - 1")
        require(0 <= self.val_frac <= 0.5, "val-frac", self.val_frac, "0 to 0.5")
        require(0 <= self.test_frac <= 0.5, "test-frac", self.test_frac, "0 to 0.5")
        both = self.val_frac + self.test_frac
        require(both < 1, "val-frac and test-frac together", both, "below 1")

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which ``TrainConfig(**data)`` makes the same config."""
        return asdict(self)


@dataclass(frozen=True)
class SampleConfig:
    """How text is drawn.

    Filters act in this order: bias and bans, penalties, DRY, top-k, typical, top-p, min-p,
    temperature. With mirostat only those before top-k, then temperature and mirostat.
    """

    length: int = documented(500, "characters to write, the prompt apart")
    temperature: float = documented(0.8, "below 1 safer, above 1 wilder, 0 always the likeliest")
    top_k: int = documented(0, "keep the k likeliest tokens; 0 keeps all")
    top_p: float = documented(1.0, "keep the likeliest tokens up to this probability; 1 keeps all")
    min_p: float = documented(0.0, "drop tokens less likely than this share of the likeliest's")
    typical: float = documented(
        1.0, "keep the tokens of most usual surprise up to this probability"
    )
    repeat_last_n: int = documented(64, "tokens that penalties look back on")
    repeat_penalty: float = documented(1.0, "divides the scores of tokens seen there; 1 is off")
    presence_penalty: float = documented(0.0, "taken off the score of each token seen there")
    frequency_penalty: float = documented(0.0, "the same for each time that it was seen")
    dry_multiplier: float = documented(0.0, "of the penalty on repeated passages; 0 is off")
    dry_base: float = documented(1.75, "by which it grows with each token of the passage")
    dry_allowed_length: int = documented(2, "tokens that may be repeated for nothing")
    dry_penalty_last_n: int = documented(1024, "tokens that it looks back on")
    dry_sequence_breakers: tuple[str, ...] = documented(
        ("\n",), "characters that no repeated passage crosses"
    )
    mirostat: int = documented(0, "2 holds the surprise at --mirostat-ent; 0 is off")
    mirostat_lr: float = documented(0.1, "how fast mirostat corrects itself")
    mirostat_ent: float = documented(5.0, "surprise that mirostat aims at, in bits a token")
    logit_bias: tuple[tuple[str, float], ...] = documented((), "added to a character's score")
    ban: str = documented("", "characters that are never written")
    stop: tuple[str, ...] = documented((), "texts that end it; they are not written")
    seed: int | None = documented(None, "seed of the draws; default: a random one, printed")

    def __post_init__(self) -> None:
        require(self.length >= 0, "length", self.length, "0 or more characters")
        require(0 <= self.temperature <= 100, "temperature", self.temperature, "0 to 100")
        for name in ("top_k", "repeat_last_n", "dry_allowed_length", "dry_penalty_last_n"):
            value = getattr(self, name)
            require(value >= 0, name.replace("_", "-"), value, "0 (off) or more")
        for name in ("top_p", "typical"):
            value = getattr(self, name)
            require(0 < value <= 1, name.replace("_", "-"), value, "more than 0, up to 1")
        require(0 <= self.min_p <= 1, "min-p", self.min_p, "0 (off) to 1")
        require(0 < self.repeat_penalty <= 100, "repeat-penalty", self.repeat_penalty, "0 to 100")
        for name in ("presence_penalty", "frequency_penalty", "dry_multiplier"):
            value = getattr(self, name)
            require(abs(value) <= 100, name.replace("_", "-"), value, "-100 to 100")
        require(1 <= self.dry_base <= 100, "dry-base", self.dry_base, "1 to 100")
        require(self.mirostat in (0, 2), "mirostat", self.mirostat, "0 (off), 2")
        require(0 < self.mirostat_lr <= 1, "mirostat-lr", self.mirostat_lr, "more than 0, up to 1")
        require(0 < self.mirostat_ent <= 100, "mirostat-ent", self.mirostat_ent, "0 to 100")
        for text, bias in self.logit_bias:
            require(len(text) == 1, "logit-bias", text, "a character and its bias, such as e-2")
            require(abs(bias) <= 1000, "logit-bias", bias, "-1000 to 1000")
        for text in self.dry_sequence_breakers:
            require(len(text) == 1, "dry-sequence-breaker", text, "a character")
        require("" not in self.stop, "stop", "", "texts of one character or more")
