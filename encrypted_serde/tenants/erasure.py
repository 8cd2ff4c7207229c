"""The record of an erasure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


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
