"""The pager walks rows that come newest first, none twice and none left out."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.base import CheckpointTuple

from encrypted_serde.saver.filters import LARGEST_PAGE, Pager, merge


def _row(checkpoint_id: str, thread_id: str = "t") -> CheckpointTuple:
    return CheckpointTuple({"configurable": {"thread_id": thread_id, "checkpoint_id": checkpoint_id}}, {}, {})


def _walk(rows: list[CheckpointTuple], before: str | None = None) -> tuple[list[CheckpointTuple], int]:
    """Answers the pager as a database would; gives what came out and the number of pages."""
    pager, given, pages = Pager(before), [], 0
    while not pager.done:
        left = [row for row in rows if pager.before is None or row.config["configurable"]["checkpoint_id"] < pager.before]
        given += pager.feed(left[: pager.size])
        pages += 1
    return given, pages


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 79, 80, 81, 500])
def test_every_row_comes_once_and_in_order(count):
    rows = [_row(f"{number:05}") for number in reversed(range(count))]
    assert _walk(rows)[0] == rows


@pytest.mark.parametrize("shared", [2, 15, 16, 17, 40, 200])
def test_rows_that_share_an_id_across_a_page_break_are_neither_lost_nor_doubled(shared):
    rows = [_row(f"{number:05}", f"t{twin}") for number in reversed(range(5)) for twin in range(shared)]
    assert _walk(rows)[0] == rows


def test_pages_grow_so_that_a_long_thread_is_few_questions():
    _, pages = _walk([_row(f"{number:05}") for number in reversed(range(3000))])
    assert pages < 9


def test_a_page_grows_no_further_than_the_largest():
    pager = Pager(None)
    for _ in range(20):
        pager.feed([_row(f"{number:09}") for number in reversed(range(pager.size))])
    assert pager.size == LARGEST_PAGE


def test_a_page_that_is_not_full_is_the_last():
    pager = Pager(None)
    assert pager.feed([_row("1")]) == [_row("1")]
    assert pager.done


def test_it_starts_below_the_id_it_was_given():
    rows = [_row(f"{number:05}") for number in reversed(range(40))]
    assert _walk(rows, "00020")[0] == rows[20:]


def test_several_answers_become_one_with_the_newest_first():
    first, second = [_row("5"), _row("2")], [_row("4"), _row("3"), _row("1")]
    assert merge([first, second]) == [_row("5"), _row("4"), _row("3"), _row("2"), _row("1")]
    assert merge([]) == []
