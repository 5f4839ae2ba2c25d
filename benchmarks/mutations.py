"""Mutation testing: seeded mutations of the code, each run against the tests.

    python -m benchmarks.mutations [core|evaluation] [--count 50] [--seed 1]

Each mutation changes one operator, comparison, number or truth value in the modules below, in a
copy of the project. A mutation is killed when the tests fail. Survivors are printed, because some
change nothing that can be seen (a chunk size, a message).
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUITES = {  # modules, and the tests that should fail
    "core": (
        ("model", "engine", "sampling/sampler.py", "tokenizers", "storage/checkpoint.py"),
        (
            *("model", "tokenizers", "engine", "storage/test_checkpoint.py"),
            *("sampling/test_sampler.py", "training/test_trainer.py", "training/test_resume.py"),
        ),
    ),
    "evaluation": (
        ("evaluation", "inspection"),
        ("evaluation", "inspection"),
    ),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.MatMult: ast.Add,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


class Mutator(ast.NodeTransformer):
    """Changes the n-th place that can be changed; counts them all with n = -1."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen, self.what = wanted, 0, ""

    def _hit(self, node: ast.AST, what: str) -> bool:
        self.seen += 1
        if self.seen - 1 == self.wanted:
            self.what = f"line {getattr(node, 'lineno', 0)}: {what}"
            return True
        return False

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Swap an arithmetic operator."""
        self.generic_visit(node)
        new = OPERATORS.get(type(node.op))
        if new and self._hit(node, f"{type(node.op).__name__} -> {new.__name__}"):
            node.op = new()
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Swap a comparison."""
        self.generic_visit(node)
        new = COMPARISONS.get(type(node.ops[0]))
        if new and self._hit(node, f"{type(node.ops[0]).__name__} -> {new.__name__}"):
            node.ops[0] = new()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Swap ``and`` and ``or``."""
        self.generic_visit(node)
        if self._hit(node, "and <-> or"):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Change a number by one, or a truth value."""
        if isinstance(node.value, bool):
            if self._hit(node, f"{node.value} -> {not node.value}"):
                return ast.copy_location(ast.Constant(not node.value), node)
        elif isinstance(node.value, int | float) and self._hit(node, f"{node.value} + 1"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        """Leave messages alone."""
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Leave annotations alone."""
        if node.value:
            node.value = self.visit(node.value)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Leave annotations alone."""
        return node


def places(targets: tuple[str, ...]) -> Iterator[tuple[Path, int]]:
    """Yield every place that can be changed: a file and a number in it."""
    for target in targets:
        path = ROOT / "chargen" / target
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            counter = Mutator(-1)
            counter.visit(ast.parse(file.read_text()))
            yield from ((file, number) for number in range(counter.seen))


def tests_pass(copy: Path, tests: tuple[str, ...]) -> bool:
    """Run the tests on the copy as it is now."""
    files = [f"tests/{name}" for name in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def survives(file: Path, number: int, copy: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Run the tests on one mutation in the copy; tell whether they passed, and what it was."""
    mutator = Mutator(number)
    tree = ast.fix_missing_locations(mutator.visit(ast.parse(file.read_text())))
    target = copy / file.relative_to(ROOT)
    original = target.read_text()
    target.write_text(ast.unparse(tree))
    try:
        return tests_pass(copy, tests), f"{file.relative_to(ROOT)} {mutator.what}"
    finally:
        target.write_text(original)


def main() -> None:
    """Print each mutation's fate, and how many were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", choices=SUITES, default="core")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    targets, tests = SUITES[options.suite]
    chosen = random.Random(options.seed).sample(list(places(targets)), options.count)
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        keep = shutil.ignore_patterns(".venv", ".git", "checkpoints", ".*_cache", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=keep)
        if not tests_pass(copy, tests):
            sys.exit("the tests fail before anything is changed")
        for file, number in chosen:
            alive, what = survives(file, number, copy, tests)
            killed += not alive
            print(f"{'SURVIVED' if alive else 'killed  '}  {what}", flush=True)
    print(f"{killed} of {options.count} mutations killed")


if __name__ == "__main__":
    main()
