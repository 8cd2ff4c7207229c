"""The rows of a checkpointer as plain data, so that one edit is the same on every saver."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where a checkpoint is stored."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str

    @property
    def config(self) -> dict[str, Any]:
        return {"configurable": self._asdict()}


class Extension:
    """An extension of msgpack, as it is stored: a snapshot of a delta channel has code 7."""

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data

    def __repr__(self) -> str:
        return f"Extension({self.code}, {self.data!r})"


class NotHere(Exception):
    """An edit means nothing on this saver, or for these rows."""


Row = dict[str, Any]
PLACE = Place._fields


@dataclass
class Rows:
    """All rows there are.

    Attributes:
        checkpoints: With the columns of `Place`, ``parent_checkpoint_id``, ``type``, ``document`` and ``metadata``: the two as
            they are once unpacked, every value in them as it is stored; or bytes, where they are nothing that unpacks.
        values: Of savers with a row for each channel and version: with ``thread_id``, ``checkpoint_ns``, ``channel``,
            ``version``, ``type``, ``blob``. None where the checkpoint holds its values.
        writes: With the columns of `Place`, ``task_id``, ``task_path``, ``idx``, ``channel``, ``type``, ``blob``.
        inlines: Whether scalars are text in the document.
        only_bytes: Whether a row of a value takes nothing but bytes.
    """

    checkpoints: list[Row] = field(default_factory=list)
    values: list[Row] | None = None
    writes: list[Row] = field(default_factory=list)
    inlines: bool = False
    only_bytes: bool = False

    def copy(self) -> Rows:
        return copy.deepcopy(self)

    @property
    def tables(self) -> dict[str, list[Row]]:
        return {
            "checkpoints": self.checkpoints,
            "writes": self.writes,
            **({} if self.values is None else {"values": self.values}),
        }

    def at(self, place: Place) -> Row:
        """Returns the checkpoint in a place."""
        for row in self.checkpoints:
            if place_of(row) == place:
                return row
        raise NotHere

    def written(self, place: Place, channel: str | None = None) -> list[Row]:
        """Returns the pending writes of a checkpoint, or those to one channel."""
        found = [row for row in self.writes if place_of(row) == place and channel in (None, row["channel"])]
        if not found:
            raise NotHere
        return found

    def blob(self, place: Place, channel: str) -> Row:
        """Returns the row of a channel's value."""
        version = self.at(place)["document"]["channel_versions"].get(channel)
        wanted = (place.thread_id, place.checkpoint_ns, channel, version)
        for row in self.values or ():
            if (row["thread_id"], row["checkpoint_ns"], row["channel"], row["version"]) == wanted:
                return row
        raise NotHere

    def inlined(self, place: Place, channel: str) -> bool:
        """Says whether the value of a channel is in the document."""
        return channel in self.at(place)["document"].get("channel_values", {})

    def stored(self, place: Place, channel: str) -> Any:
        """Returns the value of a channel as it is stored."""
        if self.inlined(place, channel):
            return self.at(place)["document"]["channel_values"][channel]
        return self.blob(place, channel)["blob"]

    def store(self, place: Place, channel: str, value: Any) -> None:
        """Puts something in the place of a channel's value."""
        if self.inlined(place, channel) or self.values is None:
            self.at(place)["document"]["channel_values"][channel] = value
        elif self.only_bytes and not isinstance(value, bytes):
            raise NotHere
        else:
            self.blob(place, channel)["blob"] = value

    def remove(self, place: Place, channel: str) -> None:
        """Removes the value of a channel."""
        if self.inlined(place, channel):
            del self.at(place)["document"]["channel_values"][channel]
        elif self.values is not None:
            self.values.remove(self.blob(place, channel))
        else:
            raise NotHere


def place_of(row: Row) -> Place:
    return Place(*(row[name] for name in PLACE))
