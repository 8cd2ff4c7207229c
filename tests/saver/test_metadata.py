"""Metadata is found as with the plain saver, although most of it cannot be read in the database."""

from __future__ import annotations

import json
import random

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from encrypted_serde import ConfigurationError, EncryptedSaver, Key, Keyring, WrongLocation, encryption_context
from tests.saver.databases import PostgresDatabase
from tests.saver.threads import make_checkpoint
from tests.savers import sqlite_saver

READABLE, SEARCHABLE = ["team"], ["user", "flag"]
SETTINGS = [
    {},
    {"readable_metadata": READABLE},
    {"searchable_metadata": SEARCHABLE, "context": {}},
    {"readable_metadata": READABLE, "searchable_metadata": SEARCHABLE, "context": {}},
]
_CHOICES = {
    "team": ["red", "blue", 7, 0.5, True],
    "user": ["alice", "bob", "1", 1, 1.0, 2, 2.0, 2.5, True, "", "es1s.x", "é"],
    "flag": [True, False, 0, 1],
    "score": [1, 1.0, 2.5, -3, 10**6, "1"],
    "source": ["loop", "input"],
    "step": [0, 1, 2],
}


def _config(thread, **more):
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


def _fill(savers, threads=("t1", "t2"), count=12, seed=5):
    """Writes the same checkpoints through several savers. The savers of one store see different namespaces of it."""
    chance = random.Random(seed)
    for thread in threads:
        parent: dict = {}
        for step in range(count):
            checkpoint = make_checkpoint(step, {}, {})
            metadata = {name: chance.choice(values) for name, values in _CHOICES.items() if chance.random() < 0.8}
            for saver, ns in savers:
                config = _config(thread, checkpoint_ns=ns, **parent)
                saver.put(config, checkpoint, metadata, {})
            parent = {"checkpoint_id": checkpoint["id"]}


def _ids(saver, ns, thread, **options):
    config = {"configurable": {"checkpoint_ns": ns, **({"thread_id": thread} if thread else {})}}
    found = list(saver.list(config, **options))
    return [each.checkpoint["id"] for each in found]


def _filters(chance):
    for name, values in _CHOICES.items():
        yield from ({name: value} for value in values)
    for _ in range(20):
        names = chance.sample(sorted(_CHOICES), 2)
        yield {name: chance.choice(_CHOICES[name]) for name in names}
    yield {"absent": 1}
    yield {}


@pytest.mark.parametrize("settings", SETTINGS, ids=["sealed", "readable", "searchable", "both"])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_filter_gives_the_answers_of_the_plain_saver_in_their_order(store, settings, rotated):
    plain, sealed = store.plain(), store.saver(**settings)
    _fill([(plain, "plain"), (sealed, "sealed")], count=6)
    if rotated:
        ring = Keyring(primary=Key.generate(), decrypt_only=[store.key])
        sealed = store.saver(keys=ring, **settings)
        _fill([(plain, "plain"), (sealed, "sealed")], threads=("t1",), count=6, seed=6)
    chance = random.Random(8)
    every = _ids(plain, "plain", "t1")
    answers = 0
    for wanted in _filters(chance):
        for limit in (None, 1, 3):
            before = chance.choice([None, every[3]])
            options = {
                "filter": wanted,
                "limit": limit,
                "before": None if before is None else _config("t1", checkpoint_id=before),
            }
            expected = _ids(plain, "plain", "t1", **options)
            assert _ids(sealed, "sealed", "t1", **options) == expected, options
            answers += len(expected)
    assert answers > 50


def test_lists_without_a_filter_follow_the_order_of_the_plain_saver(store):
    plain, sealed = store.plain(), store.saver()
    _fill([(plain, "plain"), (sealed, "sealed")], count=40)
    for options in ({}, {"limit": 5}, {"limit": 0}, {"limit": 35}):
        assert _ids(sealed, "sealed", "t1", **options) == _ids(plain, "plain", "t1", **options)
    for number in (3, 17, 39):
        before = _config("t1", checkpoint_id=_ids(plain, "plain", "t1")[number])
        assert _ids(sealed, "sealed", "t1", before=before) == _ids(plain, "plain", "t1", before=before)


def test_all_threads_are_listed(store):
    sealed = store.saver()
    _fill([(sealed, "")], threads=("t1", "t2", "t3"), count=20)
    found = [(each.config["configurable"]["thread_id"], each.checkpoint["id"]) for each in sealed.list(None)]
    assert len(found) == len(set(found)) == 60
    assert {thread for thread, _ in found} == {"t1", "t2", "t3"}
    assert all(each.metadata["source"] == "loop" for each in sealed.list(None, filter={"source": "loop"}))


def test_rows_that_share_a_checkpoint_id_all_come(store):
    # Copies of a thread share ids; a page that ends between two of them must not lose one.
    saver = store.saver()
    checkpoints = [make_checkpoint(step, {}, {}) for step in range(12)]
    for thread in range(11):
        for checkpoint in checkpoints:
            saver.put(_config(f"t{thread}"), checkpoint, {"source": "loop", "mark": thread % 2}, {})
    found = [(each.config["configurable"]["thread_id"], each.checkpoint["id"]) for each in saver.list(None)]
    assert len(found) == len(set(found)) == 132
    odd = list(saver.list(None, filter={"mark": 1}))
    assert len(odd) == 5 * 12


class _Counting:
    """Counts what an inner saver is asked for, and gives."""

    def __init__(self, inner):
        self.rows = 0
        self.limits = []
        original = inner.list

        def counted(config, *, limit=None, **options):
            self.limits.append(limit)
            for row in original(config, limit=limit, **options):
                self.rows += 1
                yield row

        inner.list = counted


def test_one_row_of_a_filter_that_must_be_compared_here_does_not_read_a_whole_thread(database):
    inner = database.plain()
    saver = database.saver(inner=inner)
    for step in range(200):
        saver.put(_config("t"), make_checkpoint(step, {}, {}), {"source": "loop", "secret": step}, {})
    counting = _Counting(inner)
    saver = database.saver(inner=inner)
    [found] = saver.list(_config("t"), filter={"secret": 195}, limit=1)
    assert found.metadata["secret"] == 195
    assert (counting.rows, counting.limits) == (16, [16])
    [found] = saver.list(_config("t"), filter={"secret": 150}, limit=1)
    assert counting.rows < 120
    assert len(list(saver.list(_config("t"), filter={"secret": 0}, limit=1))) == 1


def test_one_row_of_a_filter_that_the_database_answers_is_all_that_is_read(database):
    inner = database.plain()
    options = {"searchable_metadata": ["user"], "context": {}}
    saver = database.saver(inner=inner, **options)
    for step in range(50):
        saver.put(_config("t"), make_checkpoint(step, {}, {}), {"source": "loop", "user": f"u{step % 5}"}, {})
    counting = _Counting(inner)
    saver = database.saver(inner=inner, **options)
    found = list(saver.list(_config("t"), filter={"user": "u3", "source": "loop"}, limit=2))
    assert [each.metadata["user"] for each in found] == ["u3", "u3"]
    assert counting.rows == 2


def _stored_metadata(database):
    [(stored,)] = database.sql("SELECT metadata FROM checkpoints")
    return stored if isinstance(stored, dict) else json.loads(stored)


def test_what_is_readable_in_the_database_is_what_was_chosen(database):
    options = {"readable_metadata": ["team"], "searchable_metadata": ["user"], "context": {}}
    config = {**_config("t", user="alice-7f3a", team="red"), "metadata": {"plan": "gold-7f3a"}}
    metadata = {"source": "loop", "step": 1, "parents": {}, "run_id": "r", "writes": {"node": "output-7f3a"}}
    database.saver(**options).put(config, make_checkpoint(0, {}, {}), metadata, {})
    stored = _stored_metadata(database)
    assert {name: value for name, value in stored.items() if name not in ("es1", "user")} == {
        "source": "loop",
        "step": 1,
        "parents": {},
        "run_id": "r",
        "team": "red",
    }
    assert stored["user"].startswith("es1s.")
    assert stored["es1"].startswith("es1.")
    assert "7f3a" not in json.dumps(stored)
    [found] = database.saver(**options).list(_config("t"), filter={"user": "alice-7f3a"})
    assert (found.metadata["user"], found.metadata["plan"]) == ("alice-7f3a", "gold-7f3a")
    assert found.metadata["writes"] == {"node": "output-7f3a"}
    assert "es1" not in found.metadata


def test_a_token_depends_on_key_name_context_and_value(database):
    tokens = []
    for keys, context, metadata in (
        (database.key, {}, {"user": "alice"}),
        (Key.generate(), {}, {"user": "alice"}),
        (database.key, {"tenant_id": "a"}, {"user": "alice"}),
        (database.key, {}, {"other": "alice"}),
        (database.key, {}, {"user": "bob"}),
        (database.key, {}, {"user": 1}),
        (database.key, {}, {"user": "1"}),
        (database.key, {}, {"user": True}),
        (database.key, {}, {"user": "true"}),
    ):
        database.clear()
        saver = database.saver(keys=keys, context=context, searchable_metadata=["user", "other"])
        saver.put(_config("t"), make_checkpoint(0, {}, {}), metadata, {})
        stored = _stored_metadata(database)
        tokens.append(stored.get("user") or stored.get("other"))
    assert len(set(tokens)) == len(tokens)
    database.clear()
    saver = database.saver(context={}, searchable_metadata=["user"])
    saver.put(_config("t"), make_checkpoint(0, {}, {}), {"user": "alice"}, {})
    assert _stored_metadata(database)["user"] == tokens[0]


def test_tenants_share_no_tokens_and_find_only_their_own(database):
    saver = database.saver(searchable_metadata=["user"])
    for tenant in ("a", "b"):
        with encryption_context(tenant_id=tenant):
            saver.put(_config(tenant), make_checkpoint(0, {}, {}), {"user": "alice"}, {})
    with encryption_context(tenant_id="a"):
        assert [each.config["configurable"]["thread_id"] for each in saver.list(None, filter={"user": "alice"})] == ["a"]
    both = saver.list(None, filter={"user": "alice"})  # without a context: opened and compared, whatever tenant
    assert sorted(each.config["configurable"]["thread_id"] for each in both) == ["a", "b"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"nested": {"a": 1}},
        {"nested": {"a": 1, "b": [2]}},
        {"nested": {}},
        {"tags": ["x"]},
        {"tags": ["y", "x"]},
        {"tags": []},
        {"tags": ["z"]},
        {"tags": "x"},
        {"nested": {"a": 1.0}},
        {"nested": {"a": True}},
        {"none": None},
        {"absent": None},
        {"deep": [{"k": 1}]},
        {"deep": [{"k": 1}, {"l": 2}]},
    ],
    ids=repr,
)
def test_containment_is_what_postgres_means_by_it(database, wanted):
    metadata = {"nested": {"a": 1, "b": [1, 2], "c": None}, "tags": ["x", "y", 1], "none": None, "deep": [{"k": 1, "l": 2}]}
    savers = [(database.plain(), "plain"), (database.saver(), "sealed")]
    checkpoint = make_checkpoint(0, {}, {})
    for saver, ns in savers:
        saver.put(_config("t", checkpoint_ns=ns), checkpoint, metadata, {})
    plain, sealed = [_ids(saver, ns, "t", filter=wanted) for saver, ns in savers]
    if isinstance(database, PostgresDatabase):
        assert sealed == plain
    else:
        assert len(sealed) == all(metadata.get(name) == value for name, value in wanted.items())


def test_a_filter_is_closed_and_lists_can_be_left_early(store):
    saver = store.saver()
    _fill([(saver, "")], count=40)
    for options in ({}, {"filter": {"source": "loop"}}, {"filter": {"user": "alice"}}):
        rows = saver.list(_config("t1"), **options)
        first = next(rows)
        assert saver.get_tuple(first.config)  # a plain saver still holds its lock here
        rows.close()
        assert saver.get_tuple(first.config)


def test_names_that_cannot_be_readable_or_searchable(key):
    inner = InMemorySaver()
    for options in (
        {"readable_metadata": ["es1"]},
        {"searchable_metadata": ["es1"]},
        {"readable_metadata": ["user"], "searchable_metadata": ["user"]},
        {"searchable_metadata": ["source"]},
    ):
        with pytest.raises(ConfigurationError):
            EncryptedSaver(inner, key, **options)
    for options in ({"readable_metadata": "user"}, {"searchable_metadata": "user"}):
        with pytest.raises(TypeError):
            EncryptedSaver(inner, key, **options)


# rule T-13
def test_a_row_that_the_database_was_made_to_find_for_another_filter_is_refused(tmp_path, key):
    # json_extract of SQLite takes the first of two equal keys, json.loads the last.
    with sqlite_saver(tmp_path / "checkpoints.sqlite", None) as inner:
        saver = EncryptedSaver(inner, key, readable_metadata=["user"])
        saver.put(_config("one"), make_checkpoint(1, {}, {}), {"source": "loop", "user": "bob"}, {})
        assert list(saver.list(_config("one"), filter={"user": "alice"})) == []
        inner.conn.execute("""update checkpoints set metadata = '{"user": "alice", ' || substr(cast(metadata as text), 2)""")
        assert len(list(inner.list(_config("one"), filter={"user": "alice"}))) == 1
        with pytest.raises(WrongLocation, match="filter"):
            list(saver.list(_config("one"), filter={"user": "alice"}))


@pytest.mark.parametrize("step", [1.5, True, "1", None])
def test_a_step_that_is_no_integer_comes_back_as_it_was(database, step):
    place = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
    stored = database.saver().put(place, make_checkpoint(0, {}, {}), {"source": "loop", "step": step}, {})
    found = database.saver().get_tuple(stored).metadata["step"]
    assert (found, type(found)) == (step, type(step))
