"""A whole database beside its anchor, thread by thread: what is missing, what was put back, and accepting it.

Rows are read as every other command reads them, so no class of the application is built and no saver package is needed. Every
thread is fenced: whatever is stored in one is a finding or a failure of that thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..anchor.client import AnchorClient
from ..anchor.compare import FoundRow, FoundWrite, Judged, View
from ..anchor.entries import Entry, Kind, id_bytes, id_text
from ..anchor.ledger import Ledger, Standing
from ..anchor.names import Spot
from ..core.binding import WriteClaims
from ..core.format import find_sealed
from ..errors import ConfigurationError
from .checkpoints import Checkpoints
from .codec import RowCodec
from .database import Database
from .report import Failure
from .selection import Selection
from .table import LOOK, OPEN, Row, Table, fenced
from .writes import Writes

PAGE_ROWS = 1000

_NO_CHECKPOINTS = "an anchor is for databases of checkpointers, and this is none"

MISSING = "the checkpoint is missing"
UNENDED = "a deletion of the whole thread began and did not end"
GOING = "a deletion that names the checkpoint began and did not end"
THERE = "the checkpoint was deleted on purpose, and is there all the same"


class Finding(NamedTuple):
    """Something in which database and anchor differ.

    Attributes:
        thread: The thread's id; its token in hexadecimal digits where the database has no row of it.
        checkpoint_ns: The namespace; None where it concerns the whole thread, or nobody knows the name.
        checkpoint_id: The checkpoint; None where it concerns the whole thread.
        what: Says it.
    """

    thread: str
    checkpoint_ns: str | None
    checkpoint_id: str | None
    what: str

    @property
    def is_no_loss(self) -> bool:
        """Whether nothing is missing or older: a deletion did not end, or did not take all."""
        return self.what in (UNENDED, GOING, THERE)

    def failure(self) -> Failure:
        """Returns it as a report has it."""
        row = {"thread_id": self.thread, "checkpoint_ns": self.checkpoint_ns, "checkpoint_id": self.checkpoint_id}
        return Failure("checkpoints", row, "Incomplete", self.what)


class Compared(NamedTuple):
    """One thread beside the anchor.

    Attributes:
        thread: Its id; of a thread that the database has no row of, whose name nobody knows, its token in hexadecimal digits.
        ledger: What the anchor says, asked before the rows were read.
        findings: All in which they differ, in words.
        is_token: Whether the database has no row of it.
        missing: What must be there and is not. The findings of it come first.
        rows: The rows that opened.
        failures: Rows that do not open.
    """

    thread: str
    ledger: Ledger
    findings: Sequence[Finding]
    is_token: bool = False
    missing: Sequence[Spot] = ()
    rows: Sequence[Judged] = ()
    failures: Sequence[Failure] = ()

    @property
    def acceptable(self) -> Sequence[Finding]:
        """Those findings that can be accepted."""
        return [finding for finding in self.findings if finding.what != THERE]


class AnchoredDatabase:
    """A database and its anchor.

    Args:
        database: Of a checkpointer that keeps all checkpoints.
        codec: Opens rows.
        client: Asks the anchor.

    Raises:
        ConfigurationError: If the database is none of such a checkpointer.
    """

    def __init__(self, database: Database, codec: RowCodec, client: AnchorClient) -> None:
        if database.is_shallow:
            raise ConfigurationError("a shallow saver overwrites its checkpoints, so an anchor cannot detect a deleted one")
        self._database, self._codec, self._client = database, codec, client
        self._checkpoints = database.require(Checkpoints, _NO_CHECKPOINTS)
        self._writes = database.require(Writes, _NO_CHECKPOINTS)

    def threads(self) -> Iterator[str]:
        """Returns the ids of all threads that have a checkpoint."""
        return (str(thread_id) for (thread_id,) in self._database.threads(PAGE_ROWS))

    def compare(self, thread_id: str) -> Compared:
        """Compares one thread. It may be in use meanwhile, so what seems to be missing is looked up once more."""
        compared = self._compare(thread_id)
        return self._compare(thread_id) if compared.findings else compared

    def everything(self) -> Iterator[Compared]:
        """Compares the whole database: every thread that has rows, and then what is missing of others."""
        tokens, found = self._client.threads(), set()  # the anchor is asked before the database
        for thread_id in self.threads():
            found.add(self._client.names.thread(thread_id))
            yield self.compare(thread_id)
        for token in tokens:
            if token not in found:
                ledger, name = Ledger(self._client.anchor.entries(token)), token.hex()
                lost = [Finding(name, None, id_text(spot.checkpoint), MISSING) for spot in ledger.required()]
                yield Compared(name, ledger, lost, is_token=True)

    # --- entering

    def enter(self, compared: Compared) -> int:
        """Enters the rows of a thread that opened and are not required yet. Returns how many that were."""
        view = self._view(compared)
        return sum(self._client.enter(view, judged) for judged in compared.rows if judged.is_news)

    def accept(self, shown: Compared) -> int:
        """Accepts what was shown of a thread, if it is still so. Touches nothing else, whatever is stored meanwhile.

        Returns:
            How many of the findings were accepted.
        """
        if shown.is_token:
            return self._accept_without_rows(bytes.fromhex(shown.thread), {each.checkpoint_id for each in shown.findings})
        compared = self.compare(shown.thread)
        view, agreed = self._view(compared), {*shown.acceptable} & {*compared.findings}
        entries: list[Entry] = []
        for spot, finding in zip(compared.missing, compared.findings, strict=False):
            entries += [view.ended(spot, Kind.GONE)] if finding in agreed else []
        going = {spot for spot in view.ledger.going() if _going(view, spot, compared.rows) in agreed}
        for judged in compared.rows:
            if judged.spot in going or any(finding in agreed for finding in _of_writes(shown.thread, judged)):
                entries += view.accepted(judged)
        there = {judged.spot for judged in compared.rows}
        entries += [view.ended(spot, Kind.KEPT if spot in there else Kind.GONE) for spot in going]
        if view.ledger.is_open and Finding(shown.thread, None, None, UNENDED) in agreed:
            lost = [
                spot for spot in view.ledger.spots() if view.ledger.checkpoint(spot) is Standing.GOING and spot not in there
            ]
            entries += [view.ended(spot, Kind.GONE) for spot in (*lost, None)]
        self._client.anchor.append(entries)
        return len(agreed)

    def _accept_without_rows(self, token: bytes, lost: Collection[str | None]) -> int:
        ledger = Ledger(self._client.anchor.entries(token))
        gone = [spot for spot in ledger.required() if id_text(spot.checkpoint) in lost]
        self._client.anchor.append([Entry(token, *spot, Kind.GONE, known=ledger.newest) for spot in gone])
        return len(gone)

    def _view(self, compared: Compared) -> View:
        return View(self._client.names, compared.thread, compared.ledger)

    # --- deleting

    def end_open(self, compared: Compared) -> None:
        """Ends deletions of checkpoints of a thread that did not end."""
        there = {judged.spot for judged in compared.rows}
        ended = {spot: Kind.KEPT if spot in there else Kind.GONE for spot in compared.ledger.going()}
        self._client.end(self._view(compared), ended)

    @contextmanager
    def deletion(self, thread_id: str) -> Iterator[Callable[[Sequence[tuple[str, str]]], None]]:
        """Yields a function that announces which checkpoints of a thread go, and enters afterwards what became of them.

        If what deletes them fails, those are kept that are there. Their deletion stays open if nobody can say.
        """
        names, named = self._client.names, dict[Spot, tuple[str, str]]()

        def announce(places: Sequence[tuple[str, str]]) -> None:
            spots = {Spot(names.namespace(thread_id, ns), id_bytes(each)): (ns, each) for ns, each in places}
            named.update(spots)
            self._client.announce(thread_id, spots)

        has_failed = True
        try:
            yield announce
            has_failed = False
        finally:
            if named:
                rows = self._database.rows(self._checkpoints, Selection((thread_id,)), LOOK) if has_failed else ()
                there = {*map(_place, rows)}
                ended = {spot: Kind.KEPT if place in there else Kind.GONE for spot, place in named.items()}
                self._client.end(self._client.thread(thread_id), ended)

    # --- comparing

    def _compare(self, thread_id: str) -> Compared:
        view = self._client.thread(thread_id)
        rows, broken, failures = self._rows(thread_id)
        judged = [view.judge(row) for row in rows]
        namespaces = {"", *(checkpoint_ns for checkpoint_ns, _ in broken), *(row.checkpoint_ns for row in rows)}
        names = {view.names.namespace(thread_id, each): each for each in namespaces}
        seen = {*(one.spot for one in judged), *(view.spot(*each) for each in broken)}
        missing = view.missing(seen)
        findings = [Finding(thread_id, names.get(spot.namespace), id_text(spot.checkpoint), MISSING) for spot in missing]
        for one in judged:
            findings += _of_writes(thread_id, one)
            if not one.counts:
                findings.append(Finding(thread_id, one.row.checkpoint_ns, one.row.checkpoint_id, THERE))
        findings += [_going(view, spot, judged) for spot in view.ledger.going()]
        if view.ledger.is_open:
            findings.append(Finding(thread_id, None, None, UNENDED))
        return Compared(thread_id, view.ledger, findings, missing=missing, rows=judged, failures=failures)

    def _rows(self, thread_id: str) -> tuple[list[FoundRow], set[tuple[str, str]], list[Failure]]:
        """Returns the rows of a thread that open, the places of those that do not, and why they do not."""
        opened: dict[tuple[str, str], list[FoundWrite]] = {}
        broken: set[tuple[str, str]] = set()
        failures: list[Failure] = []
        for place, found in self._opened(thread_id, self._checkpoints, lambda row: self._checkpoints.open(row, self._codec)):
            if isinstance(found, Failure):
                failures.append(found)
                broken.add(place)
            else:
                opened[place] = []
        for place, found in self._opened(thread_id, self._writes, self._write):
            if isinstance(found, Failure):
                failures.append(found)
            elif found is not None and place in opened:
                opened[place].append(found)
        return [FoundRow(*place, writes) for place, writes in opened.items()], broken, failures

    def _opened(self, thread_id: str, table: Table, run: Callable[[Row], Any]) -> Iterator[tuple[tuple[str, str], Any]]:
        """Returns the place of each row of a thread, and what came of it."""
        for row in self._database.rows(table, Selection((thread_id,)), OPEN):
            yield _place(row), fenced(table, row, lambda: run(row))  # noqa: B023  # called at once

    def _write(self, row: Row) -> FoundWrite | None:
        self._writes.open(row, self._codec)
        if (sealed := find_sealed(row.cells[self._writes.value])) is None:
            return None  # from before the wrapper, and admitted by a switch
        claims = WriteClaims.read(sealed.claims)
        return FoundWrite(claims.task_id or "", claims.idx or 0, claims.saved_as)


def _place(row: Row) -> tuple[str, str]:
    return str(row.cells["checkpoint_ns"]), str(row.cells["checkpoint_id"])


def _going(view: View, spot: Spot, rows: Sequence[Judged]) -> Finding:
    name = next((judged.row.checkpoint_ns for judged in rows if judged.spot == spot), None)
    return Finding(view.thread_id, name, id_text(spot.checkpoint), GOING)


def _of_writes(thread_id: str, judged: Judged) -> list[Finding]:
    where = (thread_id, judged.row.checkpoint_ns, judged.row.checkpoint_id)
    found = [Finding(*where, f"{len(judged.missing)} of its writes are missing")] if judged.missing else []
    if judged.stale:
        found.append(Finding(*where, f"{len(judged.stale)} of its writes are older ones that were put back"))
    return found if judged.standing is not Standing.DELETED else []
