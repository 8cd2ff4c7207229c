"""The handlers of Agent Server, by themselves and as the server calls them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.agent_server.grpc_service import Service
from tests.agent_server.server import needs_server

from .agent_server import NOTHING, OURS, SERVED, direct_calls, served

pytestmark = pytest.mark.filterwarnings("ignore:The Encryption API is in beta")


@pytest.fixture(scope="module", params=[OURS, NOTHING])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with served(request.param) as running:
        yield running


@pytest.mark.parametrize("name", SERVED)
def test_direct(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.group = f"handler: {name}"
    benchmark(direct_calls()[name])


@needs_server
@pytest.mark.parametrize("name", SERVED)
def test_over_grpc(benchmark: BenchmarkFixture, service: Service, name: str) -> None:
    benchmark.group = f"over gRPC: {name}"
    benchmark(SERVED[name](service))
