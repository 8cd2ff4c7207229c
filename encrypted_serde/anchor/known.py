"""What one process knows of an anchor for sure: facts that were true before now, and stay true."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from .forks import start_anew_in_children
from .ledger import TaskSlot

Row = tuple[bytes, bytes, bytes]
"""Tokens of a thread and a namespace, and a checkpoint id in bytes."""

SlotBatch = tuple[TaskSlot, bytes]

_REMEMBERED = 4096


class Known:
    """Remembers, of threads and checkpoints in use, what was read or entered. What it forgot is read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[bytes, int] = {}
        self._highest: dict[tuple[bytes, bytes], bytes] = {}
        self._live: dict[Row, dict[TaskSlot, set[bytes]]] = {}
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Keeps what was known: it stays true."""
        self._lock = threading.Lock()

    def epoch(self, thread: bytes) -> int | None:
        """Gives the number of the last entry about a whole thread; None if nothing is known."""
        return self._epochs.get(thread)

    def learn_epoch(self, thread: bytes, epoch: int) -> None:
        """Remembers it."""
        with self._lock:
            _make_room(self._epochs)
            self._epochs[thread] = epoch

    def learn_highest(self, thread: bytes, namespace: bytes, checkpoint: bytes) -> None:
        """Remembers the highest checkpoint of a place; empty if there is none."""
        with self._lock:
            _make_room(self._highest)
            self._highest[thread, namespace] = checkpoint

    def has(self, row: Row) -> bool:
        """Says whether as much is known of the writes of a checkpoint as this process can know before it stores some.

        A checkpoint above the highest that was there when this process looked is being made by this process. If others make
        it too, their writes overlap with ours.
        """
        highest = self._highest.get(row[:2])
        return row in self._live or (highest is not None and row[2] > highest)

    def live(self, row: Row, tasks: Iterable[bytes], slots: Iterable[int]) -> dict[int, list[SlotBatch]]:
        """Gives, by slot, the batches that were stored in slots of a task, as far as known, and not replaced since.

        Args:
            row: The checkpoint.
            tasks: The names of the task, under every key.
            slots: The slots; those that are free, as far as known, are left out.
        """
        with self._lock:
            live = self._live.get(row)
            if not live:
                return {}
            places = [(task, slot) for task in tasks for slot in slots]
            found: dict[int, list[SlotBatch]] = {}
            for place in places:
                for batch in live.get(place, ()):
                    found.setdefault(place[1], []).append((place, batch))
            return found

    def learn(self, row: Row, live: Mapping[TaskSlot, Iterable[bytes]]) -> None:
        """Remembers what was read of the writes of a checkpoint."""
        with self._lock:
            _make_room(self._live)
            self._live[row] = {task_slot: {*batches} for task_slot, batches in live.items()}

    def begin(self, row: Row) -> None:
        """Takes note of a checkpoint that is about to be stored: nothing is known of its writes, and nothing need be read."""
        with self._lock:
            if row not in self._live:
                _make_room(self._live)
                self._live[row] = {}

    def change(self, row: Row, gone: Iterable[SlotBatch], added: Iterable[SlotBatch]) -> None:
        """Takes note of writes that were stored, and of those that they replaced."""
        with self._lock:
            _make_room(self._live)
            live = self._live.setdefault(row, {})
            for task_slot, batch in gone:
                live.get(task_slot, set()).discard(batch)
            for task_slot, batch in added:
                live.setdefault(task_slot, set()).add(batch)

    def forget(self, thread: bytes) -> None:
        """Forgets the writes of a thread that is being deleted from."""
        with self._lock:
            for row in [row for row in self._live if row[0] == thread]:
                del self._live[row]


def _make_room(remembered: dict[Any, Any]) -> None:
    if len(remembered) >= _REMEMBERED:
        for old in [*remembered][: _REMEMBERED // 2]:
            del remembered[old]
