"""Wrapped keys in a LangGraph store, laid out so that no concurrent writer can make another one's key disappear.

Every tenant has a namespace of its own, named by a hash of its context. In it stand

* ``key-<id>``: one wrapped key, with its generation. Written once; only `replace` writes it again, with the same key.
* ``erased-<id>``: a tombstone. It voids every key of its own generation and below, whether that was deleted yet or not.

Nothing that one process writes is ever the item that another one writes, so the missing compare-and-swap of `BaseStore` is
not missed: two processes that both create a first key leave two keys. All processes agree on which of them is written with,
since that follows from the items alone: highest generation, then lowest id.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn, TypeVar

from langgraph.store.base import BaseStore, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp

from ..core.context import EncryptionContext
from ..core.encoding import lp
from ..core.keys import KEY_SIZE, PROTOCOL
from ..errors import ConfigurationError, KeyServiceError
from .locks import Steps, run, run_exclusively

ROOT = "encrypted_serde_keys"
"""First label of every namespace that is used."""

PAGE = 100
"""Items asked for at once."""

_FORMAT = 1
_KEY, _ERASED = "key-", "erased-"
_Item = TypeVar("_Item")


class StoredKey(NamedTuple):
    """A wrapped key.

    Attributes:
        id: The id of the key inside, as whoever stored it said. Compare it after unwrapping.
        generation: 1 for a tenant's first key, one more with each rotation.
        wrapper: `KeyWrapper.name` of what wrapped it.
        wrapped: What `KeyWrapper.wrap` gave.
    """

    id: bytes
    generation: int
    wrapper: str
    wrapped: bytes


class TenantKeys(NamedTuple):
    """What the store held of one tenant at one moment.

    Attributes:
        live: The keys that may be used, by id.
        erased: Ids of destroyed keys, and of void ones that are not deleted yet.
        generation: The highest generation ever seen; 0 for a tenant that never had a key.
    """

    live: Mapping[bytes, StoredKey]
    erased: frozenset[bytes]
    generation: int

    @property
    def primary(self) -> StoredKey | None:
        """The key to write with: highest generation, then lowest id. None where there is no live key."""
        return min(self.live.values(), key=lambda key: (-key.generation, key.id), default=None)


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

    def read(self, context: EncryptionContext) -> TenantKeys:
        """Lists the keys of one tenant.

        Raises:
            KeyServiceError: If an item is not what this module writes.
        """
        return run(self.base, _read(context))

    def contexts(self) -> Iterator[EncryptionContext]:
        """Lists the contexts of all tenants that have keys, or had."""
        for namespace in run(self.base, _pages(_list_namespaces, _whole)):
            if len(namespace) == 2 and (items := run(self.base, _search(namespace))):
                yield EncryptionContext.of(_parse(items[0]).context)

    def add_first(self, context: EncryptionContext, key: StoredKey) -> TenantKeys:
        """Stores a tenant's first key, unless there is a live one by now.

        Returns:
            What the store held afterwards. Its primary key is the given one, or that of somebody who was faster.
        """
        return self._exclusively(context, _add(context, key, unless_live=True))

    def add_next(self, context: EncryptionContext, key: StoredKey) -> TenantKeys:
        """Stores a key of the next generation, whatever `StoredKey.generation` says.

        Returns:
            What the store held afterwards.
        """
        return self._exclusively(context, _add(context, key, unless_live=False))

    def replace(self, context: EncryptionContext, key: StoredKey) -> bool:
        """Stores the same key wrapped anew, unless it was erased meanwhile.

        Returns:
            Whether it was stored.
        """
        return self._exclusively(context, _replace(context, key))

    def erase(self, context: EncryptionContext) -> Erased:
        """Destroys all keys of a tenant: tombstones first, then deletion."""
        return self._exclusively(context, _erase(context))

    def _exclusively(self, context: EncryptionContext, steps: Steps[_Item]) -> _Item:
        return run_exclusively(self.base, "/".join(_namespace(context)), steps)


# --- the steps --------------------------------------------------------------------------------------------------------


def _records(context: EncryptionContext) -> Steps[list[_Record]]:
    items = yield from _search(_namespace(context))
    records = [_parse(item) for item in items]
    if any(record.context != context.pairs for record in records):
        raise KeyServiceError("the key store holds a key under the namespace of another context", retryable=False)
    return records


def _read(context: EncryptionContext) -> Steps[TenantKeys]:
    records = yield from _records(context)
    void = max((record.generation for record in records if record.wrapped is None), default=0)
    live, erased = {}, set()
    for record in records:
        if record.wrapped is None or record.generation <= void:
            erased.add(record.id)
        else:
            live[record.id] = StoredKey(record.id, record.generation, record.wrapper, record.wrapped)
    return TenantKeys(live, frozenset(erased), max((record.generation for record in records), default=0))


def _add(context: EncryptionContext, key: StoredKey, *, unless_live: bool) -> Steps[TenantKeys]:
    before = yield from _read(context)
    if unless_live and before.live:
        return before
    yield [_put_key(context, key._replace(generation=before.generation + 1))]
    # Read again rather than computed: without a lock somebody else may have stored one too, and all must agree.
    return (yield from _read(context))


def _replace(context: EncryptionContext, key: StoredKey) -> Steps[bool]:
    if key.id not in (yield from _read(context)).live:
        return False
    yield [_put_key(context, key)]
    # Without a lock an erasure may have come in between, and this key would stand in the store again.
    if key.id in (yield from _read(context)).live:
        return True
    yield [PutOp(_namespace(context), _KEY + key.id.hex(), None)]
    return False


def _erase(context: EncryptionContext) -> Steps[Erased]:
    namespace = _namespace(context)
    gone: dict[bytes, str] = {}
    void: int | None = None
    while True:  # once, and without a lock again for keys that were void when somebody stored them
        records = yield from _records(context)
        keys = [key for key in records if key.wrapped is not None and (void is None or key.generation <= void)]
        if not keys:
            left = [record for record in records if record.wrapped is None]
            return Erased(gone, frozenset(key.id for key in left), max((key.generation for key in left), default=0))
        keys.sort(key=lambda key: -key.generation)  # the first tombstone voids them all
        void = max(void or 0, keys[0].generation)
        for key in keys:
            value = {"format": _FORMAT, "context": dict(context.pairs), "generation": key.generation}
            yield [PutOp(namespace, _ERASED + key.id.hex(), value, index=False, ttl=None)]
        for key in keys:
            yield [PutOp(namespace, _KEY + key.id.hex(), None)]
        gone.update((key.id, key.wrapper) for key in keys)


def _put_key(context: EncryptionContext, key: StoredKey) -> Op:
    value = {
        "format": _FORMAT,
        "context": dict(context.pairs),
        "generation": key.generation,
        "wrapper": key.wrapper,
        "wrapped": base64.b64encode(key.wrapped).decode("ascii"),
    }
    # Without ttl=None a store with a default time to live would sweep the key; without index=False it would be embedded.
    return PutOp(_namespace(context), _KEY + key.id.hex(), value, index=False, ttl=None)


def _namespace(context: EncryptionContext) -> tuple[str, str]:
    """Labels may not hold a full stop, and a context value may: so the label is a hash."""
    return (ROOT, sha256(PROTOCOL + lp(b"key-store") + context.encoded).hexdigest())


# --- listing ----------------------------------------------------------------------------------------------------------


def _search(namespace: tuple[str, ...]) -> Steps[list[Any]]:
    def page(limit: int, offset: int) -> Op:
        return SearchOp(namespace, limit=limit, offset=offset, refresh_ttl=False)

    found = yield from _pages(page, lambda item: (item.namespace, item.key))
    return [item for item in found if item.namespace == namespace]  # what is searched is a prefix


def _list_namespaces(limit: int, offset: int) -> Op:
    return ListNamespacesOp((MatchCondition("prefix", (ROOT,)),), limit=limit, offset=offset)


def _whole(item: Any) -> Any:
    return item


def _pages(page: Callable[[int, int], Op], identity: Callable[[Any], Any]) -> Steps[list[Any]]:
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


class _Record(NamedTuple):
    id: bytes
    context: dict[str, str]
    generation: int
    wrapper: str
    wrapped: bytes | None  # None: a tombstone


def _parse(item: Any) -> _Record:
    name, value = item.key, item.value
    prefix = _KEY if name.startswith(_KEY) else _ERASED
    try:
        key_id = bytes.fromhex(name.removeprefix(prefix))
        if value["format"] != _FORMAT:
            _not_ours(name, f"has format {value['format']!r}: written by a newer release of encrypted-serde")
        context, generation = value["context"], value["generation"]
        wrapper = value["wrapper"] if prefix == _KEY else ""
        wrapped = base64.b64decode(value["wrapped"], validate=True) if prefix == _KEY else None
        EncryptionContext.of(context)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigurationError):
        _not_ours(name, "is not a key of this package")
    well_formed = isinstance(wrapper, str) and isinstance(generation, int) and generation > 0
    if name != prefix + key_id.hex() or len(key_id) != KEY_SIZE or not well_formed:
        _not_ours(name, "is not a key of this package")
    return _Record(key_id, context, generation, wrapper, wrapped)


def _not_ours(name: str, problem: str) -> NoReturn:
    raise KeyServiceError(f"the item {name!r} in the key store {problem}", retryable=False)
