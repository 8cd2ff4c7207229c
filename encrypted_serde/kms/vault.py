"""Wraps data keys with the transit engine of HashiCorp Vault or OpenBao. Needs the extra ``vault`` (hvac).

The context is the ``associated_data`` of transit. Only AEAD key types authenticate it (``aes256-gcm96``, the default,
``aes128-gcm96``, ``chacha20-poly1305``).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from . import associated_data, called, repeated, service_error

try:
    import hvac
    from hvac import exceptions
    from requests.exceptions import RequestException
except ImportError as error:
    raise ImportError("encrypted_serde.kms.vault needs hvac: pip install 'encrypted-serde[vault]'") from error

_RETRYABLE = (
    exceptions.BadGateway,
    exceptions.InternalServerError,
    exceptions.PreconditionFailed,  # 412: a replica has not caught up
    exceptions.RateLimitExceeded,
    exceptions.VaultDown,  # 503: sealed, or standing by
    RequestException,  # no connection, no answer in time
    AttributeError,  # an answer that hvac cannot read
)
_REFUSALS = ("message authentication failed", "invalid ciphertext")


class VaultKeyWrapper:
    """Wraps under a transit key.

    Give the token ``update`` on ``transit/encrypt/<key>`` and ``transit/decrypt/<key>``, and not ``create``: with that, Vault
    makes a new key where the name was mistyped.

    Args:
        key_name: Name of the transit key.
        client: An ``hvac.Client`` with address, token and time-out. Its time-out is 30 seconds unless set.
        mount_point: Where the transit engine is mounted.

    Raises:
        TypeError: If ``client`` is not an ``hvac.Client``.
        ConfigurationError: If the key name is empty.

    Attributes:
        name: ``vault-transit:``, mount point and key name.
    """

    def __init__(self, key_name: str, *, client: hvac.Client, mount_point: str = "transit") -> None:
        if not isinstance(client, hvac.Client):
            raise TypeError(f"VaultKeyWrapper takes an hvac.Client, not {type(client).__name__}")
        if not key_name:
            raise ConfigurationError("Vault transit needs a key name")
        self.name = f"vault-transit:{mount_point}/{key_name}"
        self._key_name = key_name
        self._mount_point = mount_point
        self._transit = client.secrets.transit

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key for one context.

        Raises:
            KeyServiceError: If the service did not do it.
        """
        answer = self._call("wrap", "ciphertext", self._transit.encrypt_data, context, plaintext=_encode(secret))
        if not answer.startswith("vault:v") or not answer.isascii():
            raise service_error(self.name, "wrap", "the answer is no transit ciphertext", retryable=False)
        return answer.encode("ascii")

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` gave, for the same context.

        Raises:
            AuthenticationFailed: If the service does not accept the wrapped key for this context and key.
            KeyServiceError: If the service did not do it.
        """
        text = wrapped.decode("ascii", "replace")
        answer = self._call("unwrap", "plaintext", self._transit.decrypt_data, context, ciphertext=text)
        try:
            return base64.b64decode(answer, validate=True)
        except (binascii.Error, ValueError):
            raise service_error(self.name, "unwrap", "the answer is not base64", retryable=False) from None

    def _call(self, action: str, field: str, operation: Any, context: Mapping[str, str], **data: str) -> str:
        """Calls transit, up to three times: unlike the clients of other services, hvac does not retry by itself."""
        data |= {"mount_point": self._mount_point, "associated_data": _encode(associated_data(context))}
        answer = repeated(lambda: called(self.name, action, lambda: operation(self._key_name, **data), _judged))
        result = answer["data"].get(field) if isinstance(answer, dict) and isinstance(answer.get("data"), dict) else None
        if not isinstance(result, str) or not result:
            raise service_error(self.name, action, f"the answer has no {field}", retryable=False)
        return result


def _judged(error: Exception) -> tuple[str, bool] | None:
    if isinstance(error, exceptions.InvalidRequest) and any(refusal in str(error.args[0]) for refusal in _REFUSALS):
        return None
    return type(error).__name__, isinstance(error, _RETRYABLE)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
