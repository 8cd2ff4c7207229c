"""What 1000 tenants cost the key service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSerializer, encryption_context
from encrypted_serde.kms import KeyWrapper
from encrypted_serde.kms.per_tenant import PerTenantWrapper
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.services import CountingWrapper

TENANTS = [{"tenant_id": f"t{number}"} for number in range(1000)]


def common() -> tuple[KeyWrapper, list[CountingWrapper]]:
    wrapper = CountingWrapper()
    return wrapper, [wrapper]


def one_for_each() -> tuple[KeyWrapper, list[CountingWrapper]]:
    made: dict[str, CountingWrapper] = {context["tenant_id"]: CountingWrapper() for context in TENANTS}

    def choose(context: Mapping[str, str]) -> KeyWrapper:
        return made[context["tenant_id"]]

    return PerTenantWrapper(choose), [*made.values()]


def calls(wrappers: list[CountingWrapper]) -> Counter[str]:
    counted = sum((wrapper.calls for wrapper in wrappers), Counter[str]())
    for wrapper in wrappers:
        wrapper.calls.clear()
    return counted


@pytest.mark.parametrize(("kind", "first"), [(common, {"wrap": 1000}), (one_for_each, {"wrap": 1000, "unwrap": 1000})])
def test_a_cold_start_of_1000_tenants_takes_at_most_two_calls_for_each(kind: object, first: dict[str, int]) -> None:
    store = InMemoryStore()
    wrapper, wrappers = kind()  # type: ignore[operator]
    rows = {}
    for expected in (first, {"unwrap": 1000}):  # their first values; then another process, cold
        keys = TenantKeyring(store, wrapper)
        calls(wrappers)
        serde = EncryptedSerializer(keys, required_context=("tenant_id",))
        for context in TENANTS:
            with encryption_context(context):
                if row := rows.get(context["tenant_id"]):
                    assert serde.loads_typed(row) == context["tenant_id"]
                rows[context["tenant_id"]] = serde.dumps_typed(context["tenant_id"])
        assert calls(wrappers) == expected
