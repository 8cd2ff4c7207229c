"""The writes of tasks, as they come back from a saver: which belong together, and in what order they were made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core.binding import WriteClaims
from ..errors import WrongLocation
from ..wrapping.serialize import Waiting
from ..wrapping.upstream import NULL_TASK

logger = logging.getLogger(__name__)

_UNCLAIMED = WriteClaims()


class Write(NamedTuple):
    """One write, verified and not yet deserialised.

    Attributes:
        task_id: Id of the task that made it.
        channel: Where it goes.
        value: Gives its value.
        claims: What it says of itself; None for a write from before the wrapper, whose order is the database's.
    """

    task_id: str
    channel: str
    value: Waiting
    claims: WriteClaims | None = None

    @property
    def slot(self) -> tuple[str | None, str, int]:
        """Its place among all: checkpoint, task and position."""
        claims = self.claims or _UNCLAIMED
        return claims.checkpoint_id, self.task_id, claims.idx or 0


def in_order(writes: list[Write]) -> list[Write]:
    """Sorts writes as live execution applies them: checkpoints as they come, then by task path, task and position.

    Where one was written before the wrapper came, the order of the database is all there is.

    Raises:
        WrongLocation: If a write is stored there twice.
    """
    sealed = [write for write in writes if write.claims is not None]
    slots = [write.slot for write in sealed]
    if len({*slots}) < len(slots):
        (_, task_id, idx), times = Counter(slots).most_common(1)[0]
        raise WrongLocation(f"write {idx} of task {task_id} is stored {times} times")
    if len(sealed) < len(writes):
        return writes
    arrival: dict[str | None, int] = {}
    for slot in slots:
        arrival.setdefault(slot[0], len(arrival))

    def order(write: Write) -> tuple[int, str, str, int]:
        checkpoint_id, task_id, idx = write.slot
        return arrival[checkpoint_id], (write.claims or _UNCLAIMED).task_path or "", task_id, idx

    return sorted(sealed, key=order)


def whole_batches(writes: list[Write]) -> list[Write]:
    """Drops the writes of tasks that are not complete: their task runs again."""
    present: dict[tuple[str, str | None], int] = {}
    null: list[tuple[str, int]] = []
    for write in writes:
        if (claims := write.claims) and claims.batch:
            batch = write.task_id, claims.batch
            present[batch] = present.get(batch, 0) + 1
            if write.task_id == NULL_TASK:
                null.append((claims.batch, claims.idx or 0))
    # The null task's accumulate: each call saves those of the calls before it again, of which savers keep the first. A batch
    # is whole if at least as many as it had are stored up to the last position that is left of it.
    for call, last in dict(sorted(null)).items():
        present[NULL_TASK, call] = sum(idx <= last for _, idx in null)

    def is_whole(write: Write) -> bool:
        claims = write.claims
        if claims is None or not claims.batch:
            return True
        number = present[write.task_id, claims.batch]
        return number >= (claims.size or 0) if write.task_id == NULL_TASK else number == claims.size

    whole = [write for write in writes if is_whole(write)]
    if len(whole) < len(writes):
        partial_tasks = sorted({write.task_id for write in writes if not is_whole(write)})
        logger.warning("writes of task %s are not complete in the database: they count as absent", ", ".join(partial_tasks))
    return whole


def require_whole(writes: Sequence[Write]) -> None:
    """Refuses the writes to one channel if some of a batch are missing: they were applied, and no task runs again.

    Only values that say how many of their batch go to their channel (`WriteClaims.of`) can be counted; and the null task's,
    which are saved again and again in batches that overlap, cannot.

    Raises:
        WrongLocation: If one is missing.
    """
    for claims, present in _batches(writes):
        if claims.of is not None and present < claims.of:
            raise WrongLocation("writes of a task are missing")


def _batches(writes: Iterable[Write]) -> list[tuple[WriteClaims, int]]:
    found = [write.claims for write in writes if write.claims and write.claims.batch and write.task_id != NULL_TASK]
    present = Counter((claims.checkpoint_id, claims.task_id, claims.batch) for claims in found)
    by_batch = {(claims.checkpoint_id, claims.task_id, claims.batch): claims for claims in found}
    return [(by_batch[batch], times) for batch, times in present.items()]
