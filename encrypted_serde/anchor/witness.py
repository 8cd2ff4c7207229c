"""For tools that walk through a database by its primary keys: what they must come across, and what they delete on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .compare import Missing
from .entries import Entry, Kind, id_bytes, id_text
from .keeper import Keeper, Where
from .ledger import Ledger, Spot, Standing, TaskSlot


class AnchorWitness:
    """Knows which rows must be there. It asks the anchor when it is made: rows are to be read afterwards.

    It holds what the whole anchor requires in memory, about 200 bytes for each checkpoint and each write.

    Args:
        keeper: Asks the anchor.
        context: The encryption context that picks the keys of tokens; empty where there is none.
    """

    def __init__(self, keeper: Keeper, context: Mapping[str, str]) -> None:
        self._keeper = keeper
        self._context = context
        self._required: dict[bytes, set[Spot]] = {}
        self._slots: dict[tuple[bytes, Spot], set[TaskSlot]] = {}
        self._names: dict[bytes, str] = {}
        for thread in keeper.anchor.threads():
            ledger = Ledger(keeper.anchor.entries(thread))
            self._required[thread] = {*ledger.required()}
            for spot in self._required[thread]:
                slots = ledger.writes(spot).items()
                self._slots[thread, spot] = {slot for slot, batches in slots if Standing.REQUIRED in batches.values()}

    def saw(self, table: str, row: Mapping[str, Any]) -> None:
        """Is told the primary key of a row: of the table ``checkpoints``, or of one of writes, which has a ``task_id``."""
        if "checkpoint_id" not in row:
            return
        thread_id, checkpoint_ns, checkpoint_id = (str(row[name]) for name in ("thread_id", "checkpoint_ns", "checkpoint_id"))
        for tokens in self._keeper.tokens(Where(thread_id, checkpoint_ns, self._context)):
            self._names[tokens.thread] = thread_id
            self._names[tokens.namespace] = checkpoint_ns
            spot = (tokens.namespace, id_bytes(checkpoint_id))
            if "task_id" in row:
                task = tokens.task(checkpoint_id, str(row["task_id"]))
                self._slots.get((tokens.thread, spot), set()).discard((task, int(row["idx"])))
            else:
                self._required.get(tokens.thread, set()).discard(spot)

    def missing(self) -> Iterator[Missing]:
        """Gives what it was not told of."""
        for thread, spots in self._required.items():
            for spot in spots:
                self._slots.pop((thread, spot), None)
                yield self._missing(thread, spot, "the checkpoint")
        for (thread, spot), slots in self._slots.items():
            if slots:
                yield self._missing(thread, spot, f"{len(slots)} of its writes")

    def _missing(self, thread: bytes, spot: Spot, what: str) -> Missing:
        return Missing(self._names.get(thread, thread.hex()), self._names.get(spot[0]), id_text(spot[1]), what)


def announce_deletion(keeper: Keeper, where: Where, checkpoint_ids: Sequence[str] | None = None) -> None:
    """Enters that rows are deleted on purpose. To be called before they are.

    Args:
        keeper: Enters it.
        where: The thread, and the namespace of the checkpoints.
        checkpoint_ids: Which; None for the whole thread in all its namespaces.
    """
    if checkpoint_ids is None:
        keeper.mark(where, Kind.DELETED)
        return
    keeper.anchor.append(
        Entry(tokens.thread, tokens.namespace, id_bytes(checkpoint_id), Kind.DELETED)
        for checkpoint_id in checkpoint_ids
        for tokens in keeper.tokens(where)
    )
