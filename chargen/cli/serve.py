"""Command ``chargen serve``: an HTTP server for OpenAI's clients, and a page to write on."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from chargen.cli import common
from chargen.server.settings import ServeConfig

if TYPE_CHECKING:
    from pathlib import Path

    from chargen.sampling.sampler import Sampler
    from chargen.server.library import Library, Load

BASE = "english"


def serve(
    config: ServeConfig,
    model: common.Model = None,
    device: common.Device = "auto",
    threads: common.Threads = None,
    int8: common.Int8 = False,
) -> None:
    """Serve models over HTTP, in the form of OpenAI's API, with a page to write on.

    Ctrl-C stops it; requests that run are finished before, within --grace.
    """
    common.check_machine(device, threads)
    _need_extra()
    from chargen.sampling.sampler import load
    from chargen.server.app import App
    from chargen.server.run import address, listen, server

    def read(path: Path) -> Sampler:
        return load(path, device=device, threads=threads, int8=int8)

    library = _library(config, model, read)
    listening = listen(config)
    app = App(config, library, common.warn)

    def started() -> None:
        gc.freeze()  # modules and the model stay: each full collection would look at them, 30 ms
        url = address(listening)
        common.warn(f"serving {library.default!r} at {url}; open it in a browser, or give clients")
        common.warn(f"the base URL {url}/v1; Ctrl-C stops it")

    server(config, app, library, started).run([listening])


def _need_extra() -> None:
    from importlib.util import find_spec

    from chargen.errors import ChargenError

    if not (find_spec("uvicorn") and find_spec("prometheus_client")):
        raise ChargenError("the server needs uvicorn; install it: pip install 'chargen[serve]'")


def _library(config: ServeConfig, model: str | None, load: Load) -> Library:
    """Return the models; the default is the one given, or the newest run's, or a base model."""
    from chargen.errors import CheckpointError
    from chargen.server.library import Library
    from chargen.storage.runs import find_model, model_name

    try:
        path = find_model(model)
    except CheckpointError:
        if model is not None:
            raise
        path = find_model(BASE)
    return Library(load, model_name(path), {model_name(path): path}, config, common.warn)
