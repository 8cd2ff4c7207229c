"""Every payload with every serializer, both ways. A group holds what a reader compares: one payload, one direction."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .payloads import PAYLOADS
from .serializers import SERIALIZERS


@pytest.fixture(params=PAYLOADS)
def payload(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """The name of a payload, and the payload."""
    return request.param, PAYLOADS[request.param]()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_dumps(benchmark: BenchmarkFixture, serializer: str, payload: tuple[str, Any]) -> None:
    name, value = payload
    benchmark.group = f"dumps {name}"
    benchmark(SERIALIZERS[serializer]().dumps_typed, value)


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_loads(benchmark: BenchmarkFixture, serializer: str, payload: tuple[str, Any]) -> None:
    name, value = payload
    benchmark.group = f"loads {name}"
    serde = SERIALIZERS[serializer]()
    loaded = benchmark(serde.loads_typed, serde.dumps_typed(value))
    assert type(loaded) is type(value)
