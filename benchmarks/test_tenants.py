"""Values under a key per tenant, both ways, and the calls to the key service that they take."""

from __future__ import annotations

import pytest
from langgraph.store.memory import InMemoryStore
from pytest_benchmark.fixture import BenchmarkFixture

from encrypted_serde import EncryptedSerializer, encryption_context
from encrypted_serde.tenants.keyring import TenantKeyring

from .payloads import PAYLOADS
from .tenants import ACME, KEY_PROVIDERS, CountingWrapper, tenant_serializer


@pytest.mark.parametrize("provider", KEY_PROVIDERS)
@pytest.mark.parametrize("payload", ["an int", "a message", "10 messages"])
def test_dumps(benchmark: BenchmarkFixture, provider: str, payload: str) -> None:
    benchmark.group = f"tenants: dumps {payload}"
    with encryption_context(ACME):
        benchmark(tenant_serializer(provider).dumps_typed, PAYLOADS[payload]())


@pytest.mark.parametrize("provider", KEY_PROVIDERS)
@pytest.mark.parametrize("payload", ["an int", "a message", "10 messages"])
def test_loads(benchmark: BenchmarkFixture, provider: str, payload: str) -> None:
    benchmark.group = f"tenants: loads {payload}"
    with encryption_context(ACME):
        serde = tenant_serializer(provider)
        benchmark(serde.loads_typed, serde.dumps_typed(PAYLOADS[payload]()))


def test_100_000_values_of_one_tenant_take_one_call_to_the_key_service(benchmark: BenchmarkFixture) -> None:
    wrapper = CountingWrapper()
    serde = EncryptedSerializer(TenantKeyring(InMemoryStore(), wrapper))
    wrapper.calls.clear()

    def write() -> None:
        with encryption_context(ACME):
            for number in range(100_000):
                serde.dumps_typed(number)

    benchmark.pedantic(write, rounds=1)
    assert wrapper.calls == {"wrap": 1}
