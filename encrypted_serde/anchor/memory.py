"""An anchor in memory: for tests, and to see what one does. It protects nothing that outlives the process."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable

from ..core.keys import Key, KeyProvider
from .entries import DELETIONS, Entry, Kind


class MemoryAnchor:
    """Keeps entries in a list. Threads may share it, processes cannot.

    Args:
        keys: Keys for the anchor's secret; those of the saver when None.
    """

    def __init__(self, *, keys: Key | KeyProvider | None = None) -> None:
        self.keys = keys
        self._lock = threading.Lock()
        self._by_thread: dict[bytes, list[Entry]] = defaultdict(list)
        self._count = 0

    def append(self, entries: Iterable[Entry]) -> int:
        """Adds entries."""
        first = None
        with self._lock:
            for entry in entries:
                first = first or entry
                self._count += 1
                self._by_thread[entry.thread].append(entry._replace(number=self._count))
        found = [] if first is None else self._entries(first.thread, first.namespace, first.checkpoint)
        return max((entry.number for entry in found if entry.kind in DELETIONS), default=0)

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """Returns the entries about the newest checkpoint of a namespace, and about its thread."""
        found = self._entries(thread, namespace)
        stored = [entry.checkpoint for entry in found if entry.kind == Kind.CHECKPOINT]
        highest = max(stored, default=None)
        return [entry for entry in found if entry.is_about_thread or entry.checkpoint == highest]

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """Returns the entries about a thread, a namespace or a checkpoint."""
        return self._entries(thread, namespace, checkpoint)

    def _entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        with self._lock:
            found = [*self._by_thread.get(thread, ())]
        return [
            entry
            for entry in found
            if entry.is_about_thread or (namespace in (None, entry.namespace) and checkpoint in (None, entry.checkpoint))
        ]

    def threads(self) -> list[bytes]:
        """Returns the tokens of all threads."""
        with self._lock:
            return [*self._by_thread]
