"""Wrapped keys in a LangGraph store, laid out so that no concurrent writer can make another one's key disappear.

Nothing that one process writes is ever the item that another one writes, so the missing compare-and-swap of `BaseStore` does
not matter: two processes that both create a first key leave two keys. All processes agree on which of them is written with,
since that follows from the items alone (`records`): highest generation, then lowest id.

Whatever the store or its driver raises is a `KeyServiceError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from langgraph.store.base import BaseStore, ListNamespacesOp, MatchCondition, Op, SearchOp

from ..core.context import EncryptionContext
from ..core.opaque import opaque
from ..errors import KeyServiceError
from ..kms.fence import fenced
from .locks import StoreSteps, run, run_exclusively
from .records import ROOT, Record, StoredKey, TenantKeys, delete_key, parse, put_key, put_tombstone, tenant_of
from .records import namespace_of as _namespace

PAGE = 100
"""Items asked for at once."""

T = TypeVar("T")
Make = Callable[[int], StoredKey]
"""Makes what is stored of a new key, given its generation, which is known only under the store's lock."""


class Erased(NamedTuple):
    """What an erasure found and left.

    Attributes:
        wrappers: By the id of each key that was deleted, those of an erasure that was cut short included: what had wrapped it.
        tombstones: Ids of all keys that are void.
        generation: The highest generation that is void.
    """

    wrappers: Mapping[bytes, str]
    tombstones: frozenset[bytes]
    generation: int

    def __repr__(self) -> str:
        return opaque(self)


class ListedKeys(NamedTuple):
    """What is stored in the namespace of one tenant, looked at item by item.

    Attributes:
        namespace: The namespace.
        context: Whose it is; None where no item of it says so.
        records: Its items.
        problems: What is wrong with others in it.
    """

    namespace: tuple[str, ...]
    context: EncryptionContext | None
    records: list[Record]
    problems: list[str]


class KeyStore:
    """The items of all tenants in one store.

    Args:
        store: Any LangGraph `BaseStore`.

    Raises:
        TypeError: If it is not one.
    """

    def __init__(self, store: BaseStore) -> None:
        if not isinstance(store, BaseStore):
            raise TypeError(f"keys are kept in a LangGraph BaseStore, not in {type(store).__name__}")
        self.base = store

    @property
    def name(self) -> str:
        """What to call it."""
        return f"key store ({type(self.base).__name__})"

    def read(self, context: EncryptionContext) -> TenantKeys:
        """Lists the keys of one tenant.

        Raises:
            KeyServiceError: If the store fails, or an item is not what this package writes.
        """
        return self._run(_read(context))

    def everything(self) -> Iterator[ListedKeys]:
        """Looks at the namespaces of all tenants that have keys, or had. One that cannot be read is a problem, and no end.

        Raises:
            KeyServiceError: If the namespaces cannot be listed.
        """
        for namespace in self._run(_pages(_list_namespaces, lambda namespace: namespace)):
            if len(namespace) >= 2 and namespace[0] == ROOT:
                yield self._listed(tuple(namespace))

    def _listed(self, namespace: tuple[str, ...]) -> ListedKeys:
        try:
            return _sorted(namespace, self._run(_search(namespace)))
        except KeyServiceError as error:
            return ListedKeys(namespace, None, [], [str(error)])

    def add_first(self, context: EncryptionContext, make: Make) -> TenantKeys:
        """Stores a tenant's first key, unless there is a live one by now.

        Returns:
            What the store held afterwards. Its primary key is the given one, or that of somebody who was faster.
        """
        return self._exclusively(context, _add(context, make, unless_live=True))

    def add_next(self, context: EncryptionContext, make: Make) -> TenantKeys:
        """Stores a key of the next generation.

        Returns:
            What the store held afterwards.
        """
        return self._exclusively(context, _add(context, make, unless_live=False))

    def replace(self, context: EncryptionContext, key: StoredKey) -> bool:
        """Stores the same key wrapped anew, unless it was erased meanwhile.

        Returns:
            Whether it was stored.
        """
        return self._exclusively(context, _replace(context, key))

    def erase(self, context: EncryptionContext) -> Erased:
        """Destroys all keys of a tenant: tombstones first, then deletion."""
        return self._exclusively(context, _erase(context))

    def _run(self, steps: StoreSteps[T]) -> T:
        return fenced(self.name, lambda: run(self.base, steps))

    def _exclusively(self, context: EncryptionContext, steps: StoreSteps[T]) -> T:
        return fenced(self.name, lambda: run_exclusively(self.base, "/".join(_namespace(context)), steps))


# --- the steps --------------------------------------------------------------------------------------------------------


def _records(context: EncryptionContext) -> StoreSteps[list[Record]]:
    items = yield from _search(_namespace(context))
    records = [parse(item) for item in items]
    if any(record.context.encoded != context.encoded for record in records):
        raise KeyServiceError("the key store holds a key under the namespace of another context", retryable=False)
    return records


def _own(context: EncryptionContext) -> StoreSteps[list[Record]]:
    """Returns the items of a tenant, and passes over what else is stored in its namespace."""
    namespace = _namespace(context)
    return _sorted(namespace, (yield from _search(namespace))).records


def _sorted(namespace: tuple[str, ...], items: list[Any]) -> ListedKeys:
    records, problems = [], []
    for item in items:
        try:
            records.append(parse(item))
        except KeyServiceError as error:
            problems.append(str(error))
    own = [record for record in records if _namespace(record.context) == namespace]
    if len(own) < len(records):
        problems.append("the key store holds a key under the namespace of another context")
    return ListedKeys(namespace, own[0].context if own else None, own, problems)


def _read(context: EncryptionContext) -> StoreSteps[TenantKeys]:
    return tenant_of((yield from _records(context)))


def _add(context: EncryptionContext, make: Make, *, unless_live: bool) -> StoreSteps[TenantKeys]:
    before = yield from _read(context)
    if unless_live and before.live:
        return before
    yield [put_key(context, make(before.generation + 1))]
    # Read again rather than computed: without a lock somebody else may have stored one too, and all must agree.
    return (yield from _read(context))


def _replace(context: EncryptionContext, key: StoredKey) -> StoreSteps[bool]:
    if key.id not in tenant_of((yield from _own(context))).live:
        return False
    yield [put_key(context, key)]
    # Without a lock an erasure may have come in between, and this key would be in the store again.
    if key.id in tenant_of((yield from _own(context))).live:
        return True
    yield [delete_key(context, key.id)]
    return False


def _erase(context: EncryptionContext) -> StoreSteps[Erased]:
    gone: dict[bytes, str] = {}
    void: int | None = None
    while True:  # once, and without a lock again for keys that were void when somebody stored them
        records = yield from _records(context)
        left = {record.key.id: record.key.generation for record in records if record.is_tombstone}
        keys = [record.key for record in records if not record.is_tombstone]
        keys = [key for key in keys if void is None or key.generation <= void or key.id in left]
        if not keys:
            return Erased(gone, frozenset(left), max(left.values(), default=0))
        keys.sort(key=lambda key: -key.generation)  # the first tombstone voids them all
        void = max(void or 0, keys[0].generation)
        for key in keys:
            yield [put_tombstone(context, key)]
        for key in keys:
            yield [delete_key(context, key.id)]
        gone.update((key.id, key.wrapper) for key in keys)


# --- listing ----------------------------------------------------------------------------------------------------------


def _search(namespace: tuple[str, ...]) -> StoreSteps[list[Any]]:
    def page(limit: int, offset: int) -> Op:
        return SearchOp(namespace, limit=limit, offset=offset, refresh_ttl=False)

    found = yield from _pages(page, lambda item: (item.namespace, item.key))
    return [item for item in found if item.namespace == namespace]  # what is searched is a prefix


def _list_namespaces(limit: int, offset: int) -> Op:
    return ListNamespacesOp((MatchCondition("prefix", (ROOT,)),), limit=limit, offset=offset)


def _pages(page: Callable[[int, int], Op], identity: Callable[[Any], Any]) -> StoreSteps[list[Any]]:
    """Asks for page after page to the end."""
    limit = PAGE
    while True:
        found: dict[Any, Any] = {}
        offset, last = 0, limit
        while last == limit:
            [items] = yield [page(limit, offset)]
            last = len(items)
            offset += last
            found.update({identity(item): item for item in items})
        if len(found) == offset:
            return list(found.values())
        # An item came twice, so another one may not have come at all: stores do not order equal times the same way on
        # every page. A larger page makes an end of it.
        limit *= 2
