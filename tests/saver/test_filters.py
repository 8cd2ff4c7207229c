"""What a filter means, side by side with the real savers, for what a user may write."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key
from encrypted_serde.core.context import NO_CONTEXT
from encrypted_serde.saver.filters import CONTAINMENT, EQUALITY, JSON_PATH, plan
from tests.saver.threads import make_checkpoint, write_thread

KEY = Key.generate()
CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class Colour(str, Enum):
    RED = "red"


_SCALARS = st.sampled_from([None, True, False, 0, 1, -1, 1.0, 0.5, 2**40, "", "a", "1", "é", 'q"', "\\", "true"])
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from(["a", "b", "user.a", "user", "user.a.b", "step", "source"])
_METADATA = st.fixed_dictionaries(
    {}, optional={"a": _JSON, "user": _JSON, "b": _SCALARS, "step": st.integers(0, 2), "source": st.just("loop")}
)
_WANTED = st.dictionaries(_NAMES, _JSON, max_size=2)


def _answers(saver, metadata, wanted):
    saver.put(CONFIG, make_checkpoint(0, {}, {}), metadata, {})
    return len(list(saver.list(CONFIG, filter=wanted)))


def _sqlite(connection):
    saver = SqliteSaver(connection)
    saver.setup()
    return saver


@settings(max_examples=30)
@given(
    _METADATA,
    _WANTED,
    st.sampled_from([{}, {"readable_metadata": ["a", "user.a"]}, {"searchable_metadata": ["b", "user.a"], "context": {}}]),
)
def test_a_wrapped_saver_answers_as_the_plain_one_on_sqlite(metadata, wanted, options):
    with closing(sqlite3.connect(":memory:")) as plain, closing(sqlite3.connect(":memory:")) as wrapped:
        assert _answers(EncryptedSaver(_sqlite(wrapped), KEY, **options), metadata, wanted) == _answers(
            _sqlite(plain), metadata, wanted
        )


@settings(max_examples=30)
@given(
    _METADATA,
    _WANTED,
    st.sampled_from([{}, {"readable_metadata": ["a"]}, {"searchable_metadata": ["b", "user.a"], "context": {}}]),
)
def test_a_wrapped_saver_answers_as_the_plain_one_in_memory(metadata, wanted, options):
    assert _answers(EncryptedSaver(InMemorySaver(), KEY, **options), metadata, wanted) == _answers(
        InMemorySaver(), metadata, wanted
    )


@pytest.mark.parametrize("database_of_module", ["Postgres"], indirect=True)
def test_a_wrapped_saver_answers_as_the_plain_one_on_postgres(database):
    rows = [
        {},
        {"a": 1},
        {"a": True},
        {"a": None},
        {"a": "1"},
        {"a": [1, "x", None]},
        {"a": {"b": [1, 2], "c": {}}},
        {"b": "é", "a": 0.5},
        {"a": []},
    ]
    rows += [{"user": {"a": 1}}, {"user.a": 1}]
    plain, wrapped = database.plain(), database.saver(readable_metadata=["b"])
    for step, metadata in enumerate(rows):
        checkpoint = make_checkpoint(step, {}, {})
        for saver, thread in ((plain, "plain"), (wrapped, "wrapped")):
            saver.put({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, checkpoint, metadata, {})

    def found(saver, thread, wanted):
        return [each.checkpoint["id"] for each in saver.list({"configurable": {"thread_id": thread}}, filter=wanted)]

    wanted = [
        *rows,
        {"a": 1.0},
        {"a": [1]},
        {"a": ["x", 1]},
        {"a": [[1]]},
        {"a": {}},
        {"a": {"b": [2]}},
        {"a": {"b": 2}},
        {"a": {"c": {}}},
        {"b": "é"},
        {"a": False},
    ]
    for each in wanted:
        assert found(wrapped, "wrapped", each) == found(plain, "plain", each), each


@pytest.mark.parametrize("value", [uuid.UUID(int=3), Colour.RED, ("a", "b"), {"a"}, object])
def test_odd_types_find_what_they_find_on_sqlite(value):
    metadata = {"id": str(value), "colour": "red", "user": {"name": "a"}}
    for each in ({"id": value}, {"colour": value}):
        with closing(sqlite3.connect(":memory:")) as plain, closing(sqlite3.connect(":memory:")) as wrapped:
            answers = [_answers(saver, metadata, each) for saver in (_sqlite(plain), EncryptedSaver(_sqlite(wrapped), KEY))]
        assert answers[0] == answers[1], each


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"readable_metadata": ["user.name"]},
        {"readable_metadata": ["user"]},
        {"searchable_metadata": ["user.name"], "context": {}},
    ],
)
@pytest.mark.parametrize(
    ("metadata", "expected"), [({"user": {"name": "a"}}, 1), ({"user.name": "a"}, 0), ({"user": {"name": "b"}}, 0), ({}, 0)]
)
def test_a_dot_leads_into_a_nested_object_on_sqlite_whatever_is_readable(options, metadata, expected):
    with closing(sqlite3.connect(":memory:")) as plain, closing(sqlite3.connect(":memory:")) as wrapped:
        assert _answers(_sqlite(plain), metadata, {"user.name": "a"}) == expected
        assert _answers(EncryptedSaver(_sqlite(wrapped), KEY, **options), metadata, {"user.name": "a"}) == expected


@pytest.mark.parametrize("name", ["a b", "a'", "a[0]", "", "$", "é", "a;--"])
def test_a_filter_key_that_the_saver_refuses_is_refused(name):
    with closing(sqlite3.connect(":memory:")) as plain, closing(sqlite3.connect(":memory:")) as wrapped:
        for saver in (_sqlite(plain), EncryptedSaver(_sqlite(wrapped), KEY)):
            with pytest.raises(ValueError, match="filter key"):
                list(saver.list(CONFIG, filter={name: 1}))


# --- what is asked of the database


def _plan(wanted, semantics, readable=("a", "x.y"), searched=("b", "b.c"), keys=(KEY,)):
    return plan(wanted, readable, searched, [(key, NO_CONTEXT) for key in keys], semantics)


def test_readable_keys_by_value_searchable_ones_by_token_the_rest_here():
    pushed, rest = _plan({"a": "1", "b": "bob", "c": 2}, CONTAINMENT)
    assert len(pushed) == 1
    assert pushed[0]["a"] == "1"
    assert pushed[0]["b"].startswith("es1s.")
    assert rest == {"c": 2}


def test_one_question_for_each_key_that_rows_may_be_under():
    pushed, _ = _plan({"b": "bob"}, CONTAINMENT, keys=(KEY, Key.generate()))
    assert len({question["b"] for question in pushed}) == 2
    assert _plan({}, CONTAINMENT, keys=(KEY, Key.generate())).pushed == [{}]


@pytest.mark.parametrize("value", [None, [1], {"x": 1}, 1.0, 2**60, "a\0"])
def test_what_a_json_column_would_change_is_compared_here(value):
    assert _plan({"a": value}, CONTAINMENT) == ([{}], {"a": value})


@pytest.mark.parametrize("value", [1, True, 0, False, 1.0])
def test_where_true_is_found_as_one_both_are_compared_here(value):
    for semantics in (EQUALITY, JSON_PATH):
        assert _plan({"b": value}, semantics).rest == {"b": value}
    assert _plan({"b": value}, CONTAINMENT).rest == {}


@pytest.mark.parametrize("value", ["{}", '["a"]', 10**16])
def test_what_equals_a_value_otherwise_than_by_its_token_is_compared_here(value):
    assert _plan({"b": value}, JSON_PATH).rest == {"b": value}
    assert _plan({"b": value}, CONTAINMENT).rest == {}


@pytest.mark.parametrize("name", ["x.y", "b.c"])
def test_where_a_dot_leads_into_an_object_a_key_with_one_is_compared_here(name):
    assert _plan({name: "v"}, JSON_PATH) == ([{}], {name: "v"})
    assert _plan({name: "v"}, CONTAINMENT).rest == {}


def test_without_keys_nothing_is_asked_by_token():
    assert _plan({"b": "bob"}, CONTAINMENT, keys=()) == ([{}], {"b": "bob"})


_NOWHERE = [None, {}, {"configurable": {}}]
_BEFORE = [None, *_NOWHERE, {"configurable": {"thread_id": "1"}}, {"configurable": {"checkpoint_id": ""}}]


@pytest.mark.parametrize("before", _BEFORE, ids=repr)
@pytest.mark.parametrize("config", [*_NOWHERE, {"configurable": {"thread_id": "1"}}], ids=repr)
def test_what_names_no_checkpoint_lists_what_the_plain_saver_lists(store, config, before):
    def listed(saver):
        try:
            return [found.config for found in saver.list(config, before=before)]
        except KeyError as error:  # SqliteSaver's, for {}
            return str(error)

    answers = []
    for make in (store.plain, store.saver):
        store.clear()
        saver = make()
        write_thread(saver, "1")
        write_thread(saver, "2")
        answers.append(listed(saver))
    plain, sealed = answers
    assert (len(sealed), type(sealed)) == (len(plain), type(plain))
