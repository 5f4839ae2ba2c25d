"""The ``chargen`` command. Each module holds one subcommand: parse, call, show.

Heavy imports (torch, numpy, rich) stand inside the commands' bodies, so that help is instant.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from chargen import __version__
from chargen.cli import common
from chargen.cli.cells import cells
from chargen.cli.classify import classify
from chargen.cli.compare import compare
from chargen.cli.corpus import corpus
from chargen.cli.demo import demo
from chargen.cli.doctor import doctor
from chargen.cli.eval import evaluate
from chargen.cli.export import export
from chargen.cli.heat import heat
from chargen.cli.info import info
from chargen.cli.inspect import inspect
from chargen.cli.models import models
from chargen.cli.next import next_characters
from chargen.cli.pull import pull
from chargen.cli.push import push
from chargen.cli.repl import repl
from chargen.cli.runs import runs
from chargen.cli.sample import sample
from chargen.cli.score import score
from chargen.cli.serve import serve
from chargen.cli.train import train
from chargen.display.output import leave_closed_pipe, prepare_streams
from chargen.errors import ClosedPipeError, OutputError

app = typer.Typer(
    name="chargen",
    help="Learn a text with a recurrent network and generate text in its voice.",
    epilog="Example:  chargen train my.txt --time 5m  then  chargen sample --temp 0.8",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command, example in (
    (train, "chargen train my.txt --time 5m"),
    (sample, 'chargen sample --temp 0.7 -p "Once upon"'),
    (repl, "chargen repl -m my-2026-11-21"),
    (evaluate, "chargen eval my.txt --json"),
    (score, "chargen score --per-line my.txt | head"),
    (classify, "chargen classify -m letters new.csv"),
    (next_characters, 'chargen next -p "the que"'),
    (heat, "chargen heat my.txt --html my.html"),
    (info, "chargen info --json"),
    (runs, "chargen runs"),
    (models, "chargen models english"),
    (demo, 'chargen demo "The sea was calm that morning."'),
    (push, "chargen push my-2026-11-21 shared --licence mit"),
    (pull, "chargen pull https://example.org/models/shakespeare"),
    (compare, "chargen compare lstm gru --plot curves.png"),
    (cells, "chargen cells | less"),
    (doctor, "chargen doctor --json"),
    (serve, "chargen serve -m english --port 8000"),
    (export, "chargen export --html model.html"),
):
    app.command(example.split()[1], epilog=f"Example:  {example}")(common.reported(command))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"chargen {__version__}")
        raise typer.Exit


app.add_typer(corpus, name="corpus")
app.add_typer(inspect, name="inspect")


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    common.debug = debug


def main() -> None:
    """Run the command line; help and version may find stdout full or closed as well."""
    prepare_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OutputError as error:
        leave_closed_pipe()  # what is still in the buffer cannot be written
        if isinstance(error, ClosedPipeError):
            sys.exit(common.CLOSED_PIPE)
        print(f"chargen: {error}", file=sys.stderr)
        sys.exit(1)
