"""The writes of tasks, as they come back from a saver: which belong together, and in what order they were made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import WrongLocation

logger = logging.getLogger(__name__)

Thunk = Callable[[], Any]
"""Deserialises a value that was verified."""

_NULL_TASK = "00000000-0000-0000-0000-000000000000"  # under which LangGraph saves the writes of its input


class Write(NamedTuple):
    """One write, verified and not yet deserialised.

    Attributes:
        task_id: Id of the task that made it.
        channel: Where it goes.
        thunk: Gives its value.
        checkpoint_id: The checkpoint it belongs to; empty for a write from before the wrapper.
        task_path: Path of the task.
        idx: Position in the task; None for a write from before the wrapper, whose order is the database's.
        batch: Id of the writes it was saved with; empty for one that stands alone.
        size: How many they were.
    """

    task_id: str
    channel: str
    thunk: Thunk
    checkpoint_id: str = ""
    task_path: str = ""
    idx: int | None = None
    batch: str = ""
    size: int = 0


class Task(NamedTuple):
    """The writes of one task, deserialised, in their order.

    Attributes:
        task_id: Id of the task.
        task_path: Its path; empty for writes from before the wrapper.
        writes: Channel and value.
    """

    task_id: str
    task_path: str
    writes: list[tuple[str, Any]]


def in_order(writes: list[Write]) -> list[Write]:
    """Sorts writes as live execution applies them: checkpoints as they come, then by task path, task and position.

    Where one was written before the wrapper came, the order of the database is all there is.

    Raises:
        WrongLocation: If a write stands there twice.
    """
    sealed = [write for write in writes if write.idx is not None]
    slots = Counter((write.checkpoint_id, write.task_id, write.idx) for write in sealed)
    for (_, task_id, idx), times in slots.items():
        if times > 1:
            raise WrongLocation(f"write {idx} of task {task_id} stands there {times} times")
    if len(sealed) < len(writes):
        return writes
    arrival = {write.checkpoint_id: position for position, write in reversed(list(enumerate(sealed)))}
    return sorted(sealed, key=lambda write: (arrival[write.checkpoint_id], write.task_path, write.task_id, write.idx or 0))


def whole_batches(writes: list[Write]) -> list[Write]:
    """Drops the writes of tasks that are not complete: their task runs again."""
    present = Counter((write.task_id, write.batch) for write in writes if write.batch)
    # The null task's accumulate: each call saves those of the calls before it again, of which savers keep the first. A batch
    # is whole if at least as many as it had stand up to the last position that is left of it.
    null = [(write.batch, write.idx or 0) for write in writes if write.batch and write.task_id == _NULL_TASK]
    last = dict(sorted(null))

    def is_whole(write: Write) -> bool:
        if not write.batch:
            return True
        if write.task_id == _NULL_TASK:
            return sum(idx <= last[write.batch] for _, idx in null) >= write.size
        return present[write.task_id, write.batch] == write.size

    if partial_tasks := sorted({write.task_id for write in writes if not is_whole(write)}):
        logger.warning("writes of task %s are not complete in the database: they count as absent", ", ".join(partial_tasks))
    return [write for write in writes if is_whole(write)]
