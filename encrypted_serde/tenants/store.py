"""Wrapped keys in a LangGraph store, laid out so that no concurrent writer can make another one's key disappear.

Nothing that one process writes is ever the item that another one writes, so the missing compare-and-swap of `BaseStore` does
not matter: two processes that both create a first key leave two keys. All processes agree on which of them is written with,
since that follows from the items alone (`records`): highest generation, then lowest id.

Whatever the store or its driver raises is a `KeyServiceError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar

from langgraph.store.base import BaseStore, ListNamespacesOp, MatchCondition, Op, SearchOp

from ..core.context import EncryptionContext
from ..core.erasing import KeysLeft
from ..errors import KeyServiceError
from ..kms.fence import fenced
from .erasure import Erasure
from .locks import StoreSteps, run, run_exclusively
from .records import ROOT, Record, StoredKey, TenantKeys, delete_key, parse, put_key, put_tombstone, tenant_of
from .records import namespace_of as _namespace

PAGE = 100
"""Items asked for at once."""

T = TypeVar("T")
Make = Callable[[int], StoredKey]
"""Makes what is stored of a new key, given its generation, which is known only under the store's lock."""


class ListedKeys(NamedTuple):
    """What is stored in the namespace of one tenant, looked at item by item.

    Attributes:
        records: Its items. They all name its context.
        problems: What is wrong with others in it.
    """

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
            return self._run(_list(namespace))
        except KeyServiceError as error:
            return ListedKeys([], [str(error)])

    def standing(self, key_ids: Set[bytes], services: Iterable[str]) -> KeysLeft:
        """Looks through the whole store for keys, and says what is stored there of each.

        Raises:
            KeyServiceError: If it cannot be read.
        """
        wrapped, tombstones = set[bytes](), set[bytes]()
        alive = unreadable = 0
        for listed in self.everything():
            unreadable += len(listed.problems)
            found = [record for record in listed.records if record.key.id in key_ids]
            wrapped |= {record.key.id for record in found if not record.is_tombstone}
            tombstones |= {record.key.id for record in found if record.is_tombstone}
            alive += bool(found and tenant_of(listed.records).live)
        return KeysLeft(self.name, tuple(services), frozenset(wrapped), frozenset(tombstones), alive, unreadable)

    def add(self, context: EncryptionContext, make: Make, *, unless_live: bool = False) -> TenantKeys:
        """Stores a key of the next generation.

        Args:
            context: The tenant.
            make: Makes the key.
            unless_live: Store none if there is a live key by now, that of somebody who was faster.

        Returns:
            What the store held afterwards.
        """
        return self._exclusively(context, _add(context, make, unless_live=unless_live))

    def replace(self, context: EncryptionContext, key: StoredKey) -> bool:
        """Stores the same key wrapped anew, unless it was erased meanwhile.

        Returns:
            Whether it was stored.
        """
        return self._exclusively(context, _replace(context, key))

    def erase(self, context: EncryptionContext) -> Erasure:
        """Destroys all keys of a tenant: tombstones first, then deletion. Returns the record of it."""
        return self._exclusively(context, _erase(context))

    def _run(self, steps: StoreSteps[T]) -> T:
        return fenced(self.name, lambda: run(self.base, steps))

    def _exclusively(self, context: EncryptionContext, steps: StoreSteps[T]) -> T:
        return fenced(self.name, lambda: run_exclusively(self.base, "/".join(_namespace(context)), steps))


# --- the steps --------------------------------------------------------------------------------------------------------


def _list(namespace: tuple[str, ...]) -> StoreSteps[ListedKeys]:
    """Returns the items of a tenant, and what is wrong with others that are stored in its namespace."""
    records, problems = [], []
    for item in (yield from _search(namespace)):
        try:
            records.append(parse(item))
        except KeyServiceError as error:
            problems.append(str(error))
    own = [record for record in records if _namespace(record.context) == namespace]
    if len(own) < len(records):
        problems.append("the key store holds a key under the namespace of another context")
    return ListedKeys(own, problems)


def _records(context: EncryptionContext) -> StoreSteps[list[Record]]:
    records, problems = yield from _list(_namespace(context))
    if problems:
        raise KeyServiceError(problems[0], retryable=False)
    return records


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
    if key.id not in (yield from _live(context)):
        return False
    yield [put_key(context, key)]
    # Without a lock an erasure may have come in between, and this key would be in the store again.
    if key.id in (yield from _live(context)):
        return True
    yield [delete_key(context, key.id)]
    return False


def _live(context: EncryptionContext) -> StoreSteps[Mapping[bytes, StoredKey]]:
    """Returns the live keys of a tenant, and passes over what else is stored in its namespace."""
    return tenant_of((yield from _list(_namespace(context))).records).live


def _erase(context: EncryptionContext) -> StoreSteps[Erasure]:
    gone: dict[bytes, str] = {}
    void: int | None = None
    while True:  # once, and without a lock again for keys that were void when somebody stored them
        records = yield from _records(context)
        left = {record.key.id: record.key.generation for record in records if record.is_tombstone}
        keys = [record.key for record in records if not record.is_tombstone]
        keys = [key for key in keys if void is None or key.generation <= void or key.id in left]
        if not keys:
            return Erasure(
                context_names=tuple(sorted(context.pairs)),
                key_ids=tuple(sorted(gone)),
                tombstones=tuple(sorted(left)),
                generation=max(left.values(), default=0),
                wrappers=tuple(sorted(set(gone.values()))),
                time=datetime.now(timezone.utc),
            )
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
