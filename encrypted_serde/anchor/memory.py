"""An anchor in memory: for tests, and to see what one does. It protects nothing that outlives the process."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable

from .entries import Entry, Kind


class MemoryAnchor:
    """Keeps entries in a list. Threads may share it, processes cannot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_thread: dict[bytes, list[Entry]] = defaultdict(list)
        self._count = 0

    def append(self, entries: Iterable[Entry]) -> None:
        """As `Anchor.append`."""
        with self._lock:
            for entry in entries:
                self._count += 1
                self._by_thread[entry.thread].append(entry._replace(number=self._count))

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """As `Anchor.newest`."""
        found = self._entries(thread, namespace, None)
        stored = [entry.checkpoint for entry in found if entry.kind == Kind.CHECKPOINT]
        highest = max(stored, default=None)
        return [entry for entry in found if entry.is_mark or entry.checkpoint == highest]

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """As `Anchor.entries`."""
        return self._entries(thread, namespace, checkpoint)

    def _entries(self, thread: bytes, namespace: bytes | None, checkpoint: bytes | None) -> list[Entry]:
        with self._lock:
            found = [*self._by_thread.get(thread, ())]
        return [
            entry
            for entry in found
            if entry.is_mark or (namespace in (None, entry.namespace) and checkpoint in (None, entry.checkpoint))
        ]

    def threads(self) -> list[bytes]:
        """As `Anchor.threads`."""
        with self._lock:
            return [*self._by_thread]
