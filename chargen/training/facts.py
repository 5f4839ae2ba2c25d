"""Header of a run: corpus, n-gram baseline, model, recipe and plan, with the reasons."""

from __future__ import annotations

from chargen.model.spec import count_parameters, format_stack
from chargen.training.optimizer import peak_learning_rate
from chargen.training.plan import Plan
from chargen.training.run_state import RunState


def facts(run: RunState) -> tuple[tuple[str, str], ...]:
    """Return corpus, n-gram baseline, model, recipe and plan, a pair of name and words each."""
    return (*_learned(run), *_begun(run), *_chosen(run))


def _learned(run: RunState) -> list[tuple[str, str]]:
    """Return the corpus and the n-gram baseline."""
    tokenizer, baseline = run.dataset.tokenizer, run.source.get("ngram_baseline")
    words = f"{tokenizer.kind} tokenizer, {tokenizer.vocab_size:,} ids"
    learned = [("corpus", f"{run.source['characters']:,} characters, {words}")]
    if baseline and baseline["nats_per_token"] is not None:
        words = f"{baseline['nats_per_token']:.4f} nats (Kneser-Ney, order {baseline['order']})"
        learned.append(("n-gram", words))
    return learned


def _begun(run: RunState) -> list[tuple[str, str]]:
    """Return the model that the run began from, if any."""
    base = run.source.get("base")
    why = run.reasons.get("base")
    words = f" ({why}; --base none trains from scratch)" if why else ""
    return [("base", f"{base['name']}{words}")] if base else []


def _chosen(run: RunState) -> list[tuple[str, str]]:
    """Return model, recipe and plan."""
    plan, config = run.plan, run.config
    why = {name: f" ({words})" for name, words in run.reasons.items()}
    model = f"{format_stack(run.model.layers)}, {shortened(count_parameters(run.model))} parameters"
    model += f", n-grams to {run.model.ngram_order}" if run.model.ngrams else ""
    recipe = f"{config.optimizer} {peak_learning_rate(config, run.model.layers):g}"
    recipe += f", dropout {config.dropout or 0:g}"
    recipe += f", weight drop {config.weight_drop:g}" if config.weight_drop else ""
    recipe += f", n-gram dropout {config.ngram_dropout or 0:g}" if run.model.ngrams else ""
    steps = f"{plan.steps:,} steps of {plan.batch_size} x {plan.bptt}, {run.device.type}"
    precision = f"{plan.precision}{why.get('plan', '')}"
    return [
        ("model", f"{model}{why.get('model', '')}"),
        ("recipe", f"{recipe}{why.get('recipe', '')}"),
        ("plan", f"{steps}, {precision}, {_threads(plan, run.step)}, seed {config.seed}"),
    ]


def _threads(plan: Plan, step: int) -> str:
    count = plan.threads_at(step)
    return "1 thread" if count == 1 else f"{count} threads"


def shortened(count: int) -> str:
    """Return a number in two digits and a unit, such as 830, 3.3M and 61K."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.{0 if count >= 10 * size else 1}f}{unit}"
    return str(count)
