"""The pager walks rows that come newest first, none twice and none left out."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.base import CheckpointTuple

from encrypted_serde.saver.steps import LARGEST_PAGE, Merged, Paged, list_call
from encrypted_serde.wrapping.steps import run


def _row(checkpoint_id: str, thread_id: str = "t") -> CheckpointTuple:
    return CheckpointTuple({"configurable": {"thread_id": thread_id, "checkpoint_id": checkpoint_id}}, {}, {})


class _Saver:
    """Lists rows as a database would, and notes how many were asked for each time."""

    def __init__(self, rows: list[CheckpointTuple]) -> None:
        self.rows, self.limits = rows, []

    def list(self, config, *, filter, before, limit):  # noqa: A002
        self.limits.append(limit)
        below = before and before["configurable"]["checkpoint_id"]
        rows = [row for row in self.rows if not below or row.config["configurable"]["checkpoint_id"] < below]
        yield from rows[:limit]


def _walk(rows: list[CheckpointTuple], before: str | None = None) -> tuple[list[CheckpointTuple], list[int]]:
    """Walks the pages of a saver; gives what came out, and how many rows each page was asked for."""
    saver, given = _Saver(rows), []
    below = {"configurable": {"checkpoint_id": before}} if before else None
    paged = Paged(list_call(saver, None, None, before=below))
    while (page := run(paged.more())) is not None:
        given += page
    return given, saver.limits


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 79, 80, 81, 500])
def test_every_row_comes_once_and_in_order(count):
    rows = [_row(f"{number:05}") for number in reversed(range(count))]
    assert _walk(rows)[0] == rows


@pytest.mark.parametrize("shared", [2, 15, 16, 17, 40, 200])
def test_rows_that_share_an_id_across_a_page_break_are_neither_lost_nor_doubled(shared):
    rows = [_row(f"{number:05}", f"t{twin}") for number in reversed(range(5)) for twin in range(shared)]
    assert _walk(rows)[0] == rows


def test_pages_grow_so_that_a_long_thread_is_few_questions():
    _, limits = _walk([_row(f"{number:05}") for number in reversed(range(3000))])
    assert len(limits) < 9


def test_a_page_grows_no_further_than_the_largest():
    _, limits = _walk([_row(f"{number:09}") for number in reversed(range(5000))])
    assert max(limits) == LARGEST_PAGE


def test_a_page_that_is_not_full_is_the_last():
    assert _walk([_row("1")]) == ([_row("1")], [16])


def test_it_starts_below_the_id_it_was_given():
    rows = [_row(f"{number:05}") for number in reversed(range(40))]
    assert _walk(rows, "00020")[0] == rows[20:]


def test_several_answers_become_one_with_the_newest_first():
    first, second = _Saver([_row("5"), _row("2")]), _Saver([_row("4"), _row("3"), _row("1")])
    merged = Merged(*(list_call(saver, None, None) for saver in (first, second)))
    assert run(merged.more()) == [_row("5"), _row("4"), _row("3"), _row("2"), _row("1")]
    assert run(merged.more()) is None
