"""Asking an inner saver for rows: one by one, page by page, or with several filters at once.

`more` of each class is steps that come to the next rows, or to None after the last. Where rows come newest first, nothing of
the saver stays open between two pages, and ``limit=1`` does not read a whole thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..wrapping.steps import Steps
from .steps import Call, Page, Stream

_FIRST_PAGE = 16
LARGEST_PAGE = 1024
"""Rows that are asked for at once, unless more share a checkpoint id."""

More = Steps[Sequence[CheckpointTuple] | None]
"""Steps that come to the next rows, or to None after the last."""


class Rows(Protocol):
    """The rows that a saver has for one call of ``list``."""

    def more(self) -> More:
        """Fetches the next."""
        ...


class Streamed:
    """Rows one by one, in whatever order the saver has."""

    def __init__(self, call: Call) -> None:
        self._stream = Stream(call)

    def more(self) -> More:
        """Fetches the next row."""
        return (yield self._stream) or None


class Paged:
    """Rows that come newest first, a page at a time.

    Rows of different threads or namespaces may share a checkpoint id, and ``before`` excludes the id it names. So the rows
    with the last id of a full page are held back, and begin the next page.

    Args:
        call: What to ask, but for the limit. It begins below the id in its ``before``, or with the newest.
    """

    def __init__(self, call: Call) -> None:
        self._call, self._size, self._is_done = call, _FIRST_PAGE, False

    def more(self) -> More:
        """Fetches the next page."""
        if self._is_done:
            return None
        call, size = self._call, self._size
        page: Sequence[CheckpointTuple] = yield Page(call._replace(named={**call.named, "limit": size}))
        if len(page) < size:
            self._is_done = True
            return page
        last = _checkpoint_id(page[-1])
        kept = [found for found in page if _checkpoint_id(found) != last]
        self._size = min(size * 4, LARGEST_PAGE) if kept else size * 4
        if kept:
            before: RunnableConfig = {"configurable": {"checkpoint_id": _checkpoint_id(kept[-1])}}
            self._call = call._replace(named={**call.named, "before": before})
        return kept


class Merged:
    """The answers to several calls, merged into one that has the newest first."""

    def __init__(self, *calls: Call) -> None:
        self._calls = calls

    def more(self) -> More:
        """Fetches all rows."""
        calls, self._calls = self._calls, ()
        answers: list[list[CheckpointTuple]] = []
        for call in calls:
            answers.append((yield Page(call)))
        rows = (found for answer in answers for found in answer)
        return sorted(rows, key=_checkpoint_id, reverse=True) if answers else None


def _checkpoint_id(found: CheckpointTuple) -> str:
    return str(found.config["configurable"]["checkpoint_id"])
