"""Keeping an anchor true: what is looked up before rows are read, and entered once they are stored or before they are deleted.

Two runs of one task may store their writes at the same time, in one process or in several. Which of them stands is decided by
the database, and the order of their entries does not show it. So an entry says that a write lost its slot only where this
process *knew* of the other one before it began to store, because it had entered it itself or had read it. What overlapped
stays open, and either may stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..core.keys import KeyProvider
from ..core.opaque import opaque
from .entries import Anchor, Entry, Kind, id_bytes, pack_slots
from .known import Known, Row, SlotBatch
from .ledger import Ledger, Spot, Standing
from .tokens import PlaceTokens, Tokens
from .watch import FoundWrite, Watch


class Where(NamedTuple):
    """A thread and a namespace, and the encryption context that picks the keys of their tokens.

    Attributes:
        thread_id: As text.
        checkpoint_ns: Empty for the root graph.
        context: Empty where there is none.
    """

    thread_id: str
    checkpoint_ns: str
    context: Mapping[str, str]

    def __repr__(self) -> str:
        return opaque(self)


class NewWrites(NamedTuple):
    """Writes that one call is about to store.

    Attributes:
        checkpoint_id: The checkpoint they belong to.
        task_id: Their task.
        slots: Their positions; of special ones the negative number that LangGraph gives their channel.
        first_stays: Whether an ordinary write that stands there already is sure to stay.
        newest_stays: Whether a special one is sure to take the place of one that stands there.
    """

    checkpoint_id: str
    task_id: str
    slots: Sequence[int]
    first_stays: bool = False
    newest_stays: bool = False


class Pending(NamedTuple):
    """Entries to make once something is stored, and what the process knows from then on.

    Attributes:
        entries: In their order.
        row: The checkpoint.
        gone: Writes that no longer stand there.
        added: Writes that stand there.
    """

    entries: list[Entry]
    row: Row
    gone: Sequence[SlotBatch] = ()
    added: Sequence[SlotBatch] = ()


class BegunWrites(NamedTuple):
    """Writes that are being stored, and what was known before that began.

    Attributes:
        new: The writes.
        names: The names of their place, under every key.
        tasks: The names of their task, likewise.
        epoch: As in an `Entry`.
        earlier: The writes that stood in their slots, by slot; no entry for a slot that was free.
    """

    new: NewWrites
    names: Sequence[PlaceTokens]
    tasks: Sequence[bytes]
    epoch: int
    earlier: Mapping[int, Sequence[SlotBatch]]


class Unsettled(NamedTuple):
    """A thread that a part of is being deleted from.

    Attributes:
        entries: All that was entered about it.
        ledger: What follows from them.
    """

    entries: list[Entry]
    ledger: Ledger


class Keeper:
    """Enters and looks up. Threads share one; after a fork both processes go on with what they knew.

    Args:
        anchor: Where the entries are.
        keys: What tokens are made with.

    Raises:
        ConfigurationError: If the keys cannot be searched for (see `Tokens`).
    """

    def __init__(self, anchor: Anchor, keys: KeyProvider) -> None:
        self.anchor = anchor
        self._tokens = Tokens(keys)
        self._known = Known()

    def tokens(self, where: Where) -> Sequence[PlaceTokens]:
        """Gives the names of a place under every key."""
        return self._tokens.of(where.thread_id, where.checkpoint_ns, where.context)

    # --- looking

    def newest(self, where: Where) -> Watch:
        """Looks up the newest checkpoint of a place: one indexed read for each key, of which there is one but for rotations."""
        tokens = self.tokens(where)
        ledger = Ledger(entry for names in tokens for entry in self.anchor.newest(names.thread, names.namespace))
        highest = max((checkpoint for _, checkpoint in ledger.spots()), default=b"")
        self._known.learn_highest(tokens[0].thread, tokens[0].namespace, highest)
        if any(ledger.checkpoint(spot) is not Standing.REQUIRED for spot in ledger.spots()):
            return self.place(where)  # the highest was deleted, so something older may be what must be there
        return self._learnt(Watch(tokens, ledger))

    def place(self, where: Where) -> Watch:
        """Looks up all checkpoints of a place."""
        tokens = self.tokens(where)
        found = (entry for names in tokens for entry in self.anchor.entries(names.thread, names.namespace))
        return self._learnt(Watch(tokens, Ledger(found)))

    def checkpoint(self, where: Where, checkpoint_id: str) -> Watch:
        """Looks up one checkpoint."""
        tokens, encoded = self.tokens(where), id_bytes(checkpoint_id)
        found = (entry for names in tokens for entry in self.anchor.entries(names.thread, names.namespace, encoded))
        watch = self._learnt(Watch(tokens, Ledger(found)))
        self.remember(watch, checkpoint_id)
        return watch

    def thread(self, where: Where) -> Ledger:
        """Looks up a whole thread, in all its namespaces."""
        tokens = self.tokens(where)
        ledger = Ledger(entry for names in tokens for entry in self.anchor.entries(names.thread))
        return self._learnt(Watch(tokens, ledger)).ledger

    def remember(self, watch: Watch, checkpoint_id: str) -> None:
        """Keeps in mind which writes of a checkpoint were stored before now."""
        self._known.learn(_row(watch.tokens[0], checkpoint_id), watch.live(checkpoint_id))

    def _learnt(self, watch: Watch) -> Watch:
        self._known.learn_epoch(watch.tokens[0].thread, watch.ledger.epoch)
        return watch

    # --- entering what is stored

    def begin_checkpoint(self, where: Where, checkpoint_id: str) -> Pending:
        """Prepares the entry of a checkpoint, before it is stored."""
        tokens = self.tokens(where)[0]
        epoch = self._epoch(where, tokens)
        row = _row(tokens, checkpoint_id)
        self._known.begin(row)
        return Pending([Entry(*row, Kind.CHECKPOINT, epoch=epoch)], row)

    def begin_writes(self, where: Where, new: NewWrites) -> BegunWrites:
        """Takes note of what stands in the slots of writes, before they are stored."""
        names = self.tokens(where)
        row = _row(names[0], new.checkpoint_id)
        if not self._known.has(row):
            self.checkpoint(where, new.checkpoint_id)
        epoch = self._epoch(where, names[0])
        tasks = [tokens.task(new.checkpoint_id, new.task_id) for tokens in names]
        earlier = self._known.live(row, tasks, new.slots)
        return BegunWrites(new, names, tasks, epoch, earlier)

    def stored_writes(self, begun: BegunWrites, batch_id: str) -> None:
        """Makes the entries of writes that were stored just now.

        Args:
            begun: As `begin_writes` gave it.
            batch_id: What is sealed into all of them.
        """
        new, names, (task, *_), epoch, earlier = begun
        row, batch = _row(names[0], new.checkpoint_id), batch_id.encode()
        lost: Sequence[int] = ()
        gone: Sequence[SlotBatch] = ()
        if earlier:
            lost = [slot for slot in earlier if slot >= 0 and new.first_stays]
            gone = [each for slot, found in earlier.items() if slot < 0 and new.newest_stays for each in found]
        won = [slot for slot in new.slots if slot not in lost] if lost else new.slots
        entries = [Entry(*row, Kind.WRITES, task, batch, pack_slots(won), epoch)] if won else []
        replaced = [(old, [slot]) for (_, slot), old in gone] + ([(batch, lost)] if lost else [])
        entries += _replaced(names, new.checkpoint_id, new.task_id, replaced, epoch)
        self.stored(Pending(entries, row, gone, [((task, slot), batch) for slot in won]))

    def stored(self, pending: Pending) -> None:
        """Makes the entries of what was stored just now."""
        self._known.change(pending.row, pending.gone, pending.added)
        self.anchor.append(pending.entries)

    def enter_found(self, watch: Watch, checkpoint_id: str, unknown: Sequence[FoundWrite]) -> int:
        """Enters what stands in the database, is authentic, and was not entered by whoever stored it.

        Args:
            watch: What was known of it before it was read.
            checkpoint_id: The checkpoint.
            unknown: Those of its writes that are not known.

        Returns:
            How many rows that were.
        """
        names, epoch = watch.tokens, watch.ledger.epoch
        row = _row(names[0], checkpoint_id)
        is_new = watch.checkpoint(checkpoint_id) is Standing.UNKNOWN
        entries = [Entry(*row, Kind.CHECKPOINT, epoch=epoch)] if is_new else []
        live = watch.live(checkpoint_id)
        gone, added = [], []
        for write in unknown:
            tasks = [tokens.task(checkpoint_id, write.task_id) for tokens in names]
            added.append(((tasks[0], write.slot), write.batch.encode()))
            entries.append(Entry(*row, Kind.WRITES, tasks[0], write.batch.encode(), pack_slots([write.slot]), epoch))
            # It is what stays in its slot: whatever was entered there before is gone, or never stood there.
            others = [((task, write.slot), old) for task in tasks for old in live.get((task, write.slot), ())]
            gone += others
            entries += _replaced(names, checkpoint_id, write.task_id, [(old, [write.slot]) for _, old in others], epoch)
        if entries:
            self.stored(Pending(entries, row, gone, added))
        return is_new + len(unknown)

    # --- entering what is deleted

    def mark(self, where: Where, kind: Kind) -> None:
        """Enters something about a whole thread: what this process stores from now on comes after it."""
        tokens = self.tokens(where)[0]
        self.anchor.append([Entry(tokens.thread, b"", b"", kind)])
        self._known.forget(tokens.thread)
        self.newest(where)

    def unsettled(self, where: Where) -> Unsettled:
        """Looks up a thread that a part was deleted from. To be called before it is looked up what is left of it."""
        entries = [entry for names in self.tokens(where) for entry in self.anchor.entries(names.thread)]
        return Unsettled(entries, Ledger(entries))

    def settle(self, unsettled: Unsettled, there: Iterable[Spot]) -> None:
        """Enters how a thread stands after a part of it was deleted: from now on the rest is missed again.

        Args:
            unsettled: As it was before it was looked up what is left.
            there: What is left, or should be.
        """
        entries, ledger = unsettled
        left = {*there}
        threads = {(entry.namespace, entry.checkpoint): entry.thread for entry in entries if not entry.is_mark}
        settled = [
            Entry(threads[spot], *spot, Kind.DELETED, epoch=ledger.epoch)
            for spot in ledger.spots()
            if spot not in left and ledger.checkpoint(spot) > Standing.DELETED
        ]
        settled += [
            entry._replace(epoch=ledger.epoch)
            for entry in entries
            if (entry.namespace, entry.checkpoint) in left and ledger.is_in_force(entry)
        ]
        self.anchor.append(settled)

    def spots(self, where: Where, checkpoint_ids: Iterable[str]) -> list[Spot]:
        """Gives the names of checkpoints of a place, under every key."""
        return [(names.namespace, id_bytes(each)) for each in checkpoint_ids for names in self.tokens(where)]

    def _epoch(self, where: Where, tokens: PlaceTokens) -> int:
        epoch = self._known.epoch(tokens.thread)
        return self.newest(where).ledger.epoch if epoch is None else epoch


def _row(tokens: PlaceTokens, checkpoint_id: str) -> Row:
    return tokens.thread, tokens.namespace, id_bytes(checkpoint_id)


def _replaced(
    names: Sequence[PlaceTokens],
    checkpoint_id: str,
    task_id: str,
    replaced: Iterable[tuple[bytes, Sequence[int]]],
    epoch: int,
) -> list[Entry]:
    """Enters it under every key's names: what is replaced may have been entered before a rotation."""
    return [
        Entry(*_row(tokens, checkpoint_id), Kind.REPLACED, tokens.task(checkpoint_id, task_id), batch, pack_slots(slots), epoch)
        for batch, slots in replaced
        for tokens in names
    ]
