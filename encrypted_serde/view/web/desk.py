"""The one thread that has the database open, and the one that looks through it for a summary."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ...errors import EncryptedSerdeError
from ...maintenance.report import DatabaseFailed
from ...maintenance.scan import scan
from ...maintenance.selection import Progress, Selection
from ..view import View

ENOUGH = 20_000
"""So many rows of a larger database are looked at for the summary."""

_Found = TypeVar("_Found")


class Desk:
    """Opens the database in a thread of its own, where its connection stays, and again after it failed.

    Args:
        make: Opens it.
    """

    def __init__(self, make: Callable[[], View]) -> None:
        self._make = make
        self._view: View | None = None
        self._thread = ThreadPoolExecutor(1, "encrypted-serde-view")

    async def ask(self, question: Callable[[View], _Found]) -> _Found:
        """Answers a question in that thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)

    def _answer(self, question: Callable[[View], _Found]) -> _Found:
        if self._view is None:
            self._view = self._make()
        try:
            return question(self._view)
        except DatabaseFailed:
            self._close()
            raise

    def _close(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            view.close()

    def close(self) -> None:
        """Closes the database."""
        self._thread.submit(self._close)
        self._thread.shutdown()


@dataclass
class Summary:
    """What `scan` says of a database, as far as it is.

    Attributes:
        rows: How many rows were looked at.
        part: Which part of all rows: 1 for all of them.
        forms: How many values are stored in which way.
        keys: How many values each key sealed, by its id.
        contexts: How many encryption contexts there are.
        problems: How many values are what nobody wants to find.
        is_done: Whether it is finished.
        failed: Why it could not be.
    """

    rows: int = 0
    part: float = 1.0
    forms: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    contexts: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    is_done: bool = False
    failed: str = ""


def summarise(database: str, current_keys: tuple[str, ...]) -> Summary:
    """Looks through a database in the background, and returns at once what will be filled in."""
    summary = Summary()
    threading.Thread(target=_scan, args=(database, current_keys, summary), daemon=True).start()
    return summary


def _scan(database: str, current_keys: tuple[str, ...], summary: Summary) -> None:
    def listen(progress: Progress) -> None:
        summary.rows = progress.rows
        if progress.total is not None and progress.total > ENOUGH and summary.part == 1:
            summary.part = ENOUGH / progress.total
            raise _TooLargeError

    try:
        try:
            found = scan(database, current_keys=current_keys, progress=listen)
        except _TooLargeError:
            found = scan(database, current_keys=current_keys, selection=Selection(sample=summary.part), progress=listen)
    except (EncryptedSerdeError, OSError) as error:
        summary.failed = f"{type(error).__name__}: {error}"
        return
    summary.rows = sum(found.rows.values())
    summary.forms, summary.keys = found.tally.totals("kind"), found.tally.totals("key_id")
    summary.contexts = found.tally.contexts
    summary.problems = {name: count for name, count in found.problems().items() if count}
    if found.failed:
        summary.problems["unreadable rows"] = found.failed
    summary.is_done = True


class _TooLargeError(Exception):
    """The database is looked at in part."""
