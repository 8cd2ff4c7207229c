"""A graph with interrupts, sends, a subgraph, a fork and a resume in another process; what each step gave, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langgraph.types import Command

from encrypted_serde import EncryptedSaver, Key
from tests.coverage.row import ASYNC, Row
from tests.saver.graphs import whole_graph

_ROOT = Path(__file__).parents[2]
_CONFIG: dict[str, Any] = {"configurable": {"thread_id": "one"}}
_PATIENCE = 120

Steps = dict[str, Any]


def wrapped(inner: Any, key: Key | None) -> Any:
    return inner if key is None else EncryptedSaver(inner, key)


async def all_steps(row: Row, where: Any, mode: str, key: Key | None) -> Steps:
    """Runs every step, each on a saver that was opened anew.

    Args:
        row: Which saver.
        where: An empty database.
        mode: Whether to call sync or async methods.
        key: Key of the wrapper; None for the plain saver.

    Returns:
        What each step gave, or which error it raised: the plain saver's must be the wrapped one's.
    """

    async def here(step: Callable[[Any, str], Awaitable[Any]]) -> Any:
        async with row.open(where, None) as inner:
            try:
                return await step(wrapped(inner, key), mode)
            except Exception as error:  # noqa: BLE001  # a saver that cannot do it is a result too
                return f"raises {type(error).__name__}"

    steps: Steps = {"until it asks": await here(_start)}
    steps["resumed by another process"] = (
        await asyncio.to_thread(_elsewhere, row, where, mode, key) if row.other_process else (await here(resume))
    )
    steps["answered again"] = await here(resume)
    steps["its state"] = await here(_state)
    steps["its history"] = await here(_history)
    steps["forked"] = await here(_fork)
    steps["rows"] = await here(_rows)
    steps["deleted"] = await here(_delete)
    return steps


async def call(target: Any, name: str, mode: str, *arguments: Any, **options: Any) -> Any:
    if mode == ASYNC:
        return await getattr(target, f"a{name}")(*arguments, **options)
    return await asyncio.to_thread(getattr(target, name), *arguments, **options)


async def gather(target: Any, name: str, mode: str, *arguments: Any) -> list[Any]:
    """Calls a method that gives an iterator."""
    if mode == ASYNC:
        return [item async for item in getattr(target, f"a{name}")(*arguments)]
    return await asyncio.to_thread(lambda: list(getattr(target, name)(*arguments)))


def _result(given: dict[str, Any]) -> Any:
    return {**given, "__interrupt__": [each.value for each in given.get("__interrupt__", [])]}


async def _start(saver: Any, mode: str) -> Any:
    return _result(await call(whole_graph(saver), "invoke", mode, {"question": "why", "log": []}, _CONFIG))


async def resume(saver: Any, mode: str) -> Any:
    return _result(await call(whole_graph(saver), "invoke", mode, Command(resume="yes"), _CONFIG))


async def _state(saver: Any, mode: str) -> Any:
    state = await call(whole_graph(saver), "get_state", mode, _CONFIG)
    return [state.values, list(state.next), state.metadata["step"], state.metadata["source"]]


async def _history(saver: Any, mode: str) -> Any:
    states = await gather(whole_graph(saver), "get_state_history", mode, _CONFIG)
    return [[state.metadata["step"], state.metadata["source"], sorted(state.next), len(state.tasks)] for state in states]


async def _fork(saver: Any, mode: str) -> Any:
    graph = whole_graph(saver)
    states = await gather(graph, "get_state_history", mode, _CONFIG)
    past = next((state for state in states if state.next == ("child",)), None)
    if past is None:
        return "no past to fork from"
    forked = await call(graph, "update_state", mode, past.config, {"answer": "forked"}, as_node="work")
    result = _result(await call(graph, "invoke", mode, None, forked))
    states = await gather(graph, "get_state_history", mode, _CONFIG)
    return [result, len(states)]


async def _rows(saver: Any, mode: str) -> Any:
    rows = await gather(saver, "list", mode, _CONFIG)
    return sorted([row.config["configurable"]["checkpoint_ns"].partition(":")[0], row.metadata["step"]] for row in rows)


async def _delete(saver: Any, mode: str) -> Any:
    await call(saver, "delete_thread", mode, "one")
    return await call(saver, "get_tuple", mode, _CONFIG) is None


def _elsewhere(row: Row, where: str, mode: str, key: Key | None) -> Any:
    command = [sys.executable, "-m", "tests.coverage.other_process", row.id, where, mode]
    environment = {**os.environ, "COVERAGE_KEY": "" if key is None else key.to_text()}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode:
        return f"raises {done.stderr.strip().splitlines()[-1].partition(':')[0]}"
    return json.loads(done.stdout.splitlines()[-1])  # some savers print what they log


def as_json(steps: Steps) -> Steps:
    """Gives the steps as they compare: another process can only say what JSON holds."""
    return json.loads(json.dumps(steps, default=repr))
