"""After a fork: locks that another thread held stay locked in the child for ever, and connections belong to the parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What has to start anew in a child process."""

    def after_fork(self) -> None:
        """Is called in the child, before anything else runs there."""
        ...


_alive: weakref.WeakSet[Forked] = weakref.WeakSet()


def start_anew_in_children(subject: Forked) -> None:
    """Has `after_fork` of an object called in every process that is forked from now on, for as long as the object lives."""
    _alive.add(subject)


def _start_anew() -> None:
    for subject in [*_alive]:
        subject.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_start_anew)
