"""Writes of delta channels that were applied are not left out of a rebuilt value: a gap in a batch is refused."""

from __future__ import annotations

import pytest

from encrypted_serde import EncryptedSaver, WrongLocation
from encrypted_serde.anchor import MemoryAnchor
from tests.saver.databases import PostgresDatabase
from tests.saver.threads import make_checkpoint
from tests.savers import async_postgres_saver, async_sqlite_saver

CONFIG = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _written(database):
    """Three checkpoints; each task wrote three times to the delta channel and once to another. Gives the newest config."""
    saver, config = database.saver(), CONFIG
    for step in range(3):
        checkpoint = make_checkpoint(step, {}, {"m": f"{step + 1:032}.0.5"})
        config = saver.put(config, checkpoint, {"source": "loop", "step": step}, {})
        saver.put_writes(
            config, [("m", f"one {step}"), ("note", step), ("m", f"two {step}"), ("m", f"three {step}")], f"task{step}"
        )
    return config


def _history(saver, config):
    return [value for _, _, value in saver.get_delta_channel_history(config=config, channels=["m"])["m"]["writes"]]


@pytest.mark.parametrize("verify", [False, True])
def test_a_history_is_what_was_written(database, verify):
    config = _written(database)
    expected = [f"{number} {step}" for step in range(2) for number in ("one", "two", "three")]
    assert _history(database.saver(verify_delta_history=verify), config) == expected


@pytest.mark.parametrize("is_anchored", [False, True])
def test_parents_that_go_round_are_refused_where_history_is_verified(database, is_anchored):
    options = {"anchor": MemoryAnchor()} if is_anchored else {"verify_delta_history": True}
    config = _written(database)
    newest = config["configurable"]["checkpoint_id"]
    database.sql("UPDATE checkpoints SET parent_checkpoint_id = ? WHERE parent_checkpoint_id IS NULL", newest)
    with pytest.raises(WrongLocation, match="parent"):
        _history(database.saver(**options), config)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("idx", [0, 2, 3])
@pytest.mark.parametrize("task", ["task0", "task1"])
def test_one_deleted_write_of_a_batch_is_refused(database, verify, idx, task):
    config = _written(database)
    database.sql("DELETE FROM {writes} WHERE task_id = ? AND idx = ?", task, idx)
    saver = database.saver(verify_delta_history=verify)
    with pytest.raises(WrongLocation, match="missing"):
        _history(saver, config)


@pytest.mark.parametrize("verify", [False, True])
def test_the_writes_of_the_checkpoint_that_is_asked_for_may_still_be_incomplete(database, verify):
    config = _written(database)
    database.sql("DELETE FROM {writes} WHERE task_id = 'task2' AND idx = 0")
    assert len(_history(database.saver(verify_delta_history=verify), config)) == 6


@pytest.mark.parametrize("verify", [False, True])
def test_a_doubled_write_and_one_of_another_channel_are_refused(database, verify):
    config = _written(database)
    columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, channel, type, {value}"
    database.sql(
        f"INSERT INTO {{writes}} ({columns}, idx) SELECT {columns}, 9 FROM {{writes}} WHERE task_id = 'task0' AND idx = 0"
    )
    with pytest.raises(WrongLocation, match="2 times"):
        _history(database.saver(verify_delta_history=verify), config)


def test_a_deleted_write_to_another_channel_is_seen_where_history_is_verified(database):
    config = _written(database)
    database.sql("DELETE FROM {writes} WHERE channel = 'note'")
    if database.saver().inner.__class__.__name__ == "PostgresSaver":  # its fast way reads the writes of this channel alone
        assert len(_history(database.saver(), config)) == 6
    with pytest.raises(WrongLocation, match="missing"):
        _history(database.saver(verify_delta_history=True), config)


@pytest.mark.parametrize("verify", [False, True])
async def test_asynchronous_savers_refuse_a_gap_too(database, verify):
    config = _written(database)
    database.sql("DELETE FROM {writes} WHERE task_id = 'task1' AND idx = 2")
    if isinstance(database, PostgresDatabase):
        opened = async_postgres_saver(database.connection.info.dsn, None)
    else:
        [(_, _, path)] = database.sql("PRAGMA database_list")
        opened = async_sqlite_saver(path, None)
    async with opened as inner:
        saver = EncryptedSaver(inner, database.key, verify_delta_history=verify)
        with pytest.raises(WrongLocation, match="missing"):
            await saver.aget_delta_channel_history(config=config, channels=["m"])
