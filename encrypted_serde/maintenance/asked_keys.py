"""The key provider as maintenance asks it: for thousands of rows, and so that no tenant's trouble is another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TypeVar

from ..core.bounded import Bounded
from ..core.context import EncryptionContext
from ..core.keys import Key, KeyProvider, current_key_id
from ..errors import KeyErased, KeyServiceError, UnknownKey

T = TypeVar("T")

REMEMBERED = 60.0
"""Seconds for which a key service's failure counts: the rows of a tenant whose service hangs fail at once, not one by one."""

_MOST = 100_000


class AskedKeys:
    """Asks a key provider, and remembers what failed, for each context.

    Args:
        keys: The provider.
    """

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys
        self._failed: Bounded[tuple[bytes, bytes], tuple[KeyServiceError, float]] = Bounded(_MOST)
        self._current: Bounded[bytes, bytes | None] = Bounded(_MOST)

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        """Returns the key that a context writes with."""
        return self._ask(b"", context, lambda: self._keys.encryption_key(context))

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        """Returns the key with an id."""
        return self._ask(key_id, context, lambda: self._keys.decryption_key(key_id, context))

    def current_key_id(self, context: Mapping[str, str]) -> bytes | None:
        """Returns the id of the key that a context writes with, as it was when it was first asked for; None if it has none."""
        encoded = EncryptionContext.of(context).encoded
        if encoded not in self._current:
            self._current[encoded] = self._ask(b"", context, lambda: current_key_id(self._keys, context))
        return self._current[encoded]

    def is_erased(self, key_id: bytes, context: Mapping[str, str]) -> bool:
        """Says whether a key was destroyed on purpose.

        Raises:
            KeyServiceError: If that cannot be told now.
        """
        try:
            self.decryption_key(key_id, context)
        except KeyErased:
            return True
        except UnknownKey:
            pass
        return False

    def _ask(self, key_id: bytes, context: Mapping[str, str], ask: Callable[[], T]) -> T:
        slot = (key_id, EncryptionContext.of(context).encoded)
        if (known := self._failed.get(slot)) is not None and known[1] > monotonic():
            raise known[0]
        try:
            return ask()
        except KeyServiceError as error:
            self._failed[slot] = (error, monotonic() + REMEMBERED)
            raise
