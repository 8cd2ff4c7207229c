"""Wraps data keys with Google Cloud KMS. Needs the extra ``gcp`` (google-cloud-kms, google-crc32c).

The context is the additional authenticated data. Checksums (CRC32C) of everything sent and received are compared on both
sides: a data key that was damaged on its way to be wrapped would be lost without anybody noticing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from . import ATTEMPTS, TIMEOUT, associated_data, called, service_error

try:
    import google_crc32c
    from google.api_core import exceptions
    from google.api_core.retry import Retry, if_exception_type
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.kms_v1 import KeyManagementServiceClient
except ImportError as error:
    raise ImportError("encrypted_serde.kms.gcp needs google-cloud-kms: pip install 'encrypted-serde[gcp]'") from error

_RETRYABLE = (
    exceptions.Aborted,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.RetryError,
    exceptions.ServiceUnavailable,
    exceptions.TooManyRequests,
    exceptions.Unknown,
)


class GoogleKeyWrapper:
    """Wraps under a symmetric Google Cloud KMS key (purpose ``ENCRYPT_DECRYPT``).

    Args:
        key_name: ``projects/*/locations/*/keyRings/*/cryptoKeys/*``, without a version: new keys are wrapped under the
            primary version, old ones unwrapped under theirs.
        client: A `KeyManagementServiceClient`. By default one is made from the environment.
        timeout: Seconds that one attempt may take. There are up to 3, in at most three times this.

    Raises:
        ConfigurationError: If the key name has not that form.

    Attributes:
        name: ``google-kms:`` and the key name.
    """

    def __init__(self, key_name: str, *, client: Any = None, timeout: float = TIMEOUT) -> None:
        parts = key_name.split("/")
        if parts[::2] != ["projects", "locations", "keyRings", "cryptoKeys"] or len(parts) != 8 or not all(parts):
            raise ConfigurationError("a Google Cloud KMS key is projects/*/locations/*/keyRings/*/cryptoKeys/*")
        self.name = f"google-kms:{key_name}"
        self._key_name = key_name
        self._client = client if client is not None else KeyManagementServiceClient()
        retry = Retry(predicate=if_exception_type(*_RETRYABLE), initial=0.1, maximum=1.0, timeout=ATTEMPTS * timeout)
        self._options = {"timeout": timeout, "retry": retry}

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key for one context: ``cloudkms.cryptoKeyVersions.useToEncrypt``.

        Raises:
            KeyServiceError: If the service did not do it, or a checksum does not match.
        """
        answer = self._call("wrap", self._client.encrypt, context, plaintext=secret)
        arrived = answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c
        if not arrived or answer.ciphertext_crc32c != _crc(answer.ciphertext) or not answer.ciphertext:
            raise service_error(self.name, "wrap", "a checksum does not match", retryable=True)
        if not answer.name.startswith(f"{self._key_name}/"):
            raise service_error(self.name, "wrap", "the answer names another key", retryable=False)
        return bytes(answer.ciphertext)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` gave, for the same context: ``cloudkms.cryptoKeyVersions.useToDecrypt``.

        Raises:
            AuthenticationFailed: If the service does not accept the wrapped key for this context and key.
            KeyServiceError: If the service did not do it, or a checksum does not match.
        """
        answer = self._call("unwrap", self._client.decrypt, context, ciphertext=wrapped)
        if answer.plaintext_crc32c != _crc(answer.plaintext):
            raise service_error(self.name, "unwrap", "a checksum does not match", retryable=True)
        return bytes(answer.plaintext)

    def _call(self, action: str, operation: Any, context: Mapping[str, str], **data: bytes) -> Any:
        data["additional_authenticated_data"] = associated_data(context)
        sums = {f"{field}_crc32c": _crc(each) for field, each in data.items()}
        request = {"name": self._key_name, **data, **sums}
        return called(self.name, action, lambda: operation(request=request, **self._options), _judged)


def _judged(error: Exception) -> tuple[str, bool] | None:
    if isinstance(
        error, exceptions.InvalidArgument
    ):  # how this service answers a wrong context, a changed ciphertext, another key
        return None
    if isinstance(error, GoogleAuthError):
        return type(error).__name__, bool(error.retryable)
    problem = error.cause if isinstance(error, exceptions.RetryError) else error
    return type(problem).__name__, isinstance(error, _RETRYABLE)


def _crc(data: bytes) -> int:
    return int(google_crc32c.value(data))
