"""Base model of a run: the trained model that it begins from, if one helps.

A base model helps where it has seen what the text consists of. That shows before any training: the
loss of the base on new text of the user, beside that of n-grams counted in a little of it. A base
of another language or of another kind of text loses by far (``docs/base-models.md``).
"""

from __future__ import annotations

from dataclasses import replace

from chargen.config import ReadConfig
from chargen.data.dataset import WARM, Dataset, Segment
from chargen.data.texts import Texts
from chargen.engine import make_engine
from chargen.evaluation.baselines import best_order, count, losses_of
from chargen.evaluation.groups import spread
from chargen.evaluation.ngram import KneserNey
from chargen.evaluation.protocols import score, stateful
from chargen.model.saved import SavedModel, open_model, read_model
from chargen.storage.bases import base_models
from chargen.tokenizers import Tokenizer
from chargen.training.fine_tuning import grown, grown_config, relabelled, transferred

AUTO, NONE = "auto", "none"
PROBE = 4096  # tokens of the text that decide
COUNTED = 1 << 17  # tokens of it that the n-grams beside the base are counted in
BEHIND = 0.5  # nats per token that a base may lie behind these n-grams before it learns
LARGEST = 1 << 25  # tokens of a text that teaches more than a base knows


def given_base(name: str) -> SavedModel | None:
    """Return the model that the user names; None for ``auto`` and ``none``.

    Raises:
        CheckpointError: there is no such model.
    """
    return None if name in (AUTO, NONE) else open_model(name)


def find_base(reading: ReadConfig, dataset: Dataset) -> tuple[SavedModel | None, str]:
    """Return the base model that helps with a text, if any, and why, in words.

    Args:
        reading: how the text is read.
        dataset: the text in its own tokens.
    """
    if reading.tokenizer != "char" or not 1 < len(dataset.train) <= LARGEST or not base_models():
        return None, ""
    counted, nats = first_losses(dataset)
    best = min(nats, key=lambda name: nats[name])
    if nats[best] >= counted + BEHIND:
        return None, ""
    words = f"{nats[best]:.2f} nats before training, n-grams {counted:.2f}"
    return read_model(base_models()[best]), words


def first_losses(dataset: Dataset) -> tuple[float, dict[str, float]]:
    """Return what decides: the loss of n-grams, and that of each base model by its name.

    Args:
        dataset: the text, of two characters at least; both losses are of the same few tokens.
    """
    counts, text = _split(dataset)
    losses = losses_of(counts, text)
    counted = float(losses[best_order(losses) - 1].mean())
    return counted, {
        name: base_loss(read_model(path), text) for name, path in base_models().items()
    }


def _split(dataset: Dataset) -> tuple[KneserNey, Segment]:
    """Return n-grams of the text, and tokens to score: of the validation part if there is one."""
    train, tokenizer, texts = dataset.train, dataset.tokenizer, dataset.texts
    if len(dataset.validation):
        return count(train, tokenizer, COUNTED, texts), spread(dataset.validation, PROBE)
    half = len(train) // 2
    counts = count(train[:half], tokenizer, COUNTED, texts and texts.first(half))
    return counts, spread(dataset.end_of_train(len(train) - half), PROBE)


def base_loss(base: SavedModel, segment: Segment) -> float:
    """Return the loss of a base model, in nats per token, with the characters of a text added."""
    decode = segment.tokenizer.decode
    before, text = decode(segment.context.tolist()), decode(segment.ids.tolist())
    tokenizer = grown(base.tokenizer, [before, text])
    weights = relabelled(base.weights(), base.config, ())
    weights = transferred(weights, base.tokenizer, tokenizer)
    config = grown_config(base.config, tokenizer)
    ids, context = tokenizer.encode(text), tokenizer.encode(before)[-WARM:]
    own = Segment(tokenizer, ids, context, len(text), texts=_begun_with(tokenizer, segment))
    return score(stateful(make_engine(weights, config, "cpu"), own), own).nats_per_token


def _begun_with(tokenizer: Tokenizer, segment: Segment) -> Texts | None:
    """Return the texts of a segment in the ids of another tokenizer of characters."""
    if segment.texts is None:
        return None
    before = tokenizer.encode(segment.tokenizer.decode([segment.texts.before]))
    return replace(segment.texts, before=int(before[0]))
