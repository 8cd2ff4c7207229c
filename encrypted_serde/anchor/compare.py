"""The one comparison: rows as a database has them, beside what the anchor says of them.

Reading, listing, ``verify --anchor``, ``anchor status`` and ``anchor accept`` all ask a `View`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .entries import OWN, Entry, Kind, id_bytes, id_text, pack_slots
from .ledger import TO_ENTER, Ledger, Standing, TaskSlot
from .names import Names, Spot

MISSING = "a checkpoint that the anchor requires is missing in the database"


class FoundWrite(NamedTuple):
    """A pending write in the database.

    Attributes:
        task_id: The task that made it.
        slot: Its position in the task; of special writes the negative number that LangGraph gives their channel.
        batch: Id of its batch.
    """

    task_id: str
    slot: int
    batch: str


class FoundRow(NamedTuple):
    """A checkpoint in the database.

    Attributes:
        checkpoint_ns: Its namespace.
        checkpoint_id: Its id.
        writes: Its pending writes.
    """

    checkpoint_ns: str
    checkpoint_id: str
    writes: Sequence[FoundWrite]


class Judged(NamedTuple):
    """A row beside the anchor.

    Attributes:
        row: The row.
        spot: Its name in the anchor.
        standing: Whether its checkpoint is required, optional or gone.
        missing: Slots where a write must be and none is.
        stale: Writes that were replaced or deleted and are there all the same.
        unknown: Writes to enter when they are seen.
        others: By write, the batches that were entered for its slot too, and are not what is in it.
    """

    row: FoundRow
    spot: Spot
    standing: Standing
    missing: Sequence[TaskSlot] = ()
    stale: Sequence[FoundWrite] = ()
    unknown: Sequence[FoundWrite] = ()
    others: Sequence[tuple[FoundWrite, bytes]] = ()

    @property
    def counts(self) -> bool:
        """Whether the row counts. If not, it was deleted on purpose and was put back, or was not deleted yet."""
        return self.standing is not Standing.DELETED

    @property
    def to_enter(self) -> int:
        """How many rows of it, the checkpoint and its writes, the anchor does not require yet."""
        return (self.standing in TO_ENTER) + len(self.unknown) if self.counts else 0

    @property
    def is_news(self) -> bool:
        """Whether something is to be entered of it."""
        return self.counts and bool(self.to_enter or self.others)

    @property
    def problem(self) -> str | None:
        """What somebody took away or put back; None if nothing."""
        if not self.counts:
            return None
        if self.missing:
            return f"{len(self.missing)} writes that the anchor requires are missing in the database"
        if self.stale:
            return f"an older write of task {self.stale[0].task_id} was put back"
        return None


class View:
    """What the anchor says of a thread, or of a part of it that was asked for.

    Args:
        names: The anchor's names.
        thread_id: The thread.
        ledger: What was entered.
    """

    def __init__(self, names: Names, thread_id: str, ledger: Ledger) -> None:
        self.names = names
        self.thread_id = thread_id
        self.ledger = ledger

    def spot(self, checkpoint_ns: str, checkpoint_id: str) -> Spot:
        """Returns the name of a checkpoint in the anchor."""
        return Spot(self.names.namespace(self.thread_id, checkpoint_ns), id_bytes(checkpoint_id))

    def newest(self, checkpoint_ns: str) -> str | None:
        """Returns the id of the newest checkpoint of a namespace that must be there; None if none must."""
        required = self.ledger.required(self.names.namespace(self.thread_id, checkpoint_ns))
        return id_text(max(spot.checkpoint for spot in required)) if required else None

    def judge(self, row: FoundRow) -> Judged:
        """Compares one row."""
        spot = self.spot(row.checkpoint_ns, row.checkpoint_id)
        standing = self.ledger.checkpoint(spot)
        if standing is Standing.DELETED:
            return Judged(row, spot, standing)
        slots = self.ledger.writes(spot)
        taken: set[TaskSlot] = set()
        stale, unknown, others = [], [], []
        for write in row.writes:
            place = (self.names.task(spot, write.task_id), write.slot)
            taken.add(place)
            batches, batch = slots.get(place, {}), write.batch.encode()
            found = batches.get(batch, Standing.UNKNOWN)
            if found in (Standing.REPLACED, Standing.DELETED):
                stale.append(write)
                continue
            if found in TO_ENTER:
                unknown.append(write)
            others += [(write, each) for each, its in batches.items() if each != batch and its > Standing.REPLACED]
        missing = [place for place, batches in slots.items() if place not in taken and Standing.REQUIRED in batches.values()]
        return Judged(row, spot, standing, missing, stale, unknown, others)

    def missing(self, seen: Iterable[Spot], namespace: bytes | None = None) -> list[Spot]:
        """Returns the checkpoints that must be there and were not seen, newest first."""
        left = {*self.ledger.required(namespace)} - {*seen}
        return sorted(left, key=lambda spot: spot.checkpoint, reverse=True)

    # --- the entries that follow from a comparison

    def seen(self, judged: Judged) -> Iterator[Entry]:
        """Returns the entries that make a row required that is authentic and was seen.

        A slot holds one write: others that were entered for the slot of one that was seen are replaced.
        """
        known = self.ledger.known(judged.spot)
        if judged.standing in TO_ENTER:
            yield self._entry(judged.spot, Kind.CHECKPOINT, known)
        for write in judged.unknown:
            task, batch = self.names.task(judged.spot, write.task_id), write.batch.encode()
            yield self._entry(judged.spot, Kind.WRITES, known, task, batch, pack_slots([write.slot]))
        for write, other in judged.others:
            task = self.names.task(judged.spot, write.task_id)
            yield self._entry(judged.spot, Kind.REPLACED, known, task, other, pack_slots([write.slot]))

    def accepted(self, judged: Judged) -> Iterator[Entry]:
        """Returns the entries by which an operator accepts a row as it is, and nothing else."""
        slots = self.ledger.writes(judged.spot)
        for write in judged.stale:
            task, batch, slot = self.names.task(judged.spot, write.task_id), write.batch.encode(), pack_slots([write.slot])
            yield self._entry(judged.spot, Kind.WRITES, OWN, task, batch, slot)
            for other, standing in slots[task, write.slot].items():
                if other != batch and standing > Standing.REPLACED:
                    yield self._entry(judged.spot, Kind.REPLACED, OWN, task, other, slot)
        taken = {(self.names.task(judged.spot, write.task_id), write.slot) for write in judged.row.writes}
        for (task, position), batches in slots.items():
            for batch, standing in batches.items() if (task, position) not in taken else ():
                if standing > Standing.REPLACED:
                    yield self._entry(judged.spot, Kind.REPLACED, OWN, task, batch, pack_slots([position]))

    def ended(self, spot: Spot | None, kind: Kind) -> Entry:
        """Returns the entry that ends a deletion of a checkpoint, or of the whole thread."""
        return self._entry(spot or Spot(b"", b""), kind, self.ledger.newest)

    def _entry(self, spot: Spot, kind: Kind, known: int, task: bytes = b"", batch: bytes = b"", slots: bytes = b"") -> Entry:
        return Entry(self.names.thread(self.thread_id), *spot, kind, task, batch, slots, known)
