"""What follows from the entries about a thread: which checkpoints and writes must be in the database, may be, and must not.

Pure: no database, no keys. An entry is made after its row was stored, and the anchor is read before rows are. So what the
ledger requires was in the database earlier, and only a deletion can have taken it away.

* A deletion of a whole thread is announced, done and ended. What was entered before the announcement counts as absent from
  then on, unless the deletion failed (`Kind.KEPT`). What is entered while it is open may go with it.
* A row without an entry counts as absent too if its id says that it is older than a deletion of its thread: the process that
  stored it died before it entered it.
* A deletion of checkpoints names each of them. While it is open they may be there or not; it ends with `Kind.GONE` or
  `Kind.KEPT` for each.
* An entry whose writer did not know the end of a deletion is *late*: its row may have gone. It counts once the row is seen.
* A write is replaced once a process that knew it, or stored over it, says so, in whatever order the entries arrive: the id
  of a batch is used once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import IntEnum

from .entries import DELETIONS, Entry, Kind, unpack_slots
from .names import Spot

TaskSlot = tuple[bytes, int]
"""Token of a task, and a position in it."""


class Standing(IntEnum):
    """What the anchor says of a checkpoint, or of a write in its slot. If entries disagree, the higher one counts.

    Attributes:
        UNKNOWN: There is no entry.
        DELETED: It was deleted on purpose, and counts as absent.
        REPLACED: Of a write: another one has its slot.
        GOING: A deletion that is open may take it. It may be there or not.
        LATE: Its entry was made across the end of a deletion. It may be there or not, and is entered again when it is seen.
        REQUIRED: It must be there.
    """

    UNKNOWN = 0
    DELETED = 1
    REPLACED = 2
    GOING = 3
    LATE = 4
    REQUIRED = 5


TO_ENTER = (Standing.UNKNOWN, Standing.LATE)
"""What the ledger says of a row that is entered when it is seen."""


class _Deletions:
    """The deletions of one thread, or of one checkpoint.

    Attributes:
        newest: Number of the newest entry about deletions; 0 if there is none.
        gone_before: Entries with lower numbers are about what was deleted, or is being deleted.
        was_gone_before: The same of deletions that ended.
        gone_at: Number of the newest `Kind.GONE` entry.
        is_open: Whether a deletion was announced and did not end.
        ids_before: Of a deletion of a whole thread: ids that are lower were given before it began.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        found = sorted((entry for entry in entries if entry.kind in DELETIONS), key=lambda entry: entry.number)
        self._ends = [entry for entry in found if entry.kind != Kind.GOING]
        self.newest = found[-1].number if found else 0
        self.gone_at = max((end.number for end in self._ends if end.kind == Kind.GONE), default=0)
        self.gone_before = self.was_gone_before = 0
        self.is_open = False
        self.ids_before = b""
        for entry in found:
            if entry.kind == Kind.GOING:
                end = next((end for end in self._ends if end.known >= entry.number), None)
                self.is_open |= end is None
                if end is None or end.kind == Kind.GONE:
                    self.gone_before, self.ids_before = entry.number, max(self.ids_before, entry.batch)
                    self.was_gone_before = self.was_gone_before if end is None else entry.number

    def is_older(self, checkpoint: bytes) -> bool:
        """Says whether an id was given before a deletion of the whole thread began."""
        return checkpoint[:1] == self.ids_before[:1] and checkpoint < self.ids_before

    def is_late(self, entry: Entry) -> bool:
        """Says whether an entry's writer did not know the end of a deletion that may have taken the row."""
        known = _known(entry)
        return any(known < end.number and not (end.kind == Kind.KEPT and entry.number <= end.known) for end in self._ends)


class Ledger:
    """The entries about one thread.

    Args:
        entries: As an anchor returned them, in any order.

    Attributes:
        newest: Number of the newest of them.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        about_thread: list[Entry] = []
        self._spots: dict[Spot, list[Entry]] = defaultdict(list)
        self.newest = 0
        for entry in entries:
            self.newest = max(self.newest, entry.number)
            if entry.is_about_thread:
                about_thread.append(entry)
            else:
                self._spots[Spot(entry.namespace, entry.checkpoint)].append(entry)
        self._thread = _Deletions(about_thread)
        self._deletions: dict[Spot, _Deletions] = {}

    @property
    def is_open(self) -> bool:
        """Whether a deletion of the whole thread was announced and did not end."""
        return self._thread.is_open

    def spots(self) -> Iterator[Spot]:
        """Returns every checkpoint that has an entry."""
        return iter(self._spots)

    def known(self, spot: Spot | None = None) -> int:
        """Returns the number of the newest entry about deletions of the thread, or of a checkpoint."""
        return self._thread.newest if spot is None else max(self._thread.newest, self._of(spot).newest)

    def checkpoint(self, spot: Spot) -> Standing:
        """Says what the entries require of a checkpoint."""
        found, deletions = self._spots.get(spot, ()), self._of(spot)
        standings = [self._standing(entry, deletions) for entry in found if entry.kind == Kind.CHECKPOINT]
        if not standings and (deletions.gone_at or self._thread.is_older(spot.checkpoint)):
            return Standing.DELETED  # even if a later deletion, of what was put back, names it and is open
        return max(standings, default=Standing.GOING if deletions.is_open else Standing.UNKNOWN)

    def required(self, namespace: bytes | None = None) -> list[Spot]:
        """Returns the checkpoints that must be there, of one namespace if given."""
        found = [spot for spot in self._spots if namespace in (None, spot.namespace)]
        return [spot for spot in found if self.checkpoint(spot) is Standing.REQUIRED]

    def going(self) -> list[Spot]:
        """Returns the checkpoints that deletions name which did not end."""
        return [spot for spot in self._spots if self._of(spot).is_open and self.checkpoint(spot) is Standing.GOING]

    def writes(self, spot: Spot) -> dict[TaskSlot, dict[bytes, Standing]]:
        """Says, for each slot of a checkpoint that has an entry, what is required of the batches that were sent there."""
        deletions = self._of(spot)
        slots: dict[TaskSlot, dict[bytes, Standing]] = defaultdict(dict)
        known: dict[tuple[TaskSlot, bytes], int] = {}
        for entry in self._spots.get(spot, ()):
            if entry.kind != Kind.WRITES:
                continue
            standing = self._standing(entry, deletions)
            if standing is Standing.DELETED and self._may_be_there(entry, spot):
                standing = Standing.GOING
            for slot in unpack_slots(entry.slots):
                place, batches = (entry.task, slot), slots[entry.task, slot]
                batches[entry.batch] = max(batches.get(entry.batch, Standing.UNKNOWN), standing)
                known[place, entry.batch] = max(known.get((place, entry.batch), 0), _known(entry))
        for entry in self._spots.get(spot, ()):
            if entry.kind == Kind.REPLACED:
                for slot in unpack_slots(entry.slots):
                    # Only a process that knew this entry and still entered the write, an operator's, takes it back.
                    if known.get(((entry.task, slot), entry.batch), 0) < entry.number:
                        slots[entry.task, slot][entry.batch] = Standing.REPLACED
        return slots

    def _of(self, spot: Spot) -> _Deletions:
        if spot not in self._deletions:
            self._deletions[spot] = _Deletions(self._spots.get(spot, ()))
        return self._deletions[spot]

    def _may_be_there(self, entry: Entry, spot: Spot) -> bool:
        """Says whether writes that were entered before a deletion may still be there.

        Writes may be stored before their checkpoint is, and the deletion of the thread be announced between both entries. Then
        the checkpoint may be there while the deletion is open, and so may its writes.
        """
        is_going = entry.number >= self._thread.was_gone_before and _known(entry) >= self._of(spot).gone_at
        return is_going and self.checkpoint(spot) is not Standing.DELETED

    def _standing(self, entry: Entry, deletions: _Deletions) -> Standing:
        if entry.number < self._thread.gone_before or _known(entry) < deletions.gone_at:
            return Standing.DELETED
        if deletions.is_open or self._thread.is_open:
            return Standing.GOING
        if self._thread.is_late(entry) or deletions.is_late(entry):
            return Standing.LATE
        return Standing.REQUIRED


def _known(entry: Entry) -> int:
    return min(entry.known, entry.number)
