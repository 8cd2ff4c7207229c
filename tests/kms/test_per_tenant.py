"""A key of the key service for every tenant: each of the real services, one tenant's key disabled, and keys that change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerializer,
    Key,
    KeyServiceError,
    encryption_context,
)
from encrypted_serde.kms import KeyWrapper, check_wrapper
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.kms.per_tenant import PerTenantWrapper
from encrypted_serde.tenants.keyring import CacheLimits, TenantKeyring
from tests.kms.service import Service
from tests.tenants.conftest import Clock, clock  # noqa: F401
from tests.tenants.services import CountingWrapper

SECRET = os.urandom(32)
ACME, GLOBEX, UMBRELLA = ({"tenant_id": name} for name in ("acme", "globex", "umbrella"))
OWN = {"acme": "tenants", "globex": "other"}
"""Tenant -> key of the service."""


def of_service(service: Service, **options: Any) -> PerTenantWrapper:
    wrappers = {name: service.wrapper(key) for name, key in OWN.items()}
    return PerTenantWrapper(lambda context: wrappers[context["tenant_id"]], **options)


@pytest.fixture
def local() -> dict[str, CountingWrapper]:
    return {"acme": CountingWrapper(), "globex": CountingWrapper()}


def choosing(wrappers: Mapping[str, KeyWrapper]) -> PerTenantWrapper:
    return PerTenantWrapper(lambda context: wrappers[context["tenant_id"]])


def test_every_tenants_key_is_wrapped_by_the_key_of_that_tenant(service: Service) -> None:
    wrapper = of_service(service)
    for context in (ACME, GLOBEX):
        wrapped = wrapper.wrap(SECRET, context)
        name = service.wrapper(OWN[context["tenant_id"]]).name.encode()
        assert wrapped[2 : 2 + len(name)] == name
        assert wrapper.unwrap(wrapped, context) == SECRET


def test_a_tenant_whose_key_is_disabled_is_unreadable_within_one_cache_age_and_no_other_is(
    service: Service,
    clock: Clock,  # noqa: F811
) -> None:
    keys = TenantKeyring(InMemoryStore(), of_service(service), limits=CacheLimits(age=60))
    serde = EncryptedSerializer(keys, required_context=("tenant_id",))
    rows = {}
    for context in (ACME, GLOBEX):
        with encryption_context(context):
            rows[context["tenant_id"]] = serde.dumps_typed("secret")
    service.disable("tenants")
    clock.now += 60
    with encryption_context(GLOBEX):
        assert serde.loads_typed(rows["globex"]) == "secret"
        serde.dumps_typed("more")
    with encryption_context(ACME):
        for call in (lambda: serde.loads_typed(rows["acme"]), lambda: serde.dumps_typed("more")):
            with pytest.raises(KeyServiceError) as caught:
                call()
            assert service.wrapper("tenants").name in str(caught.value)
            assert not caught.value.retryable


def test_the_start_up_check_needs_no_default_key_and_tries_the_trial_contexts(service: Service) -> None:
    check_wrapper(of_service(service))
    assert sum(service.faults.calls.values()) == 0
    check_wrapper(of_service(service, trial=[ACME, GLOBEX, ACME]))
    assert sum(service.faults.calls.values()) == 2 * getattr(service, "trial_calls", 3)
    with pytest.raises(ConfigurationError, match="no key for this context"):
        TenantKeyring(InMemoryStore(), of_service(service, trial=[UMBRELLA]))


def test_a_key_that_was_not_tried_is_tried_once_at_its_first_use(local: dict[str, CountingWrapper]) -> None:
    keys = TenantKeyring(InMemoryStore(), choosing(local))
    keys.encryption_key(ACME)
    assert local["acme"].calls == {"wrap": 1, "unwrap": 1}
    keys.rotate(ACME)
    assert local["acme"].calls == {"wrap": 2, "unwrap": 1}
    assert local["globex"].total == 0


def test_a_key_that_does_not_authenticate_the_context_wraps_nothing() -> None:
    class Careless(LocalKeyWrapper):
        def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
            return super().wrap(secret, {})

        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            return super().unwrap(wrapped, {})

    careless = Careless(Key.generate())
    with pytest.raises(KeyServiceError, match="authenticates associated data"):
        PerTenantWrapper(lambda context: careless).wrap(SECRET, ACME)


@pytest.mark.parametrize("choice", [None, [], 7, "an id", b"x", LookupError])
def test_a_tenant_without_a_key_writes_nothing_and_the_error_names_no_tenant(choice: Any) -> None:
    def choose(context: Mapping[str, str]) -> Any:
        if choice is LookupError:
            raise KeyError(context["tenant_id"])
        return choice

    wrapper = PerTenantWrapper(choose)
    for call in (lambda: wrapper.wrap(SECRET, UMBRELLA), lambda: wrapper.unwrap(b"\0\1a" + bytes(93), UMBRELLA)):
        with pytest.raises(KeyServiceError) as caught:
            call()
        assert not caught.value.retryable
        assert "umbrella" not in str(caught.value)


def test_a_key_that_cannot_be_used_is_never_a_value_error() -> None:
    def choose(context: Mapping[str, str]) -> KeyWrapper:
        raise ConfigurationError("no such kind of key")

    with pytest.raises(KeyServiceError) as caught:
        PerTenantWrapper(choose).unwrap(b"\0\1a" + bytes(93), ACME)
    assert not isinstance(caught.value, ValueError)


def test_a_wrapped_key_of_one_tenant_does_not_unwrap_for_another(local: dict[str, CountingWrapper]) -> None:
    wrapped = choosing(local).wrap(SECRET, ACME)
    with pytest.raises(KeyServiceError, match="choose gave"):
        choosing(local).unwrap(wrapped, GLOBEX)
    with pytest.raises(AuthenticationFailed):
        PerTenantWrapper(lambda context: local["acme"]).unwrap(wrapped, GLOBEX)


def test_the_key_store_cannot_choose_the_key_of_the_service(local: dict[str, CountingWrapper]) -> None:
    # Whoever writes to the key store wraps a data key that they know under a key of the service that they control.
    theirs = LocalKeyWrapper(Key.generate())
    planted = PerTenantWrapper(lambda context: theirs).wrap(SECRET, ACME)
    with pytest.raises(KeyServiceError, match=r"wrapped by 'local:.* and choose gave"):
        choosing(local).unwrap(planted, ACME)


@pytest.mark.parametrize("wrapped", [b"", b"\0", b"\0\0", b"\0\5abc", b"\0\3abc"])
def test_a_wrapped_key_that_is_cut_is_refused(local: dict[str, CountingWrapper], wrapped: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        choosing(local).unwrap(wrapped, ACME)


def test_a_tenant_moves_to_a_new_key_of_its_own_and_then_needs_the_old_one_no_more(local: dict[str, CountingWrapper]) -> None:
    store, new = InMemoryStore(), CountingWrapper()
    key = TenantKeyring(store, choosing(local)).encryption_key(ACME)
    both = TenantKeyring(store, PerTenantWrapper(lambda context: (new, local["acme"])))
    assert both.encryption_key(ACME) == key
    assert both.rewrap() == 1
    assert TenantKeyring(store, PerTenantWrapper(lambda context: new)).encryption_key(ACME) == key


def test_keys_of_one_wrapper_for_all_move_to_a_key_for_each(local: dict[str, CountingWrapper]) -> None:
    store, common = InMemoryStore(), CountingWrapper()
    key = TenantKeyring(store, common).encryption_key(ACME)
    assert TenantKeyring(store, choosing(local), unwrap_only=[common]).rewrap() == 1
    assert TenantKeyring(store, choosing(local)).encryption_key(ACME) == key


@pytest.mark.parametrize("arguments", [{"choose": "acme"}, {"choose": {"acme": None}}])
def test_arguments_that_are_no_functions_are_refused(arguments: Any) -> None:
    with pytest.raises(TypeError):
        PerTenantWrapper(**arguments)
