"""The architecture: who may import whom, and what may not be imported at all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chargen

PACKAGE = Path(chargen.__file__).parent

# Each line may import the lines below it and never one above; modules on one line do not
# import each other.
LAYERS = """
cli
repl console board page
trainer
facts
job
choosing probe
inspection
planning
learner
beam comparison export surprise
evaluation sampler
measuring
constraints
engine runs
model recipe
cells
anatomy heldout transfer statistics
checkpoint corpus
cache sources
catalogue charts writing
tokenizers
advice events filters ngram output storage
config machine team
errors
"""
RANK = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}
TORCH = {
    "cells",
    "model",
    "recipe",
    "learner",
    "planning",
    "choosing",
    "probe",
    "evaluation",
    "job",
    "trainer",
    "team",
    "inspection",
    "measuring",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_its_layer() -> None:
    assert {part_of(path) for path in modules()} - {"__init__", "__main__"} == set(RANK)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    for name in imports(path):
        match = re.match(r"chargen\.(\w+)", name)
        if match and match[1] in RANK and match[1] != part:
            assert RANK[match[1]] > RANK[part], f"{part} imports {match[1]}, which is not below it"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_torch_layers_import_torch_and_none_click_or_pickle(path: Path) -> None:
    names = {name.split(".")[0] for name in imports(path)}
    assert not names & {"click", "pickle", "shelve", "marshal", "dill"}
    allowed = part_of(path) in TORCH or path.name == "torch.py"
    in_cli = part_of(path) == "cli"  # inside command bodies only: see the test of import times
    assert "torch" not in names or allowed or in_cli


def test_nothing_prints_below_the_console() -> None:
    for path in modules():
        if part_of(path) not in ("cli", "console", "output"):
            calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


def test_no_pickle_can_be_reached() -> None:
    for path in modules():
        assert not re.search(
            r"torch\.(load|save)\b|allow_pickle|(?<!\.)\b(eval|exec)\(", path.read_text()
        )


def test_modules_stay_readable() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 450, path
