"""Whether a long thread gets slower: the same calls after 1, 10, ... 10 000 checkpoints, plain and sealed in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6

from encrypted_serde import EncryptedSaver, Key

from .payloads import words
from .places import Places, Setup

MARKS = (1, 10, 100, 1000, 10_000)
CALLS = 30
"""Calls at each mark, of each kind, by each saver; the median is what counts."""

_KEY = Key.generate()
_SETUPS = (Setup("plain saver"), Setup("EncryptedSaver", wrap=lambda saver: EncryptedSaver(saver, _KEY)))


class Growth(NamedTuple):
    """One kind of call at one length of the thread.

    Attributes:
        checkpoints: How many there are.
        call: ``put``, ``get_tuple`` or ``list`` (the newest ten).
        seconds: The median of each saver's calls, by its name.
    """

    checkpoints: int
    call: str
    seconds: dict[str, float]


class _Thread:
    """One thread that grows, and the calls that are measured on it."""

    def __init__(self, saver: BaseCheckpointSaver) -> None:
        self._saver = saver
        self._config: dict[str, Any] = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        self._newest = self._config
        self._step = 0

    def put(self) -> None:
        self._step += 1
        versions = {"text": f"{self._step:032}.0"}
        checkpoint = {
            "v": 4,
            "id": str(uuid6(clock_seq=self._step)),
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": {"text": words(400, seed=self._step % 50)},
            "channel_versions": versions,
            "versions_seen": {},
            "updated_channels": ["text"],
        }
        metadata = {"source": "loop", "step": self._step, "parents": {}, "user": "somebody"}
        self._newest = self._saver.put(self._newest, checkpoint, metadata, versions)

    def get_tuple(self) -> None:
        self._saver.get_tuple(self._config)

    def list(self) -> None:
        for _ in self._saver.list(self._config, limit=10):
            pass


def growth(places: Places, longest: int) -> Iterator[Growth]:
    """Lets two threads on SQLite grow side by side, and measures at each of `MARKS` up to `longest`."""
    with ExitStack() as stack:
        threads = {setup.name: _Thread(stack.enter_context(places.saver("Sqlite", setup))) for setup in _SETUPS}
        length = 0
        for mark in (mark for mark in MARKS if mark <= longest):
            for _ in range(mark - length):
                for thread in threads.values():
                    thread.put()
            for call in ("get_tuple", "list", "put"):
                yield Growth(mark, call, _medians({name: getattr(thread, call) for name, thread in threads.items()}))
            length = mark + CALLS  # the puts that were measured


def _medians(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(CALLS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
