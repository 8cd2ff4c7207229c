"""Entering later: entries are gathered for a while and added together, by a thread of their own."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterable

from ..errors import ConfigurationError
from .entries import Anchor, Entry
from .forks import start_anew_in_children

LONGEST = 60
"""Seconds that a lag may last."""

_MOST = 10_000
"""Entries that wait at most: whoever brings more adds them all himself."""

_IDLE_SECONDS = 60


class LaggingAnchor:
    """Puts off what is appended to another anchor, by `max_lag` seconds. Whoever reads here waits for it first.

    For that long a row stands in the database without an entry. Whoever changes the database within this time is not noticed,
    and what a killed process had not added yet is never missed.

    Args:
        anchor: Where entries go in the end.
        max_lag: Seconds, above 0 and up to 60.

    Raises:
        TypeError: If it is no number.
        ConfigurationError: If it is out of range.
    """

    def __init__(self, anchor: Anchor, max_lag: float) -> None:
        if isinstance(max_lag, bool) or not isinstance(max_lag, (int, float)):
            raise TypeError(f"max_lag is a number of seconds, not {type(max_lag).__name__}")
        if not 0 < max_lag <= LONGEST:
            raise ConfigurationError(f"max_lag is a number of seconds above 0 and up to {LONGEST}; leave it out for no lag")
        self.anchor = anchor
        self.max_lag = max_lag
        self._waiting: list[Entry] = []
        self._failed = False
        self._thread: threading.Thread | None = None
        self._flushing = threading.Lock()
        self._changed = threading.Condition()
        start_anew_in_children(self)
        _all.add(self)

    def after_fork(self) -> None:
        """Leaves to the parent what is waiting: it has the thread for it."""
        self._waiting, self._failed, self._thread = [], False, None
        self._flushing, self._changed = threading.Lock(), threading.Condition()

    def append(self, entries: Iterable[Entry]) -> None:
        """As `Anchor.append`, but the entries are there `max_lag` seconds after it returned.

        Raises:
            AnchorError: If what was brought earlier could not be added, and cannot be now.
        """
        with self._changed:
            was_empty = not self._waiting
            self._waiting += entries
            is_due = self._failed or len(self._waiting) >= _MOST
            if self._thread is None and not is_due:
                self._thread = threading.Thread(target=self._work, name="encrypted-serde-anchor", daemon=True)
                self._thread.start()
            if was_empty:
                self._changed.notify()
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Adds what is waiting.

        Raises:
            AnchorError: If it cannot be added. It goes on waiting.
        """
        with self._flushing:
            with self._changed:
                entries, self._waiting = self._waiting, []
            if not entries:
                return
            try:
                self.anchor.append(entries)
            except BaseException:
                with self._changed:
                    self._waiting, self._failed = entries + self._waiting, True
                raise
            self._failed = False

    def newest(self, thread: bytes, namespace: bytes) -> list[Entry]:
        """As `Anchor.newest`."""
        self.flush()
        return self.anchor.newest(thread, namespace)

    def entries(self, thread: bytes, namespace: bytes | None = None, checkpoint: bytes | None = None) -> list[Entry]:
        """As `Anchor.entries`."""
        self.flush()
        return self.anchor.entries(thread, namespace, checkpoint)

    def threads(self) -> list[bytes]:
        """As `Anchor.threads`."""
        self.flush()
        return self.anchor.threads()

    def _work(self) -> None:
        """Ends when nothing came for a minute, or when adding failed: whoever appends or reads next meets the error then."""
        pause = threading.Event()
        while self._is_wanted():
            pause.wait(self.max_lag)
            try:
                self.flush()
            except Exception:  # noqa: BLE001  # kept: see flush
                with self._changed:
                    self._thread = None
                return

    def _is_wanted(self) -> bool:
        with self._changed:
            if self._changed.wait_for(lambda: bool(self._waiting), timeout=_IDLE_SECONDS):
                return True
            self._thread = None
            return False


_all: weakref.WeakSet[LaggingAnchor] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for anchor in [*_all]:
        anchor.flush()
