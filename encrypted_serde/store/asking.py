"""How the inner store is asked: in one call, the way its own methods take.

An `AsyncBatchedBaseStore` (AsyncPostgresStore, AsyncSqliteStore) collects the operations of one tick of the event loop, and
runs one batch at a time: its connection may not stand several. So what our callers ask goes through its methods, not past
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, Op, PutOp, SearchOp
from langgraph.store.base.batch import AsyncBatchedBaseStore

from ..core.opaque import opaque


class _Call(NamedTuple):
    """The method that an operation stands for; its asynchronous twin has an "a" before its name."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def __repr__(self) -> str:
        return opaque(self)


def ask(inner: BaseStore, request: Sequence[Op]) -> list[Any]:
    """Asks an inner store."""
    if isinstance(inner, AsyncBatchedBaseStore) and len(request) == 1 and (call := _call_for(request[0])):
        return [getattr(inner, call.method)(*call.arguments, **call.options)]
    return inner.batch(request)


async def aask(inner: BaseStore, request: Sequence[Op]) -> list[Any]:
    """Asks an inner store asynchronously."""
    if isinstance(inner, AsyncBatchedBaseStore) and None not in (calls := [_call_for(op) for op in request]):
        waiting = [getattr(inner, f"a{call.method}")(*call.arguments, **call.options) for call in calls if call]
        return [await waiting[0]] if len(waiting) == 1 else await asyncio.gather(*waiting)
    return await inner.abatch(request)


def _call_for(op: Op) -> _Call | None:
    """Gives the call of a method that makes an operation; None if there is none."""
    if isinstance(op, GetOp):
        return _Call("get", (op.namespace, op.key), {"refresh_ttl": op.refresh_ttl})
    if isinstance(op, SearchOp):
        options = op._asdict()
        return _Call("search", (options.pop("namespace_prefix"),), options)
    if isinstance(op, ListNamespacesOp):
        options = op._asdict()
        conditions = {condition.match_type: condition.path for condition in options.pop("match_conditions") or ()}
        lost = len(conditions) < len(op.match_conditions or ()) or not all(conditions.values())
        return None if lost else _Call("list_namespaces", (), {**options, **conditions})
    if isinstance(op, PutOp) and op.value is not None:
        return _Call("put", (op.namespace, op.key, op.value), {"index": op.index, "ttl": op.ttl})
    return _Call("delete", (op.namespace, op.key), {}) if isinstance(op, PutOp) else None
