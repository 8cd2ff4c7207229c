"""What an anchor holds: entries, only ever added, that say what was stored in a database and what was deleted on purpose.

Nothing in an entry can be read. Threads, namespaces and tasks are keyed tokens (see `tokens`), checkpoint ids are LangGraph's
UUIDs as bytes, a batch is the random id that a call of ``put_writes`` seals into its writes. That id and not the AEAD tag names
a write, since it survives re-encryption: rotating keys needs no anchor.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Protocol
from uuid import UUID

_RUN = struct.Struct(">iI")

LATEST = (1 << 63) - 1
"""The epoch of an entry that is made together with one about the whole thread, whose number is not known yet."""


class Kind(IntEnum):
    """What an entry says.

    Attributes:
        CHECKPOINT: The checkpoint was stored.
        WRITES: Writes of a task were stored: one batch id, and the slots (positions) that it has.
        REPLACED: Writes do not stand in these slots, although they were sent there: a later special write took their place, or
            an earlier ordinary one kept it.
        DELETED: The thread, or one checkpoint of it, is deleted on purpose, with everything that was entered before.
        THINNED: Some of the thread is being deleted on purpose: nothing entered before is missed until it is entered again.
    """

    CHECKPOINT = 1
    WRITES = 2
    REPLACED = 3
    DELETED = 4
    THINNED = 5


class Entry(NamedTuple):
    """One line of an anchor.

    Attributes:
        thread: Token of the thread, 16 bytes.
        namespace: Token of the checkpoint namespace, 8 bytes; empty in an entry about the whole thread.
        checkpoint: The checkpoint id as `id_bytes` gives it; empty in an entry about the whole thread.
        kind: A `Kind`.
        task: Token of the task, 8 bytes, in entries about writes.
        batch: Id of the batch, in entries about writes; empty for a write from before batches had one.
        slots: Positions in the task, as `pack_slots` gives them, in entries about writes.
        epoch: Number of the last entry about the whole thread that the writer knew when it began to store; 0 if of none. What
            began before a deletion may have been deleted by it.
        number: Given by the anchor, ascending: an entry that was begun after another one was finished has the higher number.
    """

    thread: bytes
    namespace: bytes
    checkpoint: bytes
    kind: int
    task: bytes = b""
    batch: bytes = b""
    slots: bytes = b""
    epoch: int = 0
    number: int = 0

    @property
    def is_mark(self) -> bool:
        """Whether it is about the whole thread."""
        return not self.checkpoint


class Anchor(Protocol):
    """A list of entries that is only ever added to, kept where those who write the database cannot change it.

    Four methods, called from any thread, by any number of processes at once. They block; asynchronous callers use a thread.
    What fails raises `AnchorError`.
    """

    def append(self, entries: Iterable[Entry]) -> None:
        """Adds entries, all or none, in their order. When it returns they are there for every reader.

        Args:
            entries: Their ``number`` is not looked at. The same one may be added twice.
        """
        ...

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """Gives the marks of a thread, and all entries about the highest checkpoint id entered in one of its namespaces.

        The highest of those that have an entry of kind `Kind.CHECKPOINT`, comparing bytes.
        """
        ...

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """Gives the marks of a thread, and all its other entries; only those of a namespace, and of a checkpoint, if given."""
        ...

    def threads(self) -> list[bytes]:
        """Gives the token of every thread that has an entry."""
        ...


@lru_cache(maxsize=4096)
def id_bytes(checkpoint_id: str) -> bytes:
    """Encodes a checkpoint id in 17 bytes if it is a UUID, as LangGraph's are; else as text. Keeps the order of UUIDs."""
    try:
        uuid = UUID(checkpoint_id)
    except ValueError:
        uuid = None
    if uuid is not None and str(uuid) == checkpoint_id:
        return b"u" + uuid.bytes
    return b"t" + checkpoint_id.encode("utf-8", "surrogatepass")


def id_text(encoded: bytes) -> str:
    """Gives back the id that `id_bytes` encoded."""
    if encoded[:1] == b"u" and len(encoded) == 17:
        return str(UUID(bytes=encoded[1:]))
    return encoded[1:].decode("utf-8", "surrogatepass")


def pack_slots(slots: Iterable[int]) -> bytes:
    """Encodes positions as runs: 8 bytes for any number of consecutive ones."""
    return _pack_slots(tuple(slots))


@lru_cache(maxsize=1024)
def _pack_slots(slots: tuple[int, ...]) -> bytes:
    runs: list[list[int]] = []
    for slot in sorted(set(slots)):
        if runs and runs[-1][0] + runs[-1][1] == slot:
            runs[-1][1] += 1
        else:
            runs.append([slot, 1])
    return b"".join([_RUN.pack(start, count) for start, count in runs])


def unpack_slots(packed: bytes) -> list[int]:
    """Gives back what `pack_slots` encoded; a tail that is no run is left out."""
    whole = len(packed) - len(packed) % _RUN.size
    return [slot for start, count in _RUN.iter_unpack(packed[:whole]) for slot in range(start, start + count)]
