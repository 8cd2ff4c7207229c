"""What applications do: it works as with the plain saver, or the error says what is wrong."""

from __future__ import annotations

import copy
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, Keyring
from tests.saver.databases import PostgresDatabase
from tests.saver.threads import make_checkpoint
from tests.savers import ASYNC_SAVERS, any_saver


class _State(TypedDict):
    x: Any


def _graph(saver: Any) -> Any:
    builder = StateGraph(_State)
    builder.add_node("node", lambda state: {"x": state["x"]})
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


def _config(**more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "1", **more}}


def _wrapped_and_plain(store: Any) -> list[tuple[str, Any]]:
    return [("plain", store.plain()), ("wrapped", store.saver())]


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_checkpoint_id_is_the_latest_and_no_parent(store, empty):
    seen = []
    for thread, saver in _wrapped_and_plain(store):
        config = {"configurable": {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": empty}}
        graph = _graph(saver)
        graph.invoke({"x": 1}, config)
        graph.invoke({"x": 2}, config)
        graph.update_state(config, {"x": 3})
        history = [*graph.get_state_history({"configurable": {"thread_id": thread}})]
        seen.append((graph.get_state(config).values, len(history), [state.values for state in history]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("database_of_module", ["Sqlite"], indirect=True)
def test_a_row_with_an_empty_parent_id_opens(database):
    saver = database.saver()
    stored = saver.put(
        {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": ""}},
        make_checkpoint(0, {}, {}),
        {"source": "input"},
        {},
    )
    for parent in ("", None):
        database.sql("UPDATE checkpoints SET parent_checkpoint_id = ?", parent)
        assert database.saver().get_tuple(stored).parent_config is None


def test_a_namespace_of_none_is_the_root(store):
    for thread, saver in _wrapped_and_plain(store)[1:]:
        graph = _graph(saver)
        config = {"configurable": {"thread_id": thread, "checkpoint_ns": None}}
        assert graph.invoke({"x": 1}, config) == {"x": 1}
        assert graph.get_state({"configurable": {"thread_id": thread}}).values == {"x": 1}
        found = saver.get_tuple(config)
        assert found.config["configurable"]["checkpoint_ns"] == ""
        saver.put_writes(
            {"configurable": {**config["configurable"], "checkpoint_id": found.checkpoint["id"]}}, [("x", 5)], "task"
        )
        assert ("task", "x", 5) in saver.get_tuple(config).pending_writes


@dataclass
class FileInfo:
    name: str
    nbytes: int | None = None


@pytest.mark.parametrize("kind", ASYNC_SAVERS)
@pytest.mark.filterwarnings("ignore:Deserializing unregistered type")
async def test_an_object_whose_size_is_no_number_is_stored(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        saver = EncryptedSaver(inner, key)
        files = [{"files": [FileInfo("a")]}]
        config = await saver.aput(
            _config(checkpoint_ns=""), make_checkpoint(0, {"x": files}, {"x": "1"}), {"source": "loop"}, {"x": "1"}
        )
        await saver.aput_writes(config, [("x", files)], "task")
        assert len((await saver.aget_tuple(config)).pending_writes) == 1


# --- the inner saver


def test_a_connection_that_is_replaced_after_wrapping_is_the_one_that_is_used(key):
    inner = SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False))
    inner.setup()
    saver = EncryptedSaver(inner, key)
    inner.conn.close()
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        inner.conn, inner.is_setup = connection, False
        assert _graph(saver).invoke({"x": 1}, _config()) == {"x": 1}
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0] > 0


def test_the_inner_saver_goes_on_with_its_own_serializer(store):
    inner = store.plain()
    own = inner.serde
    wrapped = EncryptedSaver(inner, store.key)
    _graph(wrapped).invoke({"x": 1}, _config())
    assert inner.serde is own
    plain = {"configurable": {"thread_id": "plain"}}
    _graph(inner).invoke({"x": [1]}, plain)
    assert _graph(inner).get_state(plain).values == {"x": [1]}
    assert _graph(wrapped).get_state(_config()).values == {"x": 1}


def test_an_inner_saver_that_assigns_its_own_serializer_does_not_get_past_the_gate(key):
    class Assigning(InMemorySaver):
        def put(self, config, checkpoint, metadata, new_versions):
            self.serde = JsonPlusSerializer(pickle_fallback=True)
            return super().put(config, checkpoint, metadata, new_versions)

        def get_tuple(self, config):
            self.serde = JsonPlusSerializer(pickle_fallback=True)
            return super().get_tuple(config)

    saver = EncryptedSaver(Assigning(), key)
    assert _graph(saver).invoke({"x": "secret"}, _config()) == {"x": "secret"}
    assert b"secret" not in repr((saver.inner.storage, saver.inner.blobs, saver.inner.writes)).encode()


def test_two_wrappers_of_one_saver_keep_their_keys_apart(key):
    inner = InMemorySaver()
    one, other = EncryptedSaver(inner, key), EncryptedSaver(inner, Key.generate())
    _graph(one).invoke({"x": 1}, _config())
    _graph(other).invoke({"x": 2}, {"configurable": {"thread_id": "2"}})
    assert _graph(one).get_state(_config()).values == {"x": 1}
    assert _graph(other).get_state({"configurable": {"thread_id": "2"}}).values == {"x": 2}


# --- the serializer


class Unregistered:
    def __eq__(self, other):
        return isinstance(other, Unregistered)

    __hash__ = None


def test_a_serializer_that_is_assigned_later_makes_the_bytes(store):
    saver = store.saver()
    with pytest.raises(TypeError):
        _graph(saver).invoke({"x": Unregistered()}, _config())
    saver.serde = JsonPlusSerializer(pickle_fallback=True)
    config = {"configurable": {"thread_id": "2"}}
    assert _graph(saver).invoke({"x": Unregistered()}, config) == {"x": Unregistered()}
    assert _graph(saver).get_state(config).values == {"x": Unregistered()}
    with pytest.raises(TypeError):
        saver.serde = object()


@pytest.mark.parametrize("method", ["put", "put_writes"])
def test_what_cannot_be_serialized_is_named_with_its_channel(store, method):
    saver = store.saver()
    config = saver.put(_config(checkpoint_ns=""), make_checkpoint(0, {}, {}), {"source": "loop"}, {})
    values, versions = {"fine": [1], "basket": Unregistered()}, {"fine": "1", "basket": "1"}
    arguments = {
        "put": (config, make_checkpoint(1, values, versions), {"source": "loop"}, versions),
        "put_writes": (config, [*values.items()], "task"),
    }
    with pytest.raises(TypeError) as caught:
        getattr(saver, method)(*arguments[method])
    message = str(caught.value)
    assert "'basket'" in message
    assert "Unregistered" in message
    assert "Deferred" not in message


async def test_what_cannot_be_serialized_is_named_off_the_event_loop_too(saver_place, key):
    for kind in ASYNC_SAVERS:
        async with any_saver(kind, saver_place(kind), None) as inner:
            saver = EncryptedSaver(inner, key)
            checkpoint = make_checkpoint(0, {"basket": [Unregistered(), "x" * 300_000]}, {"basket": "1"})
            with pytest.raises(TypeError, match="'basket'"):
                await saver.aput(_config(checkpoint_ns=""), checkpoint, {"source": "loop"}, {"basket": "1"})


def test_what_a_serializer_raises_reaches_the_user_as_it_is(store):
    class Own(Exception):
        pass

    class Refusing(JsonPlusSerializer):
        def dumps_typed(self, obj):
            if obj == ["refused"]:
                raise Own("mine")
            return super().dumps_typed(obj)

    saver = store.saver(serde=Refusing())
    with pytest.raises(Own, match="mine"):
        saver.put(_config(checkpoint_ns=""), make_checkpoint(0, {"x": ["refused"]}, {"x": "1"}), {"source": "loop"}, {"x": "1"})


# --- what JSON takes and msgpack does not


@pytest.mark.parametrize("value", [2**70, -(2**70), [2**64], {"n": 2**100}, {"\udfff": 1}])
def test_metadata_that_msgpack_cannot_hold_is_stored_all_the_same(store, value):
    saver = store.saver()
    stored = saver.put(_config(checkpoint_ns=""), make_checkpoint(0, {}, {}), {"source": "loop", "account": value}, {})
    assert store.saver().get_tuple(stored).metadata["account"] == value
    _graph(saver).invoke({"x": 1}, _config(thread_id="2", account=2**70))
    assert saver.get_tuple(_config(thread_id="2")).metadata["account"] == 2**70


def test_metadata_keys_that_are_no_unicode_are_stored_all_the_same(store):
    stored = store.saver().put(_config(checkpoint_ns=""), make_checkpoint(0, {}, {}), {"source": "loop", "a\ud800": 1}, {})
    assert store.saver().get_tuple(stored).metadata["a\ud800"] == 1


def test_numpy_scalars_in_metadata_come_back_equal(store):
    numpy = pytest.importorskip("numpy")
    metadata = {"source": "loop", "score": numpy.float64(0.5), "name": numpy.str_("a")}
    stored = store.saver().put(_config(checkpoint_ns=""), make_checkpoint(0, {}, {}), metadata, {})
    found = store.saver().get_tuple(stored).metadata
    assert (found["score"], found["name"]) == (0.5, "a")


@pytest.mark.parametrize("database_of_module", ["Postgres"], indirect=True)
@pytest.mark.parametrize("value", [2**70, -(2**65), 2**64 - 1, 1e16, -0.0, float("1e300")])
def test_scalars_that_postgres_keeps_as_json_are_kept(database, value):
    versions = {"x": "1"}
    stored = database.saver().put(
        _config(checkpoint_ns=""), make_checkpoint(0, {"x": value}, versions), {"source": "loop"}, versions
    )
    assert database.saver().get_tuple(stored).checkpoint["channel_values"]["x"] == value


# --- the rest


@pytest.mark.parametrize("limit", [-1, -5, 0, 1, None])
def test_a_limit_means_what_it_means_to_the_plain_saver(store, limit):
    seen = []
    for thread, saver in _wrapped_and_plain(store):
        config = {"configurable": {"thread_id": thread}}
        _graph(saver).invoke({"x": 1}, config)
        for wanted in (None, {"source": "loop"}, {"no": 1}):
            try:
                seen.append((wanted, len(list(saver.list(config, limit=limit, filter=wanted)))))
            except Exception as error:  # noqa: BLE001  # Postgres refuses a negative one
                seen.append((wanted, type(error)))
    assert seen[:3] == seen[3:]
    assert isinstance(store, PostgresDatabase) or not any(isinstance(answer, type) for _, answer in seen)


def test_a_key_file_with_a_byte_order_mark_is_read(tmp_path, key):
    path = tmp_path / "key"
    path.write_text(key.to_text() + "\r\n", encoding="utf-8-sig")
    assert Keyring.from_env({"ENCRYPTED_SERDE_KEY_FILE": str(path)}).encryption_key({}).id == key.id


def test_a_serializer_can_be_copied_deeply_and_the_copy_reads_the_same(key):
    serde = EncryptedSerializer(key, legacy_keys=[b"k" * 32], allow_plaintext=True, audit=lambda event: None)
    twin = copy.deepcopy({"serde": serde})["serde"]
    assert twin.loads_typed(serde.dumps_typed([1])) == [1]
    assert serde.loads_typed(twin.dumps_typed([1])) == [1]


def test_what_the_plain_saver_does_not_take_is_refused_and_never_stored_as_something_else(store):
    changed = {1: 1 << 70, "pair": (1, 2)}  # JSON takes it, and returns a text for the number and a list for the pair
    for thread, saver in _wrapped_and_plain(store):
        config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        with pytest.raises(TypeError):
            saver.put(config, make_checkpoint(1, {"n": changed}, {"n": 1}), {}, {"n": 1})
        stored = saver.put(config, make_checkpoint(2, {}, {}), {}, {})
        with pytest.raises(TypeError):
            saver.put_writes(stored, [("n", changed)], "task")
