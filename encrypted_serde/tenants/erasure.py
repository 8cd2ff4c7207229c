"""The record of an erasure, and what the key store has to say later: that nothing of these keys is left there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.erasing import KeysLeft
from .records import tenant_of
from .store import KeyStore


@dataclass(frozen=True)
class Erasure:
    """What one call of `TenantKeyring.erase` destroyed, and what is void in the key store now. Holds no context value.

    Keep it with the request to erase. ``encrypted-serde prove-erased`` takes its key ids and looks for rows under them, in a
    database or in a restored backup of one.

    Attributes:
        context_names: Names of the erased context, such as ``tenant_id``. Not its values: they are the tenant.
        key_ids: The keys that this call destroyed, those of an erasure that was cut short included.
        tombstones: All keys of the context that are void by now, whenever that came about. Rows under them open nowhere.
        generation: The highest generation that is void; 0 where the tenant never had a key.
        wrappers: Names of the wrappers that had wrapped the destroyed keys: `KeyWrapper.name`.
        time: When it was finished, UTC.
    """

    context_names: tuple[str, ...]
    key_ids: tuple[bytes, ...]
    tombstones: tuple[bytes, ...]
    generation: int
    wrappers: tuple[str, ...]
    time: datetime

    def as_dict(self) -> dict[str, Any]:
        """Returns the record as JSON takes it: key ids in hexadecimal, the time in ISO 8601."""
        return {
            "context_names": list(self.context_names),
            "key_ids": [key_id.hex() for key_id in self.key_ids],
            "tombstones": [key_id.hex() for key_id in self.tombstones],
            "generation": self.generation,
            "wrappers": list(self.wrappers),
            "time": self.time.isoformat(timespec="seconds"),
        }


def standing(store: KeyStore, key_ids: frozenset[bytes], services: Iterable[str]) -> KeysLeft:
    """Looks through a key store for keys.

    Raises:
        KeyServiceError: If it cannot be read.
    """
    wrapped: set[bytes] = set()
    tombstones: set[bytes] = set()
    alive = unreadable = 0
    for listed in store.everything():
        unreadable += len(listed.problems)
        found = [record for record in listed.records if record.key.id in key_ids]
        wrapped |= {record.key.id for record in found if not record.is_tombstone}
        tombstones |= {record.key.id for record in found if record.is_tombstone}
        alive += bool(found and tenant_of(listed.records).live)
    return KeysLeft(store.name, tuple(services), frozenset(wrapped), frozenset(tombstones), alive, unreadable)
