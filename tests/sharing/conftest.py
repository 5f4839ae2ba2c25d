"""Fixtures: a pushed model, a server for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chargen.sharing.push import push_model
from tests.sharing.servers import Web, serving


@pytest.fixture(scope="session")
def pushed_once(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pushed") / "small"
    push_model(str(trained / "small"), str(folder), licence="mit")
    return folder


@pytest.fixture
def pushed(pushed_once: Path, isolated: Path) -> Path:
    """The trained run as it is pushed by default, in ``pushed`` below the working directory."""
    folder = Path("pushed")
    folder.mkdir()
    for file in pushed_once.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server
