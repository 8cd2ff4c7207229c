"""On Postgres a large text that is new has a row of its own. Whatever happens to its thread, it is not lost."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from encrypted_serde import AuthenticationFailed, PlaintextRefused, WrongLocation
from encrypted_serde.wrapping.offload import LARGE
from tests.saver.databases import Place
from tests.saver.threads import assert_refused, make_checkpoint

pytestmark = pytest.mark.parametrize("database_of_module", ["Postgres"], indirect=True)

LONG, LONGER, SHORT = "a" * LARGE, "b" * (LARGE + 1), "short"


def _config(thread, **more):
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


def _put(saver, config, step, text, version, *, is_new=True, run="r", **changed):
    checkpoint = {**make_checkpoint(step, {"text": text}, {"text": version}), **changed}
    metadata = {"source": "loop", "step": step, "run_id": run}
    return saver.put(config, checkpoint, metadata, {"text": version} if is_new else {})


def _text(saver, config):
    return saver.get_tuple(config).checkpoint["channel_values"]["text"]


def _blobs(database):
    return [channel for (channel,) in database.sql("SELECT channel FROM checkpoint_blobs")]


def _graph(saver):
    class State(TypedDict):
        text: str
        turn: int

    builder = StateGraph(State)
    builder.add_node("think", lambda state: {"turn": state["turn"] + 1})
    builder.add_edge(START, "think")
    return builder.compile(checkpointer=saver)


def test_a_large_text_that_is_new_has_a_row_of_its_own_and_a_small_one_has_not(database):
    saver = database.saver()
    stored = _put(saver, _config("one"), 0, LONG, "1")
    assert _blobs(database) == ["text"]
    assert _text(database.saver(), stored) == LONG
    _put(saver, _config("two"), 0, LONG[:-1], "1")
    assert _blobs(database) == ["text"]


def test_a_large_text_that_is_not_new_stays_in_the_document(database):
    stored = _put(database.saver(), _config("one"), 0, LONG, "1", is_new=False)
    assert _blobs(database) == []
    assert _text(database.saver(), stored) == LONG


@pytest.mark.parametrize("texts", [[LONG, LONGER], [LONG, SHORT], [SHORT, LONG], [LONG, LONG], [LONG, SHORT, LONGER, SHORT]])
def test_a_text_that_grows_and_shrinks_has_the_value_of_each_version(database, texts):
    saver, config, stored = database.saver(), _config("one"), []
    for step, text in enumerate(texts):
        config = _put(saver, config, step, text, str(step))
        stored.append(config)
    assert [_text(database.saver(), each) for each in stored] == texts


def test_a_checkpoint_that_is_put_again_keeps_its_text(database):
    saver = database.saver()
    first = _put(saver, _config("one"), 0, LONG, "1")
    again = first["configurable"]["checkpoint_id"]
    for is_new in (True, False):
        assert _text(saver, _put(saver, _config("one"), 0, LONG, "1", is_new=is_new, id=again)) == LONG


def test_a_text_that_stays_is_read_from_every_later_checkpoint_and_from_forks(database):
    saver = database.saver()
    first = _put(saver, _config("one"), 0, LONG, "1")
    second = _put(saver, first, 1, LONG, "1", is_new=False)
    fork = _put(saver, first, 2, SHORT, "2")
    third = _put(saver, second, 3, LONG, "1", is_new=False)
    assert [_text(database.saver(), each) for each in (first, second, fork, third)] == [LONG, LONG, SHORT, LONG]


def test_pruning_keeps_the_text_of_the_checkpoint_it_keeps(database):
    saver = database.saver()
    first = _put(saver, _config("one"), 0, LONG, "1")
    last = _put(saver, _put(saver, first, 1, LONGER, "2"), 2, LONGER, "2", is_new=False)
    saver.prune(["one"], strategy="keep_latest")
    assert _text(database.saver(), last) == LONGER
    assert len(_blobs(database)) == 1


def test_a_graph_is_what_it_is_with_the_plain_saver(database):
    def run(saver: Any, thread: str) -> list[Any]:
        graph, config = _graph(saver), {"configurable": {"thread_id": thread}}
        for text in (LONG, SHORT, LONGER):
            graph.invoke({"text": text, "turn": 0}, config)
        states = [*graph.get_state_history(config)]
        forked = graph.update_state(states[-2].config, {"turn": 5})
        graph.invoke(None, forked)
        graph.update_state(config, {"text": LONG})
        return [(state.values, state.next) for state in graph.get_state_history(config)]

    assert run(database.saver(), "sealed") == run(database.plain(), "plain")


def test_a_thread_that_the_plain_saver_began_goes_on(database):
    config = {"configurable": {"thread_id": "one"}}
    _graph(database.plain()).invoke({"text": LONG, "turn": 0}, config)
    graph = _graph(database.saver(allow_plaintext=True))
    graph.invoke({"turn": 3}, config)
    assert _graph(database.saver(allow_plaintext=True)).get_state(config).values == {"text": LONG, "turn": 4}
    graph.invoke({"text": LONGER}, config)
    assert _graph(database.saver()).get_state(config).values["text"] == LONGER


def test_the_text_in_a_row_of_its_own_is_held_to_its_place(database):
    saver = database.saver()
    first = _put(saver, _config("one"), 0, LONG, "1")
    second = _put(saver, first, 1, LONGER, "2")
    here = Place("one", "", second["configurable"]["checkpoint_id"])
    [(old,)] = database.sql("SELECT blob FROM checkpoint_blobs WHERE version = '1'")
    database.store_sealed(here, "text", old)
    assert_refused(database, here, WrongLocation, "version")
    database.sql("DELETE FROM checkpoint_blobs WHERE version = '2'")
    assert_refused(database, here, WrongLocation, "missing")
    database.edit_checkpoint(here, lambda document: document["channel_values"].update(text="plaintext"))
    assert_refused(database, here, PlaintextRefused)
    other = _put(saver, _config("two"), 0, LONG, "2")
    [(moved,)] = database.sql("SELECT blob FROM checkpoint_blobs WHERE thread_id = 'two'")
    columns = "thread_id, checkpoint_ns, channel, version, type, blob"
    database.sql(f"INSERT INTO checkpoint_blobs ({columns}) VALUES ('one', '', 'text', '2', 'bytes', ?)", moved)
    assert_refused(database, here, AuthenticationFailed)
    assert _text(database.saver(), other) == LONG


@pytest.mark.parametrize("switch", [{"allow_plaintext": True}, {"allow_unbound": True}])
@pytest.mark.parametrize(("type_tag", "blob"), [("msgpack", b"\xa4evil"), ("msgpack", b"\x01"), ("msgpack", b"\xc3")])
def test_a_plain_scalar_in_its_row_is_refused_under_every_switch(database, switch, type_tag, blob):
    stored = _put(database.saver(), _config("one"), 0, LONG, "1")
    database.sql("UPDATE checkpoint_blobs SET type = ?, blob = ?", type_tag, blob)
    with pytest.raises(PlaintextRefused):
        database.saver(**switch).get_tuple(stored)
