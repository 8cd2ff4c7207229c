"""Whatever a graph does, it does with a wrapped saver as with the plain one: same values, same history, no refusal."""

from __future__ import annotations

import operator
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, StateUpdate, interrupt

from tests.saver.databases import PostgresDatabase
from tests.saver.graphs import answer, run_until_asked, whole_graph


def _config(thread: str, **configurable: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, **configurable}}


def _history(graph: Any, config: dict[str, Any]) -> list[Any]:
    """What a user can see of a thread, without the ids and times that differ from run to run."""
    return [
        (
            state.values,
            state.next,
            {name: state.metadata.get(name) for name in ("source", "step", "email")},
            state.parent_config is None,
            [(found.name, found.error, [each.value for each in found.interrupts], found.result) for found in state.tasks],
        )
        for state in graph.get_state_history(config)
    ]


def _twice(store: Any, scenario: Any) -> tuple[Any, Any]:
    """Runs a scenario with plain savers in one thread, and with wrapped ones in another."""
    return scenario(store.plain, _config("plain")), scenario(store.saver, _config("sealed"))


def test_a_whole_graph_with_sends_a_subgraph_and_interrupts(store):
    def scenario(saver, config):
        config["configurable"]["email"] = "x@example.org"
        first = run_until_asked(saver(), config)
        second = answer(saver(), config, "yes")
        third = answer(saver(), config, "no")
        child = _config(config["configurable"]["thread_id"], checkpoint_ns="child")
        states = list(whole_graph(saver()).get_subgraphs())
        found = saver().get_tuple(child)
        return (
            {name: value for name, value in first.items() if name != "__interrupt__"},
            second["__interrupt__"][0].value,
            third,
            [name for name, _ in states],
            found.checkpoint["channel_values"],
            _history(whole_graph(saver()), config),
        )

    plain, sealed = _twice(store, scenario)
    assert sealed == plain
    assert sealed[2]["answer"] == "yes, no"
    assert len(sealed[-1]) > 5


def test_time_travel_and_forks(store):
    def scenario(saver, config):
        run_until_asked(saver(), config)
        answer(saver(), config, "yes")
        answer(saver(), config, "no")
        graph = whole_graph(saver())
        planned = next(state for state in graph.get_state_history(config) if state.next == ("child",))
        graph.invoke(None, planned.config)
        fork = graph.update_state(planned.config, {"question": "another", "log": ["forked"]}, as_node="work")
        graph.invoke(None, fork)
        graph.invoke(Command(resume="again"), config)
        copied = graph.update_state(config, None, as_node="__copy__")
        bulk = graph.bulk_update_state(copied, [[StateUpdate({"count": 5}, "plan")], [StateUpdate({"ratio": 0.25}, "finish")]])
        return graph.get_state(bulk).values, _history(graph, config)

    plain, sealed = _twice(store, scenario)
    assert sealed == plain
    assert sealed[0]["ratio"] == 0.25


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_every_durability(store, durability):
    def scenario(saver, config):
        graph = whole_graph(saver())
        graph.invoke({"question": "why", "log": []}, config, durability=durability)
        whole_graph(saver()).invoke(Command(resume="yes"), config, durability=durability)
        final = whole_graph(saver()).invoke(Command(resume="no"), config, durability=durability)
        return final, _history(graph, config)

    plain, sealed = _twice(store, scenario)
    assert sealed == plain


def test_errors_and_the_run_after_them(store):
    def scenario(saver, config):
        failures = iter([True, False])

        def fragile(state):
            if next(failures):
                raise ValueError("it broke")
            return {"log": ["mended"]}

        builder = StateGraph(_Log)
        builder.add_node("steady", lambda state: {"log": ["steady"]})
        builder.add_node("fragile", fragile)
        builder.add_edge(START, "steady")
        builder.add_edge(START, "fragile")
        graph = builder.compile(checkpointer=saver())
        with pytest.raises(ValueError, match="it broke"):
            graph.invoke({"log": []}, config)
        # The other one may be done by then, or cancelled.
        error = [found.error for found in graph.get_state(config).tasks if found.name == "fragile"]
        return error, builder.compile(checkpointer=saver()).invoke(None, config), len(_history(graph, config))

    plain, sealed = _twice(store, scenario)
    assert sealed == plain
    assert sorted(sealed[1]["log"]) == ["mended", "steady"]


class _Log(TypedDict):
    log: Annotated[list, operator.add]


def test_the_functional_api(store):
    def scenario(saver, config):
        @task
        def double(number):
            return {"doubled": number * 2}

        @entrypoint(checkpointer=saver())
        def flow(number, *, previous=None):
            parts = [double(number), double(number + 1)]
            said = interrupt("how many?")
            total = sum(part.result()["doubled"] for part in parts) + said + (previous or 0)
            return entrypoint.final(value={"total": total}, save=total)

        flow.invoke(1, config)
        first = flow.invoke(Command(resume=10), config)
        flow.invoke(2, config)
        second = flow.invoke(Command(resume=100), config)
        return first, second, _history(flow, config)

    plain, sealed = _twice(store, scenario)
    assert sealed == plain
    assert sealed[:2] == ({"total": 16}, {"total": 126})


@pytest.mark.parametrize(
    "value",
    [float("inf"), -0.0, 1e16, 1e300, 2**53 + 1, 10**18, "nul \0 inside", "lone \ud800", "", "es1.hello", "es1s.x", True, 0],
    ids=repr,
)
def test_metadata_that_no_json_column_gives_back(store, value):
    readable = ["shown"]
    graph = _log_graph(store.saver(readable_metadata=readable))
    config = {**_config("one", hidden=value, shown=value), "metadata": {"extra": value}}
    graph.invoke({"log": ["x"]}, config)
    found = store.saver(readable_metadata=readable).get_tuple(_config("one"))
    expected = value
    if isinstance(value, str):  # LangGraph strips the first, and its serializer replaces the second
        expected = value.replace("\0", "").encode("utf-8", "replace").decode()
    for name in ("hidden", "shown", "extra"):
        assert (found.metadata[name], type(found.metadata[name])) == (expected, type(expected))
        assert repr(found.metadata[name]) == repr(expected)


def test_nested_metadata_that_json_columns_refuse(store):
    metadata = {
        "source": "loop",
        "writes": {"n\0ul": "\0", "nan": float("nan"), "surrogate": ["\udfff"], 5: (1, 2)},
        "step": -0.0,
    }
    saver = store.saver()
    checkpoint = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    stored = saver.put(_config("one", checkpoint_ns=""), checkpoint, metadata, {})
    found = store.saver().get_tuple(stored).metadata
    assert repr(found["writes"]["nan"]) == "nan"
    assert repr(found["step"]) == "-0.0"
    assert (found["writes"]["n\0ul"], found["writes"]["surrogate"], found["writes"][5]) == ("\0", ["?"], [1, 2])


def _log_graph(saver, **options):
    builder = StateGraph(_Log)
    builder.add_node("step", lambda state: {"log": ["step"]})
    builder.add_edge(START, "step")
    builder.add_edge("step", END)
    return builder.compile(checkpointer=saver, **options)


@pytest.mark.parametrize(
    "value", [float("nan"), -0.0, 1e16, 2**30 * 1.0, 2**60, "nul \0", "", "es1.hello", None, False, b"bytes"], ids=repr
)
def test_channel_values_come_back_as_they_were(store, value):
    class OneValue(TypedDict):
        value: Any

    builder = StateGraph(OneValue)
    builder.add_node("step", lambda state: {})
    builder.add_edge(START, "step")
    graph = builder.compile(checkpointer=store.saver())
    graph.invoke({"value": value}, _config("one"))
    found = store.saver().get_tuple(_config("one")).checkpoint["channel_values"]["value"]
    assert (repr(found), type(found)) == (repr(value), type(value))


def test_batch_and_threads(store):
    graph = _log_graph(store.saver())
    configs = [_config(f"thread-{number}") for number in range(8)]
    assert graph.batch([{"log": [str(n)]} for n in range(8)], configs) == [{"log": [str(n), "step"]} for n in range(8)]
    barrier = threading.Barrier(4)

    def run(number):
        barrier.wait()
        return graph.invoke({"log": [f"again {number}"]}, configs[number])

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert [result["log"] for result in results] == [[str(n), "step", f"again {n}", "step"] for n in range(4)]


def test_what_prune_keeps_is_read(store):
    if not isinstance(store, PostgresDatabase):
        assert type(store.saver()).prune is BaseCheckpointSaver.prune
        return
    saver, config = store.saver(), _config("pruned")
    run_until_asked(saver, config)
    answer(saver, config, "yes")
    answer(saver, config, "no")
    before = saver.get_tuple(config)
    saver.prune([config["configurable"]["thread_id"]])
    [kept] = list(saver.list(_config("pruned", checkpoint_ns="")))
    assert kept.parent_config is None
    assert (kept.checkpoint, kept.metadata) == (before.checkpoint, before.metadata)
    run_until_asked(saver, config)
    assert answer(saver, config, "a")["__interrupt__"]


def test_deleting_a_thread(store):
    saver = store.saver()
    for thread in ("one", "two"):
        run_until_asked(saver, _config(thread))
    saver.delete_thread("one")
    assert saver.get_tuple(_config("one")) is None
    assert list(saver.list(_config("one"))) == []
    assert saver.get_tuple(_config("two"))
