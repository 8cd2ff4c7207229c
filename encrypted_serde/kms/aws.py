"""Wraps data keys with AWS KMS. Needs the extra ``aws`` (boto3).

The encryption context goes to KMS as its own `EncryptionContext`, so CloudTrail shows which tenant's key was used, and IAM
policies may depend on it. One pair of ours is added, ``EncryptedSerde: wrap``: a policy can name it, and nothing else that is
encrypted under the same KMS key passes for a wrapped data key. KMS limits request and context to 8 KiB together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from . import ATTEMPTS, TIMEOUT, called, service_error

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection
except ImportError as error:
    raise ImportError("encrypted_serde.kms.aws needs boto3: pip install 'encrypted-serde[aws]'") from error

_CONTEXT_PAIR = {"EncryptedSerde": "wrap"}  # a name of ours has no capitals, so it never collides with a user's
# What comes with a status that does not say so: a client that throttles is told 400.
_RETRYABLE = frozenset(
    {"LimitExceededException", "RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException"}
)


class AwsKeyWrapper:
    """Wraps under a symmetric AWS KMS key.

    Args:
        key_id: Key id, key ARN, alias name or alias ARN of a ``SYMMETRIC_DEFAULT`` key. An alias that is pointed at another
            key later makes everything wrapped so far unreadable, so prefer the key ARN.
        client: A ``boto3.client("kms")``, with its region, credentials, time-outs and retries. By default one is made from
            the environment, with 5 seconds to connect, 5 to answer, and 3 attempts.

    Raises:
        ConfigurationError: If the key id is empty.

    Attributes:
        name: ``aws-kms:`` and the key id.
    """

    def __init__(self, key_id: str, *, client: Any = None) -> None:
        if not key_id:
            raise ConfigurationError("AWS KMS needs a key id, key ARN or alias")
        self.name = f"aws-kms:{key_id}"
        self._key_id = key_id
        self._client = client if client is not None else boto3.client("kms", config=_default_config())

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key for one context: ``kms:Encrypt``.

        Raises:
            KeyServiceError: If KMS did not do it.
        """
        return self._call("wrap", "CiphertextBlob", self._client.encrypt, context, Plaintext=secret)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` gave, for the same context: ``kms:Decrypt``, under this key only.

        Raises:
            AuthenticationFailed: If KMS does not accept the wrapped key for this context and key.
            KeyServiceError: If KMS did not do it.
        """
        return self._call("unwrap", "Plaintext", self._client.decrypt, context, CiphertextBlob=wrapped)

    def _call(self, action: str, field: str, operation: Any, context: Mapping[str, str], **data: Any) -> bytes:
        data |= {"KeyId": self._key_id, "EncryptionContext": {**_CONTEXT_PAIR, **context}}
        result = called(self.name, action, lambda: operation(**data).get(field), _judged)
        if not isinstance(result, bytes) or not result:
            raise service_error(self.name, action, f"the answer has no {field}", retryable=False)
        return result


def _judged(error: Exception) -> tuple[str, bool] | None:
    if not isinstance(error, ClientError):
        # No connection, no answer in time, a broken answer; or no credentials, an answer that botocore cannot read.
        return type(error).__name__, isinstance(error, (HTTPClientError, NoConnection))
    code = error.response.get("Error", {}).get("Code", "")
    if code in ("InvalidCiphertextException", "IncorrectKeyException"):
        return None
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code or f"HTTP status {status}", code in _RETRYABLE or status == 429 or status >= 500


def _default_config() -> Any:
    retries: Any = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    return Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries=retries)
