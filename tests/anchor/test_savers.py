"""Every saver, sync and async, with an anchor: rows are entered, missed, pruned, deleted and copied; failures stop it."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.shallow import ShallowPostgresSaver
from langgraph.types import Command

from encrypted_serde import AnchorError, ConfigurationError, EncryptedSaver, Incomplete, Key, SqliteAnchor
from encrypted_serde.anchor import MemoryAnchor
from tests.conformance import async_view, conformance_counts
from tests.saver.databases import PostgresDatabase
from tests.saver.graphs import answer, run_until_asked, whole_graph
from tests.saver.test_interface import _Everything
from tests.saver.threads import write_thread
from tests.savers import ALL_SAVERS, any_saver, needs_async_interrupt

THREAD = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


async def _alist(saver, config):
    return [found async for found in saver.alist(config)]


@pytest.mark.parametrize("kind", ["InMemory", "Sqlite", "Postgres"])
async def test_the_config_comes_back_as_from_the_saver(kind, saver_place, key):
    """LangGraph forks what was read by its id with that config, and its ``run_id`` goes into the metadata."""
    async with any_saver(kind, saver_place(kind), None) as inner:
        write_thread(EncryptedSaver(inner, key), "one")
        [newest, *_] = inner.list(THREAD)
        asked = {"configurable": {**newest.config["configurable"], "run_id": "run-1"}}
        anchored = EncryptedSaver(inner, key, anchor=MemoryAnchor())
        for config in (asked, THREAD):
            assert anchored.get_tuple(config).config == inner.get_tuple(config).config


@needs_async_interrupt
@pytest.mark.parametrize("kind", [kind for kind in ALL_SAVERS if kind not in ("Sqlite", "Postgres")])
async def test_an_asynchronous_saver_enters_and_misses(kind, saver_place, key, tmp_path):
    async with any_saver(kind, saver_place(kind), None) as inner:
        with closing(SqliteAnchor(tmp_path / "anchor.db")) as anchor:
            anchor.setup()
            saver = EncryptedSaver(inner, key, anchor=anchor)
            graph = whole_graph(saver)
            await graph.ainvoke({"question": "why", "log": []}, THREAD)
            await graph.ainvoke(Command(resume="yes"), THREAD)
            again = EncryptedSaver(inner, key, anchor=anchor)
            found = await again.aget_tuple(THREAD)
            assert found.config in [each.config for each in await _alist(again, THREAD)]
            assert again.admitted_reads == {}
            await inner.adelete_thread("one")
            with pytest.raises(Incomplete):
                await again.aget_tuple(THREAD)
            with pytest.raises(Incomplete):
                await _alist(again, THREAD)
            await again.adelete_thread("one")
            assert await again.aget_tuple(THREAD) is None


def test_the_conformance_suite_passes_with_an_anchor(store):
    def wrapped():
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def opened():
            store.clear()
            yield async_view(store.saver(anchor=MemoryAnchor()))

        return opened()

    counts = asyncio.run(conformance_counts(wrapped))
    assert counts.failures == []
    assert counts.passed == counts.total > 0


def test_what_pruning_took_counts_as_absent_and_what_it_left_is_missed(anchored):
    if not isinstance(anchored.database, PostgresDatabase):
        assert type(anchored.saver()).prune is BaseCheckpointSaver.prune
        return
    places = write_thread(anchored.saver(), "one", steps=4)
    for table in anchored.database.tables:
        anchored.database.sql(f"DROP TABLE IF EXISTS old_{table}")
        anchored.database.sql(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")
    anchored.saver().prune(["one"])
    assert [found.config for found in anchored.saver().list(THREAD)] == [places[-1].config]
    anchored.database.sql("DELETE FROM {writes}")
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)
    for table in anchored.database.tables:
        anchored.database.sql(f"DELETE FROM {table}")
        anchored.database.sql(f"INSERT INTO {table} SELECT * FROM old_{table}")
    assert [found.config for found in anchored.saver().list(THREAD)] == [places[-1].config]
    assert anchored.saver().get_tuple(places[0].config) is None
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", places[-1].checkpoint_id)
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)
    anchored.saver().prune(["one"], strategy="delete")
    assert anchored.saver().get_tuple(THREAD) is None


def test_a_newest_checkpoint_that_went_while_pruning_is_missed(anchored):
    if not isinstance(anchored.database, PostgresDatabase):
        return
    *_, newest = write_thread(anchored.saver(), "one", steps=3)
    saver = anchored.saver()
    prune = saver.inner.prune

    def greedy(thread_ids, *, strategy="keep_latest"):
        prune(thread_ids, strategy=strategy)
        anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", newest.checkpoint_id)

    saver._wiring.gated.prune = greedy
    saver.prune(["one"])
    with pytest.raises(Incomplete):
        anchored.saver().get_tuple(THREAD)


def test_pruning_that_fails_leaves_everything_required(anchored):
    if not isinstance(anchored.database, PostgresDatabase):
        return
    first, *_ = write_thread(anchored.saver(), "one", steps=3)
    saver = anchored.saver()

    def failing(thread_ids):
        raise NotImplementedError("delta channels")

    saver._wiring.gated.prune = failing
    with pytest.raises(NotImplementedError):
        saver.prune(["one"])
    assert len(list(anchored.saver().list(THREAD))) == 3
    anchored.database.sql("DELETE FROM checkpoints WHERE checkpoint_id = ?", first.checkpoint_id)
    with pytest.raises(Incomplete):
        list(anchored.saver().list(THREAD))


def _put(saver, run_id, config):
    from tests.saver.threads import make_checkpoint

    return saver.put(config, make_checkpoint(0, {}, {}), {"source": "loop", "run_id": run_id}, {})


def test_what_runs_wrote_is_deleted_and_the_rest_is_missed(key):
    inner, anchor = _Everything(), MemoryAnchor()
    saver = EncryptedSaver(inner, key, anchor=anchor)
    first = _put(saver, "run-1", THREAD)
    second = _put(saver, "run-2", first)
    saver.delete_for_runs(["run-2"])
    assert [found.config for found in saver.list(THREAD)] == [first]
    assert saver.get_tuple(second) is None
    third = _put(saver, "run-3", first)
    inner.storage["one"][""].pop(first["configurable"]["checkpoint_id"])  # by somebody else, before
    saver.delete_for_runs(["run-3"])
    assert saver.get_tuple(third) is None
    with pytest.raises(Incomplete):
        saver.get_tuple(THREAD)


def test_a_thread_that_lacks_something_is_not_copied(key):
    inner = _Everything()
    saver = EncryptedSaver(inner, key, anchor=MemoryAnchor())
    run_until_asked(saver, THREAD)
    answer(saver, THREAD, "yes")
    saver.copy_thread("one", "copy")
    copy = {"configurable": {"thread_id": "copy"}}
    assert len(list(saver.list(copy))) == len(list(saver.list({"configurable": {"thread_id": "one"}})))
    inner.storage["one"][""].pop(min(inner.storage["one"][""]))
    with pytest.raises(Incomplete):
        saver.copy_thread("one", "another")
    assert "another" not in inner.storage
    inner.storage["copy"][""].pop(max(inner.storage["copy"][""]))
    with pytest.raises(Incomplete):
        saver.get_tuple(copy)


def test_reading_a_checkpoint_asks_the_anchor_once(key, monkeypatch):
    anchor, asked = MemoryAnchor(), []
    saver = EncryptedSaver(InMemorySaver(), key, anchor=anchor)
    first, newest = write_thread(saver, "one")
    for name in ("append", "newest", "entries", "threads"):
        method = getattr(anchor, name)

        def noted(*arguments, name=name, method=method):
            asked.append(name)
            return method(*arguments)

        monkeypatch.setattr(anchor, name, noted)
    saver = EncryptedSaver(saver.inner, key, anchor=anchor)
    saver.get_tuple({"configurable": {"thread_id": "another"}})  # the first use opens the anchor's secret
    asked.clear()
    saver.get_tuple(THREAD)
    assert asked == ["newest"]
    asked.clear()
    saver.put_writes(newest.config, [("other", 1)], "task")
    assert asked == ["append"]
    asked.clear()
    saver.get_tuple(first.config)
    assert asked == ["entries"]


class _Broken:
    def append(self, entries):
        raise AnchorError("not there", retryable=True)

    def newest(self, thread, namespace):
        raise AnchorError("not there", retryable=True)

    def entries(self, thread, namespace=None, checkpoint=None):
        raise AnchorError("not there", retryable=True)

    def threads(self):
        raise AnchorError("not there", retryable=True)


def test_nothing_is_read_or_written_past_an_anchor_that_is_not_there(key):
    inner = InMemorySaver()
    places = write_thread(EncryptedSaver(inner, key), "one")
    saver = EncryptedSaver(inner, key, anchor=_Broken())
    for work in (
        lambda: saver.get_tuple(THREAD),
        lambda: list(saver.list(THREAD)),
        lambda: _put(saver, "run", THREAD),
        lambda: saver.put_writes(places[0].config, [("note", 1)], "task"),
        lambda: saver.delete_thread("one"),
    ):
        with pytest.raises(AnchorError):
            work()
    assert len(list(EncryptedSaver(inner, key).list(THREAD))) == 2


def test_the_audit_is_told_of_what_is_missing(key):
    events = []
    inner = InMemorySaver()
    saver = EncryptedSaver(inner, key, anchor=MemoryAnchor(), audit=events.append)
    write_thread(saver, "one")
    inner.delete_thread("one")
    with pytest.raises(Incomplete):
        saver.get_tuple(THREAD)
    assert [event.outcome for event in events if event.action == "refuse"] == ["Incomplete"]


@pytest.mark.parametrize("anchor", ["anchor.db", MemoryAnchor, object()])
def test_what_is_no_anchor_is_refused_at_once(anchor):
    with pytest.raises(TypeError, match="anchor must have append"):
        EncryptedSaver(InMemorySaver(), Key.generate(), anchor=anchor)


def test_a_shallow_saver_is_refused_at_once():
    with pytest.warns(DeprecationWarning, match="Shallow"):
        inner = ShallowPostgresSaver(None)
    with pytest.raises(ConfigurationError, match="shallow"):
        EncryptedSaver(inner, Key.generate(), anchor=MemoryAnchor())
