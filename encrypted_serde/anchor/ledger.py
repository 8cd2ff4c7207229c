"""What follows from the entries about a thread: which checkpoints and writes must be there, may be, and must not.

Pure: no database, no keys. The rules, and why they raise no false alarm:

* An entry is made after its row was stored, and read before rows are: what the ledger knows was in the database earlier.
* **deleted**: entered before a `Kind.DELETED` entry. The row counts as absent, whoever put it back.
* **optional**: entered later by somebody who had begun before (its epoch is older). The deletion may have met the row or not.
* **required**: everything else. It is missed.
* A write is **replaced** once somebody who knew it, or stored over it, says so, in whatever order the entries arrive: the id
  of a batch is used once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import IntEnum

from .entries import Entry, Kind, unpack_slots

Spot = tuple[bytes, bytes]
"""Token of a namespace, and a checkpoint id in bytes."""

TaskSlot = tuple[bytes, int]
"""Token of a task, and a position in it."""


class Standing(IntEnum):
    """What the anchor says of a checkpoint, or of a write in its slot. The higher of two counts."""

    UNKNOWN = 0
    DELETED = 1
    REPLACED = 2
    OPTIONAL = 3
    REQUIRED = 4


class Ledger:
    """The entries about one thread, under one key's tokens or several.

    Args:
        entries: As an anchor gave them, in any order.

    Attributes:
        epoch: Number of the last entry about the whole thread; 0 if there is none.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._deleted_at = 0
        self.epoch = 0
        self._spots: dict[Spot, list[Entry]] = defaultdict(list)
        for entry in entries:
            if not entry.is_mark:
                self._spots[entry.namespace, entry.checkpoint].append(entry)
                continue
            self.epoch = max(self.epoch, entry.number)
            if entry.kind == Kind.DELETED:
                self._deleted_at = max(self._deleted_at, entry.number)

    def spots(self) -> Iterator[Spot]:
        """Gives every namespace and checkpoint that has an entry."""
        return iter(self._spots)

    def checkpoint(self, spot: Spot) -> Standing:
        """Says how a checkpoint stands."""
        found = self._spots.get(spot, ())
        deleted_at = self._deletion(found)
        standings = [self._standing(entry, deleted_at) for entry in found if entry.kind == Kind.CHECKPOINT]
        if not standings and deleted_at > self._deleted_at:
            return Standing.DELETED
        return max(standings, default=Standing.UNKNOWN)

    def required(self) -> list[Spot]:
        """Gives the checkpoints that must be there."""
        return [spot for spot in self._spots if self.checkpoint(spot) is Standing.REQUIRED]

    def writes(self, spot: Spot) -> dict[TaskSlot, dict[bytes, Standing]]:
        """Says, for each slot of a checkpoint that has an entry, how the batches stand that were sent there."""
        found = self._spots.get(spot, ())
        deleted_at = self._deletion(found)
        slots: dict[TaskSlot, dict[bytes, Standing]] = defaultdict(dict)
        replaced: list[tuple[TaskSlot, bytes]] = []
        for entry in found:
            if entry.kind == Kind.REPLACED and entry.number > self._deleted_at <= entry.epoch:
                replaced += [((entry.task, slot), entry.batch) for slot in unpack_slots(entry.slots)]
            elif entry.kind == Kind.WRITES:
                standing = self._standing(entry, deleted_at)
                for slot in unpack_slots(entry.slots):
                    batches = slots[entry.task, slot]
                    batches[entry.batch] = max(batches.get(entry.batch, Standing.UNKNOWN), standing)
        for task_slot, batch in replaced:
            slots[task_slot][batch] = Standing.REPLACED
        return slots

    def is_in_force(self, entry: Entry) -> bool:
        """Says whether an entry about a checkpoint still counts: no deletion came after it."""
        if entry.is_mark or entry.kind == Kind.DELETED:
            return False
        return entry.number > self._deletion(self._spots[entry.namespace, entry.checkpoint])

    def _deletion(self, found: Iterable[Entry]) -> int:
        """Gives the number of the last entry that deletes a checkpoint, on its own or with its thread."""
        return max([self._deleted_at, *(entry.number for entry in found if entry.kind == Kind.DELETED)])

    def _standing(self, entry: Entry, deleted_at: int) -> Standing:
        if entry.number < deleted_at:
            return Standing.DELETED
        if entry.number < self.epoch or entry.epoch < self.epoch:
            return Standing.OPTIONAL
        return Standing.REQUIRED
