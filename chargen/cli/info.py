"""``chargen info``: what a model is and how it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.settings import to_toml

if TYPE_CHECKING:
    from chargen.checkpoint import ModelHeader


def info(
    model: common.Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Write its settings, for chargen train --config.")
    ] = False,
) -> None:
    """Show what a model is, what it was trained on, and how well it did."""
    from chargen.checkpoint import read_model_header
    from chargen.runs import find_model

    path = find_model(model)
    header = read_model_header(path)
    if as_toml:
        print(to_toml(_settings(header)), end="")
        return
    facts = _facts(path, header)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from chargen.console import facts_table, stdout

    stdout().print(facts_table((name, _words(value)) for name, value in facts.items()))


def _settings(header: ModelHeader) -> dict[str, Any]:
    """Return the settings that train such a model again."""
    training, model = header.training, header.config.to_json()
    corpus = training["corpus"]
    return {
        "tokenizer": header.tokenizer.kind,
        "vocab_size": model["vocab_size"],
        "encoding": corpus["encoding"],
        "newlines": corpus["newlines"],
        "stack": model["stack"],
        "embedding": model["embedding"],
        **training["config"],
    }


def _facts(path: Path, header: ModelHeader) -> dict[str, Any]:
    from chargen.checkpoint import count_weights

    training, config = header.training, header.config
    corpus = training.get("corpus", {})
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "stack": config.to_json()["stack"],
        "embedding": config.embedding,
        "parameters": count_weights(config),
        "tokenizer": header.tokenizer.kind,
        "vocab_size": config.vocab_size,
        "corpus": corpus.get("sources"),
        "corpus_sha256": corpus.get("sha256"),
        "corpus_characters": corpus.get("characters"),
        "steps": training.get("step"),
        "seconds": training.get("seconds"),
        "seed": training.get("config", {}).get("seed"),
        "best_val_loss": training.get("best_val_loss"),
        "final_val_loss": training.get("final_val_loss"),
        "final_window_loss": training.get("final_window_loss"),
        "final_val_bits_per_char": training.get("final_val_bits_per_char"),
        "final_test_loss": training.get("final_test_loss"),
        "int8_bits_per_char": training.get("int8_bits_per_char"),
        "versions": training.get("versions"),
    }


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.4f}"
    return "-" if value is None else str(value)
