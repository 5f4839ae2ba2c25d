"""Hostile requests: always an error object or a closed connection, and nothing is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.serving import Server, serving

pytest.importorskip("uvicorn")
pytest.importorskip("schemathesis")
hostile = pytest.importorskip("benchmarks.hostile_requests", reason="not from a checkout")


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[Server]:
    with serving(trained, *hostile.OPTIONS) as server:
        yield server


def test_hostile_requests_are_refused_and_leave_nothing(server: Server) -> None:
    target = hostile.Target(server.port)
    hostile.fuzz(target, 300, seed=3)
    assert not target.wrong
    assert {"200", "400", "403", "404", "closed"} <= target.answers.keys()
    hostile.settle(target)
    assert server.metric("chargen_rows") == 0
    assert server.metric("chargen_requests_running") == 0
    assert server.complete(max_tokens=5).status == 200


@pytest.mark.filterwarnings("ignore")  # of schemathesis, not of ours
def test_requests_made_from_the_description_are_answered(server: Server) -> None:
    target = hostile.Target(server.port)
    hostile.by_schema(target, 24, seed=3)
    assert not target.wrong
    assert all(re.match("[2345]", status) for status in target.answers)
    assert target.answers.total() >= 24
