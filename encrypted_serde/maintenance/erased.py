"""`expire_erased`: removes the rows under destroyed keys, which nobody can read any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.context import NO_CONTEXT
from ..core.keys import Key, KeyProvider, as_key_provider
from ..rows.stored import SEALED
from .asked_keys import AskedKeys
from .items import StoreItems, Vectors
from .opening import Work, at_work
from .report import Deletion, Failure
from .selection import ProgressListener, Selection
from .table import LOOK, Row, Table, fenced

PAGE_ROWS = 100
"""Rows that one transaction deletes at most."""


@dataclass
class ErasedRows(Deletion):
    """What was removed.

    Attributes:
        keys: How many rows were under each destroyed key, by its id.
    """

    keys: Counter[str] = field(default_factory=Counter)


def expire_erased(
    database: str | Path,
    keys: Key | KeyProvider,
    *,
    selection: Selection = Selection(),  # noqa: B008  # immutable
    dry_run: bool = False,
    progress: ProgressListener | None = None,
) -> ErasedRows:
    """Deletes every row that has a value under a destroyed key, while the database is in use.

    Whether a key was destroyed the provider says (`KeyErased`), of each key and context that a header names. A row is looked at
    again under a lock before it goes: what was written anew since stays. Vectors of an item go with it.

    Args:
        database: As for `scan`.
        keys: The key provider of the application.
        selection: Which rows; all by default.
        dry_run: Whether to count and not to delete.
        progress: Is told now and then how far it is.

    Raises:
        ConfigurationError: If an argument cannot be used.
        DatabaseFailed: If the database fails. What was committed stays; run it again.
    """
    report = ErasedRows("expire", dry_run=dry_run, options={"erased": True})
    asked = AskedKeys(as_key_provider(keys))
    with at_work(report, database, selection, progress, "" if dry_run else "DELETE") as work:
        run = _Run(work, asked)
        for table, rows in work.pages(LOOK, PAGE_ROWS):
            run.page(table, rows)
    report.compared = ["what the key provider has for every key and context that a header names"]
    report.not_compared = ["whether anything opens: verify does that"]
    return report


class _Run:
    def __init__(self, work: Work[ErasedRows], keys: AskedKeys) -> None:
        self._database, self._report, self._keys = work.database, work.report, keys
        self._vectors = Vectors(work.database)

    def page(self, table: Table, rows: Sequence[Row]) -> None:
        """Deletes those rows of a page that are under a destroyed key."""
        report = self._report
        erased = []
        for row in rows:
            found = fenced(table, row, lambda: self._erased_key(table, row))  # noqa: B023  # called at once
            if isinstance(found, Failure):
                report.fail(found)
            elif found is not None:
                erased.append((row, found))
        if erased and not report.dry_run:
            with self._database.transaction():
                erased = [(row, key_id) for row, key_id in erased if self._is_still(table, row, key_id)]
                self._database.delete(table, [row.place for row, _ in erased])
                for row, _ in erased if isinstance(table, StoreItems) else ():
                    self._vectors.delete(row.cells["prefix"], row.cells["key"])
        report.deleted[table.name] += len(erased)
        report.keys.update(key_id.hex() for _, key_id in erased)

    def _erased_key(self, table: Table, row: Row) -> bytes | None:
        """Returns the first destroyed key that the row names; None if it names none."""
        for seen in table.look(row, None):
            if seen.form.kind == SEALED and self._keys.is_erased(seen.form.key_id, (seen.form.context or NO_CONTEXT).pairs):
                return seen.form.key_id
        return None

    def _is_still(self, table: Table, row: Row, key_id: bytes) -> bool:
        """Says whether a row still is under that key, and locks it where the database locks rows."""
        fresh = self._database.again(table, row, LOOK, lock=True)
        return fresh is not None and bool(fenced(table, fresh, lambda: self._erased_key(table, fresh)) == key_id)
