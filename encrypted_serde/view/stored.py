"""What is stored in a row, verified and opened, before anybody reads what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.binding import WriteClaims
from ..core.opaque import opaque
from ..errors import EncryptedSerdeError
from ..rows.parts import Opened
from ..rows.writes import Write as Live
from ..rows.writes import in_order, require_whole, whole_batches
from ..wrapping.serialize import Waiting
from .model import Refused
from .values import Fields, Value, read_value


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A checkpoint, verified, without the values that are stored in rows of their own.

    Attributes:
        document: The checkpoint, without its values.
        metadata: Its metadata, all of it.
        inside: Channel values that its row holds.
        elsewhere: Channels whose values are stored in rows of their own.
        form: How its manifest is sealed: key id, cipher, context.
        admitted: Whether it has none, and a switch let it through.
    """

    document: Mapping[str, Any]
    metadata: Fields
    inside: Mapping[str, StoredValue]
    elsewhere: frozenset[str]
    form: Any
    admitted: bool

    def __repr__(self) -> str:
        return opaque(self)


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value, opened."""

    inner_type: str
    data: bytes
    is_delta: bool = False

    def __repr__(self) -> str:
        return opaque(self)

    @classmethod
    def of(cls, opened: Opened) -> StoredValue:
        """Takes what `maintenance` opened."""
        return cls(opened.inner_type, opened.data, opened.is_delta)

    def read(self) -> Value:
        """Returns what it holds."""
        return read_value(self.inner_type, self.data)


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """A pending write, opened or refused."""

    checkpoint_id: str
    claims: WriteClaims
    channel: str
    value: StoredValue | Refused


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item, opened or refused."""

    place: tuple[str, str]
    names: tuple[str, ...] | None
    value: Value | Refused
    context: Mapping[str, str] | None


def arranged(found: list[StoredWrite], *, is_part: bool) -> list[StoredWrite]:
    """Returns the writes of a checkpoint in their order. What a saver would not return of them is refused.

    Args:
        found: The writes.
        is_part: Whether they are those of some channels alone.
    """
    refused = [write for write in found if isinstance(write.value, Refused)]
    opened = [
        Live(write.claims.task_id or "", write.channel, Waiting.holding(write), write.claims)
        for write in found
        if isinstance(write.value, StoredValue)
    ]
    try:
        ordered = in_order(opened)
        if is_part:
            require_whole(ordered)
    except EncryptedSerdeError as error:
        reason = Refused(type(error).__name__, str(error))
        return [replace(write, value=reason) for write in found]
    whole = ordered if is_part else whole_batches(ordered)
    kept = {id(write) for write in whole}
    arranged: list[StoredWrite] = [
        write.value() if id(write) in kept else replace(write.value(), value=_PART) for write in ordered
    ]
    return [*arranged, *refused]


_PART = Refused("Incomplete", "writes of its task are missing, so the task runs again")
