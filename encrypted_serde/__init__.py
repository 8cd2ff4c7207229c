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
from .kms import KeyWrapper
from .kms.key_cache import CacheLimits
from .kms.local import LocalKeyWrapper
from .kms.tenants import TenantKeyring
from .saver import EncryptedSaver
from .serializer import EncryptedSerializer

__all__ = [
    "AuthenticationFailed",
    "CacheLimits",
    "ConfigurationError",
    "EncryptedSerdeError",
    "EncryptedSaver",
    "EncryptedSerializer",
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
