"""A whole database beside its anchor, thread by thread: what is missing, what is not entered, and accepting what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .entries import LATEST, Entry, Kind, id_bytes, id_text, pack_slots
from .keeper import Keeper, Where
from .ledger import Ledger, Spot, Standing
from .watch import FoundWrite, Watch, WriteGaps


class FoundRow(NamedTuple):
    """A checkpoint as it stands in the database, verified.

    Attributes:
        checkpoint_ns: Its namespace.
        checkpoint_id: Its id.
        writes: Its pending writes.
    """

    checkpoint_ns: str
    checkpoint_id: str
    writes: Sequence[FoundWrite]


class Missing(NamedTuple):
    """Something that the anchor knows and the database does not have, or has in an older state.

    Attributes:
        thread: The thread's id; its token in hexadecimal digits where no row of it is left.
        checkpoint_ns: The namespace; None where no row of it is left.
        checkpoint_id: The checkpoint.
        what: Says it: the checkpoint, so many writes, so many older writes.
    """

    thread: str
    checkpoint_ns: str | None
    checkpoint_id: str
    what: str


class Comparison(NamedTuple):
    """A thread beside the anchor.

    Attributes:
        missing: What is missing.
        unknown: How many checkpoints and writes are not entered. They are no finding: a process may have died, or they are
            from before the anchor.
        known: How many checkpoints the anchor requires.
    """

    missing: list[Missing]
    unknown: int
    known: int


def compare(keeper: Keeper, where: Where, rows_of: Callable[[], Iterable[FoundRow]]) -> Comparison:
    """Compares one thread. It may be in use meanwhile.

    Args:
        keeper: Asks the anchor.
        where: The thread; its namespace does not count.
        rows_of: Gives its rows. Called after the anchor was asked.
    """
    ledger = keeper.thread(where)
    missing: list[Missing] = []
    unknown = 0
    names: dict[bytes, str] = {}
    seen: set[Spot] = set()
    for row in rows_of():
        watch = _watch(keeper, where, row, ledger)
        names.update(dict.fromkeys((tokens.namespace for tokens in watch.tokens), row.checkpoint_ns))
        seen.update((tokens.namespace, id_bytes(row.checkpoint_id)) for tokens in watch.tokens)
        standing, gaps = watch.checkpoint(row.checkpoint_id), watch.writes(row.checkpoint_id, row.writes)
        if standing is Standing.DELETED:
            continue
        unknown += (standing is Standing.UNKNOWN) + len(gaps.unknown)
        missing += [Missing(where.thread_id, row.checkpoint_ns, row.checkpoint_id, what) for what in _said(gaps)]
    required = ledger.required()
    missing += [
        Missing(where.thread_id, names.get(namespace), id_text(checkpoint), "the checkpoint")
        for namespace, checkpoint in required
        if (namespace, checkpoint) not in seen
    ]
    return Comparison(missing, unknown, len(required))


def threads_without_rows(keeper: Keeper, found: Iterable[Where]) -> list[tuple[bytes, list[Missing]]]:
    """Gives the threads that the anchor requires and the database has no row of, by token, since nobody knows their names.

    Args:
        keeper: Asks the anchor.
        found: The threads that the database has rows of.
    """
    known = {tokens.thread for where in found for tokens in keeper.tokens(where)}
    gone = []
    for thread in keeper.anchor.threads():
        required = [] if thread in known else Ledger(keeper.anchor.entries(thread)).required()
        if required:
            gone.append((thread, [Missing(thread.hex(), None, id_text(each), "the checkpoint") for _, each in required]))
    return gone


def enter_unknown(keeper: Keeper, where: Where, rows: Iterable[FoundRow]) -> int:
    """Enters the rows of a thread that the anchor does not know: for a database from before the anchor."""
    ledger = keeper.thread(where)
    entered = 0
    for row in rows:
        watch = _watch(keeper, where, row, ledger)
        if watch.checkpoint(row.checkpoint_id) is not Standing.DELETED:
            entered += keeper.enter_found(watch, row.checkpoint_id, watch.writes(row.checkpoint_id, row.writes).unknown)
    return entered


def accept(keeper: Keeper, where: Where, rows: Iterable[FoundRow]) -> None:
    """Enters that of a thread exactly what stands there counts from now on. All at once: there is no state in between.

    Rows that were deleted on purpose and stand there all the same go on to count as absent.
    """
    ledger = keeper.thread(where)
    thread = keeper.tokens(where)[0].thread
    entries = [Entry(thread, b"", b"", Kind.DELETED)]
    for row in rows:
        watch = _watch(keeper, where, row, ledger)
        if watch.checkpoint(row.checkpoint_id) is Standing.DELETED:
            continue
        names = watch.tokens[0]
        spot = thread, names.namespace, id_bytes(row.checkpoint_id)
        entries.append(Entry(*spot, Kind.CHECKPOINT, epoch=LATEST))
        batches: dict[tuple[str, str], list[int]] = defaultdict(list)
        for write in row.writes:
            batches[write.task_id, write.batch].append(write.slot)
        entries += [
            Entry(*spot, Kind.WRITES, names.task(row.checkpoint_id, task_id), batch.encode(), pack_slots(slots), LATEST)
            for (task_id, batch), slots in batches.items()
        ]
    keeper.anchor.append(entries)


def accept_loss(keeper: Keeper, thread: bytes) -> None:
    """Enters that a whole thread is deleted, by its token."""
    keeper.anchor.append([Entry(thread, b"", b"", Kind.DELETED)])


def _watch(keeper: Keeper, where: Where, row: FoundRow, ledger: Ledger) -> Watch:
    return Watch(keeper.tokens(where._replace(checkpoint_ns=row.checkpoint_ns)), ledger)


def _said(gaps: WriteGaps) -> list[str]:
    said = [f"{len(gaps.missing)} of its writes"] if gaps.missing else []
    return said + ([f"{len(gaps.stale)} of its writes, which stand in an older state"] if gaps.stale else [])
