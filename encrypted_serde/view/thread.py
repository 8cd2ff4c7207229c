"""A thread that is looked at: its history, its checkpoints, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ..anchor.client import AnchorClient
from ..errors import EncryptedSerdeError
from .anchoring import AnchoredThread
from .changes import Change, compare
from .deltas import Replayed, names_of, replay
from .execution import ERROR, INTERRUPT, is_internal, next_nodes
from .looking import Looker
from .masking import Mask
from .messages import as_conversation
from .model import Channel, Checkpoint, HistoryLine, HistoryPage, Refused, Spot, Write
from .source import Source
from .stored import StoredHead, StoredValue, StoredWrite
from .values import Scalar, Value

PAGE = 50
"""Threads, checkpoints or items of a page."""

_TASK_CHANNELS = (INTERRUPT, ERROR)


class NotFound(EncryptedSerdeError):
    """There is no such thread, checkpoint or item in the database."""


class Thread:
    """A thread of a database that is looked at. `View.thread` returns it.

    Attributes:
        id: Its id.
        spots: Its checkpoints, the newest first, unverified.
        missing: What an anchor requires of it and the database does not have.
    """

    def __init__(self, source: Source, looker: Looker, mask: Mask, thread_id: str, client: AnchorClient | None = None) -> None:
        self._anchored = None if client is None else AnchoredThread(client, thread_id)
        self.id, self.spots = thread_id, tuple(source.spots(thread_id))
        self._source, self._looker, self._mask = source, looker, mask
        self.missing = () if self._anchored is None else self._anchored.missing(self.spots)
        if not self.spots:
            looker.look({"thread": thread_id}, Refused("NotFound", ""))
            raise NotFound("the database has no such thread")

    def history(self) -> Iterator[HistoryLine]:
        """Returns every checkpoint, verified, the newest first."""
        for start in range(0, len(self.spots), PAGE):
            yield from self.page(start).lines

    def page(self, start: int = 0, limit: int = PAGE) -> HistoryPage:
        """Returns a part of the history.

        Args:
            start: How many newer checkpoints to pass over.
            limit: So many at most.
        """
        self._looker.look({"thread": self.id})
        spots = self.spots[start : start + limit]
        heads = self._source.heads(self.id, spots)
        writes = self._source.writes(self.id, spots, () if self._anchored else _TASK_CHANNELS)
        lines = tuple(self._line(spot, heads.get(spot), writes.get(spot, ())) for spot in spots)
        return HistoryPage(lines, start, len(self.spots), self.spots, self.missing)

    def _line(self, spot: Spot, head: StoredHead | Refused | None, writes: Sequence[StoredWrite]) -> HistoryLine:
        """Returns a checkpoint as a history has it; refused too where the anchor refuses it."""
        if self._anchored is None or not isinstance(head, StoredHead):
            return _line(spot, head, writes)
        refused = self._anchored.refusal(spot, writes)
        return replace(_line(spot, refused or head, writes), is_entered=self._anchored.is_entered(spot))

    def latest(self, namespace: str = "") -> Checkpoint:
        """Returns the newest checkpoint of the root graph, or of another namespace.

        Raises:
            NotFound: If there is none.
        """
        return self.checkpoint(None, namespace)

    def checkpoint(self, checkpoint_id: str | None = None, namespace: str | None = None) -> Checkpoint:
        """Returns a checkpoint with its values, metadata and pending writes.

        Args:
            checkpoint_id: Which; the newest when None.
            namespace: In which namespace; when None the one that has it, and of the newest the root.

        Raises:
            NotFound: If there is none.
        """
        spot = self._spot(checkpoint_id, namespace)
        found = self._read(spot)
        self._looker.look({"thread": self.id, **_place(spot)}, found.line.refused, found.line.context)
        return found

    def changes(self, before: str | None, after: str) -> tuple[Change, ...]:
        """Returns what differs between the states of two checkpoints. LangGraph's own channels are left out.

        Args:
            before: The older one; None for nothing, as before the first.
            after: The newer one.

        Raises:
            NotFound: If there is no such checkpoint.
        """
        old = {} if before is None else self._state(self.checkpoint(before))
        return compare(old, self._state(self.checkpoint(after)))

    def changes_since_parent(self, found: Checkpoint) -> tuple[Change, ...]:
        """Returns what a step changed: what differs between a checkpoint and its parent, if that opens."""
        parent = next(
            (each for each in self.spots if (each.namespace, each.id) == (found.line.spot.namespace, found.line.spot.parent)),
            None,
        )
        before = None if parent is None else self._read(parent)
        if found.line.refused is not None or (before is not None and before.line.refused is not None):
            return ()
        return compare({} if before is None else self._state(before), self._state(found))

    @staticmethod
    def _state(checkpoint: Checkpoint) -> dict[str, Value]:
        return {each.name: each.value for each in checkpoint.channels if each.value is not None and not is_internal(each.name)}

    def _spot(self, checkpoint_id: str | None, namespace: str | None) -> Spot:
        if checkpoint_id is None:
            wanted = [spot for spot in self.spots if spot.namespace == (namespace or "")] or [*self.spots[:1]]
        else:
            wanted = [spot for spot in self.spots if spot.id == checkpoint_id and namespace in (None, spot.namespace)]
        if not wanted:
            raise NotFound("the thread has no such checkpoint")
        return wanted[0]

    def _ancestors(self, spot: Spot) -> list[Spot]:
        places = {(each.namespace, each.id): each for each in self.spots}
        found: list[Spot] = []
        parent = places.get((spot.namespace, spot.parent))
        while parent is not None and len(found) < len(places):  # rows may name each other in a circle
            found.append(parent)
            parent = places.get((parent.namespace, parent.parent))
        return found

    def _read(self, spot: Spot) -> Checkpoint:
        head = self._source.heads(self.id, [spot]).get(spot)
        stored = self._source.writes(self.id, [spot]).get(spot, [])
        line = self._line(spot, head, stored)
        if not isinstance(head, StoredHead) or line.refused is not None:
            return Checkpoint(line)
        mask = self._mask
        versions = head.document.get("channel_versions", {})
        values = self._source.values(self.id, spot, head)
        channels = [_channel(name, versions.get(name), value, mask) for name, value in values.items()]
        replayed = replay(self._source, self.id, self._ancestors(spot), names_of(head)) if names_of(head) else {}
        channels += [_replayed(name, versions.get(name), found, mask) for name, found in replayed.items()]
        writes = tuple(_write(each, mask) for each in stored)
        is_latest = spot == next(each for each in self.spots if each.namespace == spot.namespace)
        return Checkpoint(
            line,
            tuple(sorted(channels, key=lambda channel: (is_internal(channel.name), channel.name != "messages", channel.name))),
            mask.value(head.metadata),  # type: ignore[arg-type]  # fields stay fields
            writes,
            next_nodes(head.document, {channel.name: channel.value for channel in channels}, writes if is_latest else ()),
            is_latest,
            head.form.key_id.hex(),
            head.form.cipher,
            head.admitted,
        )


def _place(spot: Spot) -> dict[str, str]:
    return {"checkpoint": spot.id, **({"checkpoint_ns": spot.namespace} if spot.namespace else {})}


def _line(spot: Spot, head: StoredHead | Refused | None, writes: Iterable[StoredWrite]) -> HistoryLine:
    if head is None:
        return HistoryLine(spot, Refused("NotFound", "the checkpoint is no longer there"))
    if isinstance(head, Refused):
        return HistoryLine(spot, head)
    opened = [write for write in writes if isinstance(write.value, StoredValue)]
    source, step = head.metadata.get("source"), head.metadata.get("step")
    return HistoryLine(
        spot,
        None,
        time_of(head, spot.id),
        str(source.value) if isinstance(source, Scalar) else "",
        step.value if isinstance(step, Scalar) and isinstance(step.value, int) else None,
        tuple(str(name) for name in head.document.get("updated_channels") or () if not is_internal(str(name))),
        next_nodes(head.document, _steering(head), ()),
        sum(write.channel == INTERRUPT for write in opened),
        sum(write.channel == ERROR for write in opened),
        head.form.context.pairs if head.form.context else None,
    )


def _steering(head: StoredHead) -> dict[str, Value | None]:
    """Returns the channels by which LangGraph goes on, as far as the row of a checkpoint has them."""
    inside = {name: value.read() if is_internal(name) else None for name, value in head.inside.items()}
    return {**dict.fromkeys(head.elsewhere), **inside}


def _channel(name: str, version: object, found: StoredValue | Refused, mask: Mask) -> Channel:
    text = "" if version is None else str(version)
    if isinstance(found, Refused):
        return Channel(name, text, None, found)
    value = mask.value(found.read())
    return Channel(name, text, value, None, as_conversation(value), None, len(found.data))


def _replayed(name: str, version: object, found: Replayed, mask: Mask) -> Channel:
    text = "" if version is None else str(version)
    if isinstance(found.value, Refused):
        return Channel(name, text, None, found.value, replayed=found.writes)
    value = mask.value(found.value)
    return Channel(name, text, value, None, as_conversation(value), found.writes)


def _write(found: StoredWrite, mask: Mask) -> Write:
    claims = found.claims
    names = (claims.task_id or "", claims.task_path or "", claims.idx or 0, found.channel)
    if isinstance(found.value, Refused):
        return Write(*names, None, found.value)
    return Write(*names, mask.value(found.value.read()))


# --- times -----------------------------------------------------------------------------------------------------------------

_EPOCH = datetime(1582, 10, 15, tzinfo=timezone.utc)


def time_of_id(checkpoint_id: str) -> str | None:
    """Returns the time in an id that LangGraph gave, a UUID of version 6; None if it tells none."""
    digits = checkpoint_id.replace("-", "")
    if len(checkpoint_id) != 36 or len(digits) != 32 or digits[12] != "6":
        return None
    try:
        ticks = int(digits[:12], 16) << 12 | int(digits[13:16], 16)
        return (_EPOCH + timedelta(microseconds=ticks // 10)).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return None


def time_of(head: StoredHead | Refused | None, checkpoint_id: str) -> str | None:
    """Returns when a checkpoint was written: as it says itself, else as its id does."""
    stamp: Any = head.document.get("ts") if isinstance(head, StoredHead) else None
    return stamp if isinstance(stamp, str) and stamp else time_of_id(checkpoint_id)
