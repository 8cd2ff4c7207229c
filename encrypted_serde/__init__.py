"""Encryption at rest for everything a LangGraph application persists."""

from .context import encryption_context
from .envelope import Sealer
from .errors import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerdeError,
    KeyErased,
    KeyServiceError,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongContext,
    WrongLocation,
)
from .keys import Key, KeyProvider, Keyring
from .saver import EncryptedSaver
from .serializer import EncryptedSerializer

__all__ = [
    "AuthenticationFailed",
    "ConfigurationError",
    "EncryptedSerdeError",
    "EncryptedSaver",
    "EncryptedSerializer",
    "Key",
    "KeyErased",
    "KeyProvider",
    "KeyServiceError",
    "Keyring",
    "MalformedEnvelope",
    "PlaintextRefused",
    "Sealer",
    "UnknownKey",
    "UnsupportedCipher",
    "UnsupportedFormat",
    "WrongContext",
    "WrongLocation",
    "encryption_context",
]
