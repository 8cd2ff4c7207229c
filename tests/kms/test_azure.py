"""What is peculiar to Azure Key Vault: RSA wraps without a context, and whoever has the public key can wrap."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from encrypted_serde import AuthenticationFailed, ConfigurationError, Key, KeyServiceError, LocalKeyWrapper
from encrypted_serde.core.encoding import lp
from encrypted_serde.kms.azure import AzureKeyWrapper
from tests.kms.azure_service import AzureService

SECRET = os.urandom(32)
ACME, GLOBEX = {"tenant_id": "acme"}, {"tenant_id": "globex"}


def fields(wrapped: bytes) -> tuple[bytes, bytes, bytes]:
    """By RSA, signature, encrypted data key."""
    first = 3 + int.from_bytes(wrapped[1:3], "big")
    second = first + 2 + int.from_bytes(wrapped[first : first + 2], "big")
    return wrapped[3:first], wrapped[first + 2 : second], wrapped[second:]


def test_somebody_with_the_public_key_alone_cannot_introduce_a_data_key(azure: AzureService) -> None:
    wrapper = azure.wrapper()
    _, signature, _ = fields(wrapper.wrap(SECRET, ACME))
    known, fresh = os.urandom(32), os.urandom(32)
    public = azure.keys["tenants"].public_key()
    by_rsa = public.encrypt(fresh, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    inner = LocalKeyWrapper(Key.from_bytes(fresh)).wrap(known, ACME)
    with pytest.raises(AuthenticationFailed):
        wrapper.unwrap(b"\x01" + lp(by_rsa) + lp(signature) + inner, ACME)


def test_parts_of_two_wrapped_keys_do_not_mix(azure: AzureService) -> None:
    wrapper = azure.wrapper()
    one, other = fields(wrapper.wrap(SECRET, ACME)), fields(wrapper.wrap(os.urandom(32), ACME))
    for place in range(3):
        mixed = [*one]
        mixed[place] = other[place]
        with pytest.raises(AuthenticationFailed):
            wrapper.unwrap(b"\x01" + lp(mixed[0]) + lp(mixed[1]) + mixed[2], ACME)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 100, 259, 300, 518, 600])
def test_a_wrapped_key_that_was_cut_is_refused(azure: AzureService, cut: int) -> None:
    wrapper = azure.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    for changed in (wrapped[:cut], b"\x02" + wrapped[1:]):
        with pytest.raises(AuthenticationFailed):
            wrapper.unwrap(changed, ACME)


def test_the_context_is_bound_twice(azure: AzureService) -> None:
    wrapper = azure.wrapper()
    by_rsa, _, inner = fields(wrapper.wrap(SECRET, ACME))
    digest = wrapper._digest(GLOBEX, by_rsa, inner)  # even somebody who may sign does not move it
    signature = wrapper._client.sign("PS256", digest).signature
    with pytest.raises(AuthenticationFailed):
        wrapper.unwrap(b"\x01" + lp(by_rsa) + lp(signature) + inner, GLOBEX)


def test_wrapping_and_unwrapping_take_one_call_each(azure: AzureService) -> None:
    wrapper = azure.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    assert wrapper.unwrap(wrapped, ACME) == SECRET
    assert azure.faults.calls == {"sign": 1, "unwrapkey": 1}


def test_an_empty_answer_is_an_error_of_the_service(azure: AzureService) -> None:
    wrapper = azure.wrapper()
    azure.faults.plan("empty", 3)
    with pytest.raises(KeyServiceError):
        wrapper.wrap(SECRET, ACME)


@pytest.mark.parametrize(
    "key_id", ["", "tenants", "https://v/keys/name", "https://v/keys/name/", "https://v/secrets/name/1", "http://v/keys/name/1"]
)
def test_a_key_is_named_with_its_version(key_id: str) -> None:
    with pytest.raises(ConfigurationError, match="version"):
        AzureKeyWrapper(key_id)


def test_the_client_is_one_of_this_key(azure: AzureService) -> None:
    client: Any = azure.make_client(azure.key_id("other"))
    with pytest.raises(ConfigurationError):
        AzureKeyWrapper(azure.key_id(), client=client)
    with pytest.raises(TypeError):
        AzureKeyWrapper(azure.key_id(), client=object())  # type: ignore[arg-type]


def test_a_client_of_its_own_is_made_with_the_default_credential(azure: AzureService) -> None:
    with pytest.raises(KeyServiceError) as caught:
        AzureKeyWrapper(azure.key_id())._call("wrap", _raise_missing_credential)
    assert not caught.value.retryable


def _raise_missing_credential() -> int:
    from azure.core.exceptions import ClientAuthenticationError

    raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token")
