"""A dict that stays small, for caches whose keys somebody else chooses."""

from __future__ import annotations

from typing import TypeVar

LIMIT = 1024
"""Entries of a cache, if nothing else is said."""

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V]):
    """A dict that starts anew when it is full. Only for what can be made or found again.

    It needs no lock: each step is one atomic operation, and two threads that fill it at once lose entries, nothing else.

    Args:
        limit: Entries it may have; `LIMIT` if None.
    """

    __slots__ = ("_limit",)

    def __init__(self, limit: int | None = None) -> None:
        self._limit = LIMIT if limit is None else limit

    def __setitem__(self, slot: K, value: V) -> None:
        if len(self) >= self._limit and slot not in self:
            self.clear()
        super().__setitem__(slot, value)
