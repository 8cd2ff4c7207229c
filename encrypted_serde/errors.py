"""The errors of this package: one root, few classes.

Two promises hold for everything raised while *reading*:

* never a ``KeyError`` or ``LookupError``: some savers take those for "no checkpoint" and silently start the thread afresh;
* never a ``ValueError``: Agent Server sends the text of one to the HTTP client.

Messages carry key ids, cipher names and context *names*. They never carry context values, plaintext or key material.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NOWHERE: Mapping[str, str] = MappingProxyType({})


class EncryptedSerdeError(Exception):
    """Root of every error that this package defines.

    Attributes:
        row: Which row it is about, where that is known: ``thread``, ``namespace``, ``checkpoint``. Part of the text.
    """

    row: Mapping[str, str] = _NOWHERE

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({', '.join(f'{name} {part!r}' for name, part in self.row.items())})" if self.row else text


class ConfigurationError(EncryptedSerdeError, ValueError):
    """A key, option, context or name that cannot be used. Raised before any data is touched, with the fix in the message.

    A value of the wrong *type* is a plain ``TypeError``.
    """


class PlaintextRefused(EncryptedSerdeError):
    """A stored value was never sealed, and the switch that admits such values is off (or does not admit this one)."""


class _KeyIdError(EncryptedSerdeError):
    def __init__(self, message: str, key_id: bytes = b"") -> None:  # unpickling gives the message, and the attributes later
        super().__init__(message)
        self.key_id = key_id


class UnknownKey(_KeyIdError):
    """The value was sealed under a key that the provider does not have.

    Attributes:
        key_id: The 32 bytes that name the missing key.
    """


class KeyErased(_KeyIdError):
    """The value was sealed under a key that was destroyed on purpose; it can never be read again.

    Attributes:
        key_id: The 32 bytes that name the destroyed key.
    """


class UnsupportedCipher(EncryptedSerdeError):
    """The type tag names a cipher that this package does not know or was not allowed to read."""


class UnsupportedFormat(EncryptedSerdeError):
    """The value is of a newer format version, or needs an extra (zstd) that is not installed."""


class MalformedEnvelope(EncryptedSerdeError):
    """The value does not have the shape of a sealed value: too short, bad lengths, a non-canonical encoding."""


class AuthenticationFailed(EncryptedSerdeError):
    """The value was changed, or is stored in a place that it was not sealed for. The two cannot be told apart, on purpose."""


class WrongLocation(EncryptedSerdeError):
    """An authentic value that does not belong where it was found: bound versus unbound, a claim, a manifest entry, a row."""


class WrongContext(EncryptedSerdeError):
    """The encryption context stored with the value is not the one that the reader expects."""


class Incomplete(EncryptedSerdeError):
    """The anchor knows of something that the database no longer has, or has in an older state."""


class _RetryableError(EncryptedSerdeError):
    def __init__(self, message: str, *, retryable: bool = False) -> None:  # as above
        super().__init__(message)
        self.retryable = retryable


class KeyServiceError(_RetryableError):
    """A key service did not do what was asked.

    Args:
        message: Which service, which key, what happened.
        retryable: Whether the same call may succeed later (throttling, time-out, outage).

    Attributes:
        retryable: As given.
    """


class AnchorError(_RetryableError):
    """The anchor cannot be asked or written to, so nothing is read or written past it.

    Args:
        message: Which anchor, what happened.
        retryable: Whether the same call may succeed later.

    Attributes:
        retryable: As given.
    """
