"""How the inner store is asked: in one call, the way its own methods take, and with its failures on a row fenced.

An `AsyncBatchedBaseStore` (AsyncPostgresStore, AsyncSqliteStore) collects the single operations of one tick of the event loop
and makes one batch of them. So a single operation goes through the method that makes it, unless that method would check
more than a batch does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, Op, PutOp, SearchOp
from langgraph.store.base.batch import AsyncBatchedBaseStore

from ..errors import MalformedEnvelope
from ..wrapping.offload import is_about_a_row
from ..wrapping.steps import Steps


class _Call(NamedTuple):
    """One call of the inner store, as a step."""

    inner: BaseStore
    ops: Sequence[Op]

    def now(self) -> list[Any]:
        """Calls it."""
        if (method := self._method()) is None:
            return self.inner.batch(self.ops)
        return [getattr(self.inner, method.name)(*method.arguments, **method.options)]

    async def later(self) -> list[Any]:
        """Calls it asynchronously."""
        if (method := self._method()) is not None:
            return [await getattr(self.inner, f"a{method.name}")(*method.arguments, **method.options)]
        if not isinstance(self.inner, AsyncBatchedBaseStore):
            return await self.inner.abatch(self.ops)
        # A caller that is cancelled leaves its operation to the queue of such a store. A batch does not go through the queue,
        # and one that is cancelled between BEGIN and COMMIT would leave the connection unusable.
        batch = asyncio.ensure_future(self.inner.abatch(self.ops))
        batch.add_done_callback(_retrieve)
        return await asyncio.shield(batch)

    def _method(self) -> _Method | None:
        is_single = len(self.ops) == 1 and isinstance(self.inner, AsyncBatchedBaseStore)
        return _method_for(self.ops[0]) if is_single else None


def ask(inner: BaseStore, ops: Sequence[Op]) -> Steps[list[Any]]:
    """Asks the inner store in one call; where it cannot read a row, for one operation after the other.

    Raises:
        MalformedEnvelope: If the inner store cannot read a row. Names the place.
    """
    try:
        answers: list[Any] = yield _Call(inner, ops)
    except Exception as error:
        # An embedder's failure, or that of a write, is the caller's to see as it is.
        is_more = any(isinstance(op, PutOp) or (isinstance(op, SearchOp) and op.query) for op in ops)
        if is_more or not is_about_a_row(error):
            raise
        failed = error
    else:
        return answers
    if len(ops) == 1:
        raise _unreadable(ops[0], failed) from None
    answers = []
    for op in ops:
        answers += yield from ask(inner, [op])
    return answers


def _unreadable(op: Op, failed: Exception) -> MalformedEnvelope:
    error = MalformedEnvelope(f"the inner store cannot read a row ({type(failed).__name__})")
    if isinstance(op, GetOp):
        error.row = {"namespace": ".".join(map(str, op.namespace)), "key": str(op.key)}
    elif isinstance(op, SearchOp):
        error.row = {"namespace": ".".join(map(str, op.namespace_prefix))}
    return error


def _retrieve(batch: asyncio.Future[Any]) -> None:
    """Takes note of an error that nobody waits for any more, so that asyncio does not complain."""
    if not batch.cancelled():
        batch.exception()


class _Method(NamedTuple):
    """The method that makes an operation; its asynchronous twin has an "a" before its name."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def _method_for(op: Op) -> _Method | None:
    """Returns the call of the method that makes an operation; None if there is none."""
    if isinstance(op, GetOp):
        return _Method("get", (op.namespace, op.key), {"refresh_ttl": op.refresh_ttl})
    if isinstance(op, SearchOp):
        options = op._asdict()
        return _Method("search", (options.pop("namespace_prefix"),), options)
    if isinstance(op, ListNamespacesOp):
        options = op._asdict()
        conditions = {condition.match_type: condition.path for condition in options.pop("match_conditions") or ()}
        lost = len(conditions) < len(op.match_conditions or ()) or not all(conditions.values())
        return None if lost else _Method("list_namespaces", (), {**options, **conditions})
    if isinstance(op, PutOp) and op.value is not None and op.namespace and op.namespace[0] != "langgraph":
        return _Method("put", (op.namespace, op.key, op.value), {"index": op.index, "ttl": op.ttl})
    return _Method("delete", (op.namespace, op.key), {}) if isinstance(op, PutOp) and op.value is None else None
