"""``chargen pull``: a shared model becomes a run."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

import typer

from chargen.cli import common, side_by_side


def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Pushed folder or its https:// address, a model file or its address, "
            "hf:OWNER/NAME or hf:OWNER/NAME@REVISION.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the run; default: that of the source.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Checksum that the model file must have.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run of the same name.")] = False,
    as_json: side_by_side.Json = False,
) -> None:
    """Fetch a shared model, verify it and make it a run."""
    from chargen.cli.console import download
    from chargen.model.saved import read_model
    from chargen.sharing.pull import pull_model
    from chargen.storage.checkpoint import MODEL

    with download(MODEL, None) as progress:
        path = pull_model(source, name, force=force, sha256=sha256, progress=progress)
    if as_json:
        saved = read_model(path)
        facts = {"run": saved.name, "file": str(path), "sha256": saved.sha256}
        print(json.dumps(facts, indent=2))
        return
    print(path)
    common.warn(f"generate with: chargen sample -m {shlex.quote(path.parent.name)}")
