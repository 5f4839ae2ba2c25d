"""Forms of the requests: their fields, as schemas; ``/openapi.json`` shows the same."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import Any, get_args, get_type_hints

from chargen.config import UNITS, SampleConfig, help_of
from chargen.evaluation.labels import PRIORS
from chargen.server.errors import RequestError
from chargen.server.schema import Schema, either, fields, number, several, switch, text, whole
from chargen.server.settings import ServeConfig

MAX_TOP = 50  # most likely tokens that come with each token of a text
MAX_CLASSIFIED = 20_000  # characters of a text; it is read once for each label
MAX_STOPS, MAX_BIASES, MAX_LABELS = 16, 1024, 1024
SEED = whole(
    "Random seed: the same text again; -1 and none are random, and the answer tells it.",
    -1,
    (1 << 63) - 1,
)

# What OpenAI's clients may ask for and a recurrent model of a text does not do. A value that asks
# for nothing (null, false, "", [], 1) is taken.
WITHOUT: dict[str, str] = {
    "suffix": "the model reads from left to right only",
    "tools": "the model calls no tools",
    "tool_choice": "the model calls no tools",
    "functions": "the model calls no functions",
    "function_call": "the model calls no functions",
    "response_format": "give a regex instead",
    "modalities": "the model writes text only",
    "audio": "the model writes text only",
    "prediction": "it would change nothing",
    "web_search_options": "the model reads nothing but the prompt",
    "store": "nothing is stored",
}
# What clients send that has no effect on a text.
IGNORED = (
    *("user", "metadata", "service_tier", "parallel_tool_calls", "reasoning_effort"),
    *("safety_identifier", "prompt_cache_key", "verbosity"),
)


def label() -> Schema:
    """Return the schema of the label of a text."""
    weights = {
        **{"type": "object", "properties": {}, "required": [], "maxProperties": MAX_LABELS},
        "additionalProperties": number("", 0, 1e9),
    }
    help = 'Label of the text, as in /v1/models; several by weight, as in {"a": 0.7, "b": 0.3}.'
    return either(text(most=10_000, minLength=1), weights, help=help)


def sampling_fields(config: ServeConfig) -> dict[str, Schema]:
    """Return the sampling parameters that completions of both kinds take."""
    most = config.max_length
    own = {f.name: _field(f.name) for f in fields_of(SampleConfig) if f.name not in SPECIAL}
    return {
        "max_tokens": whole("Tokens to generate; of a char model these are characters.", 0, most),
        "max_chars": whole("Characters to generate; the default, 500, is one of them.", 0, most),
        **own,
        "seed": SEED,
        "label": label(),
        "stop": either(
            text(most=1000, minLength=1),
            several(text(most=1000, minLength=1), MAX_STOPS),
            help="Texts that end the text; they are left out.",
        ),
        "logit_bias": {
            "type": "object",
            "description": "Bias of logits by token id, as in /v1/next; -1000 to 1000.",
            "properties": {},
            "required": [],
            "additionalProperties": number("", -1000, 1000),
            "maxProperties": MAX_BIASES,
        },
        "n": whole("Number of texts after the same prompt.", 1, config.batch_size),
        "regex": text("Regular expression that the whole text matches.", 1000),
        "words": several(text(most=100), 10_000, "The only words that the text may have."),
        "no_copy": whole("Never copy so many characters of the training text.", 1, 10_000),
        "stream": switch("Send the text as it is generated, as server-sent events."),
        "stream_options": {
            **fields({"include_usage": switch("Send usage at the end.")}),
            "description": "Settings of a stream.",
        },
    }


SPECIAL = ("length", "seed", "stop", "logit_bias")


def _field(name: str) -> Schema:
    """Return the schema of a field of ``SampleConfig``, whose own checks know its range."""
    hint = get_type_hints(SampleConfig)[name]
    kinds, help = get_args(hint) or (hint,), help_of(SampleConfig, name)
    if name == "until":
        return {"type": "string", "enum": list(UNITS), "description": help}
    if str in kinds:
        several_texts = several(text(most=1), 1000, help)
        return several_texts if "tuple" in str(hint) else text(help, 1000)
    make = number if float in kinds else whole
    return make(help, default=getattr(SampleConfig, name))


def _model() -> Schema:
    return text("Name of a model, as in /v1/models; default: the first there.", 300)


def _others(*names: str) -> dict[str, Schema]:
    anything = {"description": "Accepted for clients that send it; without effect."}
    without = {
        name: {"description": f"Not supported: {why}."}
        for name, why in WITHOUT.items()
        if name in names
    }
    return {**without, **dict.fromkeys(IGNORED, anything)}


def completion(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/completions``."""
    prompt = text(most=config.max_prompt)
    return fields(
        {
            "model": _model(),
            "prompt": either(
                prompt,
                several(prompt, config.batch_size, least=1),
                help="Text to continue, or a list of them; an empty one is a newline.",
            ),
            **sampling_fields(config),
            "echo": switch("Return the prompt too; with logprobs, its tokens are scored."),
            "logprobs": whole("Log probabilities, with so many of the likeliest.", 0, MAX_TOP),
            "best_of": whole("Must be n: every text is returned.", 1, config.batch_size),
            **_others("suffix", "store"),
        }
    )


def chat(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/chat/completions``."""
    part = fields({"type": {"type": "string", "enum": ["text"]}, "text": text()}, ("type", "text"))
    message = fields(
        {
            "role": text("system, developer, user, assistant", 100, minLength=1),
            "content": either(text(most=config.max_prompt), several(part, 1000)),
            "name": text("Name of who writes, in place of the role.", 100),
        },
        ("role",),
    )
    return fields(
        {
            "model": _model(),
            "messages": several(message, 10_000, least=1),
            **sampling_fields(config),
            "max_completion_tokens": whole("As max_tokens.", 0, config.max_length),
            "logprobs": switch("Return log probabilities."),
            "top_logprobs": whole("Likeliest tokens that come with each.", 0, MAX_TOP),
            **_others(*(name for name in WITHOUT if name != "suffix")),
        },
        ("messages",),
    )


def _top(default: int) -> Schema:
    return whole("Number of the most likely tokens.", 1, MAX_TOP, default=default)


def score(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/score``."""
    return fields({"model": _model(), "text": _text(config), "label": label()}, ("text",))


def surprisal(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/surprisal``."""
    own = {"model": _model(), "text": _text(config), "label": label(), "top": _top(5)}
    return fields(own, ("text",))


def _text(config: ServeConfig) -> Schema:
    return text("Text to score.", config.max_prompt, minLength=1)


def next_token(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/next``."""
    prompt = text("Text before; an empty one is a newline.", config.max_prompt)
    own = {"model": _model(), "prompt": prompt, "label": label(), "top": _top(10)}
    return fields(own)


def classify(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/classify``."""
    one = text(most=min(MAX_CLASSIFIED, config.max_prompt), minLength=1)
    given = either(one, several(one, config.batch_size, least=1), help="Text, or several.")
    help = "P(label): training, its frequency in the training texts, or uniform."
    prior = {"type": "string", "enum": list(PRIORS), "description": help, "default": PRIORS[0]}
    whole_help = "Whether each text ends where it ends; false for the beginning of a record."
    ends = {"type": "boolean", "default": True, "description": whole_help}
    own = {"model": _model(), "input": given, "prior": prior, "whole": ends}
    return fields(own, ("input",))


def ghost(config: ServeConfig) -> Schema:
    """Return the form of ``/v1/ghost``."""
    most = whole("Characters at most.", 1, 1000, default=80)
    before = text("Text before the cursor.", config.max_prompt)
    own = {"model": _model(), "text": before, "label": label(), "max_chars": most}
    return fields(own, ("text",))


def without_unsupported(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request without those that have no effect.

    Raises:
        RequestError: one asks for what this server does not do.
    """
    for name, why in WITHOUT.items():
        value = given.get(name)
        if value and value not in ("none", {"type": "text"}, ["text"]):
            raise RequestError(400, f"{name} is not supported: {why}; leave {name} out", param=name)
    return {name: value for name, value in given.items() if name not in (*WITHOUT, *IGNORED)}
