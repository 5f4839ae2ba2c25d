"""Model card: what a model file says of itself, in Markdown with the fields that the hub reads.

It names texts and never their folders, and says what the model must not be used for.
"""

from __future__ import annotations

import re
from typing import Any

from chargen.errors import ConfigError
from chargen.model.saved import SavedModel
from chargen.model.spec import CELLS
from chargen.model.summary import describe

NAMED = 20  # texts that the card names; the rest is counted
LICENCES = {  # those that the hub knows by name and that a model or a text is likely to have
    *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nc-nd-4.0", "cc-by-3.0", "cc-by-sa-3.0", "cc", "gpl-2.0", "gpl-3.0", "lgpl-3.0"),
    *("agpl-3.0", "gfdl", "mpl-2.0", "epl-2.0", "eupl-1.2", "odbl", "odc-by", "pddl", "openrail"),
}
NOT_FOR = """\
It continues a text in the manner of its training text; it knows nothing and understands nothing.
Do not use it for facts, advice, or decisions about people, and do not pass off what it generates as
written by the authors of the training text. Its weights can repeat passages of that text, more so
when the model is overfitted: do not share it wider than you would share the text.
"""


def check_licence(licence: str) -> str:
    """Return a licence in lower case.

    Raises:
        ConfigError: it is not the name of one.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}", licence):
        raise ConfigError(
            f"licence is {licence!r}; allowed: a short name, such as mit or cc-by-4.0"
        )
    return licence.lower()


def licence_of(card: str) -> str | None:
    """Return the licence that a card states."""
    found = dict(re.findall(r"^(license|license_name): (\S+)$", card, re.MULTILINE))
    return found.get("license_name") or found.get("license")


def model_card(saved: SavedModel, name: str, licence: str | None, *, whole: bool) -> str:
    """Return the card of a model.

    Args:
        saved: the model as it is pushed.
        name: what it is called.
        licence: under which it is published; None is said too.
        whole: its n-gram counts are in the file, or it never had any.
    """
    facts = describe(saved)
    sections = {
        "Model": _model(facts),
        "Training text": _text(facts),
        "Recipe": _recipe(facts),
        "Losses": _losses(facts, whole=whole),
    }
    parts = [_front_matter(saved, licence), _head(facts, name)]
    parts += [f"## {heading}\n\n{_list(rows)}" for heading, rows in sections.items()]
    parts += [
        f"## What the file holds\n\n{_holds(saved, facts)}",
        f"## What it must not be used for\n\n{NOT_FOR}",
        f"## Licence\n\n{licence or 'not stated'}\n",
    ]
    return "\n".join(parts)


def _front_matter(saved: SavedModel, licence: str | None) -> str:
    kinds = sorted({layer.kind for layer in saved.config.layers} & {*CELLS})
    lines = ["library_name: chargen", "pipeline_tag: text-generation", "tags:"]
    lines += [f"- {tag}" for tag in ("chargen", "recurrent-network", *kinds)]
    if licence in LICENCES:
        lines.append(f"license: {licence}")
    elif licence:
        lines += ["license: other", f"license_name: {licence}"]
    return "\n".join(["---", *lines, "---", ""])


def _head(facts: dict[str, Any], name: str) -> str:
    versions = facts["versions"] if isinstance(facts["versions"], dict) else {}
    version = versions.get("chargen", "of an unknown version")
    return (
        f"# {_plain(name)}\n\nA recurrent network that generates text, trained with chargen "
        f"{_plain(version)}.\n\n```sh\nchargen pull SOURCE --name my-model   # this folder, its "
        "address, or hf:OWNER/NAME\nchargen sample -m my-model\n```\n\n"
        "`sha256sum -c SHA256SUMS` checks the files.\n"
    )


def _model(facts: dict[str, Any]) -> dict[str, str]:
    order, names = facts["ngram_order"], [_plain(name) for name in facts["labels"][:NAMED]]
    more = ", ..." * (len(facts["labels"]) > NAMED)
    said = {"labels": f"{len(facts['labels']):,}: {', '.join(names)}{more}"} if names else {}
    said |= {"records": _plain(facts["records"])} if facts["records"] else {}
    return {
        "stack": facts["stack"],
        "embedding": f"{facts['embedding']:,}",
        "n-gram embeddings": f"up to order {order}" if order > 1 else "none",
        "parameters": f"{facts['parameters']:,}",
        "tokenizer": f"{facts['tokenizer']}, {facts['vocab_size']:,} ids",
        **said,
        "file": f"{facts['bytes']:,} bytes",
    }


def _text(facts: dict[str, Any]) -> dict[str, str]:
    names = [_plain(name) for name in facts["corpus"]] if isinstance(facts["corpus"], list) else []
    more = [f"and {len(names) - NAMED:,} more"] * (len(names) > NAMED)
    parts = (facts["train_tokens"], "training"), (facts["validation_tokens"], "validation")
    return {
        "texts": ", ".join([f"`{name}`" for name in names[:NAMED]] + more) or "not stated",
        "size": f"{_count(facts['corpus_characters'])} characters",
        "split": ", ".join(f"{_count(number)} {part} tokens" for number, part in parts),
    }


def _recipe(facts: dict[str, Any]) -> dict[str, str]:
    recipe, plan = facts["recipe"] or {}, facts["plan"] or {}
    names = "optimizer", "learning_rate", "dropout", "weight_decay", "ema", "seed"
    known = [f"{name.replace('_', ' ')} {_plain(recipe[name])}" for name in names if name in recipe]
    size, bptt = (_plain(plan.get(name, "-")) for name in ("batch_size", "bptt"))
    seconds = facts["seconds"]
    return {
        "settings": ", ".join(known) or "not stated",
        "batch": f"batch size {size}, bptt {bptt}",
        "length": f"{_count(facts['steps'])} steps"
        + (f" in {seconds:,.0f} seconds" if seconds is not None else ""),
    }


def _losses(facts: dict[str, Any], *, whole: bool) -> dict[str, str]:
    """Return the losses, each with its protocol."""
    who = "" if whole else ", the network alone as in this file"
    stateful = f"on the validation part, read in order with the state kept{who}"
    nats, bits = facts["final_val_loss"], facts["final_val_bits_per_char"]
    baseline = facts["ngram_baseline"]
    rows = {
        "stateful": (nats, f"nats per token {stateful}"),
        "bits per character": (bits, "the same"),
        "stateless": (facts["final_stateless_loss"], "nats per token in windows of 256 tokens"),
        "test part": (facts["final_test_loss"], "nats per token, stateful"),
        "n-gram baseline": (
            baseline and baseline["nats_per_token"],
            "nats per token, Kneser-Ney on the same text",
        ),
    }
    known = {n: f"{loss:.4f} ({said})" for n, (loss, said) in rows.items() if loss is not None}
    return known or {"losses": "not stated"}


def _holds(saved: SavedModel, facts: dict[str, Any]) -> str:
    if saved.mixture:
        tokens = _count(facts["train_tokens"])
        return (
            "**The whole training text**: its n-gram counts hold it, "
            f"{tokens} tokens, and anybody who has the file can read it.\n"
        )
    return (
        "Weights, the vocabulary (characters or parts of words of the training text) and what this "
        "page says; no n-gram counts, which would hold the text.\n"
    )


def _list(rows: dict[str, str]) -> str:
    return "".join(f"- {name}: {words}\n" for name, words in rows.items())


def _count(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else "an unknown number of"


def _plain(words: object) -> str:
    """Return words that mean nothing in Markdown: no markup, no line break, no end of code."""
    kept = "".join(c if c.isprintable() and c not in "`<>[]|*#\\" else "_" for c in str(words))
    return kept[:200]
