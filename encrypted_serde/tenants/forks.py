"""Locks after a fork: the threads that held them are not there in the child, and nobody would release them."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something that has locks."""

    def reset(self) -> None:
        """Makes them anew."""
        ...


_known: WeakSet[Forkable] = WeakSet()


def after_fork(each: Forkable) -> None:
    """Has `Forkable.reset` called in every child process, for as long as the object lives."""
    _known.add(each)


def _reset_all() -> None:
    for each in [*_known]:
        each.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
