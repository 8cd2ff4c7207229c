"""A key provider that destroys keys, and what it says of them afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from .opaque import opaque


class KeysLeft(NamedTuple):
    """What a key store holds of some keys, all of which was looked through.

    Attributes:
        store: Which store was asked.
        services: Names of the wrappers that the keyring has.
        wrapped: Ids of those keys that are stored there wrapped, void or not.
        tombstones: Ids of those that have a tombstone.
        contexts_alive: How many of the contexts that these keys belong to have another key that is not void.
        unreadable: How many items of the store could not be looked at.
    """

    store: str
    services: tuple[str, ...]
    wrapped: frozenset[bytes]
    tombstones: frozenset[bytes]
    contexts_alive: int
    unreadable: int

    def __repr__(self) -> str:
        return opaque(self)


@runtime_checkable
class ErasingKeyProvider(Protocol):
    """A `KeyProvider` that destroys keys, such as `TenantKeyring`, and can be asked what is left of them."""

    def standing(self, key_ids: Iterable[bytes]) -> KeysLeft:
        """Looks through the whole key store for keys."""
        ...
