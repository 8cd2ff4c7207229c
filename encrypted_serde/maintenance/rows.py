"""The rows that hold one value each, which look alike in every database: pending writes, and the channel values of Postgres."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from langgraph.checkpoint.base import WRITES_IDX_MAP

from ..core.binding import Place
from ..core.encoding import lps
from ..wrapping.inert import Inert
from .coder import SAVER, VALUE, WRITE, Coder, Opened, location
from .packing import DELTA_SNAPSHOT, pack

SPECIAL_CHANNELS = tuple(WRITES_IDX_MAP)
"""Channels whose writes (errors, interrupts, resume values) replace each other one by one and belong to no batch."""

_BATCH_DIGITS = 16


class WriteRow(NamedTuple):
    """A pending write.

    Attributes:
        thread_id: Part of its primary key, as are the next four.
        checkpoint_ns: See above.
        checkpoint_id: See above.
        task_id: See above.
        idx: See above.
        task_path: Path of its task.
        channel: What it is written to.
        type_tag: Type of its value.
        value: Its value.
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    task_id: str
    idx: int
    task_path: str
    channel: str
    type_tag: str | None
    value: bytes

    @property
    def key(self) -> dict[str, Any]:
        """The primary key, by column."""
        return dict(zip(self._fields[:5], self, strict=False))


def recode_write(coder: Coder, row: WriteRow, count: Callable[[WriteRow], int]) -> tuple[str, bytes]:
    """Gives type and value of a write in the form that is asked for.

    Args:
        coder: Has the keys.
        row: The write.
        count: Says how many ordinary writes the task of a write has.

    Raises:
        EncryptedSerdeError: If it does not open, or cannot be written so.
    """
    place = Place.of(row.thread_id, row.checkpoint_ns)
    known = {"checkpoint_id": row.checkpoint_id, "task_id": row.task_id, "idx": str(row.idx)}
    opened = coder.open_typed(row.type_tag, row.value, place, WRITE, row.channel, known)
    context = coder.context_of(row.thread_id)
    if coder.target != SAVER:
        return coder.unbound(opened, context)
    claims = opened.claims if opened.form.bound else {**known, "task_path": row.task_path, **_batch(row, count)}
    return "bytes", coder.seal_bound(opened, location(place, WRITE, row.channel), claims, context)


def _batch(row: WriteRow, count: Callable[[WriteRow], int]) -> dict[str, str]:
    """Gives the batch that a write from before `EncryptedSaver` belongs to: the ordinary writes that its task has now.

    The id follows from the task, so that whoever seals the next write of it, in another process or after a crash, gives the
    same one.
    """
    if row.channel in WRITES_IDX_MAP:
        return {}
    task = lps(("batch", row.thread_id, row.checkpoint_ns, row.checkpoint_id, row.task_id))
    return {"batch": hashlib.sha256(task).hexdigest()[:_BATCH_DIGITS], "size": str(count(row))}


class OrdinaryWrites:
    """Counts the ordinary writes of a task, once for all of them: they come one after the other.

    Args:
        query: Counts them, given the first four columns of the primary key.
    """

    def __init__(self, query: Callable[[tuple[str, ...]], int]) -> None:
        self._query = query
        self._task: tuple[str, ...] = ()
        self._number = 0

    def __call__(self, row: WriteRow) -> int:
        """Gives the number for the task of a write."""
        task = (row.thread_id, row.checkpoint_ns, row.checkpoint_id, row.task_id)
        if task != self._task:
            self._task, self._number = task, self._query(task)
        return self._number


class ChannelRow(NamedTuple):
    """A channel value in a row of its own.

    Attributes:
        thread_id: Part of its primary key, as are the next three.
        checkpoint_ns: See above.
        channel: See above.
        version: See above.
        type_tag: Type of the value.
        value: The value.
    """

    thread_id: str
    checkpoint_ns: str
    channel: str
    version: str
    type_tag: str | None
    value: bytes

    @property
    def key(self) -> dict[str, Any]:
        """The primary key, by column."""
        return dict(zip(self._fields[:4], self, strict=False))


def recode_channel(coder: Coder, row: ChannelRow) -> tuple[str, bytes]:
    """Gives type and value of a channel in the form that is asked for.

    Raises:
        EncryptedSerdeError: If it does not open, or cannot be written so.
    """
    place = Place.of(row.thread_id, row.checkpoint_ns)
    known = {"version": row.version}
    opened = coder.open_typed(row.type_tag, row.value, place, VALUE, row.channel, known)
    context = coder.context_of(row.thread_id)
    if coder.target != SAVER:
        return coder.unbound(opened, context)
    if is_none(opened):  # EncryptedSaver leaves None readable, and its manifests count on that
        return "null", b""
    sealed = coder.seal_value(opened, place, row.channel, known, context)
    return ("msgpack", pack(Inert(DELTA_SNAPSHOT, pack(sealed)))) if opened.is_delta else ("bytes", sealed)


def is_none(opened: Opened) -> bool:
    """Says whether a value is None."""
    return opened.inner_type == "null" and not opened.is_delta
