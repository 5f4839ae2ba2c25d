"""Base models: trained models that come with the package, a model file and a card each.

``scripts/make-base`` makes them, from texts that the card names.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def base_models() -> dict[str, Path]:
    """Return the model files by the names of the base models, in order."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def card(name: str) -> str:
    """Return the card of a base model: texts, licence, recipe, losses and limits, in Markdown."""
    return (FOLDER / f"{name}.md").read_text("utf-8")
