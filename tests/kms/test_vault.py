"""What is peculiar to Vault transit: key types, policies, and answers that hvac hands on as they are."""

from __future__ import annotations

import os

import hvac
import pytest

from encrypted_serde import ConfigurationError, KeyServiceError
from encrypted_serde.kms import check_wrapper
from encrypted_serde.kms.vault import VaultKeyWrapper
from tests.kms.vault_service import VaultService

SECRET = os.urandom(32)
ACME = {"tenant_id": "acme"}


def test_a_key_type_that_ignores_associated_data_fails_at_start_up(vault: VaultService) -> None:
    with pytest.raises(ConfigurationError, match="wrong context"):
        check_wrapper(vault.wrapper("rsa"))


@pytest.mark.parametrize("fault", ["empty", "no data", "wrong type", "bad base64", "other text", "garbage error"])
def test_an_answer_of_the_wrong_shape_is_an_error_of_the_service(vault: VaultService, fault: str) -> None:
    wrapper = vault.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    vault.faults.plan(fault, 3)
    with pytest.raises(KeyServiceError):
        wrapper.unwrap(wrapped, ACME)
    if fault != "bad base64":  # a wrapped key is not base64, so nothing is wrong with it there
        vault.faults.plan(fault, 3)
        with pytest.raises(KeyServiceError):
            wrapper.wrap(SECRET, ACME)


def test_a_missing_permission_is_named_and_a_retry_cannot_help(vault: VaultService) -> None:
    vault.client.token = "revoked"
    with pytest.raises(KeyServiceError, match="Forbidden") as caught:
        vault.wrapper().wrap(SECRET, ACME)
    assert not caught.value.retryable


def test_a_call_that_cannot_succeed_is_made_once(vault: VaultService) -> None:
    vault.disable()
    with pytest.raises(KeyServiceError):
        vault.wrapper().wrap(SECRET, ACME)
    assert vault.faults.calls["encrypt"] == 1


def test_arguments_are_checked(vault: VaultService) -> None:
    with pytest.raises(TypeError):
        VaultKeyWrapper("tenants", client=hvac)
    with pytest.raises(ConfigurationError):
        VaultKeyWrapper("", client=vault.client)
