"""What a run is made of, in words, with the reasons for what was chosen."""

from __future__ import annotations

from chargen.model.spec import count_parameters, format_stack
from chargen.training.optimizer import peak_learning_rate
from chargen.training.plan import Plan
from chargen.training.run_state import Job


def facts(job: Job) -> tuple[tuple[str, str], ...]:
    """Return corpus, floor, model, recipe and plan, a pair of name and words each."""
    return (*_learned(job), *_chosen(job))


def _learned(job: Job) -> list[tuple[str, str]]:
    """Return what is going to be learned, and what counting alone reaches."""
    tokenizer, floor = job.corpus.tokenizer, job.source.get("floor")
    words = f"{tokenizer.kind} tokenizer, {tokenizer.vocab_size:,} ids"
    learned = [("corpus", f"{job.source['characters']:,} characters, {words}")]
    if floor:
        words = f"{floor['nats_per_token']:.4f} nats by counting alone"
        learned.append(("floor", f"{words} (Kneser-Ney, order {floor['order']})"))
    return learned


def _chosen(job: Job) -> list[tuple[str, str]]:
    """Return model, recipe and plan."""
    plan, config = job.plan, job.config
    why = {name: f" ({words})" for name, words in job.reasons.items()}
    model = f"{format_stack(job.model.layers)}, {shortened(count_parameters(job.model))} parameters"
    recipe = f"{config.optimizer} {peak_learning_rate(config, job.model.layers):g}"
    recipe += f", dropout {config.dropout or 0:g}"
    recipe += f", weight drop {config.weight_drop:g}" if config.weight_drop else ""
    steps = f"{plan.steps:,} steps of {plan.lanes} x {plan.window}, {job.device.type}"
    precision = f"{plan.precision}{why.get('plan', '')}"
    return [
        ("model", f"{model}{why.get('model', '')}"),
        ("recipe", f"{recipe}{why.get('recipe', '')}"),
        ("plan", f"{steps}, {precision}, {_threads(plan, job.step)}, seed {config.seed}"),
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
