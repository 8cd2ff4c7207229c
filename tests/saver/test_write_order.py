"""In what order writes come back, which belong together, and when some are missing."""

from __future__ import annotations

import logging
import random

import pytest

from encrypted_serde import WrongLocation
from encrypted_serde.core.binding import WriteClaims
from encrypted_serde.rows.writes import Write, in_order, require_whole, whole_batches
from encrypted_serde.wrapping.serialize import Waiting
from encrypted_serde.wrapping.upstream import NULL_TASK


def _write(task="a", idx=0, *, path="", checkpoint="c1", batch="b", size=None, of=None, channel="ch"):
    claims = WriteClaims(task, checkpoint, path, idx, batch, size, of)
    return Write(task, channel, Waiting.holding(f"{task}{idx}"), claims)


def _plain(task="a", channel="ch"):
    return Write(task, channel, Waiting.holding("plain"))


def _values(writes):
    return [write.value() for write in writes]


# rule F-24
def test_order_is_path_then_task_then_position_whatever_the_database_said():
    expected = [_write("b", 0, path="~a"), _write("b", 1, path="~a"), _write("c", 0, path="~a"), _write("a", 0, path="~b")]
    for seed in range(20):
        shuffled = random.Random(seed).sample(expected, len(expected))
        assert _values(in_order(shuffled)) == ["b0", "b1", "c0", "a0"]


def test_a_task_without_a_path_comes_first():
    assert _values(in_order([_write("a", path="A"), _write("b", path="")])) == ["b0", "a0"]


def test_special_writes_come_before_the_ordinary_ones_of_their_task():
    assert _values(in_order([_write("a", 0), _write("a", -1), _write("a", -4)])) == ["a-4", "a-1", "a0"]


# rule F-24
def test_positions_are_compared_as_numbers():
    writes = [_write("a", idx) for idx in (10, 9, 2, 1)]
    assert _values(in_order(writes)) == ["a1", "a2", "a9", "a10"]


def test_in_a_history_checkpoints_stay_as_they_came():
    writes = [_write("z", 0, checkpoint="c2"), _write("b", 1, checkpoint="c1"), _write("b", 0, checkpoint="c1")]
    assert _values(in_order(writes)) == ["z0", "b0", "b1"]


# rule F-23
@pytest.mark.parametrize("other", [{}, {"batch": "other"}, {"channel": "other"}, {"path": "~x"}])
def test_a_position_that_is_taken_twice_is_refused(other):
    with pytest.raises(WrongLocation, match="is stored 2 times"):
        in_order([_write("a", 1), _write("a", 1, **other)])


@pytest.mark.parametrize("other", [{"task": "b"}, {"idx": 2}, {"checkpoint": "c2"}])
def test_other_tasks_positions_and_checkpoints_are_other_places(other):
    assert len(in_order([_write("a", 1), _write(**{"task": "a", "idx": 1, **other})])) == 2


def test_a_position_taken_twice_is_refused_beside_plaintext_too():
    with pytest.raises(WrongLocation):
        in_order([_plain(), _write("a", 1), _write("a", 1)])


def test_beside_plaintext_the_order_of_the_database_is_all_there_is():
    writes = [_write("b", 0), _plain("z"), _write("a", 0)]
    assert in_order(writes) == writes


def test_nothing_is_in_order():
    assert in_order([]) == []
    assert whole_batches([]) == []
    require_whole([])


# rule F-25
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_batch_that_lacks_one_counts_as_absent_and_only_it(missing, caplog):
    batch = [_write("a", idx, batch="1", size=3) for idx in range(3)]
    other = [_write("b", 0, batch="2", size=1), _write("a", -1, batch=None)]
    del batch[missing]
    with caplog.at_level(logging.WARNING, "encrypted_serde"):
        assert whole_batches([*batch, *other]) == other
    assert [record.message for record in caplog.records] == [
        "writes of task a are not complete in the database: they count as absent"
    ]


def test_a_batch_that_is_whole_and_writes_without_one_stay_and_nothing_is_logged(caplog):
    writes = [_write("a", 0, batch="1", size=2), _write("a", 1, batch="1", size=2), _write("a", -1, batch=None), _plain()]
    with caplog.at_level(logging.WARNING, "encrypted_serde"):
        assert whole_batches(writes) == writes
    assert not caplog.records


def test_more_than_a_batch_had_is_no_whole_batch():
    assert whole_batches([_write("a", idx, batch="1", size=1) for idx in range(2)]) == []


def test_two_runs_of_a_task_are_two_batches():
    first = [_write("a", 0, batch="1", size=1)]
    assert whole_batches([*first, _write("a", 1, batch="2", size=2)]) == first


# rule F-26
def test_the_null_tasks_batches_add_up():
    # Each call saves what the calls before it had saved, of which savers keep the first.
    writes = [_write(NULL_TASK, 0, batch="1", size=1), _write(NULL_TASK, 1, batch="2", size=2)]
    assert whole_batches(writes) == writes
    assert whole_batches(writes[1:]) == []


# rule F-26
def test_a_batch_of_the_null_task_that_lacks_one_up_to_its_last_position_counts_as_absent():
    writes = [_write(NULL_TASK, 0, batch="1", size=2), _write(NULL_TASK, 1, batch="2", size=2)]
    assert whole_batches(writes) == writes[1:]


# rule F-26
def test_a_batch_of_the_null_task_is_whole_beside_more_than_it_had():
    writes = [_write(NULL_TASK, idx, batch="1", size=2) for idx in range(2)] + [_write(NULL_TASK, 2, batch="2", size=1)]
    assert whole_batches(writes) == writes


# rule F-27
def test_of_one_channel_alone_a_missing_write_is_refused_where_the_values_say_how_many_there_were():
    whole = [_write("a", 0, size=5, of=2), _write("a", 3, size=5, of=2)]
    require_whole(whole)
    for writes in (whole[:1], whole[1:]):
        with pytest.raises(WrongLocation, match="missing"):
            require_whole(writes)


# rule F-27
def test_writes_that_do_not_say_how_many_there_were_cannot_be_counted():
    require_whole([_write("a", 0, size=5)])
    require_whole([_write(NULL_TASK, 0, size=5, of=2)])
    require_whole([_write("a", -1, batch=None), _plain()])


def test_batches_of_two_checkpoints_are_counted_apart():
    with pytest.raises(WrongLocation):
        require_whole([_write("a", 0, checkpoint="c1", of=2), _write("a", 1, checkpoint="c2", of=2)])


def test_a_write_that_waits_shows_no_value():
    assert "secret" not in repr(Write("a", "ch", Waiting.holding("secret")))
