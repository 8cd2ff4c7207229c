"""`reencrypt`: brings every value of a live database to the form that is asked for.

Rows are read in pages, and what changed in a page is written in one small transaction, each row only where it still is what
was read: whoever writes meanwhile wins. What is done is recognised by its header, so there is nothing to remember between
runs: after an interruption the next run goes on where this one was.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..core.keys import Key, KeyProvider
from ..errors import ConfigurationError, EncryptedSerdeError, KeyServiceError
from .coder import SAVER, Coder, ContextOf
from .database import Database, Page, Row, open_database
from .model import Failure, Progress, ProgressListener, Reencryption, Seen
from .scan import scan_opened

PAGE_ROWS = 100
"""Rows of a page, unless `reencrypt` is told otherwise: few, so that nobody waits for long."""

MAX_PASSES = 10
"""How often the database is gone through, where other writers leave something to do."""

_PAUSE = 0.5  # seconds before the next pass, where rows were locked by others


def reencrypt(
    database: str | Path,
    keys: Key | KeyProvider,
    *,
    target: str = SAVER,
    cipher: str | None = None,
    compression: str | None = None,
    legacy_keys: Iterable[bytes] = (),
    context: ContextOf = None,
    readable_metadata: Collection[str] = (),
    searchable_metadata: Collection[str] = (),
    threads: Sequence[str] = (),
    dry_run: bool = False,
    rate: float | None = None,
    page_rows: int = PAGE_ROWS,
    progress: ProgressListener | None = None,
) -> Reencryption:
    """Seals what is plaintext, and seals anew what is not sealed as it should be, while the database is in use.

    **Sealing plaintext vouches for whatever stands there**, and so does sealing anew what langgraph's own serializer or ours
    wrote unbound: a row that was forged or moved before is authentic afterwards. A manifest is made only for a row that has
    none, or whose own still holds.

    No object is built of any value: msgpack is taken apart with its extension types kept as they are. So none of the
    application's classes are needed, and no code of a stored value runs.

    Several processes may work at one Postgres database at once, each on rows that no other has locked. On SQLite more than one
    is correct, and no faster.

    Args:
        database: Path of a SQLite file, or URL of a Postgres database.
        keys: What to open and seal with. Everything comes under the key that this gives to write with.
        target: ``"saver"``: as `EncryptedSaver` writes, each value bound to its place. ``"serde"``: as a saver with
            ``serde=EncryptedSerializer`` does; metadata, and scalars on Postgres, become plaintext. ``"plaintext"``: nothing
            stays sealed.
        cipher: What to seal with. None leaves sealed values with theirs; others get the default.
        compression: ``"zstd"`` or ``"none"``. None leaves sealed values as they are; others are not compressed.
        legacy_keys: Raw AES keys of langgraph's own `EncryptedSerializer`.
        context: Encryption context of what has none yet: one for all, or a callable that gives that of a thread. A value
            that was sealed keeps its own.
        readable_metadata: Metadata keys that stay readable, as `EncryptedSaver` is told.
        searchable_metadata: Metadata keys that get a search token, as `EncryptedSaver` is told.
        threads: Only these thread ids; all where there are none.
        dry_run: Whether to do everything but write.
        rate: Rows to rewrite in a second, at most.
        page_rows: Rows of a page, which is what one transaction writes at most.
        progress: Is told after every page how far it is.

    Returns:
        What was done, with the rows that could not be converted and were left as they are, and a scan of the result.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If an argument cannot be used.
        DatabaseFailed: If the database fails. What was committed stays; run it again.
        KeyServiceError: If a key cannot be had now. What was committed stays; run it again.
    """
    if page_rows < 1 or (rate is not None and rate <= 0):
        raise ConfigurationError("rate and page_rows must be positive")
    coder = Coder(keys, target=target, cipher=cipher, compression=compression, legacy_keys=legacy_keys, context=context)
    with open_database(database, write=not dry_run) as opened:
        if not dry_run:
            opened.check_writable()
        run = _Run(opened, coder, (readable_metadata, searchable_metadata), threads, page_rows, rate, progress, dry_run)
        return run.to_the_end()


class _Run:
    def __init__(
        self,
        database: Database,
        coder: Coder,
        metadata_keys: tuple[Collection[str], Collection[str]],
        threads: Sequence[str],
        page_rows: int,
        rate: float | None,
        progress: ProgressListener | None,
        dry_run: bool,
    ) -> None:
        self._database = database
        self._coder = coder
        self._metadata_keys = metadata_keys
        self._threads = threads
        self._page_rows = page_rows
        self._rate = rate
        self._progress = progress
        self._result = Reencryption(dry_run=dry_run)
        self._bytes = 0

    def to_the_end(self) -> Reencryption:
        """Goes through the database until nothing is left that could be done, and scans it."""
        result = self._result
        totals = [self._database.count(table, self._threads) for table in self._database.tables] if self._progress else []
        total = None if None in totals else sum(number or 0 for number in totals)
        for number in range(MAX_PASSES):
            before = result.rewritten
            result.failed, result.failures = 0, []
            for table in self._database.tables:
                self._go_through(table, total, hurried=number == 0)
            result.left = 0
            result.scan = scan_opened(self._database, self._threads, self._metadata_keys[0], 0, None, self._count_left)
            if result.dry_run or result.left <= result.failed:
                break
            if result.rewritten == before:
                time.sleep(_PAUSE)
        return result

    def _go_through(self, table: str, total: int | None, *, hurried: bool) -> None:
        result, lock = self._result, not self._result.dry_run
        pages = self._database.pages(table, self._threads, self._page_rows, self._coder, lock=lock, hurried=hurried)
        for context in pages:
            start = time.monotonic()
            with context as page:
                written = self._convert(table, page)
            if self._rate is not None:
                time.sleep(max(0.0, written / self._rate - (time.monotonic() - start)))
            if self._progress is not None:
                self._progress(Progress(table, result.read, total, self._bytes))

    def _convert(self, table: str, page: Page) -> int:
        result = self._result
        changes: list[tuple[Row, tuple[Any, ...]]] = []
        for row in page.rows:
            result.read += 1
            self._bytes += row.size
            try:
                new = self._recoded(table, row)
            except KeyServiceError:
                raise
            except EncryptedSerdeError as error:
                result.fail(Failure(table, row.key, f"{type(error).__name__}: {error}"))
                continue
            if new is not None:
                changes.append((row, new))
        written = page.store(changes) if changes and not result.dry_run else len(changes)
        result.rewritten += written
        result.overtaken += len(changes) - written
        return written

    def _recoded(self, table: str, row: Row) -> tuple[Any, ...] | None:
        """Gives the new columns of a row; None if it may stay as it is."""
        found = list(self._database.look(table, row, self._metadata_keys[0]))
        is_done = all(self._coder.is_done(seen) for seen in found)
        if is_done and not any(self._coder.may_shrink(seen) for seen in found):
            return None
        new = self._database.recode(table, row, self._coder, self._metadata_keys)
        return None if is_done and sum(len(column or b"") for column in new) >= row.size else new

    def _count_left(self, found: list[Seen]) -> None:
        try:
            is_done = all(self._coder.is_done(seen) for seen in found)
        except KeyServiceError:
            raise
        except EncryptedSerdeError:  # the key of a context was erased
            is_done = False
        self._result.left += not is_done
