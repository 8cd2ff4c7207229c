"""Deletions: what runs store meanwhile, calls that fail or are cancelled, rows that nobody could have opened."""

from __future__ import annotations

import asyncio

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, Incomplete
from encrypted_serde.anchor import MemoryAnchor
from tests.saver.threads import make_checkpoint, write_thread

THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


class Everything(InMemorySaver):
    """A saver with every way of deleting. Something may happen before it deletes, and after."""

    before = after = staticmethod(lambda: None)

    def delete_thread(self, thread_id):
        self.before()
        super().delete_thread(thread_id)
        self.after()

    async def adelete_thread(self, thread_id):
        self.before()
        await asyncio.sleep(0)
        super().delete_thread(thread_id)
        self.after()

    def prune(self, thread_ids, *, strategy="keep_latest"):
        self.before()
        for thread_id in thread_ids:
            for rows in self.storage[thread_id].values():
                for each in sorted(rows)[:-1]:
                    del rows[each]
        self.after()
        return "pruned"

    def delete_for_runs(self, run_ids):
        self.before()
        for thread in self.storage.values():
            for rows in thread.values():
                for each in [each for each, row in rows.items() if self.serde.loads_typed(row[1]).get("run_id") in run_ids]:
                    del rows[each]
        self.after()


@pytest.fixture
def inner():
    return Everything()


@pytest.fixture
def saver_of(inner, key):
    anchor = MemoryAnchor()
    return lambda: EncryptedSaver(inner, key, anchor=anchor)


def _put(saver, config=THREAD, run="run", thread="one", step=0):
    config = {"configurable": {**config["configurable"], "thread_id": thread}}
    return saver.put(config, make_checkpoint(step, {}, {}), {"source": "loop", "step": step, "run_id": run}, {})


def _id(config):
    return config["configurable"]["checkpoint_id"]


def _ids(saver, **options):
    return [_id(found.config) for found in saver.list(THREAD, **options)]


def _spoil(inner, thread="one"):
    """Adds a row with a higher id that nobody can open."""
    rows = inner.storage[thread][""]
    rows["3fffffff-ffff-6fff-bfff-ffffffffffff"] = rows[max(rows)]


# rule A-3
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_message_in_the_middle_of_a_deletion_does_not_lock_the_thread(inner, saver_of, when):
    running, stored = saver_of(), []
    _put(running)
    setattr(inner, when, lambda: stored.append(_put(running)))
    saver_of().delete_thread("one")
    assert _ids(saver_of()) == ([] if when == "before" else [_id(stored[0])])
    if when == "after":
        inner.storage["one"][""].clear()
        with pytest.raises(Incomplete):
            saver_of().get_tuple(THREAD)


# rule A-3
def test_what_a_run_stores_after_a_deletion_that_it_did_not_see_is_required(inner, saver_of):
    running = saver_of()
    _put(running)
    saver_of().delete_thread("one")
    _put(running)
    inner.storage["one"][""].clear()
    for saver in (running, saver_of()):
        with pytest.raises(Incomplete):
            saver.get_tuple(THREAD)


# rule A-3
def test_a_deletion_that_fails_leaves_everything_required(inner, saver_of):
    def fail():
        raise OSError("the disk is gone")

    first, second = _put(saver_of()), _put(saver_of())
    inner.before = fail
    with pytest.raises(OSError, match="disk"):
        saver_of().delete_thread("one")
    assert _ids(saver_of()) == [_id(second), _id(first)]
    with pytest.raises(OSError, match="disk"):
        saver_of().prune(["one"])
    with pytest.raises(OSError, match="disk"):
        saver_of().delete_for_runs(["run"])
    del inner.storage["one"][""][_id(first)]
    with pytest.raises(Incomplete):
        _ids(saver_of())


# rule A-3
def test_a_deletion_that_fails_after_it_was_done_is_one(inner, saver_of):
    def fail():
        raise OSError("the answer was lost")

    first, second = _put(saver_of()), _put(saver_of())
    inner.after = fail
    with pytest.raises(OSError, match="answer"):
        saver_of().prune(["one"])
    assert _ids(saver_of()) == [_id(second)]
    with pytest.raises(OSError, match="answer"):
        saver_of().delete_thread("one")
    assert saver_of().get_tuple(THREAD) is saver_of().get_tuple(first) is None


# rule A-3
async def test_a_deletion_that_is_cancelled_counts_as_done(inner, saver_of):
    stored = _put(saver_of())
    task = asyncio.get_running_loop().create_task(saver_of().adelete_thread("one"))
    begun = asyncio.Event()
    inner.before = begun.set
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await saver_of().aget_tuple(stored) is None
    assert await saver_of().aget_tuple(_put(saver_of())) is not None


# rule A-4
def test_a_row_that_does_not_load_concerns_its_own_thread(inner, saver_of):
    saver = saver_of()
    for thread in ("one", "two"):
        for step in range(3):
            _put(saver, thread=thread, step=step)
    newest = max(inner.storage["one"][""])
    _spoil(inner)
    with pytest.raises(EncryptedSerdeError):
        saver.prune(["one", "two"])
    assert (len(inner.storage["one"][""]), len(inner.storage["two"][""])) == (4, 1)
    inner.storage["two"][""].clear()
    with pytest.raises(Incomplete):
        saver_of().get_tuple({"configurable": {"thread_id": "two"}})
    del inner.storage["one"][""][newest]
    with pytest.raises(EncryptedSerdeError):
        saver_of().get_tuple(THREAD)
    inner.storage["one"][""].popitem()
    with pytest.raises(Incomplete):
        saver_of().get_tuple(THREAD)


# rule A-4
def test_a_row_that_was_deleted_and_put_back_is_not_taken_for_the_newest(inner, saver_of):
    saver = saver_of()
    first, second = _put(saver), _put(saver)
    third = _put(saver, run="another")
    row = inner.storage["one"][""][_id(third)]
    saver.delete_for_runs(["another"])
    inner.storage["one"][""][_id(third)] = row
    assert _id(saver.get_tuple(THREAD).config) == _id(second)
    assert _ids(saver, limit=2) == [_id(second), _id(first)]
    with pytest.raises(Incomplete, match="newer than the newest"):
        saver.prune(["one"])
    assert _ids(saver) == [_id(second), _id(first)]
    del inner.storage["one"][""][_id(second)]
    for read in (lambda: saver_of().get_tuple(THREAD), lambda: _ids(saver_of()), lambda: _ids(saver_of(), limit=1)):
        with pytest.raises(Incomplete):
            read()


# rule A-4
def test_a_run_id_that_somebody_wrote_excuses_no_deletion(inner, saver_of):
    saver = saver_of()
    stored = _put(saver, run="mine")
    rows = inner.storage["one"][""]
    checkpoint, metadata, parent = rows[_id(stored)]
    forged = inner.serde.dumps_typed({**inner.serde.loads_typed(metadata), "run_id": "other"})
    rows[_id(stored)] = (checkpoint, forged, parent)
    saver.delete_for_runs(["other"])
    with pytest.raises(Incomplete):
        saver_of().get_tuple(THREAD)


# rule A-4
def test_a_newer_checkpoint_that_is_stored_while_a_thread_is_pruned(inner, saver_of):
    running, stored = saver_of(), []
    for step in range(3):
        _put(running, step=step)
    inner.before = lambda: stored.append(_put(running, step=3))
    assert saver_of().prune(["one"]) == "pruned"
    assert _ids(saver_of()) == [_id(stored[0])]


# rule A-4
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_stores_several_checkpoints_while_its_thread_is_pruned_goes_on(inner, saver_of, when):
    running, stored = saver_of(), []
    for step in range(3):
        _put(running, step=step)
    setattr(inner, when, lambda: stored.extend(_put(running, step=step) for step in (3, 4, 5)))
    saver_of().prune(["one"])
    setattr(inner, when, lambda: None)
    for saver in (running, saver_of()):
        assert _ids(saver)[0] == _id(stored[-1])
    saver_of().prune(["one"])
    assert _ids(running) == [_id(stored[-1])]
    inner.storage["one"][""].clear()
    with pytest.raises(Incomplete):
        saver_of().get_tuple(THREAD)


# rule A-4
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_newest_row_that_somebody_deletes_while_its_thread_is_pruned_stays_required(inner, saver_of, when):
    running, saver, stored = saver_of(), saver_of(), [_put(saver_of()) for _ in range(3)]

    def meanwhile():
        stored.extend(_put(running, step=step) for step in (3, 4))
        del inner.storage["one"][""][_id(stored[-1])]

    setattr(inner, when, meanwhile)
    saver.prune(["one"])
    with pytest.raises(Incomplete):
        saver_of().get_tuple(THREAD)


# rule A-4
def test_a_row_that_was_missing_before_its_thread_is_pruned_stays_required(inner, saver_of):
    stored = [_put(saver_of()) for _ in range(4)]
    del inner.storage["one"][""][_id(stored[1])]
    saver_of().prune(["one"])
    with pytest.raises(Incomplete):
        _ids(saver_of())


# rule A-4
def test_a_run_that_stores_while_it_is_deleted_goes_on(inner, saver_of):
    running = saver_of()
    first, other = _put(running), _put(running, run="another")
    inner.before = lambda: [_put(running) for _ in range(2)]
    saver_of().delete_for_runs(["run"])
    assert (_ids(saver_of()), saver_of().get_tuple(first)) == ([_id(other)], None)
    newest = _put(running)
    assert _ids(saver_of()) == [_id(newest), _id(other)]


# rule A-5
def test_a_row_of_before_a_crash_that_is_put_back_after_its_thread_was_deleted_counts_as_absent(inner, saver_of, key):
    _put(saver_of())
    stored = _put(EncryptedSaver(inner, key))  # never entered
    rows = dict(inner.storage["one"][""])
    saver_of().delete_thread("one")
    inner.storage["one"][""].update(rows)
    assert saver_of().get_tuple(stored) is saver_of().get_tuple(THREAD) is None
    _put(saver_of())
    assert len(_ids(saver_of())) == 1


# rule A-1
def test_a_list_goes_on_until_as_many_rows_count_as_were_asked_for(anchored):
    saver = anchored.saver()
    places = write_thread(saver, "one", steps=12)
    for table in anchored.database.tables:
        anchored.database.sql(f"DROP TABLE IF EXISTS old_{table}")
        anchored.database.sql(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")
    saver.delete_thread("one")
    newer = write_thread(saver, "one", steps=2)
    for table in anchored.database.tables:
        anchored.database.sql(f"INSERT INTO {table} SELECT * FROM old_{table}")
    assert len(places) == 12
    for limit in (1, 2, 3):
        listed = [found.config for found in anchored.saver().list(THREAD, limit=limit)]
        assert listed == [place.config for place in reversed(newer)][:limit]


# rule A-1
@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("step", [1, 3])
def test_a_list_with_a_filter_lacks_nothing(anchored, step, limit):
    places = write_thread(anchored.saver(), "one", steps=4)
    listed = [*anchored.saver().list(THREAD, filter={"step": step}, limit=limit)]
    assert [found.config for found in listed] == [places[step].config]
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", places[step].checkpoint_id)
    with pytest.raises(Incomplete):
        list(anchored.saver().list(THREAD, filter={"step": step}, limit=limit))


# rule A-1
@pytest.mark.parametrize("limit", [None, 1])
def test_an_older_row_is_not_the_newest_whatever_the_database_says(anchored, monkeypatch, limit):
    saver = anchored.saver()
    first, *_, newest = write_thread(saver, "one", steps=3)
    get = saver._wiring.gated.get_tuple
    monkeypatch.setattr(
        saver._wiring.gated,
        "get_tuple",
        lambda config: get(config if config["configurable"].get("checkpoint_id") else first.config),
    )
    assert saver.get_tuple(THREAD).config == newest.config
    listed = saver._wiring.gated.list
    monkeypatch.setattr(saver._wiring.gated, "list", lambda *args, **named: (row for row in [*listed(*args, **named)][1:]))
    with pytest.raises(Incomplete):
        next(iter(saver.list(THREAD, limit=limit)))
