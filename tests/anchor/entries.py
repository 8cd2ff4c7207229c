"""Entries of a made-up thread."""

from __future__ import annotations

from encrypted_serde.anchor import Entry, Kind
from encrypted_serde.anchor.entries import id_bytes, pack_slots

THREAD, OTHER, NAMESPACE = b"t" * 16, b"o" * 16, b"n" * 8
IDS = [f"1f0a0000-0000-6000-8000-00000000000{number}" for number in range(6)]
TASK = b"task-abc"


def about(number: int, kind: Kind = Kind.CHECKPOINT, *, thread: bytes = THREAD, known: int = 0) -> Entry:
    return Entry(thread, NAMESPACE, id_bytes(IDS[number]), kind, known=known)


def wrote(number: int, batch: bytes, *slots: int, kind: Kind = Kind.WRITES, known: int = 0) -> Entry:
    return Entry(THREAD, NAMESPACE, id_bytes(IDS[number]), kind, TASK, batch, pack_slots(slots), known)


def thread(kind: Kind = Kind.GOING, *, known: int = 0, batch: bytes = b"") -> Entry:
    return Entry(THREAD, b"", b"", kind, batch=batch, known=known)
