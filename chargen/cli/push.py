"""``chargen push``: a model, its card and their checksums, to a folder or the Hugging Face hub."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from chargen.cli import common, side_by_side


def push(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run, its folder, a model file or a base model.")
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help="Folder, or hf:OWNER/NAME.")
    ],
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            "--license",
            help="Licence that the model card states, such as mit; default: that of a pulled card.",
        ),
    ] = None,
    with_text: Annotated[
        bool,
        typer.Option(
            "--with-text", help="Push the n-gram counts too, which hold the training text."
        ),
    ] = False,
    public: Annotated[
        bool,
        typer.Option("--public", help="Let everybody see a new model on the hub; else private."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there.")] = False,
    as_json: side_by_side.Json = False,
) -> None:
    """Share a model: write it with a model card and checksums to a folder or the hub."""
    from dataclasses import asdict

    from chargen.cli.console import waiting
    from chargen.sharing.push import push_model

    with waiting("pushing"):
        pushed = push_model(
            model,
            destination,
            licence=licence,
            with_text=with_text,
            public=public,
            force=force,
            tell=common.warn,
        )
    if as_json:
        print(json.dumps(asdict(pushed), indent=2))
        return
    print(pushed.destination)
    common.warn(f"sha256 of the model: {pushed.sha256}")
