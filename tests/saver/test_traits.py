"""Savers with traits: what is known of one is no hole for the others, and the owner of an unknown one can say what it does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import EncryptedSaver, Key, PlaintextRefused, WrongLocation
from encrypted_serde.saver import Traits
from encrypted_serde.saver.traits import next_of_its_own, traits_of
from encrypted_serde.wrapping.admission import Admission
from encrypted_serde.wrapping.gate import Foreign
from encrypted_serde.wrapping.json_gate import JsonGate
from encrypted_serde.wrapping.upstream import DeltaSnapshot

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


def _checkpoint(checkpoint_id: str = "1", version: Any = 1, **values: Any) -> dict[str, Any]:
    versions = dict.fromkeys(values, version)
    return {
        "v": 4,
        "id": checkpoint_id,
        "ts": "",
        "channel_values": values,
        "channel_versions": versions,
        "versions_seen": {"node": versions},
    }


def _put(saver: Any, checkpoint: dict[str, Any], parent: str | None = None) -> dict[str, Any]:
    config = {"configurable": {**CONFIG["configurable"], **({"checkpoint_id": parent} if parent else {})}}
    return saver.put(config, checkpoint, {"source": "loop", "step": 1, "secret": "s"}, checkpoint["channel_versions"])


class AddsKey(InMemorySaver):
    """Gives every checkpoint a key of its own."""

    def get_tuple(self, config: Any) -> Any:
        found = super().get_tuple(config)
        return found and found._replace(checkpoint={"type": "msgpack", **found.checkpoint})


class ForgetsParents(InMemorySaver):
    """Keeps no parent."""

    def get_tuple(self, config: Any) -> Any:
        found = super().get_tuple(config)
        return found and found._replace(parent_config=None)


class MakesVersionsText(InMemorySaver):
    """Gives channel versions as text."""

    def get_tuple(self, config: Any) -> Any:
        found = super().get_tuple(config)
        versions = {channel: str(version) for channel, version in found.checkpoint["channel_versions"].items()}
        return found._replace(checkpoint={**found.checkpoint, "channel_versions": versions})


class MixesWrites(InMemorySaver):
    """Gives the writes of every checkpoint of a thread along."""

    def get_tuple(self, config: Any) -> Any:
        found = super().get_tuple(config)
        load = self.serde.loads_typed
        mixed = [(task, channel, load(value)) for held in self.writes.values() for task, channel, value, _ in held.values()]
        return found._replace(pending_writes=mixed)


class Prefixes(InMemorySaver):
    """Lists every namespace where the root is asked for, under a name of its own."""

    def list(self, config: Any, **options: Any) -> Any:
        for found in super().list({"configurable": {"thread_id": "one"}}, **options):
            at = found.config["configurable"]
            yield found._replace(config={"configurable": {**at, "checkpoint_ns": at["checkpoint_ns"] or "__root__"}})


class ListsStubs(InMemorySaver):
    """Lists where checkpoints are, and not what is in them."""

    def list(self, config: Any, **options: Any) -> Any:
        for found in super().list(config, **options):
            yield found._replace(checkpoint=_checkpoint(), metadata={"source": "loop", "step": 1}, pending_writes=None)


@pytest.mark.parametrize(
    ("inner", "traits", "error"),
    [
        (AddsKey, Traits(added_keys=frozenset({"type"})), WrongLocation),
        (ForgetsParents, Traits(is_shallow=True), WrongLocation),
        (MakesVersionsText, Traits(text_versions=True), WrongLocation),
    ],
)
def test_a_habit_is_refused_until_the_owner_of_the_saver_declares_it(inner, traits, error, key):
    for declared in (None, traits):
        saver = EncryptedSaver(inner(), key, traits=declared)
        stored = _put(saver, _checkpoint(text="hello", number=5), parent="0")
        if declared is None:
            with pytest.raises(error):
                saver.get_tuple(stored)
        else:
            found = saver.get_tuple(stored)
            assert found.checkpoint["channel_values"] == {"text": "hello", "number": 5}
            assert "type" not in found.checkpoint
            assert found.metadata["secret"] == "s"


def test_writes_of_other_checkpoints_are_left_out_where_the_saver_mixes_them(key):
    inner = MixesWrites()
    saver = EncryptedSaver(inner, key, traits=Traits(mixes_writes=True))
    for checkpoint_id in ("1", "2"):
        stored = _put(saver, _checkpoint(checkpoint_id, text="hello"))
        saver.put_writes(stored, [("text", f"of {checkpoint_id}")], "task")
    assert saver.get_tuple(stored).pending_writes == [("task", "text", "of 2")]
    with pytest.raises(WrongLocation):
        EncryptedSaver(inner, key).get_tuple(stored)


def test_rows_of_other_namespaces_are_listed_where_the_saver_lists_all(key):
    inner = Prefixes()
    saver = EncryptedSaver(inner, key, traits=Traits(lists_all=True, root_name="__root__"))
    _put(saver, _checkpoint("1", text="root"))
    child = {"configurable": {"thread_id": "one", "checkpoint_ns": "child"}}
    saver.put(child, _checkpoint("2", text="child"), {}, {"text": 1})
    assert sorted(found.checkpoint["channel_values"]["text"] for found in saver.list(CONFIG)) == ["child", "root"]
    with pytest.raises(WrongLocation):
        list(EncryptedSaver(inner, key).list(CONFIG))


async def test_each_checkpoint_is_fetched_where_the_saver_lists_stubs(key):
    inner = ListsStubs()
    saver = EncryptedSaver(inner, key, traits=Traits(lists_stubs=True))
    for checkpoint_id in ("1", "2", "3"):
        _put(saver, _checkpoint(checkpoint_id, version=int(checkpoint_id), text=f"of {checkpoint_id}"))
    for limit, expected in ((None, ["of 3", "of 2", "of 1"]), (2, ["of 3", "of 2"])):
        assert [found.checkpoint["channel_values"]["text"] for found in saver.list(CONFIG, limit=limit)] == expected
    with pytest.raises(PlaintextRefused):
        list(EncryptedSaver(inner, key).list(CONFIG))


def test_what_redis_adds_to_a_checkpoint_is_a_change_in_every_other_saver(store):
    saver = store.saver()
    stored = _put(saver, _checkpoint(text="hello", other=[1]))
    found = saver.inner.get_tuple
    saver.inner.get_tuple = lambda config: (row := found(config))._replace(checkpoint={**row.checkpoint, "type": "json"})
    try:
        with pytest.raises(WrongLocation):
            saver.get_tuple(stored)
    finally:
        del saver.inner.get_tuple


def test_versions_of_their_own_grow_and_differ_between_branches(key):
    saver = EncryptedSaver(InMemorySaver(), key, traits=Traits(reuses_versions=True))
    first = [saver.get_next_version(7, None) for _ in range(100)]
    assert len(set(first)) == 100
    assert min(first) > 7
    version = None
    for _ in range(1000):
        before, version = version or 0, next_of_its_own(version)
        assert before < version < 1 << 53


def test_habits_are_found_by_looking_at_the_saver_alone():
    class AsksForJson(InMemorySaver):
        prune = InMemorySaver.delete_thread

    inner = AsksForJson(serde=JsonPlusSerializer())  # the default one is shared by all savers
    assert traits_of(inner).prunes
    assert not traits_of(inner).asks_json
    inner.serde._preprocess_redis_json = None  # type: ignore[attr-defined]
    assert traits_of(inner).asks_json


def test_traits_of_another_type_are_refused(key):
    with pytest.raises(TypeError, match="Traits"):
        EncryptedSaver(InMemorySaver(), key, traits={"is_shallow": True})


# --- the gate for savers that ask for JSON


@pytest.fixture
def gate(key: Key) -> JsonGate:
    from encrypted_serde import Sealer

    return JsonGate(Admission(Sealer(key)))


@pytest.mark.parametrize(
    "stored",
    [
        {"lc": 2, "type": "constructor", "id": ["subprocess", "Popen"], "args": [["true"]]},
        {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "AIMessage"], "kwargs": {"content": "x"}},
        {"__interrupt__": True, "value": "x", "id": "y"},
        {"__send__": True, "node": "n", "arg": 1},
        {"__delta_snapshot__": True, "value": "x", "more": 1},
        [{"lc": 2}],
        "text",
    ],
)
def test_nothing_is_built_from_a_row(gate, stored):
    assert gate._revive_if_needed(stored) is stored
    assert isinstance(gate.loads_typed(("json", json.dumps(stored).encode())), Foreign)


@pytest.mark.parametrize("blob", [b'["es1.x"]', b'{"a": "es1.x"', b'"es1.x"', b'{"a": "es1.x"}', b"[" * 100_000 + b'"es1.'])
def test_only_a_dict_with_something_sealed_comes_back_from_json_and_nothing_raises(gate, blob):
    found = gate.loads_typed(("json", blob))
    assert found == {"a": "es1.x"} if blob.endswith(b"}") else isinstance(found, Foreign)


def test_bytes_and_snapshots_are_marked_and_found_again(gate):
    marked = gate._preprocess_redis_json({"a": DeltaSnapshot(b"x"), "b": (b"y", 1)}, encode_bytes=bytes.decode)
    assert marked == {"a": {"__delta_snapshot__": True, "value": {"__bytes__": "x"}}, "b": [{"__bytes__": "y"}, 1]}
    assert gate._revive_if_needed({"__delta_snapshot__": True, "value": "x"}) == DeltaSnapshot("x")


def test_dicts_without_bytes_are_json_and_all_else_is_as_in_every_gate(gate):
    assert gate.dumps_typed({"a": "x", "b": DeltaSnapshot("y")}) == (
        "json",
        b'{"a": "x", "b": {"__delta_snapshot__": true, "value": "y"}}',
    )
    assert gate.dumps_typed({"a": b"x"})[0] == "msgpack"
    assert gate.dumps_typed(b"x") == ("bytes", b"x")
    with pytest.raises(TypeError, match="not handed to it sealed"):
        gate.dumps_typed({"a": object()})
    with pytest.raises(TypeError, match="not handed to it sealed"):
        gate._default_handler(object())


class KeepsJson(InMemorySaver):
    """Keeps one checkpoint, as JSON documents, the way langgraph-checkpoint-redis does."""

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        assert self.serde.dumps_typed(checkpoint)[0] == "json"
        self.kept = [json.loads(self.serde.dumps_typed(part)[1]) for part in (checkpoint, metadata)]
        return {"configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}

    def get_tuple(self, config: Any) -> Any:
        checkpoint, metadata = self.kept
        values = {channel: self.serde._revive_if_needed(value) for channel, value in checkpoint["channel_values"].items()}
        return CheckpointTuple(config, {**checkpoint, "channel_values": values}, metadata)


def test_every_value_is_handed_over_as_text_where_json_is_asked_for(key):
    saver = EncryptedSaver(KeepsJson(), key, traits=Traits(asks_json=True))
    values = {"text": "x", "bytes": b"y", "list": [1], "none": None, "snapshot": DeltaSnapshot([1, 2])}
    stored = _put(saver, _checkpoint(**values))
    assert saver.get_tuple(stored).checkpoint["channel_values"] == values
