"""`expire`: retention. Deletes what is older than it should be, and needs no key.

A thread whose newest checkpoint is old goes as a whole; or, with ``keep_latest``, old checkpoints go and the newest of each
namespace stays. Checkpoints go oldest first, in small transactions, so that a run that was interrupted leaves a shorter
history, and the next run finds the rest by itself. Values in rows of their own go once no checkpoint refers to them: of a
thread that is gone some seconds after its checkpoints, so that an application that had just read it can still save the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from ..anchor.client import AnchorClient
from ..core.keys import Key, KeyProvider
from ..errors import ConfigurationError, EncryptedSerdeError
from ..wrapping.upstream import DELTA_COUNTERS
from .checkpoints import Checkpoints
from .codec import RowCodec, Switches
from .completeness import AnchoredDatabase
from .expired_values import ExpiredValues
from .json_checkpoints import Blobs
from .opening import Work, at_work, keep_pace
from .report import FAILURES_KEPT, Deletion, Failure
from .selection import DATED, ProgressListener, Selection, first_id
from .table import parse_json
from .writes import Writes

PAGE_ROWS = 100
"""Checkpoints that one transaction deletes at most."""

SETTLE = 5.0
"""Seconds between the last checkpoints of threads that go, and the values that these leave behind."""

DELTA_KEYS = (DELTA_COUNTERS, "delta_writes_versioned")
"""Metadata keys that LangGraph gives checkpoints of threads with delta channels, whose values need all of their history."""


@dataclass
class Expiration(Deletion):
    """What expired.

    Attributes:
        older_than: The time before which checkpoints are old.
        threads: Threads that lost checkpoints, or would have.
        gone: Those of them of which nothing is left.
        deleted_bytes: How large the values of deleted rows were.
        delta_threads: Threads with delta channels that are old and were left whole: the first thousand.
        delta_thread_count: How many these are.
        undated: Threads that were left since ids of their checkpoints tell no time.
    """

    older_than: str = ""
    threads: int = 0
    gone: int = 0
    deleted_bytes: int = 0
    delta_threads: list[str] = field(default_factory=list)
    delta_thread_count: int = 0
    undated: int = 0


def expire(
    database: str | Path,
    older_than: datetime,
    *,
    keep_latest: bool = False,
    selection: Selection = Selection(),  # noqa: B008  # immutable
    dry_run: bool = False,
    rate: float | None = None,
    anchor: AnchorClient | None = None,
    keys: Key | KeyProvider | None = None,
    progress: ProgressListener | None = None,
) -> Expiration:
    """Deletes threads that nobody has written to for long, while the database is in use.

    Times are those in the ids of checkpoints. Threads whose ids tell none are left, and counted. Threads with delta channels
    are left whole, and named.

    Args:
        database: As for `scan`.
        older_than: Checkpoints from before this are old. With a time zone.
        keep_latest: Whether threads stay: only old checkpoints go, and of each namespace the newest never does.
        selection: Which threads; all by default. Threads and partitions alone.
        dry_run: Whether to count and not to delete.
        rate: Checkpoints to delete in a second, at most.
        anchor: Says which checkpoint is the newest, and is told what goes. A thread that is not as the anchor knows it, or has
            a row that does not open, is left whole, and a failure.
        keys: What rows are opened with; only with an anchor.
        progress: Is told after every thread how far it is.

    Raises:
        ConfigurationError: If an argument cannot be used.
        DatabaseFailed: If the database fails. What was committed stays; run it again.
    """
    if older_than.tzinfo is None:
        raise ConfigurationError("older_than needs a time zone")
    if older_than > datetime.now(timezone.utc):
        raise ConfigurationError("older_than is in the future")
    if (anchor is None) != (keys is None):
        raise ConfigurationError("an anchor needs keys, which open what it knows of, and keys are for nothing else")
    selection.check_whole("expire", rate)
    report = Expiration("expire", dry_run=dry_run, older_than=older_than.isoformat())
    report.options = {"keep_latest": keep_latest, "rate": rate}
    with at_work(report, database, selection, progress, "" if dry_run else "DELETE") as work:
        anchored = None
        if anchor is not None and keys is not None:
            anchored = AnchoredDatabase(work.database, RowCodec(keys, Switches()), anchor)
        _Run(work, first_id(older_than), keep_latest, rate, anchored).to_the_end()
    report.compared = ["the times in the ids of checkpoints", "the metadata keys by which delta channels are known"]
    if anchor is None:
        report.not_compared = ["anything that is sealed: no key is needed"]
    else:
        report.compared.append("every thread that got shorter, with the anchor")
    return report


class OldCheckpoint(NamedTuple):
    """A checkpoint that goes."""

    namespace: Any
    checkpoint_id: str
    size: int
    place: tuple[Any, ...]


_NO_CHECKPOINTS = "expire is for databases of checkpointers, and this is none: a store has ttl= and sweep_ttl()"


@dataclass
class _Run:
    work: Work[Expiration]
    cutoff: str  # ids below it are old
    keep_latest: bool
    rate: float | None
    anchored: AnchoredDatabase | None

    def __post_init__(self) -> None:
        self._database, self._report = database, report = self.work.database, self.work.report
        self._checkpoints: Checkpoints = database.require(Checkpoints, _NO_CHECKPOINTS)
        self._writes: Writes = database.require(Writes, _NO_CHECKPOINTS)
        blobs = database.find(Blobs)
        self._values = None if blobs is None else ExpiredValues(database, blobs, report)
        self._id = database.checkpoint_id()
        self._thread = f"t.thread_id = {database.thread_mark}"
        report.deleted.update({table.name: 0 for table in (self._checkpoints, self._writes, blobs) if table is not None})

    def to_the_end(self) -> None:
        """Goes through all threads."""
        report, selection = self._report, self.work.selection
        report.rows = {"checkpoints": 0}
        if self.keep_latest and self._database.is_shallow:  # there is nothing but the newest
            report.rows["checkpoints"] = self._database.count(self._checkpoints, selection) or 0
            return
        for thread, newest, number, undated, delta in self._threads(selection):
            report.rows["checkpoints"] += number
            if undated or not isinstance(newest, str):  # text that is no UTF-8 comes as bytes
                report.undated += 1
            elif self.keep_latest or newest < self.cutoff:
                self._fenced(thread, is_delta=bool(delta))
            self.work.tell("checkpoints")
        if self._values is not None and not report.dry_run and not self.keep_latest:
            if report.gone:
                time.sleep(SETTLE)
            self._values.delete_orphans(selection)

    def _threads(self, selection: Selection) -> Iterator[tuple[Any, ...]]:
        """Returns threads: newest id, number of checkpoints, and how many of these are undated, and have delta channels."""
        database = self._database
        where, parameters = database.selected(self._checkpoints, selection)
        delta = " OR ".join(database.has_metadata(key) for key in DELTA_KEYS)
        dated, counted = f"{self._id} LIKE {database.mark}", "sum(CASE WHEN {0} THEN {1} ELSE {2} END)"
        also = f", max({self._id}), count(*), {counted.format(dated, 0, 1)}, {counted.format(delta, 1, 0)}"
        return database.threads(PAGE_ROWS, also, where, (DATED, *parameters))

    # --- one thread

    def _fenced(self, thread: Any, *, is_delta: bool) -> None:
        """Expires a thread. Whatever is stored there becomes one failure, and the next thread follows."""
        try:
            self._expire(thread, is_delta=is_delta)
        except (EncryptedSerdeError, self._database.errors):  # what the anchor or the database says concerns every thread
            raise
        except Exception as error:  # noqa: BLE001  # an id of another type, where only text belongs
            self._report.fail(Failure.of("checkpoints", {"thread_id": thread}, error))

    def _expire(self, thread: Any, *, is_delta: bool) -> None:
        """Deletes what is old of a thread, oldest first, in transactions of `PAGE_ROWS`."""
        report, newest = self._report, None
        if self.anchored is not None and (newest := self._newest_of(self.anchored, str(thread))) is None:
            return
        if is_delta:
            if self._old(thread, newest):  # which may be needed to build the newest
                report.delta_thread_count += 1
                report.delta_threads += [str(thread)] if len(report.delta_threads) < FAILURES_KEPT else []
            return
        deleted, is_last = 0, False
        while not is_last:
            start = time.monotonic()
            with self._announcing(str(thread)) as announce, nullcontext() if report.dry_run else self._database.transaction():
                rows = self._old(thread, newest)
                announce([(str(row.namespace), str(row.checkpoint_id)) for row in rows])
                for start_of_page in range(0, len(rows), PAGE_ROWS):
                    self._delete(thread, rows[start_of_page : start_of_page + PAGE_ROWS])
                is_last = report.dry_run or len(rows) < PAGE_ROWS
                if (deleted or rows) and is_last and self._values is not None and (self.keep_latest or report.dry_run):
                    self._values.delete_unreferenced(thread, {(row.namespace, row.checkpoint_id) for row in rows})
            deleted += len(rows)
            report.deleted["checkpoints"] += len(rows)
            keep_pace(None if report.dry_run else self.rate, len(rows), start)
        report.threads += deleted > 0
        report.gone += deleted > 0 and not self.keep_latest

    def _newest_of(self, anchored: AnchoredDatabase, thread_id: str) -> list[tuple[str, str]] | None:
        """Returns namespace and id of the newest checkpoints of a thread that is as the anchor knows it; else None."""
        compared = anchored.compare(thread_id)
        failures = [*compared.failures, *(finding.failure() for finding in compared.findings if not finding.is_no_loss)]
        for failure in failures:
            self._report.fail(failure)
        if failures:
            return None
        if not self._report.dry_run:
            anchored.end_open(compared)
        newest: dict[str, str] = {}
        for judged in compared.rows:
            if judged.counts:
                checkpoint_ns, checkpoint_id, _ = judged.row
                newest[checkpoint_ns] = max(newest.get(checkpoint_ns, ""), checkpoint_id)
        return [*newest.items()]

    def _announcing(self, thread_id: str) -> AbstractContextManager[Callable[[Sequence[tuple[str, str]]], None]]:
        """Tells the anchor, if there is one, what goes before it goes, and what became of it."""
        if self.anchored is None or self._report.dry_run:
            return nullcontext(lambda places: None)
        return self.anchored.deletion(thread_id)

    def _old(self, thread: Any, newest: list[tuple[str, str]] | None) -> list[OldCheckpoint]:
        """Returns the oldest checkpoints that go; none where the thread came alive again."""
        database = self._database
        kept = self._kept(thread, newest)
        if kept is None:
            return []
        place = ", ".join(f"t.{name}" for name in database.page_key or self._checkpoints.key)
        size = " + ".join(f"coalesce({database.size(f't.{name}')}, 0)" for name in ("checkpoint", "metadata"))
        others = f"AND NOT {self._id} IN ({', '.join([database.mark] * len(kept))})" if kept else ""
        limit = "" if self._report.dry_run else f"LIMIT {PAGE_ROWS}"
        found = database.execute(
            f"SELECT t.checkpoint_ns, {self._id}, {size}, {place} FROM checkpoints AS t WHERE {self._thread} "  # noqa: S608
            f"AND {self._id} < {database.mark} {others} ORDER BY {self._id} {limit}",
            (thread, self.cutoff, *kept),
        )
        return [OldCheckpoint(namespace, checkpoint_id, size, tuple(place)) for namespace, checkpoint_id, size, *place in found]

    def _kept(self, thread: Any, newest: Sequence[tuple[Any, ...]] | None) -> list[str] | None:
        """Returns ids that stay although they are old; None if the thread is not to be touched."""
        if newest is None:
            newest = self._database.execute(
                f"SELECT t.checkpoint_ns, max({self._id}) FROM checkpoints AS t "  # noqa: S608
                f"WHERE {self._thread} GROUP BY t.checkpoint_ns",
                (thread,),
            )
        if not self.keep_latest:
            return None if any(not found < self.cutoff for _, found in newest) else []
        heads = {namespace: found for namespace, found in newest if found < self.cutoff}
        roots = {found for namespace, found in newest if namespace == ""}
        kept: list[str] = []
        for namespace, head in heads.items():
            parent, root = self._head(thread, namespace, head)
            # What a subgraph was called with and for goes with the checkpoint of the root graph that called it.
            if ":" in str(namespace) and root is not None and root < self.cutoff and root not in roots:
                continue
            kept += [head] if parent is None else [head, parent]
        return kept

    def _head(self, thread: Any, namespace: Any, head: str) -> tuple[str | None, str | None]:
        """Returns the parent of a newest checkpoint, where formats below 4 keep its sends, and the root checkpoint it is of."""
        database, mark = self._database, self._database.mark
        [(parent, metadata)] = database.execute(
            f"SELECT t.parent_checkpoint_id, {database.json_text('t.metadata')} FROM checkpoints AS t "  # noqa: S608
            f"WHERE {self._thread} AND t.checkpoint_ns = {mark} AND t.checkpoint_id = {mark} LIMIT 1",
            (thread, namespace, head),
        )
        try:
            parents = parse_json(metadata).get("parents")
            root = parents.get("") if isinstance(parents, dict) else None
        except (EncryptedSerdeError, AttributeError):
            root = None
        return parent or None, root if isinstance(root, str) else None

    def _delete(self, thread: Any, rows: list[OldCheckpoint]) -> None:
        """Deletes checkpoints, and the pending writes of them; counts them in a dry run."""
        database, report, mark = self._database, self._report, self._database.mark
        by_namespace: dict[Any, list[str]] = {}
        for row in rows:
            by_namespace.setdefault(row.namespace, []).append(row.checkpoint_id)
            report.deleted_bytes += int(row.size)
        for namespace, ids in by_namespace.items():
            marks = ", ".join([mark] * len(ids))
            where = f"WHERE thread_id = {database.thread_mark} AND checkpoint_ns = {mark} AND checkpoint_id IN ({marks})"
            total = f"coalesce(sum({database.size(database.quoted(self._writes.value))}), 0)"
            parameters = (thread, namespace, *ids)
            [(number, size)] = database.execute(f"SELECT count(*), {total} FROM {self._writes.name} {where}", parameters)  # noqa: S608
            report.deleted[self._writes.name] += int(number)
            report.deleted_bytes += int(size)
            if not report.dry_run:
                database.execute(f"DELETE FROM {self._writes.name} {where}", parameters)  # noqa: S608
        if not report.dry_run:
            database.delete(self._checkpoints, [row.place for row in rows])
