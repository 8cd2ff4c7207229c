"""Whole graph runs on three savers: no encryption, ours, langgraph's own. A group holds one saver and one graph."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .graphs import GRAPHS
from .places import Places, Setup
from .serializers import OURS, PLAINTEXT, SERIALIZERS, UPSTREAM_EAX


@pytest.mark.parametrize("serializer", [PLAINTEXT, OURS, UPSTREAM_EAX])
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kind", ["InMemory", "Sqlite", "Postgres"])
def test_run(benchmark: BenchmarkFixture, places: Places, kind: str, graph: str, serializer: str) -> None:
    benchmark.group = f"{kind}: {graph}"
    with places.saver(kind, Setup(serializer, serde=SERIALIZERS[serializer])) as saver:
        thread = benchmark(GRAPHS[graph].runner(saver))
        assert saver.get_tuple({"configurable": {"thread_id": thread}}) is not None
