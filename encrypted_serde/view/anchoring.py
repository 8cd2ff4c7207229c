"""A thread beside its anchor: which of its checkpoints are missing, and which rows were put back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..anchor.client import AnchorClient
from ..anchor.compare import FoundRow, FoundWrite
from ..anchor.entries import id_text
from ..anchor.ledger import TO_ENTER, Ledger, Standing
from .model import Missing, Refused, Spot
from .stored import StoredValue, StoredWrite

PUT_BACK = Refused("Incomplete", "the checkpoint was deleted on purpose, and is there all the same")


class AnchoredThread:
    """What the anchor says of a thread. Ask it before the rows are read: the application may store more meanwhile.

    Args:
        client: Asks the anchor.
        thread_id: The thread.
    """

    def __init__(self, client: AnchorClient, thread_id: str) -> None:
        self._view = client.thread(thread_id)

    def missing(self, spots: Sequence[Spot]) -> tuple[Missing, ...]:
        """Returns the checkpoints that the anchor requires and the database does not have, the newest first."""
        view = self._view
        names = {view.names.namespace(view.thread_id, each): each for each in {"", *(spot.namespace for spot in spots)}}
        seen = [view.spot(spot.namespace, spot.id) for spot in spots]
        return tuple(Missing(names.get(spot.namespace), id_text(spot.checkpoint)) for spot in view.missing(seen))

    def refusal(self, spot: Spot, writes: Iterable[StoredWrite]) -> Refused | None:
        """Returns why a checkpoint is refused beside the anchor; None if it is not.

        Args:
            spot: The checkpoint.
            writes: All its pending writes.
        """
        opened = [write.claims for write in writes if isinstance(write.value, StoredValue) and write.claims.saved_as]
        found = [FoundWrite(claims.task_id or "", claims.idx or 0, claims.saved_as) for claims in opened]
        judged = self._view.judge(FoundRow(spot.namespace, spot.id, found))
        if not judged.counts:
            return PUT_BACK
        return None if judged.problem is None else Refused("Incomplete", judged.problem)

    def is_entered(self, spot: Spot) -> bool:
        """Says whether the anchor knows a checkpoint, so that it would be detected if it were missing."""
        standing: Standing = self._view.ledger.checkpoint(self._view.spot(spot.namespace, spot.id))
        return standing not in TO_ENTER


def threads_gone(client: AnchorClient, thread_ids: Iterable[str], known: Sequence[bytes]) -> int:
    """Returns how many threads the anchor requires of which the database has no row.

    Args:
        client: Asks the anchor.
        thread_ids: The threads of the database.
        known: The threads of the anchor, asked before.
    """
    there = {client.names.thread(thread_id) for thread_id in thread_ids}
    return sum(bool(Ledger(client.anchor.entries(token)).required()) for token in known if token not in there)
