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


class Ask(NamedTuple):
    """A question to the inner store, as a step.

    Attributes:
        inner: The inner store.
        ops: What it is asked, in one call.
    """

    inner: BaseStore
    ops: Sequence[Op]

    def now(self) -> list[Any]:
        """Asks.

        Raises:
            MalformedEnvelope: If the inner store cannot read a row. Names the place.
        """
        try:
            return _ask(self.inner, self.ops)
        except Exception as error:
            if not self._is_about_a_row(error):
                raise
            failed = error
        if len(self.ops) == 1:
            raise _unreadable(self.ops[0], failed) from None
        return [each for op in self.ops for each in Ask(self.inner, [op]).now()]

    async def later(self) -> list[Any]:
        """Asks asynchronously.

        Raises:
            MalformedEnvelope: As `now`.
        """
        try:
            return await _aask(self.inner, self.ops)
        except Exception as error:
            if not self._is_about_a_row(error):
                raise
            failed = error
        if len(self.ops) == 1:
            raise _unreadable(self.ops[0], failed) from None
        return [each for op in self.ops for each in await Ask(self.inner, [op]).later()]

    def _is_about_a_row(self, error: Exception) -> bool:
        # An embedder's failure, or that of a write, is the caller's to see as it is.
        is_more = any(isinstance(op, PutOp) or (isinstance(op, SearchOp) and op.query) for op in self.ops)
        return not is_more and is_about_a_row(error)


def _unreadable(op: Op, failed: Exception) -> MalformedEnvelope:
    error = MalformedEnvelope(f"the inner store cannot read a row ({type(failed).__name__})")
    if isinstance(op, GetOp):
        error.row = {"namespace": ".".join(map(str, op.namespace)), "key": str(op.key)}
    elif isinstance(op, SearchOp):
        error.row = {"namespace": ".".join(map(str, op.namespace_prefix))}
    return error


def _ask(inner: BaseStore, ops: Sequence[Op]) -> list[Any]:
    if isinstance(inner, AsyncBatchedBaseStore) and len(ops) == 1 and (call := _call_for(ops[0])):
        return [getattr(inner, call.method)(*call.arguments, **call.options)]
    return inner.batch(ops)


async def _aask(inner: BaseStore, ops: Sequence[Op]) -> list[Any]:
    if not isinstance(inner, AsyncBatchedBaseStore):
        return await inner.abatch(ops)
    if len(ops) == 1 and (call := _call_for(ops[0])):
        return [await getattr(inner, f"a{call.method}")(*call.arguments, **call.options)]
    # A caller that is cancelled leaves its operation to the queue of such a store. A batch does not go through the queue, and
    # one that is cancelled between BEGIN and COMMIT would leave the connection unusable.
    batch = asyncio.ensure_future(inner.abatch(ops))
    batch.add_done_callback(_retrieve)
    return await asyncio.shield(batch)


def _retrieve(batch: asyncio.Future[Any]) -> None:
    """Takes note of an error that nobody waits for any more, so that asyncio does not complain."""
    if not batch.cancelled():
        batch.exception()


class _Call(NamedTuple):
    """The method that makes an operation; its asynchronous twin has an "a" before its name."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def _call_for(op: Op) -> _Call | None:
    """Returns the call of a method that makes an operation; None if there is none."""
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
    if isinstance(op, PutOp) and op.value is not None and op.namespace and op.namespace[0] != "langgraph":
        return _Call("put", (op.namespace, op.key, op.value), {"index": op.index, "ttl": op.ttl})
    return _Call("delete", (op.namespace, op.key), {}) if isinstance(op, PutOp) and op.value is None else None
