"""What every key service must do, over its real client: the contract of KeyWrapper, and what happens when calls fail."""

from __future__ import annotations

import os

import pytest
from langgraph.store.memory import InMemoryStore

from encrypted_serde import AuthenticationFailed, KeyServiceError
from encrypted_serde.kms import check_wrapper
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.kms.service import Service

SECRET = os.urandom(32)
ACME = {"tenant_id": "acme", "region": "Zürich \U0001f511"}


def test_a_wrapped_key_unwraps_in_its_own_context(service: Service) -> None:
    wrapper = service.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    assert SECRET not in wrapped
    assert wrapper.unwrap(wrapped, dict(reversed(ACME.items()))) == SECRET
    assert wrapper.unwrap(wrapper.wrap(SECRET, {}), {}) == SECRET


@pytest.mark.parametrize("wrong", [{}, {"tenant_id": "acme"}, {**ACME, "tenant_id": "globex"}, {**ACME, "more": "x"}])
def test_a_wrapped_key_is_refused_in_another_context(service: Service, wrong: dict[str, str]) -> None:
    wrapper = service.wrapper()
    with pytest.raises(AuthenticationFailed):
        wrapper.unwrap(wrapper.wrap(SECRET, ACME), wrong)


def test_a_wrapped_key_that_was_changed_is_refused(service: Service) -> None:
    wrapper = service.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    # Vault's are base64: a letter for a letter stays base64, an exclamation mark does not.
    letter = b"A" if wrapped[-6:-5] != b"A" else b"B"
    for changed in (letter, b"!"):
        with pytest.raises(AuthenticationFailed):
            wrapper.unwrap(wrapped[:-6] + changed + wrapped[-5:], ACME)


def test_a_wrapped_key_is_refused_under_another_key(service: Service) -> None:
    with pytest.raises((AuthenticationFailed, KeyServiceError)):
        service.wrapper("other").unwrap(service.wrapper().wrap(SECRET, ACME), ACME)


def test_the_trial_passes_with_a_good_key(service: Service) -> None:
    check_wrapper(service.wrapper())
    assert sum(service.faults.calls.values()) == getattr(service, "trial_calls", 3)


def test_a_wrong_key_id_fails_at_start_up(service: Service) -> None:
    with pytest.raises(KeyServiceError, match="no-such-key") as caught:
        TenantKeyring(InMemoryStore(), service.wrapper("no-such-key"))
    assert not caught.value.retryable


def test_a_disabled_key_is_named_and_a_retry_cannot_help(service: Service) -> None:
    wrapper = service.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    service.disable()
    for call in (lambda: wrapper.wrap(SECRET, ACME), lambda: wrapper.unwrap(wrapped, ACME)):
        with pytest.raises(KeyServiceError, match="a retry cannot help") as caught:
            call()
        assert not caught.value.retryable
        assert wrapper.name in str(caught.value)
        assert "acme" not in str(caught.value)


def test_a_throttled_call_is_repeated_and_succeeds(service: Service) -> None:
    wrapper = service.wrapper()
    service.faults.plan("throttle")
    wrapped = wrapper.wrap(SECRET, ACME)
    service.faults.plan("throttle")
    assert wrapper.unwrap(wrapped, ACME) == SECRET
    assert sum(service.faults.calls.values()) == 4


@pytest.mark.parametrize("fault", ["throttle", "down"])
def test_a_service_that_stays_busy_or_down_gives_a_retryable_error(service: Service, fault: str) -> None:
    service.faults.plan(fault, 40)
    with pytest.raises(KeyServiceError, match="a retry may help") as caught:
        service.wrapper().wrap(SECRET, ACME)
    assert caught.value.retryable


def test_a_service_that_does_not_answer_is_given_up(service: Service) -> None:
    service.faults.plan("hang", 40)
    with pytest.raises(KeyServiceError, match="a retry may help") as caught:
        service.wrapper().wrap(SECRET, ACME)
    assert caught.value.retryable


def test_an_answer_that_makes_no_sense_is_an_error_of_the_service(service: Service) -> None:
    wrapper = service.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    service.faults.plan("garbage", 40)
    with pytest.raises(KeyServiceError):
        wrapper.wrap(SECRET, ACME)
    with pytest.raises(KeyServiceError):
        wrapper.unwrap(wrapped, ACME)


def test_a_tenant_keyring_works_on_it_from_the_first_key_to_the_last(service: Service) -> None:
    store = InMemoryStore()
    keyring = TenantKeyring(store, service.wrapper())
    first = keyring.encryption_key(ACME)
    keyring.rotate(ACME)
    second = keyring.encryption_key(ACME)
    assert first != second
    moved = TenantKeyring(store, service.wrapper("other"), unwrap_only=[service.wrapper()])
    assert moved.rewrap() == 2
    service.disable()
    cold = TenantKeyring(store, service.wrapper("other"))
    assert cold.decryption_key(first.id, ACME) == first
    assert cold.encryption_key(ACME) == second
