"""What an anchor holds: entries, only ever added, about what was stored in a database and what was deleted on purpose.

Nothing in an entry can be read. Threads, namespaces and tasks are keyed tokens (see `names`), checkpoint ids are LangGraph's
UUIDs as bytes, and a batch is the random id that one call of ``put_writes`` seals into its writes. That id, and not the AEAD
tag, names a write, because it survives re-encryption.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Protocol
from uuid import UUID

_RUN = struct.Struct(">iI")
_TICKS_BEFORE_1970 = 0x01B21DD213814000
"""Tenths of microseconds from the beginning of the calendar that UUIDs count from."""

OWN = (1 << 63) - 1
"""The ``known`` of an entry whose writer knows every entry that was made before it, e.g. of an operator's command."""

ABOUT_ITSELF = b"\0" * 16
"""The thread token of entries about the anchor itself."""


class Kind(IntEnum):
    """What an entry says.

    Attributes:
        CHECKPOINT: The checkpoint was stored, or seen in the database.
        WRITES: Writes of a task were stored or seen: one batch id, and the slots (positions) that it has.
        REPLACED: These slots no longer hold writes of this batch: a later special write replaced them, or an earlier ordinary
            one kept the slot.
        GOING: A deletion begins, of the thread or of one checkpoint.
        GONE: A deletion ended, and the thread or the checkpoint is gone.
        KEPT: A deletion ended, and the thread or the checkpoint is still there.
        SECRET: A sealed copy of the anchor's own secret.
    """

    CHECKPOINT = 1
    WRITES = 2
    REPLACED = 3
    GOING = 4
    GONE = 5
    KEPT = 6
    SECRET = 7


DELETIONS = (Kind.GOING, Kind.GONE, Kind.KEPT)


class Entry(NamedTuple):
    """One line of an anchor.

    Attributes:
        thread: Token of the thread, 16 bytes; `ABOUT_ITSELF` in an entry about the anchor.
        namespace: Token of the checkpoint namespace, 8 bytes; empty in an entry about the whole thread.
        checkpoint: The checkpoint id as `id_bytes` returns it; empty in an entry about the whole thread.
        kind: A `Kind`.
        task: Token of the task, 8 bytes, in entries about writes; id of the secret in a `Kind.SECRET` entry.
        batch: Id of the batch, in entries about writes; the sealed copy in a `Kind.SECRET` entry; in the announcement that a
            whole thread goes, the id that a checkpoint would get that is made now.
        slots: Positions in the task, as `pack_slots` returns them, in entries about writes.
        known: Number of the newest entry about deletions that the writer knew before it began to store. In an entry that
            ends a deletion: number of the newest entry that the deleting process knew before it looked at what is left.
        number: Given by the anchor, ascending: an entry that was begun after another was finished has the higher number.
    """

    thread: bytes
    namespace: bytes
    checkpoint: bytes
    kind: int
    task: bytes = b""
    batch: bytes = b""
    slots: bytes = b""
    known: int = 0
    number: int = 0

    @property
    def is_about_thread(self) -> bool:
        """Whether it is about the whole thread."""
        return not self.checkpoint


class Anchor(Protocol):
    """A list of entries that is only ever added to, kept where those who write the database cannot change it.

    Four methods, called from any thread, by any number of processes at once. They block; asynchronous callers use a thread.
    What fails raises `AnchorError`. An anchor may have an attribute ``keys``: the keys for its secret, if they are not those
    of the saver.
    """

    def append(self, entries: Iterable[Entry]) -> int:
        """Adds entries, all or none, in their order. When it returns, every reader sees them.

        Args:
            entries: Their ``number`` is not looked at. The same entry may be added twice.

        Returns:
            The highest number of an entry about deletions (`Kind.GOING`, `Kind.GONE`, `Kind.KEPT`) of the first entry's thread,
            or of its checkpoint; 0 if there is none. It may lack entries that were added at the same time.
        """
        ...

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """Returns the entries about a whole thread, and all about the highest checkpoint id entered in one of its namespaces.

        The highest of those that have an entry of kind `Kind.CHECKPOINT`, comparing bytes.
        """
        ...

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """Returns all entries about a thread; of those about checkpoints only a namespace's, or a checkpoint's, if given."""
        ...

    def threads(self) -> list[bytes]:
        """Returns the token of every thread that has an entry."""
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


def id_of_now() -> bytes:
    """Returns, as `id_bytes` would, the lowest id that LangGraph gives a checkpoint that is made now: a UUID of version 6."""
    ticks = time.time_ns() // 100 + _TICKS_BEFORE_1970
    return b"u" + (ticks >> 12 << 80 | 6 << 76 | (ticks & 0xFFF) << 64).to_bytes(16, "big")


def id_text(encoded: bytes) -> str:
    """Decodes what `id_bytes` encoded."""
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
    """Decodes what `pack_slots` encoded; a tail that is no run is left out."""
    whole = len(packed) - len(packed) % _RUN.size
    return [slot for start, count in _RUN.iter_unpack(packed[:whole]) for slot in range(start, start + count)]
