"""The local wrapper, its format, and the trial that every wrapper must pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from encrypted_serde import AuthenticationFailed, ConfigurationError, Key, KeyServiceError
from encrypted_serde.kms import KeyWrapper, check_wrapper
from encrypted_serde.kms.local import LocalKeyWrapper

SECRET = os.urandom(32)
ACME = {"tenant_id": "acme"}


def test_a_wrapped_key_unwraps_in_its_own_context_only(key: Key) -> None:
    wrapper = LocalKeyWrapper(key)
    wrapped = wrapper.wrap(SECRET, ACME)
    assert wrapper.unwrap(wrapped, ACME) == SECRET
    for wrong in ({}, {"tenant_id": "globex"}, {"tenant": "acme"}):
        with pytest.raises(AuthenticationFailed):
            wrapper.unwrap(wrapped, wrong)


def test_the_format_is_the_documented_one() -> None:
    secret = bytes(range(32))
    wrapped = LocalKeyWrapper(Key.from_bytes(secret)).wrap(SECRET, ACME)
    assert len(wrapped) == 93
    version, key_id, nonce, ciphertext = wrapped[:1], wrapped[1:33], wrapped[33:45], wrapped[45:]
    assert (version, key_id) == (b"\x01", Key.from_bytes(secret).id)
    pairs = b"\x00\x09tenant_id\x00\x04acme"
    info = b"\x00\x11encrypted-serde/1\x00\x04wrap" + len(pairs).to_bytes(2, "big") + pairs
    aead = AESGCM(HKDF(SHA256(), 32, None, info).derive(secret))
    assert aead.decrypt(nonce, ciphertext, version + key_id) == SECRET


def test_every_bit_of_a_wrapped_key_is_authenticated(key: Key) -> None:
    wrapper = LocalKeyWrapper(key)
    wrapped = wrapper.wrap(SECRET, ACME)
    for position in range(len(wrapped)):
        changed = wrapped[:position] + bytes([wrapped[position] ^ 1]) + wrapped[position + 1 :]
        with pytest.raises(AuthenticationFailed):
            wrapper.unwrap(changed, ACME)
    for cut in (b"", wrapped[:-1], wrapped + b"\0"):
        with pytest.raises(AuthenticationFailed):
            wrapper.unwrap(cut, ACME)


def test_a_wrapped_key_is_refused_under_another_key(key: Key) -> None:
    with pytest.raises(AuthenticationFailed):
        LocalKeyWrapper(Key.generate()).unwrap(LocalKeyWrapper(key).wrap(SECRET, ACME), ACME)


def test_only_a_key_wraps_and_only_a_key_is_wrapped(key: Key) -> None:
    with pytest.raises(TypeError):
        LocalKeyWrapper(os.urandom(32))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        LocalKeyWrapper(key).wrap(b"too short", ACME)


class Custom(LocalKeyWrapper):
    """A wrapper with a fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(Key.generate())
        self.fault = fault

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        return super().wrap(secret, {} if self.fault == "ignores the context" else context)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        if self.fault == "cannot unwrap":
            raise AuthenticationFailed("no")
        secret = super().unwrap(wrapped, {} if self.fault == "ignores the context" else context)
        return secret[::-1] if self.fault == "gives something else" else secret


@pytest.mark.parametrize("fault", ["ignores the context", "cannot unwrap", "gives something else"])
def test_a_wrapper_that_breaks_the_contract_fails_at_start_up(fault: str) -> None:
    with pytest.raises(ConfigurationError):
        check_wrapper(Custom(fault))
    check_wrapper(Custom("none"))


def test_an_outage_during_the_trial_is_told_from_a_broken_wrapper(key: Key) -> None:
    class Down(LocalKeyWrapper):
        def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
            raise KeyServiceError("down", retryable=True)

    with pytest.raises(KeyServiceError) as caught:
        check_wrapper(Down(key))
    assert caught.value.retryable


@pytest.mark.parametrize("wrong", [None, LocalKeyWrapper, "aws", Key.generate()])
def test_something_else_than_a_wrapper_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError):
        check_wrapper(wrong)  # type: ignore[arg-type]


def test_the_local_wrapper_is_a_key_wrapper(key: Key) -> None:
    assert isinstance(LocalKeyWrapper(key), KeyWrapper)


def test_importing_the_package_imports_no_client_of_a_service() -> None:
    program = """
import sys
import encrypted_serde, encrypted_serde.audit, encrypted_serde.kms.local, encrypted_serde.tenants.keyring
loaded = {name.partition(".")[0] for name in sys.modules}
unwanted = {"boto3", "botocore", "hvac", "grpc", "google_crc32c", "opentelemetry", "psycopg"} & loaded
stores = {"langgraph.store.postgres", "langgraph.store.sqlite", "google.cloud"} & set(sys.modules)
sys.exit(repr((unwanted, stores)) if unwanted or stores else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_missing_extra_is_named() -> None:
    program = """
import importlib, sys
for module, missing in (("aws", "boto3"), ("gcp", "google_crc32c"), ("vault", "hvac")):
    sys.modules[missing] = None
    try:
        importlib.import_module(f"encrypted_serde.kms.{module}")
    except ImportError as error:
        assert f"encrypted-serde[{module}]" in str(error), error
    else:
        sys.exit("imported")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
