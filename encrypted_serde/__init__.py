"""Encryption at rest for everything a LangGraph application persists.

The names below are all there is to import from here. Each is loaded when it is first asked for, so that `Key` imports no
LangGraph and nobody pays for what they do not use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .anchor.postgres import PostgresAnchor
    from .anchor.sqlite import SqliteAnchor
    from .cache import EncryptedCache
    from .core.context import encryption_context
    from .core.keys import Key, KeyProvider, Keyring
    from .core.sealer import Sealer
    from .errors import (
        AnchorError,
        AuthenticationFailed,
        ConfigurationError,
        EncryptedSerdeError,
        Incomplete,
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
    from .saver import EncryptedSaver
    from .serializer import EncryptedSerializer
    from .store import EncryptedStore
    from .tenants.cache import CacheLimits
    from .tenants.keyring import TenantKeyring

__version__ = "0.1.0"

__all__ = [
    "AnchorError",
    "AuthenticationFailed",
    "CacheLimits",
    "ConfigurationError",
    "EncryptedCache",
    "EncryptedSerdeError",
    "EncryptedSaver",
    "EncryptedSerializer",
    "Incomplete",
    "EncryptedStore",
    "Key",
    "KeyErased",
    "KeyProvider",
    "KeyServiceError",
    "KeyWrapper",
    "Keyring",
    "LocalKeyWrapper",
    "MalformedEnvelope",
    "PlaintextRefused",
    "PostgresAnchor",
    "Sealer",
    "SqliteAnchor",
    "TenantKeyring",
    "UnknownKey",
    "UnsupportedCipher",
    "UnsupportedFormat",
    "WrongContext",
    "WrongLocation",
    "encryption_context",
]

_HOMES = {
    "CacheLimits": ".tenants.cache",
    "EncryptedCache": ".cache",
    "EncryptedSaver": ".saver",
    "EncryptedSerializer": ".serializer",
    "EncryptedStore": ".store",
    "Key": ".core.keys",
    "KeyProvider": ".core.keys",
    "KeyWrapper": ".kms",
    "Keyring": ".core.keys",
    "LocalKeyWrapper": ".kms.local",
    "PostgresAnchor": ".anchor.postgres",
    "Sealer": ".core.sealer",
    "SqliteAnchor": ".anchor.sqlite",
    "TenantKeyring": ".tenants.keyring",
    "encryption_context": ".core.context",
}
"""The module of each name; errors are all in `errors`."""


if not TYPE_CHECKING:  # a type checker that sees __getattr__ takes every name for one of ours

    def __getattr__(name: str) -> Any:  # PEP 562
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES.get(name, ".errors"), __name__), name)
        globals()[name] = value  # the next time it is found without coming here
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
