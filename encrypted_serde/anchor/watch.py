"""Rows of a database beside what an anchor says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .entries import id_bytes, id_text
from .ledger import Ledger, Spot, Standing, TaskSlot
from .tokens import PlaceTokens


class FoundWrite(NamedTuple):
    """A write as it stands in the database.

    Attributes:
        task_id: The task that made it.
        slot: Its position in the task.
        batch: Id of its batch; empty where it has none.
    """

    task_id: str
    slot: int
    batch: str


class WriteGaps(NamedTuple):
    """How the writes of one checkpoint differ from what the anchor knows.

    Attributes:
        missing: Slots where a write must stand and none does.
        stale: Writes that stand there although they were replaced or deleted.
        unknown: Writes that the anchor does not know yet.
    """

    missing: list[TaskSlot]
    stale: list[FoundWrite]
    unknown: list[FoundWrite]

    @property
    def is_incomplete(self) -> bool:
        """Whether something was taken away or put back."""
        return bool(self.missing or self.stale)


class Watch:
    """What the anchor says of one place, a thread and a namespace.

    Args:
        tokens: The place's names under every key, that of the key to write with first.
        ledger: What was entered, of the place or of the whole thread.
    """

    def __init__(self, tokens: Sequence[PlaceTokens], ledger: Ledger) -> None:
        self.tokens = tokens
        self.ledger = ledger

    def checkpoint(self, checkpoint_id: str) -> Standing:
        """Says how a checkpoint stands."""
        return max(self.ledger.checkpoint(spot) for _, spot in self._spots(checkpoint_id))

    def required(self) -> set[str]:
        """Gives the ids of the checkpoints that must be here."""
        here = {tokens.namespace for tokens in self.tokens}
        return {id_text(checkpoint) for namespace, checkpoint in self.ledger.required() if namespace in here}

    def writes(self, checkpoint_id: str, found: Iterable[FoundWrite]) -> WriteGaps:
        """Compares the writes of a checkpoint with the entries about them."""
        books = [(tokens, slots) for tokens, spot in self._spots(checkpoint_id) if (slots := self.ledger.writes(spot))]
        taken: set[TaskSlot] = set()
        stale, unknown = [], []
        for write in found:
            batch, standings = write.batch.encode(), [Standing.UNKNOWN]
            for tokens, slots in books:
                task_slot = (tokens.task(checkpoint_id, write.task_id), write.slot)
                taken.add(task_slot)
                standings.append(slots.get(task_slot, {}).get(batch, Standing.UNKNOWN))
            if Standing.REPLACED in standings or max(standings) is Standing.DELETED:
                stale.append(write)
            elif max(standings) is Standing.UNKNOWN:
                unknown.append(write)
        missing = [
            task_slot
            for _, slots in books
            for task_slot, batches in slots.items()
            if task_slot not in taken and Standing.REQUIRED in batches.values()
        ]
        return WriteGaps(missing, stale, unknown)

    def live(self, checkpoint_id: str) -> dict[TaskSlot, set[bytes]]:
        """Gives the batches that were stored for sure in the slots of a checkpoint, and not replaced."""
        live: dict[TaskSlot, set[bytes]] = {}
        for _, spot in self._spots(checkpoint_id):
            for task_slot, batches in self.ledger.writes(spot).items():
                if standing := {batch for batch, standing in batches.items() if standing is Standing.REQUIRED}:
                    live[task_slot] = standing
        return live

    def _spots(self, checkpoint_id: str) -> list[tuple[PlaceTokens, Spot]]:
        encoded = id_bytes(checkpoint_id)
        return [(tokens, (tokens.namespace, encoded)) for tokens in self.tokens]
