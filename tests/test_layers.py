"""The architecture: who may import whom, and what may not be imported at all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chargen

PACKAGE = Path(chargen.__file__).parent

# Each room may import the rooms below it and never one above.
ROOMS = [
    *("cli", "server", "repl", "inspection", "training", "evaluation", "sampling", "engine"),
    *("data", "sharing", "model", "display", "storage", "tokenizers", "machine", "config"),
    "errors",
]
# Files of rooms that start without torch.
TORCH_FREE = {
    *("training/diagnostics.py", "training/events.py", "training/facts.py"),
    *("training/fine_tuning.py", "training/__init__.py", "model/summary.py", "model/__init__.py"),
    *("inspection/__init__.py", "inspection/features.py", "inspection/streams.py"),
    *("inspection/memory.py", "inspection/neurons.py", "inspection/passages.py"),
    "inspection/stack.py",
}
TORCH = {"training", "inspection", "model"}
TORCH_FILES = {
    "evaluation/validation.py",
    "evaluation/dynamic.py",
    "engine/torch.py",
    "machine/torch.py",
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


def test_imports_go_down() -> None:
    rooms = {part_of(path) for path in modules()} - {"__init__", "__main__"}
    assert rooms == set(ROOMS)
    for path in modules():
        part = part_of(path)
        for name in imports(path) if part in ROOMS else ():
            other = re.match(r"chargen\.(\w+)", name)
            if other and other[1] in ROOMS:
                assert ROOMS.index(other[1]) >= ROOMS.index(part), f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_torch_layers_import_torch_and_none_click_or_pickle(path: Path) -> None:
    names = {name.split(".")[0] for name in imports(path)}
    assert not names & {"click", "pickle", "shelve", "marshal", "dill"}
    file = str(path.relative_to(PACKAGE))
    allowed = file in TORCH_FILES or (part_of(path) in TORCH and file not in TORCH_FREE)
    in_cli = part_of(path) == "cli"  # inside command bodies only: see the test of import times
    assert "torch" not in names or allowed or in_cli


def test_the_server_uses_what_it_serves_and_not_the_session_or_training() -> None:
    for path in modules():
        if part_of(path) == "server":
            assert not [n for n in imports(path) if re.match(r"chargen\.(repl|training)", n)], path


def test_nothing_prints_below_the_console() -> None:
    for path in modules():
        if part_of(path) not in ("cli", "display"):
            calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


def test_no_pickle_can_be_reached() -> None:
    for path in modules():
        assert not re.search(
            r"torch\.(load|save)\b|allow_pickle|(?<!\.)\b(eval|exec)\(", path.read_text()
        )


def test_the_package_is_a_table_of_contents() -> None:
    rooms = [path for path in PACKAGE.iterdir() if not path.name.startswith(("__", "py.typed"))]
    assert len(rooms) <= 17


def test_modules_stay_readable() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 450, path
