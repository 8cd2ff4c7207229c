"""What of an operation is refused before anything is sealed or asked: as the inner store would, and once."""

from __future__ import annotations

from typing import TypeVar, cast

from langgraph.store.base import GetOp, ListNamespacesOp, Op, PutOp, SearchOp

from .names import check_labels

AnyOp = TypeVar("AnyOp", bound=Op)


def checked(op: AnyOp) -> AnyOp:
    """Refuses names that cannot be stored or found. Returns the operation with a tuple for its namespace.

    Raises:
        InvalidNamespaceError: If a label is empty, no str, or has a period or U+0000.
        TypeError: If a key is no str: 1 and "1" must not be two spellings of one item.
    """
    if isinstance(op, (GetOp, PutOp)):
        check_labels(op.namespace)
        if not isinstance(op.key, str):
            raise TypeError(f"the key of an item is a str, not {type(op.key).__name__}")
        return op if type(op.namespace) is tuple else cast("AnyOp", op._replace(namespace=tuple(op.namespace)))
    if isinstance(op, SearchOp):
        check_labels(op.namespace_prefix)
        return op if type(op.namespace_prefix) is tuple else op._replace(namespace_prefix=tuple(op.namespace_prefix))
    if isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            check_labels(condition.path)
    return op
