"""``chargen info``: architecture, memory, training and losses of a model."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargen.cli import common, side_by_side
from chargen.cli.settings import escape, to_toml
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from chargen.model.saved import SavedModel

NAMES = 20  # columns for the names of the facts
SPARKS = 16  # columns for a loss history


def info(
    run: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="The same as -m MODEL.")
    ] = None,
    model: common.Model = None,
    as_json: side_by_side.Json = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the settings for `chargen train --config`.")
    ] = False,
) -> None:
    """Show architecture, memory, training and losses of a model."""
    from chargen.model.saved import open_model
    from chargen.model.summary import describe

    if run is not None and model is not None:
        raise ConfigError("the model is named twice; give it with -m or without, not both")
    if as_json and as_toml:
        raise ConfigError("--json and --toml cannot be combined; leave one out")
    saved = open_model(run if model is None else model)
    if as_toml:
        print(to_toml(_settings(saved)), end="")
        return
    facts = describe(saved)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)


def _settings(saved: SavedModel) -> dict[str, Any]:
    """Return the settings with which the model was trained."""
    from chargen.errors import CheckpointError
    from chargen.model.options import BASE_SETTINGS
    from chargen.model.summary import base_name

    model = saved.config.to_json()
    corpus, recipe = saved.section("corpus"), saved.section("config")
    if not recipe:
        raise CheckpointError("the model file does not contain the settings of its training")
    settings = {
        "tokenizer": saved.tokenizer.kind,
        "vocab_size": model["vocab_size"],
        "encoding": corpus.get("encoding"),
        "newlines": None if saved.tokenizer.kind == "byte" else corpus.get("newlines"),
        "separator": escape(corpus.get("separator")),
        "field": corpus.get("field"),
        "documents": corpus.get("documents"),
        "records": corpus.get("records"),
        "label": corpus.get("label"),
        "split_seed": corpus.get("split_seed") if corpus.get("records") else None,
        "stack": model["stack"],
        "embedding": model["embedding"],
        "ngram_order": saved.config.ngram_order,
        **recipe,
    }
    base = base_name(corpus)
    if base is None:
        return settings
    own = {name: value for name, value in settings.items() if name not in BASE_SETTINGS}
    return {"base": base, **own}


def _show(facts: dict[str, Any]) -> None:
    """Show the facts about a model in groups."""
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
    """Return a table with one row per weight, and the totals."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("layers", "weight", "shape"):
        table.add_column(name, style="cyan" if name == "layers" else "")
    table.add_column("parameters", justify="right")
    table.add_column("total", justify="right")
    for part in facts["parts"]:
        name = f"{part['name']}, {part['kind']}" if part["kind"] else part["name"]
        fraction = part["parameters"] / facts["parameters"]
        total = f"{part['parameters']:,} {fraction:>7.1%}"
        for weight, shape in part["shapes"].items():
            size = " x ".join(map(str, shape))
            table.add_row(name, weight, size, f"{math.prod(shape):,}", total)
            name = total = ""
    table.add_row("all", "", "", "", f"{facts['parameters']:,} {1:>7.1%}")
    return table


def _model(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from rich.filesize import decimal

    return [
        ("file", facts["file"]),
        ("size", f"{decimal(facts['bytes'])} ({facts['bytes']:,} bytes)"),
        ("stack", facts["stack"]),
        ("embedding", str(facts["embedding"])),
        ("n-grams", _ngrams(facts)),
        ("tokenizer", f"{facts['tokenizer']}, {facts['vocab_size']:,} ids"),
        *([("labels", _labels(facts["labels"]))] if facts["labels"] else []),
        *([("records", _said(facts["records"]))] if facts["records"] else []),
        ("parameters", f"{facts['parameters']:,}"),
    ]


def _labels(names: list[str]) -> str:
    """Return how many labels there are, and the first of them."""
    from chargen.engine.labels import shown

    return f"{len(names):,}: {shown(tuple(names))}"


def _ngrams(facts: dict[str, Any]) -> str:
    """Return what the model knows of n-grams, in words."""
    order, mixture = facts["ngram_order"], facts["mixture"]
    words = f"embeddings up to order {order}" if order > 1 else "no embeddings"
    if not mixture:
        return f"{words}, no counts"
    longest = max(mixture["match"])
    weights = f"network {mixture['network']:.2f}, counts {mixture['counts']:.2f}"
    return f"{words}; log-linear mixture: {weights}, longest match up to {longest:.2f}"


def _memory(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the memory for inference and training, and the peak of the training run."""
    from rich.filesize import decimal

    memory = facts["memory"]
    weights, training, peak = memory["weights"], memory["training"], memory["peak"]
    rows = [
        ("inference", f"{decimal(weights)} of weights, or {decimal(weights // 4)} with --int8"),
        ("  state per text", decimal(memory["state"])),
        ("training", "-"),
    ]
    if training:
        rows[-1] = ("training", f"{decimal(training['total'])}, excluding torch and evaluations")
        parts = [(f"  {name}", decimal(size)) for name, size in training.items()]
        rows += parts[:-1]  # the last is the total
    words = "-" if peak is None else f"{decimal(int(peak))} in its run, including torch"
    return [*rows, ("peak memory", words)]


def _training(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the corpus, the settings, the time and the versions of the training."""
    recipe, plan = facts["recipe"] or {}, facts["plan"] or {}
    names = "optimizer", "learning_rate", "dropout", "weight_drop", "seed"
    split = f"{_said(facts['train_tokens'])} training tokens, "
    split += f"{_said(facts['validation_tokens'])} validation tokens"
    split += f" (val-frac {_said(recipe.get('val_frac'))}, "
    split += f"test-frac {_said(recipe.get('test_frac'))})"
    return [
        ("text", f"{_said(facts['corpus'])}, {_said(facts['corpus_characters'])} characters"),
        ("sha256", _said(facts["corpus_sha256"])),
        *([("base", _said(facts["base"]))] if facts["base"] else []),
        ("split", split),
        ("recipe", _listed({name: recipe[name] for name in names if name in recipe})),
        ("batch", f"batch size {_said(plan.get('batch_size'))}, bptt {_said(plan.get('bptt'))}"),
        ("steps", f"{_said(facts['steps'])} in {_clock(facts['seconds'])}"),
        ("machine", f"{_said(plan.get('precision'))}, threads {_threads(plan)}"),
        ("versions", _listed(facts["versions"])),
    ]


def _losses(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the losses, the n-gram baseline and the loss histories."""
    from chargen.cli.console import loss_or_dash

    names = {
        "bits per character": ("final_val_bits_per_char", "validation, stateful"),
        "nats per token": ("final_val_loss", "validation, stateful"),
        "  stateless": ("final_stateless_loss", "in windows of 256 tokens"),
        "  best in training": ("best_val_loss", ""),
        "  training text": ("final_train_loss", ""),
        "  test text": ("final_test_loss", ""),
    }
    rows = []
    for name, (key, note) in names.items():
        explained = f" ({note})" if note and facts[key] is not None else ""
        rows.append((name, f"{loss_or_dash(facts[key])}{explained}"))
    rows.append(("n-gram baseline", _baseline(facts["ngram_baseline"], facts["final_val_loss"])))
    rows.append(("int8 difference", _int8(facts["int8_bits_per_char"], facts["int8_margin"])))
    for name, place in (("training", 1), ("validation", 2)):
        losses = [row[place] for row in facts["history"] if row[place] is not None]
        rows.append((f"history, {name}", _curve(losses)))
    return rows


def _threads(plan: dict[str, Any]) -> str:
    """Return the number of CPU threads at the end of a run."""
    try:
        return _said(plan["schedule"][-1][3])
    except (IndexError, KeyError, TypeError):
        return "-"


def _int8(bits: float | None, margin: float | None) -> str:
    """Return the difference of the loss with int8 weights, with half of the 95 % interval."""
    if bits is None:
        return "-"
    around = "" if margin is None else f" ±{margin:.4f}"
    return f"{bits:+.4f}{around} bits per character"


def _baseline(baseline: dict[str, Any] | None, loss: float | None) -> str:
    """Return the loss of the n-gram baseline, and the difference of the model."""
    if baseline is None:
        return "-"
    words = f"{baseline['nats_per_token']:.4f} (Kneser-Ney, order {_said(baseline['order'])})"
    if loss is None:
        return words
    difference = loss - baseline["nats_per_token"]
    side = "below" if difference < 0 else "above"
    return f"{words}; the model is {abs(difference):.4f} {side}"


def _curve(losses: list[float]) -> str:
    """Return a loss history in one line."""
    from chargen.display.charts import sparkline

    if not losses:
        return "-"
    first, best, last = losses[0], min(losses), losses[-1]
    return f"{sparkline(losses, SPARKS)}  first {first:.4f}, best {best:.4f}, last {last:.4f}"


def _clock(seconds: float | None) -> str:
    from chargen.cli.console import clock

    return "-" if seconds is None else clock(seconds)


def _listed(named: object) -> str:
    known = named.items() if isinstance(named, dict) else ()
    return ", ".join(f"{name.replace('_', ' ')} {_said(v)}" for name, v in known) or "-"


def _said(value: object) -> str:
    """Return a fact as text; a missing one as a dash."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)
