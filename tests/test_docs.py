"""What the pages say is what the project does."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from chargen.model.cells import CELL_CLASSES
from chargen.model.spec import CELLS
from tests.processes import finish, run
from tests.test_layers import ROOMS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    (command,) = [block for block in blocks("sh") if "scripts/check" in block]
    assert f"\n{command.rstrip()} || exit\n" in (ROOT / ".ci/run").read_text()


def test_the_tree_names_every_module_and_nothing_else() -> None:
    (tree,) = [block for block in blocks("text") if "tokenizers/" in block]
    named = set(re.findall(r"^  (\S+)", tree, re.MULTILINE))
    package = ROOT / "chargen"
    there = {p.name + "/" * p.is_dir() for p in package.iterdir() if not p.name.startswith("__")}
    assert named == there - {"py.typed"}
    order = [ROOMS.index(name) for name in re.findall(r"^  (\w+)", tree, re.MULTILINE)]
    assert order == sorted(order)  # each line may import those below it
    tops = set(re.findall(r"^(\S+/)", tree, re.MULTILINE))
    for top in tops:
        assert (ROOT / top).is_dir()


def test_the_students_path_is_short() -> None:
    (path,) = re.findall(r"<!-- student's path -->(.*?)<!-- end -->", README, re.DOTALL)
    files = [ROOT / "chargen" / name for name in re.findall(r"`([\w/]+\.py)`", path)]
    assert len(files) > 15
    assert sum(len(file.read_text().splitlines()) for file in files) <= 3200
    index = (ROOT / "docs/index.md").read_text()
    assert all(str(file.relative_to(ROOT / "chargen")) in index for file in files)


def test_the_readmes_commands_run(prose: str, isolated: Path) -> None:
    """Each command is run as it stands, on a small text and budget."""
    (isolated / "shakespeare.txt").write_text(prose[:3000])
    commands = [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    assert len(commands) >= 3
    small = " --steps 3 --threads 1"
    for command in commands:
        quick = re.sub(r" --time \S+", "", command) + small if " train " in command else command
        path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
        finish(quick, shell=True, text=True, env={**os.environ, "PATH": path})


def test_the_example_suggests_five_endings(with_model: Path) -> None:
    program = ROOT / "examples/suggest.py"
    done = finish([sys.executable, program, "The value", "small"], text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("The value") for line in lines)


@pytest.mark.parametrize("program", ["suggest.py", "sample_onnx.py"])
def test_an_example_without_arguments_says_its_usage(program: str) -> None:
    done = run([sys.executable, ROOT / "examples" / program], text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"usage: python {program} ")


def test_every_example_of_the_help_names_a_real_option() -> None:
    from chargen.cli import app

    names = {command.name for command in app.registered_commands}
    assert names == {
        *("train", "sample", "repl", "info", "runs", "cells", "export"),
        *("models", "demo", "push", "pull", "eval", "compare", "score", "next", "heat", "doctor"),
        *("serve", "classify"),
    }
    for name in names:
        assert f"chargen {name}" in README


@pytest.mark.parametrize("kind", CELLS)
def test_the_page_of_the_cells_has_each_equation(kind: str) -> None:
    doc = inspect.getdoc(CELL_CLASSES[kind]) or ""
    head, rest = doc.split("::\n\n")
    equations, words = rest.split("\n\n", 1)
    shown = f"### {kind}\n\n{head}text\n{inspect.cleandoc(equations)}\n\n\n{words}"
    page = (ROOT / "docs/cells.md").read_text().replace("`", "")
    assert shown.replace("`", "") in page


def commands_of(page: str) -> list[list[str]]:
    """Return each chargen command of a page, as a list of words."""
    lines = [line for block in blocks("console", page) for line in block.splitlines()]
    commands = [
        re.split(r" (?:\||>|#) ", line[2:])[0] for line in lines if line.startswith("$ chargen ")
    ]
    return [shlex.split(command)[1:] for command in commands]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_option_of_the_pages_is_there(page: Path) -> None:
    from chargen.cli import app

    whole = typer.main.get_command(app)
    for words in commands_of(page.read_text()):
        command, rest = whole, words
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]  # type: ignore[attr-defined]
        known = {name for o in command.params for name in (*o.opts, *o.secondary_opts)}
        given = {word for word in rest if re.match("--?[a-z]", word)}
        assert given <= known | {"-h", "--help"}, (words, given - known)
        assert not hasattr(command, "commands") or not rest, words


def test_links_lead_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
