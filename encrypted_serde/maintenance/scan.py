"""`scan`: what is sealed in a database, how, and what is not. Needs no key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from ..core.keys import KeyProvider, current_key_id
from ..errors import EncryptedSerdeError
from ..rows.stored import NONE, UNDECODABLE, Form
from .opening import Work, at_work
from .report import Failure, Report, Seen, Tally
from .selection import ProgressListener, Selection
from .table import LOOK, Row, Table, fenced


def scan(
    database: str | Path,
    *,
    selection: Selection = Selection(),  # noqa: B008  # immutable
    readable_metadata: Collection[str] = (),
    current_keys: Iterable[str] = (),
    keys: KeyProvider | None = None,
    by_context: bool = False,
    progress: ProgressListener | None = None,
) -> Report:
    """Looks at every value of a checkpointer's database, or a store's, and says how it is stored.

    Nothing is decrypted and no key is needed, so nothing is proved either: somebody who writes rows can make a value look
    sealed. `verify` proves that it is.

    Args:
        database: Path of a SQLite file, URL or conninfo string of a Postgres database, URL of a MySQL or MariaDB database.
        selection: Which rows; all by default.
        readable_metadata: Metadata keys, and fields of items, that are readable on purpose, as `EncryptedSaver` and
            `EncryptedStore` were told.
        current_keys: Ids of the keys that are written with, 64 hex digits or the first 12: others count as old.
        keys: In place of ``current_keys``: asked for each context that is found which key it writes with. Nothing is opened.
        by_context: Whether values under different encryption contexts have lines of their own.
        progress: Is told now and then how far it is.

    Raises:
        DatabaseFailed: If the database cannot be read, or is none of a checkpointer or a store.
        ConfigurationError: If an argument cannot be used, or the driver is not installed.
    """
    report = Report("scan", tally=Tally(by_context=by_context), current_keys=tuple(current_keys))
    report.options = {"readable_metadata": sorted(readable_metadata)}
    with at_work(report, database, selection, progress) as work:
        scan_all(work, readable_metadata)
    if keys is not None:
        report.current_keys = tuple(sorted(_current_keys(report, keys)))
    report.compared = ["types and headers of every value that was read"]
    report.not_compared = ["whether anything opens: verify does that"]
    if not report.current_keys:
        report.not_compared.append("key ids: no current key was named")
    if not by_context:
        report.not_compared.append("contexts: they are counted, and not told apart")
    return report


Visit = Callable[[Table, Row, list[Seen]], None]


def scan_all(work: Work[Any], readable_keys: Collection[str], visit: Visit | None = None) -> None:
    """Scans a database that is open already.

    Args:
        work: Its report gets the counts.
        readable_keys: Metadata keys, and fields of items, that are readable on purpose.
        visit: Is given each row with its table, and what was found in it.
    """
    report = work.report
    for table, row in work.rows(LOOK):
        found = fenced(table, row, lambda: [*table.look(row, readable_keys)])  # noqa: B023  # called at once
        if isinstance(found, Failure):
            report.fail(found)
            found = [Seen(table.name, "row", Form(UNDECODABLE), row.size)]
        if visit is not None:
            visit(table, row, found)
        for seen in found:
            if seen.form.kind != NONE:
                report.tally.add(seen)


def _current_keys(report: Report, keys: KeyProvider) -> set[str]:
    found = set()
    for context in report.tally.seen_contexts():
        try:
            if (key_id := current_key_id(keys, context.pairs)) is not None:
                found.add(key_id.hex())
        except EncryptedSerdeError as error:  # of one tenant; its values count as old
            report.fail(Failure.of("keys", {"context": ", ".join(sorted(context.pairs))}, error))
    return found
