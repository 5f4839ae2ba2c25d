"""Settings of reading, training and sampling, as frozen dataclasses.

Each field carries its help, its group and its flags, from which the command line is made;
the defaults of the command line are the defaults here, written once. What a model consists of
stands in ``model.spec``.
"""

from __future__ import annotations

import contextlib
import difflib
import random
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from chargen.errors import ConfigError

T = TypeVar("T")
KINDS = ((float, "a number"), (int, "a whole number"), (str, "a text"))

NEWLINES = ("fold", "keep")
TOKENIZERS = ("char", "byte", "unigram", "bpe")
RECURRENT_INITS = ("auto", "orthogonal", "xavier", "identity")
INPUT_INITS = ("xavier", "orthogonal")
OPTIMIZERS = ("adamw", "adam", "rmsprop", "sgd")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_THREADS = 4096

DEFAULT_TIME = 300.0  # seconds that a run takes when no budget is given


def fresh_seed() -> int:
    """Return a random seed for those who gave none; short enough to be typed again."""
    return random.randrange(1 << 32)


def documented(
    default: T,
    help: str,
    group: str = "",
    *flags: str,
    metavar: str | None = None,
    escapes: bool = False,
) -> T:
    """Declare a dataclass field that the command line offers as an option.

    Args:
        default: of the field.
        help: one sentence, with the unit and what turns it off.
        group: under which the help lists it; none is the first group.
        flags: its names on the command line, if not that of the field.
        metavar: what stands for its value in the help; by default one for its type.
        escapes: whether ``unescape`` is applied to what is typed.
    """
    shown = {"help": help, "group": group, "flags": flags}
    return field(default=default, metadata={**shown, "metavar": metavar, "escapes": escapes})


def help_of(config: type, name: str) -> str:
    """Return the help text of one field of a config class."""
    return str(next(f.metadata["help"] for f in fields(config) if f.name == name))


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a ConfigError that names the setting, its value and what is allowed."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}; allowed: {allowed}")


def require_count(name: str, value: object, most: int | None = None) -> None:
    """Raise a ConfigError unless a value is a whole number from 1 to ``most``."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= (most or value)
    require(fits, name, value, f"1 to {most}" if most else "1 or more")


def check_threads(threads: int | None) -> None:
    """Raise a ConfigError unless a number of CPU threads is None or one that a machine can have."""
    require_count("threads", 1 if threads is None else threads, MOST_THREADS)


def check_types(config: Any) -> None:
    """Refuse values of the wrong type, which only Python code can give, in our own words."""
    for name, kind in get_type_hints(type(config)).items():
        value, kinds = getattr(config, name), get_args(kind) or (kind,)
        allowed = next((words for own, words in KINDS if own in kinds), "")
        if not allowed or get_origin(kind) is tuple or (value is None and NoneType in kinds):
            continue
        numbers = (int, float) if float in kinds else (*(k for k in kinds if k is not NoneType),)
        fits = isinstance(value, numbers) and not isinstance(value, bool)
        require(fits, name.replace("_", "-"), value, allowed)


def from_settings(settings: dict[str, Any], *configs: type) -> list[Any]:
    """Return a config of each class from settings by name; a setting belongs to one of them.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, out of its range, or of no effect.
    """
    known = {f.name: config for config in configs for f in fields(config) if f.metadata}
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(known)}"
            raise ConfigError(f"{name} is not a setting{meant}")
    made = [
        config(**{name: value for name, value in settings.items() if known[name] is config})
        for config in configs
    ]
    for config in made:
        if isinstance(config, SampleConfig):
            _check_used(config)
    return made


def refuse(given: Iterable[str], own: Collection[str], why: str) -> None:
    """Raise a ConfigError that names the settings that were given and are not allowed.

    Args:
        given: names of settings.
        own: those that are not allowed.
        why: the beginning of the message.
    """
    named = ", ".join(f"--{name.replace('_', '-')}" for name in given if name in own)
    if named:
        raise ConfigError(f"{why}; leave {named} out")


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def unescape(label: str, text: str, literally: str = "") -> str:
    r"""Return a text with ``\n``, ``\t``, ``\r`` and ``\\`` in place of what shells cannot type.

    Args:
        label: name of the setting in an error.
        text: as typed; files, standard input and Python give texts as they are.
        literally: how to give the text as it is, for the error.

    Raises:
        ConfigError: another character, or none, follows a backslash.
    """

    def character(found: re.Match[str]) -> str:
        if found[1] in ESCAPES:
            return ESCAPES[found[1]]
        seen = f"\\{repr(found[1])[1:-1]}" if found[1] else "a single \\ at its end"
        allowed = r"allowed escapes: \n, \t, \r, and \\ for a backslash"
        raise ConfigError(f"{label} has {seen}; {allowed}{literally}")

    return re.sub(r"\\(.?)", character, text, flags=re.DOTALL)


def read_bias(label: str, text: str) -> tuple[str, float]:
    """Read a character and what is added to its logit, such as ``e-2.5``.

    Raises:
        ConfigError: the text is not of this form.
    """
    with contextlib.suppress(ValueError):
        return text[:1], float(text[1:])
    raise ConfigError(f"{label} is {text!r}; allowed: a character and a number, such as e-2")


# -- reading ------------------------------------------------------------------------------

TEXT = "Text"


@dataclass(frozen=True)
class ReadConfig:
    """Which text is read, and how it is cut into tokens."""

    sources: tuple[str, ...] = ()
    tokenizer: str = documented("char", f"One of {', '.join(TOKENIZERS)}; byte: any file.", TEXT)
    vocab_size: int = documented(1000, "Vocabulary size of unigram and bpe.", TEXT)
    encoding: str | None = documented(
        None, "Encoding of all files; default: UTF-8, or by the byte-order mark.", TEXT
    )
    newlines: str = documented("fold", "Line ends: fold turns CRLF into LF, keep does not.", TEXT)
    separator: str = documented(
        "\n", r"Text between two files or records; \n is a newline.", TEXT, escapes=True
    )
    field: str | None = documented(None, "Field of .jsonl and .csv files with the text.", TEXT)
    documents: str = documented("text", "Documents: text takes their text, raw their source.", TEXT)

    def __post_init__(self) -> None:
        check_types(self)
        choices = {"tokenizer": TOKENIZERS, "newlines": NEWLINES, "documents": ("text", "raw")}
        for name, allowed in choices.items():
            require(getattr(self, name) in allowed, name, getattr(self, name), ", ".join(allowed))
        require(1 <= self.vocab_size <= 1 << 20, "vocab-size", self.vocab_size, "1 to 1048576")
        codec, known = self.encoding, "names Python knows, such as utf-8, latin-1, cp1252"
        require(codec is None or _is_encoding(codec), "encoding", codec, known)


def _is_encoding(name: str) -> bool:
    try:
        b"0".decode(name)
    except UnicodeDecodeError:  # of one that takes several bytes a character
        return True
    except (LookupError, UnicodeError):
        return False
    return True


# -- training -----------------------------------------------------------------------------

OPTIMIZATION, REGULARIZATION, START = "Optimization", "Regularization", "Initialization"


@dataclass(frozen=True)
class TrainConfig:
    """Budget, optimization, regularization and initialization of one training run."""

    time: float | None = documented(
        None, "Time for everything: 90s, 5m, 1h30m; default: 5m.", metavar="DURATION"
    )
    steps: int | None = documented(None, "Number of optimizer steps.")
    epochs: float | None = documented(None, "Number of epochs.")
    seed: int = documented(0, "Random seed of weights, dropout and samples; default: random.")
    val_frac: float = documented(0.1, "Fraction of the text for validation, at its end.", TEXT)
    test_frac: float = documented(
        0.0, "Fraction after that for testing, at the end of a run.", TEXT
    )
    batch_size: int = documented(32, "Batch size: streams of text read side by side.", OPTIMIZATION)
    bptt: int = documented(64, "Steps of truncated back-propagation through time.", OPTIMIZATION)
    optimizer: str = documented("adamw", f"Optimizer: {', '.join(OPTIMIZERS)}.", OPTIMIZATION)
    learning_rate: float | None = documented(
        None, "Peak learning rate; default: by cell.", OPTIMIZATION, "--lr", "--learning-rate"
    )
    warmup: float = documented(0.05, "Fraction of the run for the warm-up.", OPTIMIZATION)
    clip: float = documented(1.0, "Clip the norm of the gradient at this value.", OPTIMIZATION)
    ema: float = documented(
        0.99, "Decay of the averaged weights (EMA) per step; 0 turns them off.", OPTIMIZATION
    )
    precision: str = documented(
        "auto", f"Precision: {', '.join(PRECISIONS)}; auto takes the faster.", OPTIMIZATION
    )
    patience: int = documented(
        10, "Stop after this many evaluations above the best; 0: never.", OPTIMIZATION
    )
    dropout: float | None = documented(
        None, "Dropout between layers and before the head; default: by epochs.", REGULARIZATION
    )
    weight_drop: float | None = documented(
        None, "Dropout of the recurrent weights; default: by epochs.", REGULARIZATION
    )
    ngrams: bool = documented(
        True,
        "Mix n-gram counts in; the model file then holds the text.",
        REGULARIZATION,
        "--ngrams/--no-ngrams",
    )
    ngram_dropout: float | None = documented(
        None, "Dropout of n-gram embeddings, row by row; default: by epochs.", REGULARIZATION
    )
    weight_decay: float = documented(
        0.1, "Weight decay of the matrices (adamw only).", REGULARIZATION
    )
    recurrent_init: str = documented(
        "auto", f"Recurrent weights: {', '.join(RECURRENT_INITS)}.", START
    )
    recurrent_scale: float = documented(1.0, "Factor on the initial recurrent weights.", START)
    input_init: str = documented("xavier", f"Input weights: {', '.join(INPUT_INITS)}.", START)
    forget_bias: float = documented(1.0, "Initial bias of the forget gates.", START)

    def __post_init__(self) -> None:
        check_types(self)
        fits = self.time is None or 0 < self.time <= 1e9
        require(fits, "time", self.time, "more than 0 seconds, up to 1e9")
        fits = self.steps is None or 0 < self.steps <= 1e12
        require(fits, "steps", self.steps, "1 to 1e12")
        fits = self.epochs is None or 0 < self.epochs <= 1e9
        require(fits, "epochs", self.epochs, "more than 0, up to 1e9")
        require(1 <= self.batch_size <= 4096, "batch-size", self.batch_size, "1 to 4096")
        require(1 <= self.bptt <= 65536, "bptt", self.bptt, "1 to 65536")
        require(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, ", ".join(OPTIMIZERS))
        rate = self.learning_rate
        require(rate is None or 0 < rate < 1e3, "learning rate", rate, "more than 0, below 1000")
        require(0 <= self.warmup <= 1, "warm-up", self.warmup, "0 to 1")
        require(self.clip > 0, "clip", self.clip, "more than 0")
        require(self.weight_decay >= 0, "weight decay", self.weight_decay, "0 or more")
        used = self.optimizer == "adamw" or self.weight_decay in (0, TrainConfig.weight_decay)
        require(used, "weight decay", self.weight_decay, "0, unless --optimizer is adamw")
        for name in ("dropout", "ngram_dropout"):
            rate = getattr(self, name)
            require(0 <= (rate or 0) < 1, name.replace("_", "-"), rate, "0 to below 1")
        drop = self.weight_drop
        require(0 <= (drop or 0) <= 0.9, "weight-drop", drop, "0 to 0.9")
        require(0 <= self.ema < 1, "ema", self.ema, "0 to below 1")
        for name, inits in (("recurrent", RECURRENT_INITS), ("input", INPUT_INITS)):
            init = getattr(self, f"{name}_init")
            require(init in inits, f"{name}-init", init, ", ".join(inits))
        require(
            0 <= self.recurrent_scale <= 100, "recurrent-scale", self.recurrent_scale, "0 to 100"
        )
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


# -- sampling -----------------------------------------------------------------------------

TRUNCATION, PENALTIES = "Truncation", "Penalties and biases"
UNITS = ("sentence", "line", "paragraph")
DRY = "dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers"


@dataclass(frozen=True)
class SampleConfig:
    """Sampling parameters.

    Filters act in this order: bias and bans, penalties, DRY, top-k, typical, top-p, min-p,
    temperature. With mirostat only those before top-k, then temperature and mirostat.
    """

    length: int = documented(
        500, "Characters to generate, excluding the prompt.", "", "-n", "--length"
    )
    temperature: float = documented(
        0.8, "Sampling temperature; 0 is greedy decoding.", "", "-t", "--temp", "--temperature"
    )
    top_k: int = documented(0, "Keep the k most likely tokens; 0 turns it off.", TRUNCATION)
    top_p: float = documented(
        1.0, "Keep the most likely tokens up to this probability.", TRUNCATION
    )
    min_p: float = documented(
        0.0, "Drop tokens below this fraction of the best probability.", TRUNCATION
    )
    typical: float = documented(
        1.0, "Keep locally typical tokens up to this probability.", TRUNCATION
    )
    mirostat: int = documented(0, "Mirostat version: 0 turns it off, 2.", TRUNCATION)
    mirostat_lr: float = documented(0.1, "Mirostat learning rate, eta.", TRUNCATION)
    mirostat_ent: float = documented(
        5.0, "Mirostat target entropy, tau, in bits per token.", TRUNCATION
    )
    repeat_last_n: int = documented(
        64, "Tokens to look back for penalties; 0 turns them off.", PENALTIES
    )
    repeat_penalty: float = documented(
        1.0, "Divide the logits of repeated tokens; 1 turns it off.", PENALTIES
    )
    presence_penalty: float = documented(
        0.0, "Subtract from the logits of repeated tokens; 0 turns it off.", PENALTIES
    )
    frequency_penalty: float = documented(
        0.0, "Subtract once per repetition; 0 turns it off.", PENALTIES
    )
    dry_multiplier: float = documented(
        0.0, "DRY penalty on repeated passages; 0 turns it off.", PENALTIES
    )
    dry_base: float = documented(1.75, "DRY growth per token of the passage.", PENALTIES)
    dry_allowed_length: int = documented(2, "DRY: longest passage without penalty.", PENALTIES)
    dry_penalty_last_n: int = documented(
        1024, "DRY: tokens to look back; 0 turns it off.", PENALTIES
    )
    dry_sequence_breakers: tuple[str, ...] = documented(
        ("\n",),
        "DRY: characters that end a passage.",
        PENALTIES,
        "--dry-sequence-breaker",
        escapes=True,
    )
    logit_bias: tuple[tuple[str, float], ...] = documented(
        (), "Add to a character's logit, as in e-2.", PENALTIES, "-l", "--logit-bias", escapes=True
    )
    ban: str = documented("", "Characters never to generate.", PENALTIES, escapes=True)
    stop: tuple[str, ...] = documented((), "Stop at this text, and leave it out.", escapes=True)
    until: str | None = documented(None, "End after a whole sentence, line or paragraph.")
    seed: int | None = documented(None, "Random seed; default: random, and printed.")

    def __post_init__(self) -> None:
        check_types(self)
        require(self.length >= 0, "length", self.length, "0 or more characters")
        require(0 <= self.temperature <= 100, "temperature", self.temperature, "0 to 100")
        for name in ("top_k", "repeat_last_n", "dry_allowed_length", "dry_penalty_last_n"):
            value = getattr(self, name)
            require(value >= 0, name.replace("_", "-"), value, "0 (off) or more")
        for name in ("top_p", "typical", "mirostat_lr"):
            value = getattr(self, name)
            require(0 < value <= 1, name.replace("_", "-"), value, "more than 0, up to 1")
        require(0 <= self.min_p <= 1, "min-p", self.min_p, "0 (off) to 1")
        for name in ("repeat_penalty", "mirostat_ent"):
            value = getattr(self, name)
            require(0 < value <= 100, name.replace("_", "-"), value, "more than 0, up to 100")
        for name in ("presence_penalty", "frequency_penalty", "dry_multiplier"):
            value = getattr(self, name)
            require(abs(value) <= 100, name.replace("_", "-"), value, "-100 to 100")
        require(1 <= self.dry_base <= 100, "dry-base", self.dry_base, "1 to 100")
        require(self.mirostat in (0, 2), "mirostat", self.mirostat, "0 (off), 2")
        for text, bias in _as_pairs(self):
            require(len(text) == 1, "logit-bias", text, "a character and its bias, such as e-2")
            require(abs(bias) <= 1000, "logit-bias", bias, "-1000 to 1000")
        for text in _as_texts(self, "dry_sequence_breakers"):
            require(len(text) == 1, "dry-sequence-breaker", text, "a character")
        require("" not in _as_texts(self, "stop"), "stop", "", "texts of one character or more")
        require(self.until in (None, *UNITS), "until", self.until, ", ".join(UNITS))


def _check_used(config: SampleConfig) -> None:
    """Refuse parameters that change nothing beside the others; a session sets them one by one."""
    usual = vars(SampleConfig())
    given = [name for name, value in vars(config).items() if value != usual[name]]
    mirostat = "mirostat_ent mirostat_lr"
    penalties = (config.repeat_penalty - 1, config.presence_penalty, config.frequency_penalty)
    for useless, names, why in (  # locally typical sampling may exclude the most likely token
        (config.temperature == 0, f"top_k top_p min_p mirostat {mirostat}", "temperature is 0"),
        (config.mirostat, "top_k typical top_p min_p", "mirostat replaces the other truncation"),
        (not config.mirostat, mirostat, "mirostat is off without --mirostat 2"),
        (not config.dry_multiplier, DRY, "DRY is off without --dry-multiplier"),
        (not any(penalties), "repeat_last_n", "no penalty is given that looks back"),
    ):
        refuse(given if useless else (), names.split(), why)


def _as_pairs(config: SampleConfig) -> tuple[tuple[str, float], ...]:
    """Make pairs of ``logit_bias``, for which Python code may give a dict or a list."""
    value: Any = config.logit_bias
    pairs = list(value.items()) if isinstance(value, dict) else value
    fits = isinstance(pairs, tuple | list) and all(
        isinstance(pair, tuple | list) and list(map(type, pair)) in ([str, float], [str, int])
        for pair in pairs
    )
    require(fits, "logit-bias", value, "pairs of a character and a number")
    object.__setattr__(config, "logit_bias", tuple(map(tuple, pairs)))
    return config.logit_bias


def _as_texts(config: SampleConfig, name: str) -> tuple[str, ...]:
    """Make a tuple of texts of a field in which Python code may give one text or a list."""
    value = getattr(config, name)
    texts = (value,) if isinstance(value, str) else value
    fits = isinstance(texts, tuple | list) and all(isinstance(text, str) for text in texts)
    require(fits, name.replace("_", "-"), value, "a text, or a tuple of texts")
    object.__setattr__(config, name, tuple(texts))
    return tuple(texts)
