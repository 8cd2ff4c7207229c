"""`reencrypt`: brings every value of a live database to the form that is asked for.

Rows are read in pages, and what changed in a page is written in one small transaction, each row only where it still is what
was read: an application that writes meanwhile wins. Headers identify finished rows, so there is nothing to remember between
runs: after an interruption the next run goes on where this one was.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.keys import Key, KeyProvider
from ..errors import EncryptedSerdeError
from ..rows.manifest import KEY
from ..rows.stored import PLAINTEXT
from ..wrapping.stored_item import RESERVED
from .checkpoints import Checkpoints
from .codec import SAVER, Blocked, ContextOf, RowCodec, Switches, Target, looked_at
from .opening import Work, at_work, keep_pace
from .report import Failure, Report, Seen, Tally
from .scan import scan_all
from .selection import ProgressListener, Selection
from .table import OPEN, Paging, Row, Table, fenced
from .writes import Writes

PAGE_ROWS = 100
"""Rows of a page, which is what one transaction writes at most: few, so that nobody waits for long."""

MAX_PASSES = 10
"""How often the database is gone through, where other writers leave something to do."""

_PAUSE = 0.5  # seconds before the next pass, where rows were locked by others


@dataclass
class Reencryption(Report):
    """What a re-encryption did. Its tally is that of the scan at the end.

    Attributes:
        dry_run: Whether nothing was written.
        read: Rows that were read, in all passes.
        rewritten: Rows that were written anew, or would have been.
        overtaken: Rows that somebody else changed meanwhile; what they wrote counts.
        left: Rows that are not in the form that was asked for, by the scan at the end.
        admitted: Values that we did not seal and a switch let through, by kind.
    """

    dry_run: bool = False
    read: int = 0
    rewritten: int = 0
    overtaken: int = 0
    left: int = 0
    admitted: dict[str, int] | None = None

    @property
    def done(self) -> int:
        """How many rows were written anew so far."""
        return self.rewritten

    def reasons(self) -> list[str]:
        """Says what is left."""
        left = [f"{self.left} rows are not in the form that was asked for"] if self.left and not self.dry_run else []
        return [*super().reasons(), *left]


def reencrypt(
    database: str | Path,
    keys: Key | KeyProvider,
    *,
    target: str = SAVER,
    cipher: str | None = None,
    compression: str | None = None,
    allow_plaintext: bool = False,
    allow_unbound: bool = False,
    legacy_keys: Iterable[bytes] = (),
    context: ContextOf = None,
    readable_metadata: Collection[str] = (),
    searchable_metadata: Collection[str] = (),
    readable_fields: Collection[str] = (),
    searchable_fields: Collection[str] = (),
    selection: Selection = Selection(),  # noqa: B008  # immutable
    dry_run: bool = False,
    rate: float | None = None,
    progress: ProgressListener | None = None,
) -> Reencryption:
    """Seals anew what is not sealed as it should be, and what switches admit, while the database is in use.

    By itself it admits nothing: data that we did not seal is reported and left. **A switch makes forged rows authentic**: a
    row that was forged or moved before is authentic afterwards. A row that carries proof that we sealed it (a manifest that
    opens, a bound value) is held to that under every switch.

    No object is built of any value: msgpack is taken apart with its extension types kept as they are. So none of the
    application's classes are needed, and no code of a stored value runs.

    Several processes may work at one Postgres or MySQL database at once, each on rows that no other has locked. On SQLite more
    than one is correct, and no faster.

    Args:
        database: As for `scan`.
        keys: What to open and seal with. Everything comes under the key that this gives to write with.
        target: ``"saver"``: as `EncryptedSaver` writes, each value bound to its place. ``"serde"``: as a saver with
            ``serde=EncryptedSerializer`` does; metadata, and scalars on Postgres, become plaintext. Items of stores are bound
            in both. ``"plaintext"``: nothing
            stays sealed.
        cipher: What to seal with. None leaves sealed values with theirs; others get the default.
        compression: ``"zstd"`` or ``"none"``. None leaves sealed values as they are; others are not compressed.
        allow_plaintext: Whether values that were never encrypted are sealed, but never ``pickle``.
        allow_unbound: Whether values of `EncryptedSerializer` become bound to the row that holds them.
        legacy_keys: Raw AES keys of langgraph's own `EncryptedSerializer`, whose values are sealed then.
        context: Encryption context of what has none yet: one for all, or a callable that gives that of a thread, or of an
            item, given the labels of its namespace with periods between them. A value that was sealed keeps its own.
        readable_metadata: Metadata keys that stay readable, as `EncryptedSaver` is told.
        searchable_metadata: Metadata keys that get a search token, as `EncryptedSaver` is told.
        readable_fields: Fields of a store's items that get a readable copy, as `EncryptedStore` is told with ``readable``. What
            is stored beside an item that was sealed stays without being named.
        searchable_fields: Fields of items that get a search token, as it is told with ``searchable``. Name them when items
            move in: without tokens they are not found.
        selection: Which rows; all by default. Threads and partitions alone: values of a thread belong together.
        dry_run: Whether to do everything but write.
        rate: Rows to rewrite in a second, at most.
        progress: Is told after every page how far it is.

    Returns:
        What was done, with the rows that could not be converted and were left as they are, and a scan of the result.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If an argument cannot be used.
        DatabaseFailed: If the database fails. What was committed stays; run it again.
    """
    selection.check_whole("reencrypt", rate)
    switches = Switches(allow_plaintext, allow_unbound, tuple(legacy_keys))
    fields = looked_at("fields", readable_fields, searchable_fields, RESERVED)
    metadata_keys = looked_at("metadata", readable_metadata, searchable_metadata, (KEY,))
    codec = RowCodec(keys, switches, Target(target, cipher, compression, context, fields, metadata_keys), dry_run=dry_run)
    options = {
        "target": target,
        "cipher": cipher,
        "compression": compression,
        **switches.described(),
        "readable_metadata": sorted(readable_metadata),
        "searchable_metadata": sorted(searchable_metadata),
        "readable_fields": sorted(readable_fields),
        "searchable_fields": sorted(searchable_fields),
        "rate": rate,
    }
    report = Reencryption("reencrypt", dry_run=dry_run, options=options)
    if target != PLAINTEXT and codec.only_key is not None:
        report.current_keys = (codec.only_key.id.hex(),)
    with at_work(report, database, selection, progress, "" if dry_run else "UPDATE") as work:
        _Run(work, codec).to_the_end(rate)
    report.admitted = dict(+codec.admission.admitted)
    report.compared = ["what was rewritten opened in its place", "how every value is stored in the end, by types and headers"]
    report.not_compared = ["what was left as it is because it is as asked for: verify opens it"]
    return report


class _Run:
    def __init__(self, work: Work[Reencryption], codec: RowCodec) -> None:
        self._work, self._codec = work, codec
        self._database, self._report = work.database, work.report

    def to_the_end(self, rate: float | None) -> None:
        """Goes through the database until nothing is left that could be done, and scans it."""
        report, key, tables = self._report, self._codec.only_key, self._database.tables
        # Pending writes first, then checkpoints, then values: a manifest never has anything beside it that it does not cover,
        # and a value is bound only once every checkpoint that refers to it has one. For leaving, checkpoints come first, since
        # a manifest decides about all that is stored beside it.
        if self._codec.form != SAVER:
            tables = sorted(tables, key=lambda table: (not isinstance(table, Checkpoints), isinstance(table, Writes)))
        for number in range(MAX_PASSES):
            before = report.rewritten
            report.start_again()
            for table in tables:
                table.begin(is_first=number == 0)
                report.rows.setdefault(table.name, 0)
                paging = Paging(table, self._work.selection, OPEN, size=PAGE_ROWS, lock=not report.dry_run)
                if number == 0 and key is not None:
                    paging.condition = self._database.not_done(table, self._codec.form, key)
                while not paging.finished:
                    start = time.monotonic()
                    with self._database.page(paging) as rows:
                        written = self._convert(table, rows)
                    keep_pace(rate, written, start)
                    self._work.tell(table.name)
            self._count_what_is_left()
            is_blocked = any(error == Blocked.__name__ for _, error, _ in report.groups)
            is_stuck = report.rewritten == before
            if report.dry_run or (report.left <= report.failed and (not is_blocked or (is_stuck and number))):
                break
            if is_stuck:
                time.sleep(_PAUSE)

    def _convert(self, table: Table, rows: Sequence[Row]) -> int:
        report = self._report
        changes: list[tuple[Row, tuple[Any, ...]]] = []
        report.read += len(rows)
        self._work.count(table, rows)
        for row in rows:
            counts = self._codec.admission.counts()
            new = fenced(table, row, lambda: self._recoded(table, row))  # noqa: B023  # called at once
            if isinstance(new, Failure):
                self._codec.admission.count_back(counts)  # it is left, and read again in the next pass
                self._report.fail(new)
            elif new is not None:
                changes.append((row, new))
        written = self._store(table, changes) if changes and not report.dry_run else len(changes)
        report.rewritten += written
        return written

    def _store(self, table: Table, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Stores rows; one that the database does not take, such as JSON that it finds impossible, is one failure."""
        try:
            with self._database.savepoint():
                written = self._database.store(table, changes)
        except self._database.data_errors as error:
            if len(changes) > 1:
                return sum(self._store(table, [change]) for change in changes)
            self._report.fail(Failure.of(table.name, table.key_of(changes[0][0]), error))
            return 0
        self._report.overtaken += len(changes) - written
        return written

    def _recoded(self, table: Table, row: Row) -> tuple[Any, ...] | None:
        """Returns the new columns of a row; None if it may stay as it is."""
        found = [*table.look(row, self._codec.metadata_keys.readable)]
        is_done = all(self._codec.is_done(seen) for seen in found)
        if is_done and not any(self._codec.may_shrink(seen) for seen in found):
            return table.mended(row, self._codec)
        new = table.recode(row, self._codec)
        return None if is_done and sum(len(column or b"") for column in new) >= table.weight(row) else new

    def _count_what_is_left(self) -> None:
        report = self._report
        scanned = Report("scan", tally=Tally())
        report.left = 0
        work = Work(self._database, self._work.selection, scanned)
        scan_all(work, self._codec.metadata_keys.readable, visit=self._count_left)
        report.tally, report.rows, report.bytes = scanned.tally, scanned.rows, scanned.bytes

    def _count_left(self, table: Table, row: Row, found: list[Seen]) -> None:
        try:
            is_done = all(self._codec.is_done(seen) for seen in found)
        except EncryptedSerdeError:  # the key of a context was erased, or cannot be had
            is_done = False
        self._report.left += not is_done
