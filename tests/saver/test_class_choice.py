"""The wrapper has the optional methods of the saver it wraps, and those of its own subclasses."""

from __future__ import annotations

import asyncio
import copy

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from encrypted_serde import ConfigurationError, EncryptedSaver
from encrypted_serde.saver.filters import CONTAINMENT, EQUALITY, JSON_PATH
from encrypted_serde.saver.traits import Traits, overrides, traits_of


class _Bare(BaseCheckpointSaver):
    """A saver that has no method but those that every saver must have."""


class _Pruning(InMemorySaver):
    def prune(self, thread_ids, *, strategy="keep_latest"):
        self.pruned = list(thread_ids)


def _has(saver, name):
    return overrides(type(saver), name)


def test_a_method_that_the_inner_saver_has_not_is_not_there(key):
    saver = EncryptedSaver(_Bare(), key)
    assert not _has(saver, "delete_thread")
    assert not _has(saver, "prune")
    assert not hasattr(saver, "setup")
    with pytest.raises(NotImplementedError):
        saver.delete_thread("t")


def test_one_that_it_has_is_there(key):
    saver = EncryptedSaver(_Pruning(), key)
    assert _has(saver, "delete_thread")
    assert _has(saver, "prune")
    assert not _has(saver, "delete_for_runs")
    saver.prune(["a"])
    assert saver.inner.pruned == ["a"]


def test_the_same_methods_are_the_same_class_and_the_name_is_ours(key):
    one, other = EncryptedSaver(InMemorySaver(), key), EncryptedSaver(InMemorySaver(), key)
    assert type(one) is type(other)
    assert type(one) is not type(EncryptedSaver(_Pruning(), key))
    assert type(one).__name__ == "EncryptedSaver"
    assert isinstance(one, EncryptedSaver)


@pytest.mark.parametrize(
    "call",
    [
        lambda i, k: EncryptedSaver(i, k),
        lambda i, k: EncryptedSaver(i, keys=k),
        lambda i, k: EncryptedSaver(inner=i, keys=k),
        lambda i, k: EncryptedSaver(keys=k, inner=i, serde=None),
    ],
)
def test_arguments_may_be_given_by_name(call, key):
    assert _has(call(_Pruning(), key), "prune")


def test_a_subclass_has_them_too_and_its_own_come_first(key):
    class Telling(EncryptedSaver):
        def delete_thread(self, thread_id):
            self.told = thread_id
            super().delete_thread(thread_id)

        def get_delta_channel_history(self, *, config, channels):
            return "its own"

    saver = Telling(_Pruning(), key)
    assert type(saver).__name__ == "Telling"
    saver.prune(["a"])
    assert saver.get_delta_channel_history(config={}, channels=[]) == "its own"
    saver.put(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
        {"v": 4, "id": "1", "channel_values": {}, "channel_versions": {}},
        {},
        {},
    )
    saver.delete_thread("t")
    assert saver.told == "t"
    assert saver.get_tuple({"configurable": {"thread_id": "t"}}) is None


def test_a_method_that_only_a_subclass_has_stays_its_own(key):
    class Pruning(EncryptedSaver):
        def prune(self, thread_ids, *, strategy="keep_latest"):
            return "its own"

    assert Pruning(InMemorySaver(), key).prune([]) == "its own"
    assert Pruning(_Pruning(), key).prune([]) == "its own"


def test_a_saver_made_by_the_class_of_another_fits_its_own_inner_saver(key):
    many = EncryptedSaver(_Pruning(), key)
    few = type(many)(_Bare(), key)
    assert not _has(few, "prune")
    assert not _has(few, "delete_thread")
    assert type(few) is type(EncryptedSaver(_Bare(), key))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_has_the_class_and_the_keys_of_the_original(copied, key):
    saver = EncryptedSaver(_Pruning(), key)
    config = saver.put(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
        {"v": 4, "id": "1", "channel_values": {"a": 1}, "channel_versions": {"a": 1}},
        {"source": "loop"},
        {"a": 1},
    )
    twin = copied(saver)
    assert type(twin) is type(saver)
    assert twin.get_tuple(config).checkpoint["channel_values"] == {"a": 1}
    twin.put_writes(config, [("a", 2)], "task")
    assert len(twin.get_tuple(config).pending_writes) == 1
    assert len(saver.get_tuple(config).pending_writes) == (1 if copied is copy.copy else 0)


def test_verified_history_is_the_slow_way(key):
    assert type(EncryptedSaver(InMemorySaver(), key)).get_delta_channel_history is not EncryptedSaver.get_delta_channel_history
    verified = EncryptedSaver(InMemorySaver(), key, verify_delta_history=True)
    assert type(verified).get_delta_channel_history is EncryptedSaver.get_delta_channel_history


@pytest.mark.parametrize("wrong", [None, 5, "x", object(), InMemorySaver])
def test_what_is_no_saver_is_a_type_error(wrong, key):
    for call in (
        lambda: EncryptedSaver(wrong, key),
        lambda: EncryptedSaver(inner=wrong, keys=key),
        lambda: EncryptedSaver(wrong),
    ):
        with pytest.raises(TypeError):
            call()


def test_options_that_exclude_each_other(key):
    with pytest.raises(ConfigurationError):
        EncryptedSaver(InMemorySaver(), key, readable_metadata=["a"], searchable_metadata=["a"])


# --- traits


def test_habits_are_those_of_the_nearest_known_class():
    class Mine(InMemorySaver):
        pass

    assert traits_of(Mine()) == traits_of(InMemorySaver())
    assert traits_of(Mine()).asks_serde


def test_an_unknown_saver_is_handed_sealed_values_and_sealed_text_for_scalars():
    assert traits_of(_Bare()) == Traits()
    assert not Traits().asks_serde
    assert Traits().inlines_scalars


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("langgraph.checkpoint.sqlite.SqliteSaver", JSON_PATH),
        ("langgraph.checkpoint.memory.InMemorySaver", EQUALITY),
        ("langgraph.checkpoint.postgres.shallow.ShallowPostgresSaver", CONTAINMENT),
    ],
)
def test_a_filter_means_what_the_saver_means(name, filters):
    import importlib

    module, _, cls = name.rpartition(".")
    saver = object.__new__(getattr(importlib.import_module(module), cls))
    assert traits_of(saver).filters is filters


def test_what_may_lose_a_parent_is_what_can_prune():
    assert traits_of(_Pruning()).prunes
    assert not traits_of(InMemorySaver()).prunes


def test_optional_methods_take_and_return_what_the_inner_savers_do(key):
    class Inner(InMemorySaver):  # with the signature of RedisSaver's prune
        def prune(self, thread_ids, *, strategy="keep_latest", keep_last=None):
            return f"pruned {list(thread_ids)}, {strategy}, {keep_last}"

        async def aprune(self, thread_ids, *, strategy="keep_latest", keep_last=None):
            return self.prune(thread_ids, strategy=strategy, keep_last=keep_last)

        def delete_for_runs(self, run_ids, *, dry_run=False):
            return f"{list(run_ids)}, {dry_run}"

        def delete_thread(self, thread_id):
            return f"deleted {thread_id}"

    saver = EncryptedSaver(Inner(), key)
    assert saver.prune(["1"], keep_last=20) == "pruned ['1'], keep_latest, 20"
    assert asyncio.run(saver.aprune(["1"], strategy="delete")) == "pruned ['1'], delete, None"
    assert saver.delete_for_runs(["r"], dry_run=True) == "['r'], True"
    assert saver.delete_thread("1") == "deleted 1"
    with pytest.raises(TypeError):
        saver.prune(["1"], unknown=1)
