"""``chargen info``: what a model is and how it was trained."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common
from chargen.cli.settings import to_toml

if TYPE_CHECKING:
    from rich.table import Table

    from chargen.model.saved import SavedModel

NAMES = 20  # columns of the names of facts
SPARKS = 16  # columns of a loss history


def info(
    model: common.Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Write its settings, for chargen train --config.")
    ] = False,
) -> None:
    """Show what a model is, what it was trained on, and how well it did."""
    from chargen.model.saved import open_model
    from chargen.model.summary import describe

    saved = open_model(model)
    if as_toml:
        print(to_toml(_settings(saved)), end="")
        return
    facts = describe(saved)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)


def _settings(saved: SavedModel) -> dict[str, Any]:
    """Return the settings that train such a model again."""
    from chargen.errors import CheckpointError

    model = saved.config.to_json()
    corpus, recipe = saved.section("corpus"), saved.section("config")
    if not recipe:
        raise CheckpointError("the model's file does not say by which recipe it was trained")
    return {
        "tokenizer": saved.tokenizer.kind,
        "vocab_size": model["vocab_size"],
        "encoding": corpus.get("encoding"),
        "newlines": corpus.get("newlines"),
        "stack": model["stack"],
        "embedding": model["embedding"],
        **recipe,
    }


def _show(facts: dict[str, Any]) -> None:
    """Show what is known of a model in groups under headings."""
    from rich.text import Text

    from chargen.cli.console import facts_table, stdout
    from chargen.display.output import visible

    console = stdout()
    groups = {"model": _model, "memory": _memory, "training": _training, "losses": _losses}
    for heading, rows in groups.items():
        if heading == "memory":
            console.print(_layers(facts), "")
        console.print(Text(heading, style="bold"))
        padded = ((name.ljust(NAMES), visible(words)) for name, words in rows(facts))
        console.print(facts_table(padded), *([""] if heading != "losses" else []))


def _layers(facts: dict[str, Any]) -> Table:
    """Return a row a weight, and the sums."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("layers", "weight", "shape"):
        table.add_column(name, style="cyan" if name == "layers" else "")
    table.add_column("parameters", justify="right")
    table.add_column("together", justify="right")
    for part in facts["parts"]:
        name = f"{part['name']}, {part['kind']}" if part["kind"] else part["name"]
        share = part["parameters"] / facts["parameters"]
        together = f"{part['parameters']:,} {share:>7.1%}"
        for weight, shape in part["shapes"].items():
            size = " x ".join(map(str, shape))
            table.add_row(name, weight, size, f"{math.prod(shape):,}", together)
            name = together = ""
    table.add_row("all", "", "", "", f"{facts['parameters']:,} {1:>7.1%}")
    return table


def _model(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from chargen.model.summary import readable

    return [
        ("file", facts["file"]),
        ("size", f"{readable(facts['bytes'])} ({facts['bytes']:,} bytes)"),
        ("stack", facts["stack"]),
        ("embedding", str(facts["embedding"])),
        ("tokenizer", f"{facts['tokenizer']}, {facts['vocab_size']:,} ids"),
        ("parameters", f"{facts['parameters']:,}"),
    ]


def _memory(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from chargen.model.summary import readable

    memory = facts["memory"]
    weights, training = memory["weights"], memory["training"]
    rows = [
        ("to write", f"{readable(weights)} of weights, or {readable(weights // 4)} with --int8"),
        ("each text", f"{readable(memory['state'])} of state"),
        ("to train", "-"),
    ]
    if training:
        rows[-1] = (
            "to train",
            f"{readable(training['total'])}; torch itself and evaluations apart",
        )
        rows += [(f"  {name}", readable(size)) for name, size in training.items()][:-1]
    measured = memory["measured"]
    words = (
        "-" if measured is None else f"{readable(measured)} at steps, torch and counting included"
    )
    return [*rows, ("its run held", words)]


def _training(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what it learned, by which recipe, in which time, with what."""
    recipe, plan = facts["recipe"] or {}, facts["plan"] or {}
    names = "optimizer", "learning_rate", "dropout", "weight_drop", "seed"
    split = f"{_said(facts['train_tokens'])} tokens to learn from, "
    split += f"{_said(facts['validation_tokens'])} for validation"
    split += f" (val-frac {_said(recipe.get('val_frac'))}, "
    split += f"test-frac {_said(recipe.get('test_frac'))})"
    return [
        ("text", f"{_said(facts['corpus'])}, {_said(facts['corpus_characters'])} characters"),
        ("sha256", _said(facts["corpus_sha256"])),
        ("split", split),
        ("recipe", _listed({name: recipe[name] for name in names if name in recipe})),
        ("a step", f"{_said(plan.get('lanes'))} lanes of {_said(plan.get('window'))} tokens"),
        ("steps", f"{_said(facts['steps'])} in {_clock(facts['seconds'])}"),
        ("machine", f"{_said(plan.get('precision'))}, threads {_threads(plan)}"),
        ("versions", _listed(facts["versions"])),
    ]


def _losses(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how well it knows text that it did not learn from, and how it came to that."""
    names = {
        "bits per character": "final_val_bits_per_char",
        "nats per token": "final_val_loss",
        "  fresh windows": "final_stateless_loss",
        "  best in training": "best_val_loss",
        "  learned text": "final_train_loss",
        "  test part": "final_test_loss",
    }
    rows = [(name, _loss(facts[key])) for name, key in names.items()]
    rows.append(("by counting", _floor(facts["floor"], facts["final_val_loss"])))
    rows.append(("cost of --int8", _cost(facts["int8_bits_per_char"], facts["int8_margin"])))
    for name, place in (("training", 1), ("validation", 2)):
        losses = [row[place] for row in facts["history"] if row[place] is not None]
        rows.append((f"history, {name}", _curve(losses)))
    return rows


def _threads(plan: dict[str, Any]) -> str:
    """Return the CPU threads at the end of a run."""
    try:
        return _said(plan["schedule"][-1][3])
    except (IndexError, KeyError, TypeError):
        return "-"


def _cost(bits: float | None, margin: float | None) -> str:
    """Return what int8 weights cost, with half of the 95 % interval."""
    if bits is None:
        return "-"
    around = "" if margin is None else f" ±{margin:.4f}"
    return f"{bits:+.4f}{around} bits per character"


def _floor(floor: dict[str, Any] | None, loss: float | None) -> str:
    """Return what counting alone reaches, and how far the model is from it."""
    if floor is None:
        return "-"
    words = f"{floor['nats_per_token']:.4f} (Kneser-Ney, order {_said(floor['order'])})"
    if loss is None:
        return words
    apart = loss - floor["nats_per_token"]
    return f"{words}; the model {abs(apart):.4f} {'below' if apart < 0 else 'above'}"


def _curve(losses: list[float]) -> str:
    """Return a loss history in one line."""
    from chargen.display.charts import sparkline

    if not losses:
        return "-"
    first, best, last = losses[0], min(losses), losses[-1]
    return f"{sparkline(losses, SPARKS)}  first {first:.4f}, best {best:.4f}, last {last:.4f}"


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _clock(seconds: float | None) -> str:
    from chargen.cli.console import clock

    return "-" if seconds is None else clock(seconds)


def _listed(named: object) -> str:
    known = named.items() if isinstance(named, dict) else ()
    return ", ".join(f"{name.replace('_', ' ')} {_said(v)}" for name, v in known) or "-"


def _said(value: object) -> str:
    """Return a fact in words; what the file does not say as a dash."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)
