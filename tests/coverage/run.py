"""Runs every pass on one row, and gives what the table says of it."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key
from tests.conformance import Counts, async_view, conformance_counts
from tests.coverage.graph_steps import all_steps, as_json
from tests.coverage.row import ASYNC, Row, Servers
from tests.coverage.savers import memory
from tests.coverage.secrets_found import planted, run_and_scan
from tests.coverage.tampering import outcomes

PLAIN, SERDE, WRAPPED = "plain", "serde", "wrapped"
_PACKAGES = ("langgraph", "langgraph-checkpoint", "langgraph-checkpoint-conformance", "encrypted-serde")

Result = dict[str, Any]


async def run_row(row: Row, servers: Servers) -> Result:
    """Runs a row.

    Raises:
        Unavailable: If a package or a server of it is not installed.
    """
    result: Result = {
        "saver": row.name,
        "package": row.distribution,
        "version": row.installed(),
        "modes": list(row.modes),
        "takes_serde": row.takes_serde,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "with": {package: version(package) for package in _PACKAGES},
    }
    ways = (PLAIN, SERDE, WRAPPED) if row.takes_serde else (PLAIN, WRAPPED)
    with row.place(servers) as place:
        result["server"] = place.server
    result["conformance"] = {way: await _conformance(row, servers, way) for way in ways}
    result["secrets"] = {"planted": planted()} | {way: await _secrets(row, servers, way) for way in ways}
    result["graph"] = {mode: await _graph(row, servers, mode) for mode in row.modes}
    result["tampering"] = {mode: await _tampering(row, servers, mode) for mode in row.modes}
    return result


@asynccontextmanager
async def _opened(row: Row, where: Any, way: str, key: Key) -> AsyncIterator[Any]:
    async with row.open(where, EncryptedSerializer(key) if way == SERDE else None) as saver:
        yield EncryptedSaver(saver, key) if way == WRAPPED else saver


async def _conformance(row: Row, servers: Servers, way: str) -> Result:
    key = Key.generate()
    with row.place(servers) as place:

        @asynccontextmanager
        async def make_saver() -> AsyncIterator[Any]:
            async with _opened(row, place.where, way, key) as saver:
                yield saver if ASYNC in row.modes else async_view(saver)

        counts: Counts = await conformance_counts(make_saver)
    failures = sorted({failure.partition(":")[0] for failure in counts.failures})
    return {"passed": counts.passed, "total": counts.total, "failures": failures}


async def _secrets(row: Row, servers: Servers, way: str) -> Result:
    with row.place(servers) as place:
        async with _opened(row, place.where, way, Key.generate()) as saver:
            return await run_and_scan(saver, place, row.modes[0])


async def _graph(row: Row, servers: Servers, mode: str) -> Result:
    """Compares the steps of the plain saver with those of the wrapped one.

    Where a saver loses something that others do not, the wrapped one may be better: what it gives then is what InMemorySaver
    gives.
    """
    seen = []
    for key in (None, Key.generate()):
        with row.place(servers) as place:
            seen.append(as_json(await all_steps(row, place.where, mode, key)))
    plain, wrapped = seen
    changed = [step for step in plain if plain[step] != wrapped[step]]
    reference = await _reference(mode) if changed else {}
    better = [step for step in changed if is_better(plain[step], wrapped[step], reference[step])]
    different = {step: {PLAIN: plain[step], WRAPPED: wrapped[step]} for step in changed if step not in better}
    return {
        "steps": len(plain),
        "equal": len(plain) - len(changed),
        "better": better,
        "different": different,
        "other_process": row.other_process,
    }


async def _reference(mode: str) -> Result:
    with Servers() as servers, memory.ROWS[0].place(servers) as place:
        return as_json(await all_steps(memory.ROWS[0], place.where, mode, None))


def is_better(plain: Any, wrapped: Any, reference: Any) -> bool:
    """Says whether what differs from the plain saver's answer is what the reference says."""
    if wrapped == reference:
        return True
    if not all(isinstance(answer, list) for answer in (plain, wrapped, reference)) or len(plain) != len(wrapped):
        return False
    return all(mine in (theirs, *reference) for theirs, mine in zip(plain, wrapped, strict=True))


async def _tampering(row: Row, servers: Servers, mode: str) -> Result | str:
    with row.place(servers) as place:
        try:
            return await outcomes(row, place, mode)
        except Exception as error:  # noqa: BLE001  # if nothing can be written, nothing can be edited
            return f"raises {type(error).__name__}: {error}"
