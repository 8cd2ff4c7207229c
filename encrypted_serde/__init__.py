"""Encryption at rest for everything a LangGraph application persists."""

from .core.context import encryption_context
from .core.keys import Key, KeyProvider, Keyring
from .core.sealer import Sealer
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
from .kms import KeyWrapper
from .kms.local import LocalKeyWrapper
from .saver import EncryptedSaver, Habits
from .serializer import EncryptedSerializer
from .tenants.cache import CacheLimits
from .tenants.keyring import TenantKeyring

__all__ = [
    "AuthenticationFailed",
    "CacheLimits",
    "ConfigurationError",
    "EncryptedSerdeError",
    "EncryptedSaver",
    "EncryptedSerializer",
    "Habits",
    "Key",
    "KeyErased",
    "KeyProvider",
    "KeyServiceError",
    "KeyWrapper",
    "Keyring",
    "LocalKeyWrapper",
    "MalformedEnvelope",
    "PlaintextRefused",
    "Sealer",
    "TenantKeyring",
    "UnknownKey",
    "UnsupportedCipher",
    "UnsupportedFormat",
    "WrongContext",
    "WrongLocation",
    "encryption_context",
]
