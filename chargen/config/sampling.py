"""How text is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chargen.config.fields import check_types, documented, refuse, require

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


def check_used(config: SampleConfig) -> None:
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
