"""`TenantKeyring`: a random data key for every tenant, wrapped by a key service, kept in the user's own LangGraph store.

The parts: a `KeyWrapper` encrypts data keys, `KeyStore` keeps them, `KeyCache` remembers what was unwrapped, `fetching` sees
to it that no tenant waits for another, and here they come together. A tenant that is due is fetched afresh while its old keys
serve, so that no request waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import TypeVar, cast

from langgraph.store.base import BaseStore

from ..audit import AuditEvent, AuditListener, notify
from ..core.context import EncryptionContext
from ..core.erasing import KeysLeft
from ..core.keys import Key
from ..core.waiting import KeyNotHere, must_not_wait
from ..errors import ConfigurationError, EncryptedSerdeError, KeyErased, KeyServiceError, UnknownKey
from ..kms import KeyWrapper
from .cache import CachedTenant, CacheLimits, KeyCache
from .erasure import Erasure
from .fetching import Failures, Fetches, TenantLocks
from .locks import refuse_own_loop
from .records import StoredKey
from .rewrap import rewrap_all
from .store import KeyStore
from .wrappers import Wrappers

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WRITING, _ALL, _AHEAD = b"w", b"*", b"+"
"""What a fetch is for, besides the key with some id."""


class TenantKeyring:
    """A key provider with a random key per context, so that one tenant can be rotated, moved or erased alone.

    A tenant's first key is made when it is first needed, and is in the store before anything is sealed with it. With
    ``InMemoryStore``, ``SqliteStore``, ``PostgresStore`` and the asynchronous variants, processes that need a tenant's first
    key at the same time make one. On any other store several may arise: all of them stay readable, and one cache age later
    all processes write with the same one.

    Somebody who can write to the key store can withhold keys, or undo an erasure with a copy that was made before it, while
    the key service has its key. To read a key, to introduce one, or to have another one written with takes the key service.

    Build it at start-up: the constructor calls the key service three times to try it out (see `check_wrapper`).

    Args:
        store: Any LangGraph `BaseStore`, the keys' own rather than the one of the application (see docs/keys.md). Call its
            ``setup()`` first.
        wrapper: Wraps new keys, and unwraps those it has wrapped.
        unwrap_only: Wrappers that keys in the store may still be wrapped by, until `rewrap` has moved them.
        decrypt_only: Keys from before there were tenants: read with, under any context, never written with.
        limits: Limits of the cache.
        audit: Told when keys are created, rotated, wrapped anew and erased.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If the wrapper does not authenticate the context.
        KeyServiceError: If the key service does not do what it is asked.

    Example:
        ```python
        keys = TenantKeyring(store, AwsKeyWrapper("alias/tenants"))
        saver = PostgresSaver(pool, serde=EncryptedSerializer(keys, required_context=("tenant_id",)))
        with encryption_context(tenant_id="acme"):
            graph.invoke(inputs, config)
        ```
    """

    raises_key_not_here = True

    def __init__(
        self,
        store: BaseStore,
        wrapper: KeyWrapper,
        *,
        unwrap_only: Iterable[KeyWrapper] = (),
        decrypt_only: Iterable[Key] = (),
        limits: CacheLimits | None = None,
        audit: AuditListener | None = None,
    ) -> None:
        self._store = KeyStore(store)
        self._wrappers = Wrappers(wrapper, unwrap_only)
        self._decrypt_only: dict[bytes, Key] = {}
        for key in decrypt_only:
            if not isinstance(key, Key):
                raise TypeError(f"decrypt_only holds Key objects, not {type(key).__name__}")
            self._decrypt_only[key.id] = key
        self._audit = audit
        self._cache = KeyCache(limits or CacheLimits())
        self._writing, self._reading = self._cache.writing, self._cache.reading
        self._locks, self._failures, self._fetches = TenantLocks(), Failures(), Fetches()

    # --- the key provider -----------------------------------------------------------------------------------------

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        """Returns the tenant's primary key, and makes its first one where there is none.

        Raises:
            KeyServiceError: If the key is not in memory and cannot be had.
        """
        use = self._writing.get(id(context))  # a use keeps its context alive, so that no other object has this id
        if use is not None and use.until > monotonic():
            return use.key
        return self._encryption_key(context)

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        """Returns one of the tenant's keys.

        Raises:
            UnknownKey: If the tenant never had such a key.
            KeyErased: If it was destroyed.
            KeyServiceError: If the key is not in memory and cannot be had.
        """
        use = self._reading.get(key_id)
        if use is not None and use.context is context and use.until > monotonic():
            return use.key
        return self._decryption_key(key_id, context)

    def current_key_id(self, context: Mapping[str, str]) -> bytes | None:
        """Returns the id of the key that a tenant writes with; None if it has none. Makes none, and asks no key service.

        Raises:
            KeyServiceError: If the key store cannot be read.
        """
        primary = self._store.read(EncryptionContext.of(context)).primary
        return primary.id if primary else None

    async def prefetch(self, context: Mapping[str, str]) -> None:
        """Fetches all keys of a tenant, so that no key call blocks the event loop afterwards. Takes none of its threads.

        Await it at the start of a request; for a tenant in use it costs microseconds. It makes the tenant's first key where
        there is none. The keys then serve for at least half the cache age, and for as long as they are used more often than
        every quarter of it. One call may still wait: for a row under a key that another process has added since.

        Raises:
            KeyServiceError: If the keys cannot be had.
        """
        checked = EncryptionContext.of(context)
        while not self._is_ready(self._cache.get(checked)):
            if await self._fetches.join(checked.encoded, _ALL, lambda: self._have(checked, _ALL, self._prefetch)):
                return

    # --- the life of a tenant's keys ------------------------------------------------------------------------------

    def rotate(self, context: Mapping[str, str]) -> bytes:
        """Returns a tenant a new key to write with. What was written before stays readable under the old ones.

        Other processes write with the new key one cache age later at the latest.

        Returns:
            The id of the new key.

        Raises:
            KeyServiceError: If the key service does not wrap it. Nothing has changed then.
        """
        checked = EncryptionContext.of(context)
        refuse_own_loop(self._store.base)
        with self._locks.held(checked.encoded):
            key, make = self._wrappers.new_key(checked)
            self._store.add(checked, make)
            self._forget(checked)
        self._tell("key_rotated", key.id, checked)
        return key.id

    def erase(self, context: Mapping[str, str]) -> Erasure:
        """Destroys all keys of a tenant, and with them everything that was sealed under its context.

        Call it again after a failure: it finishes what was begun. A tenant that is written to afterwards starts anew with a
        new key. Other processes can read, and lose what they write, until their cache ages out. A backup of the key store
        brings the tenant back for as long as the key service has its key; docs/keys.md says what to do about it.

        Returns:
            The record of it, for ``encrypted-serde prove-erased`` and for the requester. Without ``key_ids`` there was nothing
            left to destroy: the tombstones are those of an erasure before.

        Raises:
            ConfigurationError: If the key store holds neither a key nor a tombstone of this context: it was mistyped, or this
                is another key store.
            KeyServiceError: If the key store fails. Call it again.
        """
        checked = EncryptionContext.of(context)
        refuse_own_loop(self._store.base)
        with self._locks.held(checked.encoded):
            try:
                erased = self._store.erase(checked)
            finally:
                self._forget(checked)
        if not erased.tombstones:
            names = ", ".join(sorted(checked.pairs)) or "none"
            raise ConfigurationError(f"nothing was erased: the key store never had a key of this context (its names: {names})")
        for key_id in erased.key_ids:
            self._tell("key_erased", key_id, checked)
        return erased

    def rewrap(self) -> int:
        """Wraps the keys of all tenants anew under `wrapper`, for instance after its key was rotated or replaced.

        No data is touched. Every new wrapping is unwrapped and compared before it takes the place of the old one. A tenant that
        fails does not keep the others from being done. After a failure call it again. When it has returned, and every process
        runs with the new wrapper, the old key of the key service may be destroyed.

        Returns:
            How many keys were wrapped anew: all that there are.

        Raises:
            KeyServiceError: If a key could not be wrapped anew, or an item in the key store is none. All that could be done is.
        """
        refuse_own_loop(self._store.base)
        return rewrap_all(self._store.everything(), self._rewrap)

    def standing(self, key_ids: Iterable[bytes]) -> KeysLeft:
        """Looks through the whole key store for keys, and says what is stored there of each.

        Raises:
            KeyServiceError: If the key store cannot be read.
        """
        return self._store.standing(frozenset(key_ids), self._wrappers.names)

    # --- fetching: what happens when the answer is not in memory --------------------------------------------------

    def _encryption_key(self, given: Mapping[str, str]) -> Key:
        context = EncryptionContext.of(given)
        tenant = self._cache.get(context)
        if tenant is None or tenant.primary is None:
            tenant = self._fetched(context, _WRITING, self._to_write)
        key = cast("Key", tenant.primary)  # what fetched it saw to that
        self._cache.use(self._writing, id(given), given, tenant, key)
        self._refresh_if_due(tenant)
        return key

    def _decryption_key(self, key_id: bytes, given: Mapping[str, str]) -> Key:
        if old := self._decrypt_only.get(key_id):
            return old
        context = EncryptionContext.of(given)
        tenant = self._cache.get(context)
        if tenant is None or (key_id not in tenant.keys and key_id not in tenant.stored.erased):
            tenant = self._fetched(context, key_id, partial(self._to_read, key_id))
        if key := tenant.keys.get(key_id):
            self._cache.use(self._reading, key_id, given, tenant, key)
            self._refresh_if_due(tenant)
            return key
        raise KeyErased(f"sealed under key {key_id.hex()}, which was erased", key_id)

    def _fetched(
        self, context: EncryptionContext, wanted: bytes, fetch: Callable[[EncryptionContext], CachedTenant]
    ) -> CachedTenant:
        """Fetches a tenant; or says what to await, where nobody may wait."""
        if not must_not_wait():
            return self._have(context, wanted, fetch)
        self._failures.check(context.encoded, wanted)

        async def fetched() -> None:
            await self._fetches.join(context.encoded, wanted, lambda: self._have(context, wanted, fetch))

        raise KeyNotHere(fetched)

    def _have(self, context: EncryptionContext, wanted: bytes, fetch: Callable[[EncryptionContext], T]) -> T:
        """Fetches under the lock of the tenant. What failed just now fails again, and nobody is asked."""
        # Refused before waiting: the thread that holds the lock may itself wait for the loop of this one.
        refuse_own_loop(self._store.base)
        with self._locks.held(context.encoded, to_fetch=True):
            self._failures.check(context.encoded, wanted)
            try:
                return fetch(context)
            except EncryptedSerdeError as error:
                self._failures.remember(context.encoded, wanted, error)
                raise

    def _to_write(self, context: EncryptionContext) -> CachedTenant:
        tenant = self._cache.get(context) or self._list(context)  # somebody fetched it while we waited?
        self._make_ready(tenant)
        self._cache.remember(tenant)
        return tenant

    def _to_read(self, key_id: bytes, context: EncryptionContext) -> CachedTenant:
        tenant = self._cache.get(context) or self._list(context)
        if key_id not in tenant.stored.live and key_id not in tenant.stored.erased:
            tenant = self._list(context, known=tenant)  # a key that another process has added since?
        if wanted := tenant.stored.live.get(key_id):
            self._add(tenant, wanted)
        self._cache.remember(tenant)
        if wanted is None and key_id not in tenant.stored.erased:
            raise UnknownKey(f"sealed under key {key_id.hex()}, which this tenant does not have", key_id)
        return tenant

    def _prefetch(self, context: EncryptionContext) -> None:
        tenant = self._cache.get(context)
        if not self._is_ready(tenant):
            tenant = self._list(context)
            self._make_ready(tenant)
            for stored in tenant.stored.live.values():
                self._add(tenant, stored)
            self._cache.remember(tenant)

    def _is_ready(self, tenant: CachedTenant | None) -> bool:
        """Says whether all keys of a tenant are in memory and stay for half the cache age."""
        return (
            tenant is not None
            and tenant.primary is not None
            and tenant.keys.keys() >= tenant.stored.live.keys()
            and tenant.expires - monotonic() >= self._cache.limits.age / 2
        )

    def _refresh_if_due(self, tenant: CachedTenant) -> None:
        if self._cache.due(tenant):
            self._fetches.start(tenant.context.encoded, _AHEAD, partial(self._refresh, tenant))

    def _refresh(self, old: CachedTenant) -> None:
        """Fetches a tenant afresh. A failure is logged, and the attempt repeated while the old keys last."""
        try:
            with self._locks.held(old.context.encoded):
                if self._cache.get(old.context) is old:  # not erased, rotated or fetched meanwhile
                    fresh = self._list(old.context)
                    for key_id in old.keys.keys() & fresh.stored.live.keys():
                        self._add(fresh, fresh.stored.live[key_id])
                    if primary := fresh.stored.primary:
                        self._add(fresh, primary)
                    self._cache.remember(fresh)
        except EncryptedSerdeError as error:
            logger.warning("could not fetch a tenant's keys ahead of time: %s", error)

    def _list(self, context: EncryptionContext, *, known: CachedTenant | None = None) -> CachedTenant:
        """Reads a tenant from the store. Keys that are known already stay, with the age they have."""
        since = known.since if known else monotonic()
        tenant = CachedTenant(context, self._store.read(context), self._cache.limits, since)
        if known:
            tenant.keys |= {key_id: key for key_id, key in known.keys.items() if key_id in tenant.stored.live}
        return tenant

    def _make_ready(self, tenant: CachedTenant) -> None:
        """Sees to it that a tenant can be written to: unwraps its primary key, or makes its first."""
        if tenant.stored.primary is None:
            key, make = self._wrappers.new_key(tenant.context)
            tenant.stored = self._store.add(tenant.context, make, unless_live=True)
            if key.id in tenant.stored.live:
                tenant.keys[key.id] = key
                self._tell("key_created", key.id, tenant.context)
        if (primary := tenant.stored.primary) is None:
            raise KeyServiceError("the tenant was erased while its first key was made", retryable=True)
        self._add(tenant, primary)

    # --- small things -----------------------------------------------------------------------------------------------

    def _add(self, tenant: CachedTenant, stored: StoredKey) -> None:
        if stored.id not in tenant.keys:
            tenant.keys[stored.id] = self._wrappers.unwrap(tenant.context, stored).key

    def _rewrap(self, context: EncryptionContext, stored: StoredKey) -> bool:
        """Wraps one key anew. Returns False if it was erased meanwhile."""
        anew = self._wrappers.anew(context, stored)
        with self._locks.held(context.encoded):
            done = self._store.replace(context, anew)
            self._forget(context)
        if done:
            self._tell("key_rewrapped", anew.id, context)
        return done

    def _forget(self, context: EncryptionContext) -> None:
        self._cache.forget(context)
        self._failures.forget(context.encoded)

    def _tell(self, action: str, key_id: bytes, context: EncryptionContext) -> None:
        if self._audit is not None:
            notify(self._audit, AuditEvent(action, key_id, context.pairs))
