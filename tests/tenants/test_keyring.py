"""TenantKeyring: keys per tenant, their cache and its limits, rotation, erasure, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import pytest
from langgraph.store.memory import InMemoryStore

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerializer,
    Key,
    KeyErased,
    KeyProvider,
    KeyServiceError,
    UnknownKey,
    encryption_context,
)
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import CacheLimits, TenantKeyring
from tests.tenants.conftest import Clock
from tests.tenants.services import CountingWrapper

ACME = MappingProxyType({"tenant_id": "acme"})
GLOBEX = MappingProxyType({"tenant_id": "globex"})


def same_store(keyring: TenantKeyring, wrapper: LocalKeyWrapper) -> TenantKeyring:
    """What another process would have: the same store, an empty cache."""
    return TenantKeyring(keyring._store.base, wrapper)


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_every_tenant_has_a_key_of_its_own(keyring: TenantKeyring) -> None:
    assert isinstance(keyring, KeyProvider)
    acme, globex, nobody = (keyring.encryption_key(context) for context in (ACME, GLOBEX, {}))
    assert len({acme, globex, nobody}) == 3
    assert keyring.encryption_key(ACME) is acme
    assert keyring.decryption_key(acme.id, ACME) is acme
    with pytest.raises(UnknownKey):
        keyring.decryption_key(acme.id, GLOBEX)


def test_a_key_is_in_the_store_before_it_is_used(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    key = keyring.encryption_key(ACME)
    assert same_store(keyring, wrapper).decryption_key(key.id, ACME) == key


def test_the_key_store_holds_no_secret(keyring: TenantKeyring) -> None:
    key = keyring.encryption_key(ACME)
    [item] = keyring._store.base.search(("encrypted_serde_keys",))
    assert key.to_text()[5:48] not in repr(item.value)
    assert "acme" not in "".join(item.namespace)


def test_the_order_of_a_context_makes_no_difference(keyring: TenantKeyring) -> None:
    assert keyring.encryption_key({"a": "1", "b": "2"}) is keyring.encryption_key({"b": "2", "a": "1"})


def test_keys_from_before_tenants_are_read_and_never_written(wrapper: CountingWrapper, key: Key) -> None:
    keyring = TenantKeyring(InMemoryStore(), wrapper, decrypt_only=[key])
    assert keyring.decryption_key(key.id, {}) is key
    assert keyring.encryption_key({}) != key


def test_rotation_gives_a_new_key_and_keeps_the_old_one(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    old, other = keyring.encryption_key(ACME), keyring.encryption_key(GLOBEX)
    new_id = keyring.rotate(ACME)
    assert keyring.encryption_key(ACME).id == new_id != old.id
    assert keyring.decryption_key(old.id, ACME) == old
    assert keyring.encryption_key(GLOBEX) is other
    assert same_store(keyring, wrapper).encryption_key(ACME).id == new_id


def test_a_tenant_may_be_rotated_before_it_was_ever_used(keyring: TenantKeyring) -> None:
    assert keyring.rotate(ACME) == keyring.encryption_key(ACME).id


# --- erasure ------------------------------------------------------------------------------------------------------------


def test_erasing_a_tenant_destroys_all_its_keys_and_nobody_elses(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    first = keyring.encryption_key(ACME)
    keyring.rotate(ACME)
    second, other = keyring.encryption_key(ACME), keyring.encryption_key(GLOBEX)
    assert len(keyring.erase(ACME).key_ids) == 2
    for ring in (keyring, same_store(keyring, wrapper)):
        for key in (first, second):
            with pytest.raises(KeyErased) as caught:
                ring.decryption_key(key.id, ACME)
            assert caught.value.key_id == key.id
        assert ring.decryption_key(other.id, GLOBEX) == other
        with pytest.raises(UnknownKey):
            ring.decryption_key(Key.generate().id, ACME)


def test_an_erased_tenant_starts_anew_with_a_key_of_its_own(keyring: TenantKeyring) -> None:
    old = keyring.encryption_key(ACME)
    keyring.erase(ACME)
    new = keyring.encryption_key(ACME)
    assert new != old
    assert keyring.decryption_key(new.id, ACME) is new
    with pytest.raises(KeyErased):
        keyring.decryption_key(old.id, ACME)


def test_erasing_twice_says_that_nothing_was_left_to_destroy(keyring: TenantKeyring) -> None:
    keyring.encryption_key(ACME)
    first, second = keyring.erase(ACME), keyring.erase(ACME)
    assert [len(first.key_ids), len(second.key_ids)] == [1, 0]
    assert second.tombstones == first.key_ids


def test_erasing_a_context_that_never_had_a_key_is_refused(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    keyring.encryption_key(ACME)
    for ring, context in ((keyring, {"tenant_id": "acne"}), (TenantKeyring(InMemoryStore(), wrapper), ACME)):
        with pytest.raises(ConfigurationError, match="never had a key") as caught:
            ring.erase(context)
        assert "acne" not in str(caught.value)


@pytest.mark.parametrize("generation", [2, 7, 1 << 62])
def test_an_erased_key_does_not_come_back_past_its_tombstone_by_another_generation(
    keyring: TenantKeyring, wrapper: CountingWrapper, generation: int
) -> None:
    store = keyring._store.base
    key = keyring.encryption_key(ACME)
    [item] = store.search(("encrypted_serde_keys",))
    keyring.erase(ACME)
    store.put(item.namespace, item.key, {**item.value, "generation": generation})
    ring = same_store(keyring, wrapper)
    with pytest.raises(KeyErased):
        ring.decryption_key(key.id, ACME)
    assert ring.encryption_key(ACME) != key


def test_a_key_whose_generation_was_changed_is_refused(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    store = keyring._store.base
    old = keyring.encryption_key(ACME)
    [item] = store.search(("encrypted_serde_keys",))
    new_id = keyring.rotate(ACME)
    store.put(item.namespace, item.key, {**item.value, "generation": 3})  # the old key would be written with again
    ring = same_store(keyring, wrapper)
    for call in (lambda: ring.encryption_key(ACME), lambda: ring.decryption_key(old.id, ACME)):
        with pytest.raises(KeyServiceError, match="generation") as caught:
            call()
        assert not caught.value.retryable
    assert ring.decryption_key(new_id, ACME).id == new_id


def test_a_key_that_a_backup_brings_back_is_void(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    store = keyring._store.base
    key = keyring.encryption_key(ACME)
    [item] = store.search(("encrypted_serde_keys",))
    keyring.erase(ACME)
    store.put(item.namespace, item.key, item.value)
    with pytest.raises(KeyErased):
        same_store(keyring, wrapper).decryption_key(key.id, ACME)
    assert same_store(keyring, wrapper).encryption_key(ACME) != key
    assert len(keyring.erase(ACME).key_ids) == 2
    assert not [left for left in store.search(item.namespace) if left.key.startswith("key-")]


def test_another_process_goes_on_until_its_cache_ages_out(
    keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock
) -> None:
    key = keyring.encryption_key(ACME)
    other = same_store(keyring, wrapper)
    assert other.encryption_key(ACME) == key
    keyring.erase(ACME)
    assert other.encryption_key(ACME) == key
    clock.now += CacheLimits().age
    assert other.encryption_key(ACME) != key
    with pytest.raises(KeyErased):
        other.decryption_key(key.id, ACME)


# --- moving to another key service ------------------------------------------------------------------------------------------


def test_rewrapping_moves_every_key_and_changes_none(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    acme = keyring.encryption_key(ACME)
    keyring.rotate(ACME)
    keys = [acme, keyring.encryption_key(ACME)]
    keyring.encryption_key(GLOBEX)
    new = LocalKeyWrapper(Key.generate())
    store = keyring._store.base
    with pytest.raises(KeyServiceError, match="was not given"):
        TenantKeyring(store, new).encryption_key(ACME)
    assert TenantKeyring(store, new, unwrap_only=[wrapper]).rewrap() == 3
    moved = TenantKeyring(store, new)
    assert [moved.decryption_key(key.id, ACME) for key in keys] == keys
    assert moved.encryption_key(ACME) == keys[1]
    with pytest.raises(KeyServiceError, match="was not given"):
        same_store(keyring, wrapper).encryption_key(GLOBEX)


def test_rewrapping_reaches_more_tenants_than_fit_a_page(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    keys = {number: keyring.encryption_key({"tenant_id": str(number)}) for number in range(230)}
    new = LocalKeyWrapper(Key.generate())
    store = keyring._store.base
    assert TenantKeyring(store, new, unwrap_only=[wrapper]).rewrap() == 230
    moved = TenantKeyring(store, new)
    assert all(moved.encryption_key({"tenant_id": str(number)}) == key for number, key in keys.items())


def test_a_new_wrapping_that_does_not_unwrap_never_replaces_the_old_one(
    keyring: TenantKeyring, wrapper: CountingWrapper
) -> None:
    class Forgetful(LocalKeyWrapper):
        broken = False

        def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
            return super().wrap(bytes(32) if self.broken else secret, context)

    key = keyring.encryption_key(ACME)
    new = Forgetful(Key.generate())
    moving = TenantKeyring(keyring._store.base, new, unwrap_only=[wrapper])
    new.broken = True
    with pytest.raises(KeyServiceError):
        moving.rewrap()
    assert same_store(keyring, wrapper).encryption_key(ACME) == key


def test_a_key_that_is_erased_while_it_is_rewrapped_stays_erased(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    class Slow(LocalKeyWrapper):
        erase = False

        def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
            if self.erase:
                keyring.erase(ACME)
            return super().wrap(secret, context)

    key = keyring.encryption_key(ACME)
    new = Slow(Key.generate())
    moving = TenantKeyring(keyring._store.base, new, unwrap_only=[wrapper])
    new.erase = True
    assert moving.rewrap() == 0
    with pytest.raises(KeyErased):
        moving.decryption_key(key.id, ACME)


# --- the cache --------------------------------------------------------------------------------------------------------------


def test_100_000_values_of_one_tenant_take_one_call_to_the_key_service(
    keyring: TenantKeyring, wrapper: CountingWrapper
) -> None:
    with encryption_context(tenant_id="acme"):
        serde = EncryptedSerializer(keyring)
        sealed = [serde.dumps_typed(number) for number in range(100_000)]
        assert all(serde.loads_typed(value) == number for number, value in enumerate(sealed))
    assert wrapper.total == 1


def test_many_threads_that_need_a_tenant_at_once_fetch_it_once(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    barrier = threading.Barrier(16)

    def one(_: int) -> Key:
        barrier.wait()
        return keyring.encryption_key(dict(ACME))

    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(one, range(16)))
    assert len(keys) == 1
    assert wrapper.calls == {"wrap": 1}


def test_a_key_is_unwrapped_again_when_its_age_is_over(keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock) -> None:
    key = keyring.encryption_key(ACME)
    wrapper.calls.clear()
    clock.now += CacheLimits().age
    assert keyring.encryption_key(ACME) == key
    assert keyring.decryption_key(key.id, ACME) == key
    assert wrapper.calls == {"unwrap": 1}


def wait_for_refresh() -> None:
    for thread in threading.enumerate():
        if thread.name == "encrypted-serde-keys":
            thread.join()


def test_no_more_tenants_are_kept_than_the_limit_says(wrapper: CountingWrapper) -> None:
    keyring = TenantKeyring(InMemoryStore(), wrapper, limits=CacheLimits(tenants=2))
    contexts = [MappingProxyType({"tenant_id": name}) for name in "abc"]
    keys = [keyring.encryption_key(context) for context in contexts]
    wrapper.calls.clear()
    assert keyring.encryption_key(contexts[2]) == keys[2]
    assert keyring.encryption_key(contexts[1]) == keys[1]
    assert wrapper.total == 0
    assert keyring.encryption_key(contexts[0]) == keys[0]
    assert wrapper.calls == {"unwrap": 1}
    assert len(keyring._cache._tenants) == 2


def test_a_tenant_in_use_is_fetched_ahead_of_time(keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock) -> None:
    key = keyring.encryption_key(ACME)
    wrapper.calls.clear()
    for _ in range(20):  # five cache ages, in steps of a quarter
        clock.now += CacheLimits().age / 4
        assert keyring.encryption_key(ACME) == key
        assert keyring.decryption_key(key.id, ACME) == key
        wait_for_refresh()
    assert 4 <= wrapper.calls["unwrap"] <= 7


def test_a_change_made_elsewhere_is_seen_when_the_tenant_is_fetched_ahead_of_time(
    keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock
) -> None:
    keyring.encryption_key(ACME)
    new_id = same_store(keyring, wrapper).rotate(ACME)
    clock.now += CacheLimits().age * 3 / 4
    keyring.encryption_key(ACME)
    wait_for_refresh()
    assert keyring.encryption_key(ACME).id == new_id


def test_fetching_ahead_of_time_makes_no_key_for_an_erased_tenant(
    keyring: TenantKeyring, wrapper: CountingWrapper, clock: Clock
) -> None:
    key = keyring.encryption_key(ACME)
    same_store(keyring, wrapper).erase(ACME)
    wrapper.calls.clear()
    clock.now += CacheLimits().age * 3 / 4
    keyring.decryption_key(key.id, ACME)
    wait_for_refresh()
    with pytest.raises(KeyErased):
        keyring.decryption_key(key.id, ACME)
    assert wrapper.calls["wrap"] == 0


def test_a_mapping_that_its_owner_changes_never_gives_another_tenants_key(keyring: TenantKeyring) -> None:
    context = {"tenant_id": "acme"}
    acme = keyring.encryption_key(context)
    context["tenant_id"] = "globex"
    globex = keyring.encryption_key(context)
    assert acme != globex
    with pytest.raises(UnknownKey):
        keyring.decryption_key(acme.id, context)


def test_what_was_erased_or_rotated_here_is_forgotten_here_at_once(keyring: TenantKeyring) -> None:
    with encryption_context(ACME):
        serde = EncryptedSerializer(keyring)
        sealed = serde.dumps_typed("secret")
        assert serde.loads_typed(sealed) == "secret"
        keyring.erase(ACME)
        with pytest.raises(KeyErased):
            serde.loads_typed(sealed)
        assert serde.loads_typed(serde.dumps_typed("anew")) == "anew"


def test_a_key_that_another_process_added_is_found(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    old = keyring.encryption_key(ACME)
    other = same_store(keyring, wrapper)
    other.rotate(ACME)
    new = other.encryption_key(ACME)
    wrapper.calls.clear()
    assert keyring.decryption_key(new.id, ACME) == new
    assert keyring.decryption_key(old.id, ACME) is old
    assert wrapper.calls == {"unwrap": 1}


@pytest.mark.parametrize("limits", [{"age": 0}, {"tenants": 0}, {"age": -1.0}])
def test_a_limit_that_is_not_positive_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        CacheLimits(**limits)  # type: ignore[arg-type]


# --- what is refused --------------------------------------------------------------------------------------------------------


def tampered(keyring: TenantKeyring, **changes: object) -> None:
    [item] = keyring._store.base.search(("encrypted_serde_keys",))
    keyring._store.base.put(item.namespace, item.key, {**item.value, **changes})


def test_a_wrapped_key_under_the_id_of_another_one_is_refused(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    store = keyring._store.base
    key = keyring.encryption_key(ACME)
    [item] = store.search(("encrypted_serde_keys",))
    other = Key.generate()
    store.put(item.namespace, f"key-{other.id.hex()}", item.value)
    store.delete(item.namespace, item.key)
    ring = same_store(keyring, wrapper)
    for call in (lambda: ring.encryption_key(ACME), lambda: ring.decryption_key(other.id, ACME)):
        with pytest.raises(KeyServiceError, match="something else") as caught:
            call()
        assert not caught.value.retryable
    with pytest.raises(UnknownKey):
        ring.decryption_key(key.id, ACME)


def test_a_wrapped_key_of_another_tenant_is_refused(keyring: TenantKeyring, wrapper: CountingWrapper) -> None:
    store = keyring._store.base
    keyring.encryption_key(ACME)
    [acme] = store.search(("encrypted_serde_keys",))
    keyring.encryption_key(GLOBEX)
    [globex] = [item for item in store.search(("encrypted_serde_keys",)) if item.namespace != acme.namespace]
    store.put(globex.namespace, acme.key, acme.value)
    with pytest.raises(KeyServiceError, match="another context"):
        same_store(keyring, wrapper).encryption_key(GLOBEX)
    store.put(globex.namespace, acme.key, {**acme.value, "context": dict(GLOBEX), "generation": 2})
    with pytest.raises(AuthenticationFailed):
        same_store(keyring, wrapper).encryption_key(GLOBEX)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"generation": 0},
        {"generation": "1"},
        {"wrapped": "no base64"},
        {"wrapped": None},
        {"wrapper": None},
        {"context": None},
        {"context": {"tenant_id": 7}},
    ],
)
def test_an_item_that_is_no_key_is_an_error_and_never_a_lookup_or_value_error(
    keyring: TenantKeyring, wrapper: CountingWrapper, changes: dict[str, object]
) -> None:
    key = keyring.encryption_key(ACME)
    tampered(keyring, **changes)
    with pytest.raises(KeyServiceError) as caught:
        same_store(keyring, wrapper).decryption_key(key.id, ACME)
    assert not isinstance(caught.value, (LookupError, ValueError))
    assert not caught.value.retryable


def test_arguments_of_the_wrong_type_are_refused(wrapper: CountingWrapper, key: Key) -> None:
    store = InMemoryStore()
    for arguments in (({}, wrapper), (store, key)):
        with pytest.raises(TypeError):
            TenantKeyring(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        TenantKeyring(store, wrapper, unwrap_only=[key])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        TenantKeyring(store, wrapper, decrypt_only=[b"raw"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        TenantKeyring(store, wrapper).encryption_key({"tenant_id": 1})  # type: ignore[dict-item]
