"""What a wrapped saver is to its user: methods, configuration, contexts, copies, errors."""

from __future__ import annotations

import asyncio
import copy
import gc

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import (
    AuthenticationFailed,
    EncryptedSaver,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    Keyring,
    Sealer,
    UnknownKey,
    WrongContext,
    encryption_context,
)
from encrypted_serde.anchor import MemoryAnchor
from encrypted_serde.core.format import Sealed
from tests.saver.databases import SqliteDatabase
from tests.saver.graphs import answer, run_until_asked, whole_graph
from tests.saver.threads import make_checkpoint, write_thread, writes_of
from tests.savers import ALL_SAVERS, any_saver

OPTIONAL = (
    "delete_thread",
    "adelete_thread",
    "prune",
    "aprune",
    "delete_for_runs",
    "adelete_for_runs",
    "copy_thread",
    "acopy_thread",
)


def _config(thread, **more):
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


class _Everything(InMemorySaver):
    """A saver that has every optional method, and copies rows as they are."""

    def setup(self):
        self.was_set_up = True
        return "set up"

    def copy_thread(self, source_thread_id, target_thread_id):
        raise AssertionError("rows copied as they are could not be opened in their new place")

    async def acopy_thread(self, source_thread_id, target_thread_id):
        raise AssertionError("rows copied as they are could not be opened in their new place")

    def delete_for_runs(self, run_ids):
        for thread, namespaces in self.storage.items():
            for ns, rows in namespaces.items():
                for checkpoint_id, (_, metadata, _) in list(rows.items()):
                    if self.serde.loads_typed(metadata).get("run_id") in run_ids:
                        del self.storage[thread][ns][checkpoint_id]

    async def adelete_for_runs(self, run_ids):
        self.delete_for_runs(run_ids)

    def prune(self, thread_ids, *, strategy="keep_latest"):
        self.pruned = (tuple(thread_ids), strategy)

    async def aprune(self, thread_ids, *, strategy="keep_latest"):
        self.prune(thread_ids, strategy=strategy)


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_optional_methods_exist_exactly_where_the_inner_saver_has_them(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        saver = EncryptedSaver(inner, key)
        for name in OPTIONAL:
            base = getattr(BaseCheckpointSaver, name)
            own = getattr(type(inner), name) is not base
            assert (getattr(type(saver), name) is not base) is own, name
        assert hasattr(saver, "setup") is hasattr(inner, "setup")
        assert isinstance(saver, EncryptedSaver)
        assert type(saver) is type(EncryptedSaver(inner, key))
        assert type(saver).__qualname__ == "EncryptedSaver"
        assert not hasattr(saver, "conn")
        assert not hasattr(saver, "storage")


async def test_a_saver_that_has_everything_keeps_everything(key):
    inner = _Everything()
    saver = EncryptedSaver(inner, key)
    for name in OPTIONAL:
        assert getattr(type(saver), name) is not getattr(BaseCheckpointSaver, name), name
    assert saver.setup() == "set up"
    saver.prune(["a", "b"], strategy="delete")
    await saver.aprune(["a", "b"], strategy="delete")
    assert saver._wiring.gated.pruned == (("a", "b"), "delete")


async def test_setup_is_passed_on_and_awaited_where_the_inner_savers_is(tmp_path, key):
    async with any_saver("AsyncSqlite", tmp_path / "x.sqlite", None) as inner:
        await EncryptedSaver(inner, key).setup()


def test_runs_are_deleted_by_their_readable_id(key):
    saver = EncryptedSaver(_Everything(), key)
    for step, run_id in enumerate(["one", "two", "one"]):
        saver.put(_config("t"), make_checkpoint(step, {}, {}), {"source": "loop", "run_id": run_id}, {})
    saver.delete_for_runs(["one"])
    assert [found.metadata["run_id"] for found in saver.list(_config("t"))] == ["two"]
    asyncio.run(saver.adelete_for_runs(["two"]))
    assert list(saver.list(_config("t"))) == []


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_copied_thread_is_bound_to_its_new_place(key, way):
    saver = EncryptedSaver(_Everything(), key)
    run_until_asked(saver, _config("source"))
    answer(saver, _config("source"), "yes")
    if way == "sync":
        saver.copy_thread("source", "target")
    else:
        asyncio.run(saver.acopy_thread("source", "target"))

    def seen(thread):
        return [
            (
                found.checkpoint,
                found.metadata,
                found.parent_config and found.parent_config["configurable"]["checkpoint_id"],
                found.pending_writes,
                found.config["configurable"]["checkpoint_ns"],
            )
            for found in saver.list({"configurable": {"thread_id": thread}})
        ]

    assert sorted(seen("target"), key=repr) == sorted(seen("source"), key=repr)
    assert len(seen("target")) > 4
    before = seen("source")
    assert answer(saver, _config("target"), "no")["answer"] == "yes, no"
    assert seen("source") == before
    rows = saver.inner.blobs
    for place in [place for place in rows if place[0] == "source"]:
        rows[("target", *place[1:])] = rows[place]
    with pytest.raises(AuthenticationFailed):
        whole_graph(saver).get_state(_config("target"))


def test_a_copy_keeps_the_context_of_each_row(key):
    saver = EncryptedSaver(_Everything(), key)
    with encryption_context(tenant_id="a"):
        write_thread(saver, "source")
    saver.copy_thread("source", "target")
    with encryption_context(tenant_id="a"):
        assert len(list(saver.list(_config("target")))) == 2
    with encryption_context(tenant_id="b"), pytest.raises(WrongContext):
        list(saver.list(_config("target")))


def test_a_thread_with_a_row_that_was_moved_cannot_be_copied(key):
    saver = EncryptedSaver(_Everything(), key)
    write_thread(saver, "source")
    [*_, place] = [place for place in saver.inner.blobs if place[2] == "log"]
    saver.inner.blobs[place] = next(value for other, value in saver.inner.blobs.items() if other[2] == "more")
    with pytest.raises(AuthenticationFailed):
        saver.copy_thread("source", "target")
    assert len(list(saver.list(_config("target")))) == 1  # what came before it was


@pytest.mark.parametrize("inner", [None, "saver", InMemorySaver, object()])
def test_what_is_no_saver_cannot_be_wrapped(inner, key):
    with pytest.raises(TypeError):
        EncryptedSaver(inner, key)


def test_a_wrapped_saver_cannot_be_wrapped_again(key):
    with pytest.raises(TypeError, match="not encrypted yet"):
        EncryptedSaver(EncryptedSaver(InMemorySaver(), key), key)


def test_a_saver_that_was_not_entered_is_refused_with_the_way_to_do_it(key):
    with pytest.raises(TypeError, match="enter it: with"):
        EncryptedSaver(SqliteSaver.from_conn_string(":memory:"), key)


def test_a_mapping_is_the_context_of_all_that_is_written_and_expected_of_all_that_is_read(database):
    saver = database.saver(context={"tenant_id": "acme"})
    _, here = write_thread(saver, "one")
    sealed = database.sealed(here, "log")
    assert Sealed.of_bytes(sealed).head.context.pairs == {"tenant_id": "acme"}
    assert database.saver(context={"tenant_id": "acme"}).get_tuple(here.config)
    assert database.saver().get_tuple(here.config)  # without one, the stored one serves
    for other in ({"tenant_id": "other"}, {}):
        with pytest.raises(WrongContext) as caught:
            database.saver(context=other).get_tuple(here.config)
        assert "acme" not in str(caught.value)
        with pytest.raises(WrongContext):
            list(database.saver(context=other).list(here.config))


def test_a_callable_takes_the_context_from_the_configuration_of_the_run(store):
    def tenant(config):
        name = config["configurable"].get("tenant")
        return {"tenant_id": name} if name else None

    saver = store.saver(context=tenant)
    acme, other = _config("one", tenant="acme"), _config("one", tenant="other")
    run_until_asked(saver, acme)
    assert answer(store.saver(context=tenant), acme, "yes")["__interrupt__"]
    with pytest.raises(WrongContext):
        whole_graph(saver).get_state(other)
    with pytest.raises(WrongContext):
        answer(saver, other, "no")
    assert whole_graph(saver).get_state(_config("one")).values["question"] == "why"
    assert answer(saver, acme, "no")["answer"] == "yes, no"


def test_the_ambient_context_serves_where_the_saver_has_none(store):
    saver = store.saver()
    with encryption_context(tenant_id="acme"):
        run_until_asked(saver, _config("one"))
    with encryption_context(tenant_id="other"), pytest.raises(WrongContext):
        whole_graph(saver).get_state(_config("one"))
    with encryption_context(tenant_id="acme"):
        assert answer(saver, _config("one"), "yes")["__interrupt__"]


def test_a_context_that_is_no_mapping_of_text_is_refused(key):
    for context in ("acme", ["acme"], {"tenant_id": 5}):
        with pytest.raises(TypeError):
            EncryptedSaver(InMemorySaver(), key, context=context)


def test_keys_are_rotated_without_losing_a_thread(store):
    old, new = store.key, Key.generate()
    run_until_asked(store.saver(), _config("one"))
    ring = Keyring(primary=new, decrypt_only=[old])
    assert answer(store.saver(keys=ring), _config("one"), "yes")["__interrupt__"]
    assert answer(store.saver(keys=ring), _config("one"), "no")["answer"] == "yes, no"
    with pytest.raises(UnknownKey) as caught:
        list(store.saver(keys=new).list(_config("one")))
    assert caught.value.key_id == old.id


def test_an_error_names_thread_namespace_and_checkpoint_and_no_value(database):
    [*_, here] = write_thread(database.saver(), "thread-7", "namespace-7")
    database.store_sealed(here, "note", database.sealed(here, "other"))
    with pytest.raises(EncryptedSerdeError) as caught:
        database.saver().get_tuple(here.config)
    message = str(caught.value)
    assert f"(thread 'thread-7', namespace 'namespace-7', checkpoint '{here.checkpoint_id}')" in message
    assert "note of" not in message
    database.sql("UPDATE {writes} SET {value} = ? WHERE channel = 'log'", database.sealed(here, "log"))
    child = database.saver().put(here.config, make_checkpoint(9, {}, {}), {"source": "loop"}, {})
    with pytest.raises(EncryptedSerdeError, match=r"thread 'thread-7', namespace 'namespace-7'\)"):
        database.saver().get_delta_channel_history(config=child, channels=["log"])


def test_only_identity_reaches_the_inner_saver(key):
    seen = []

    class Recording(InMemorySaver):
        def put(self, config, checkpoint, metadata, new_versions):
            seen.append((config, metadata))
            return super().put(config, checkpoint, metadata, new_versions)

    config = {**_config("t", api_key="secret", region="eu", model=5), "metadata": {"email": "a@b"}, "tags": ["x"]}
    EncryptedSaver(Recording(), key).put(config, make_checkpoint(0, {}, {}), {"source": "loop"}, {})
    assert seen[0][0] == _config("t")
    assert sorted(seen[0][1]) == ["es1", "source"]


def test_a_copy_of_a_saver_works_on_the_same_database(store):
    saver = store.saver()
    write_thread(saver, "one")
    copied = copy.copy(saver)
    assert copied.get_tuple(_config("one")).checkpoint == saver.get_tuple(_config("one")).checkpoint
    wider = saver.with_allowlist([("a.module", "AType")])
    assert type(wider) is type(saver)
    assert wider.get_tuple(_config("one")).checkpoint == saver.get_tuple(_config("one")).checkpoint


def test_an_encrypting_serializer_is_no_second_layer(database):
    serde = EncryptedSerializer(database.key)
    for options in ({"serde": serde}, {"inner": database.plain(serde=serde)}):
        saver = database.saver(**options)
        assert saver.serde is serde.inner
        _, here = write_thread(saver, "one")
        assert database.saver().get_tuple(here.config)  # without it, too


def test_the_serializer_that_was_given_makes_the_bytes(database):
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    class Marking(JsonPlusSerializer):
        def dumps_typed(self, obj):
            kind, data = super().dumps_typed(obj)
            return "marked." + kind, data[::-1]

        def loads_typed(self, data):
            assert data[0].startswith("marked."), data[0]
            return super().loads_typed((data[0].removeprefix("marked."), data[1][::-1]))

    _, here = write_thread(database.saver(serde=Marking()), "one")
    assert database.saver(serde=Marking()).get_tuple(here.config).checkpoint["channel_values"]["log"] == ["log of one//1"]
    assert Sealed.of_bytes(database.sealed(here, "log")).head.type_tag == "marked.msgpack+xaes-256-gcm"


@pytest.mark.parametrize("cipher", ["xaes-256-gcm", "aes-256-gcm", "aes-256-eax"])
def test_every_cipher_and_compression(database, cipher):
    saver = database.saver(keys=Sealer(database.key, cipher=cipher, compression="zstd"))
    _, here = write_thread(saver, "one")
    long = make_checkpoint(5, {"log": ["x" * 10_000]}, {"log": saver.get_next_version(None, None)})
    stored = saver.put(here.config, long, {"source": "loop"}, long["channel_versions"])
    assert database.saver().get_tuple(stored).checkpoint["channel_values"] == {"log": ["x" * 10_000]}
    assert len(database.sealed(here._replace(checkpoint_id=long["id"]), "log")) < 1000
    assert len(writes_of(database.saver(), here)) == 7


def test_nothing_of_an_abandoned_list_keeps_the_database_locked(tmp_path):
    database = SqliteDatabase(tmp_path / "x.sqlite")
    saver = database.saver()
    write_thread(saver, "one", steps=20)
    for options in ({"limit": 5}, {"filter": {"author": "x"}, "limit": 1}, {}):
        rows = saver.list(_config("one"), **options)
        next(rows, None)
        del rows
        gc.collect()
        assert saver.get_tuple(_config("one"))
    database.connection.close()


@pytest.mark.parametrize("is_anchored", [False, True])
def test_reading_without_a_context_is_refused_whether_a_row_is_there_or_not(key, is_anchored):
    events = []
    options = {"anchor": MemoryAnchor()} if is_anchored else {}
    saver = EncryptedSaver(InMemorySaver(), key, require_context_to_read=True, audit=events.append, **options)
    for read in (saver.get_tuple, lambda config: list(saver.list(config)), lambda config: list(saver.list(None))):
        with pytest.raises(WrongContext):
            read(_config("one"))
    assert [event.outcome for event in events] == ["WrongContext"] * 3
    with encryption_context({"tenant_id": "acme"}):
        assert (saver.get_tuple(_config("one")), list(saver.list(None))) == (None, [])
