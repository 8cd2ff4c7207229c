"""Wraps data keys with an RSA key of Azure Key Vault or Managed HSM. Needs the extra ``azure``.

Key Vault wraps with RSA-OAEP-256. That takes no associated data, and all who have the public key can wrap: the context must be
bound, and the wrapped key be proved to come from somebody who may use the key, around it.

* A fresh `Key` for each data key is what RSA-OAEP-256 wraps. The data key is encrypted under it by `LocalKeyWrapper`, which
  derives the AES-256-GCM key from it and from the context: in another context it does not decrypt.
* Key Vault signs all of it (PS256): the key's id, the context, both ciphertexts. Nobody who may not ``sign`` can introduce a
  data key that they know.

Format: ``0x01 | LP(wrapped by RSA) | LP(signature) | encrypted data key``. Signed is SHA-256 of ``LP("encrypted-serde/1")
LP("azure-wrap") LP(key id) LP(pairs(context)) LP(wrapped by RSA) LP(encrypted data key)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, TypeVar

from ..core.encoding import encode_pairs, lp
from ..core.keys import PROTOCOL, Key, drawn_secret
from ..errors import ConfigurationError
from . import TIMEOUT, called, refused, repeated, service_error
from .local import LocalKeyWrapper

try:
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm, SignatureAlgorithm
except ImportError as error:
    raise ImportError("encrypted_serde.kms.azure needs azure-keyvault-keys: pip install 'encrypted-serde[azure]'") from error

T = TypeVar("T")

_VERSION = b"\x01"
_PATH = 6  # parts of https://vault/keys/name/version between slashes


class AzureKeyWrapper:
    """Wraps under one version of an RSA key of 2048 bits or more.

    Grant ``get``, ``wrapKey``, ``unwrapKey``, ``sign`` and ``verify``, and use the key for nothing else. Wrapping takes one
    call (``sign``), unwrapping one (``unwrapKey``): the public half is fetched once, and works here.

    Args:
        key_id: ``https://<vault>/keys/<name>/<version>``. With the version: what it wrapped only it unwraps. For a new version
            make a new wrapper and call `TenantKeyring.rewrap`.
        client: A ``CryptographyClient`` for this key, with its credential, time-outs and transport. By default one is made with
            ``DefaultAzureCredential``, 5 seconds to connect and 5 to answer.

    Raises:
        TypeError: If ``client`` is no ``CryptographyClient``.
        ConfigurationError: If the key id has not that form, or the client is for another key.

    Attributes:
        name: ``azure-keyvault:`` and the key id.
    """

    def __init__(self, key_id: str, *, client: CryptographyClient | None = None) -> None:
        parts = key_id.split("/")
        if not key_id.startswith("https://") or len(parts) != _PATH or parts[3] != "keys" or not all(parts[2:]):
            raise ConfigurationError("an Azure key is https://<vault>/keys/<name>/<version>, with its version")
        if client is not None and not isinstance(client, CryptographyClient):
            raise TypeError(f"AzureKeyWrapper takes a CryptographyClient, not {type(client).__name__}")
        if client is not None and client.key_id != key_id:
            raise ConfigurationError("the CryptographyClient is for another key, or another version of it")
        self.name = f"azure-keyvault:{key_id}"
        self._key_id = key_id.encode()
        self._client: Any = client if client is not None else _default_client(key_id)

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key for one context.

        Raises:
            KeyServiceError: If Key Vault did not do it.
        """
        fresh = drawn_secret()
        inner = LocalKeyWrapper(Key.from_bytes(fresh)).wrap(secret, context)
        algorithm = KeyWrapAlgorithm.rsa_oaep_256
        wrapped = self._call("wrap", lambda: self._client.wrap_key(algorithm, fresh).encrypted_key)
        digest = self._digest(context, wrapped, inner)
        signature = self._call("wrap", lambda: self._client.sign(SignatureAlgorithm.ps256, digest).signature)
        return _VERSION + lp(wrapped) + lp(signature) + inner

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` returned, for the same context.

        Raises:
            AuthenticationFailed: If it was changed, or was wrapped for another context or by another key.
            KeyServiceError: If Key Vault did not do it.
        """
        by_rsa, rest = _field(wrapped[1:])
        signature, inner = _field(rest)
        if wrapped[:1] != _VERSION or not (by_rsa and signature and inner):
            raise refused(self.name)
        digest = self._digest(context, by_rsa, inner)
        if not self._call("unwrap", lambda: self._client.verify(SignatureAlgorithm.ps256, digest, signature).is_valid):
            raise refused(self.name)
        fresh = self._call("unwrap", lambda: self._client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, by_rsa).key)
        try:
            key = Key.from_bytes(fresh)
        except (TypeError, ConfigurationError):
            raise refused(self.name) from None
        return LocalKeyWrapper(key).unwrap(inner, context)

    def _digest(self, context: Mapping[str, str], wrapped: bytes, inner: bytes) -> bytes:
        fields = (b"azure-wrap", self._key_id, encode_pairs(context), wrapped, inner)
        return sha256(PROTOCOL + b"".join(map(lp, fields))).digest()

    def _call(self, action: str, call: Callable[[], T]) -> T:
        result = repeated(lambda: called(self.name, action, call, _judged))
        if result is None or result == b"":
            raise service_error(self.name, action, "the answer is empty", retryable=False)
        return result


def _judged(error: Exception) -> tuple[str, bool]:
    if isinstance(error, HttpResponseError):
        status = error.status_code or 0
        return f"HTTP status {status}", status in (408, 429) or status >= 500
    # No connection, no answer in time, a broken answer; else no credential, an expired key, an answer that it cannot read.
    return type(error).__name__, isinstance(error, (ServiceRequestError, ServiceResponseError))


def _field(data: bytes) -> tuple[bytes, bytes]:
    """Cuts off a field with its length before it; it is empty if the data ends within it."""
    end = 2 + int.from_bytes(data[:2], "big")
    return (data[2:end], data[end:]) if len(data) >= end else (b"", b"")


def _default_client(key_id: str) -> CryptographyClient:
    # It tries a POST again only where the answer says so: `repeated` does, whatever it was.
    return CryptographyClient(key_id, DefaultAzureCredential(), connection_timeout=TIMEOUT, read_timeout=TIMEOUT, retry_total=0)
