"""`TenantKeyring`: a random data key for every tenant, wrapped by a key service, kept in the user's own LangGraph store.

The parts: a `KeyWrapper` encrypts data keys, `KeyStore` keeps them, `KeyCache` remembers what was unwrapped, and here they
come together. A tenant that is due is fetched afresh in a thread of its own while its old keys serve, so that no request
waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from time import monotonic

from langgraph.store.base import BaseStore

from ..audit import AuditEvent, AuditListener, notify
from ..core.context import EncryptionContext
from ..core.keys import KEY_SIZE, Key
from ..errors import ConfigurationError, EncryptedSerdeError, KeyErased, KeyServiceError, UnknownKey
from ..kms import KeyWrapper, check_wrapper
from .cache import CachedTenant, CacheLimits, KeyCache
from .erasure import Erasure
from .locks import refuse_own_loop
from .store import KeyStore, StoredKey

logger = logging.getLogger(__name__)

_STRIPES = 64


class TenantKeyring:
    """A key provider with a random key per context, so that one tenant can be rotated, moved or erased alone.

    A tenant's first key is made when it is first needed, and is in the store before anything is sealed with it. With
    ``InMemoryStore``, ``SqliteStore``, ``PostgresStore`` and the asynchronous variants, processes that need a tenant's first
    key at the same time make one. On any other store several may arise: all of them stay readable, and one cache age later
    all processes write with the same one.

    Whoever can write to the key store can withhold keys or bring back an older one of the same tenant; to read one, or to
    introduce one, takes the key service too.

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
        check_wrapper(wrapper)
        self._wrapper = wrapper
        self._wrappers: dict[str, KeyWrapper] = {wrapper.name: wrapper}
        for other in unwrap_only:
            if not isinstance(other, KeyWrapper):
                raise TypeError(f"unwrap_only holds KeyWrappers, not {type(other).__name__}")
            self._wrappers.setdefault(other.name, other)
        self._decrypt_only: dict[bytes, Key] = {}
        for key in decrypt_only:
            if not isinstance(key, Key):
                raise TypeError(f"decrypt_only holds Key objects, not {type(key).__name__}")
            self._decrypt_only[key.id] = key
        self._audit = audit
        self._cache = KeyCache(limits or CacheLimits())
        self._writing, self._reading = self._cache.writing, self._cache.reading
        # One thread fetches a tenant, the others wait for it.
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    # --- the key provider -----------------------------------------------------------------------------------------

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        """Gives the tenant's primary key, and makes its first one where there is none.

        Raises:
            KeyServiceError: If the key is not in memory and cannot be had.
        """
        try:
            use = self._writing[id(context)]  # a use keeps its context alive, so that no other object has this id
            if use.until > monotonic():
                return next(use.budget)
        except (KeyError, StopIteration):
            pass
        return self._encryption_key(context)

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        """Gives the tenant's key with this id.

        Raises:
            UnknownKey: If the tenant never had such a key.
            KeyErased: If it was destroyed.
            KeyServiceError: If the key is not in memory and cannot be had.
        """
        use = self._reading.get(key_id)
        if use is not None and use.context is context and use.until > monotonic():
            return use.key
        return self._decryption_key(key_id, context)

    async def prefetch(self, context: Mapping[str, str]) -> None:
        """Fetches all keys of a tenant in a worker thread, so that no key call blocks the event loop afterwards.

        Await it at the start of a request; for a tenant in use it costs microseconds. It makes the tenant's first key where
        there is none. The keys then serve for at least half the cache age, and for as long as they are used more often than
        every quarter of it. One call may still wait: for a row under a key that another process has added since.

        Raises:
            KeyServiceError: If the keys cannot be had.
        """
        checked = EncryptionContext.of(context)
        if not self._is_ready(self._cache.get(checked)):
            await asyncio.to_thread(self._prefetch, checked)

    # --- the life of a tenant's keys ------------------------------------------------------------------------------

    def rotate(self, context: Mapping[str, str]) -> bytes:
        """Gives a tenant a new key to write with. What was written before stays readable under the old ones.

        Other processes write with the new key one cache age later at the latest.

        Returns:
            The id of the new key.

        Raises:
            KeyServiceError: If the key service does not wrap it. Nothing has changed then.
        """
        checked = EncryptionContext.of(context)
        with self._lock(checked):
            key, stored = self._new_key(checked)
            self._store.add_next(checked, stored)
            self._cache.forget(checked)
        self._tell("key_rotated", key.id, checked)
        return key.id

    def erase(self, context: Mapping[str, str]) -> Erasure:
        """Destroys all keys of a tenant, and with them everything that was sealed under its context.

        Call it again after a failure: it finishes what was begun. A tenant that is written to afterwards starts anew with a
        new key. Other processes can read, and lose what they write, until their cache ages out. A backup of the key store
        brings the tenant back for as long as the key service has its key; docs/keys.md says what to do about it.

        Returns:
            The record of it, for ``encrypted-serde prove-erased`` and for whoever asked.
        """
        checked = EncryptionContext.of(context)
        with self._lock(checked):
            try:
                erased = self._store.erase(checked)
            finally:
                self._cache.forget(checked)
        destroyed = sorted(erased.wrappers)
        for key_id in destroyed:
            self._tell("key_erased", key_id, checked)
        return Erasure(
            context_names=tuple(sorted(checked.pairs)),
            key_ids=tuple(destroyed),
            tombstones=tuple(sorted(erased.tombstones)),
            generation=erased.generation,
            wrappers=tuple(sorted(set(erased.wrappers.values()))),
            time=datetime.now(timezone.utc),
        )

    def rewrap(self) -> int:
        """Wraps the keys of all tenants anew under `wrapper`, for instance after its key was rotated or replaced.

        No data is touched. Every new wrapping is unwrapped and compared before it takes the place of the old one. After a
        failure call it again. When it has returned, and every process runs with the new wrapper, the old key of the key
        service may be destroyed.

        Returns:
            How many keys were wrapped anew.

        Raises:
            KeyServiceError: If a key cannot be unwrapped or wrapped. All others stay as they are.
        """
        count = 0
        for context in self._store.contexts():
            for stored in self._store.read(context).live.values():
                key, secret = self._unwrap(context, stored)
                wrapped = self._wrapper.wrap(secret, context.pairs)
                anew = StoredKey(key.id, stored.generation, self._wrapper.name, wrapped)
                self._unwrap(context, anew)
                with self._lock(context):
                    done = self._store.replace(context, anew)
                    self._cache.forget(context)
                if done:
                    count += 1
                    self._tell("key_rewrapped", key.id, context)
        return count

    # --- fetching: what happens when the answer is not in memory --------------------------------------------------

    def _encryption_key(self, given: Mapping[str, str]) -> Key:
        context = EncryptionContext.of(given)
        tenant = self._cache.get(context)
        key = self._cache.take(tenant, given) if tenant else None
        if key is None:
            with self._lock(context):
                tenant = self._cache.get(context)
                key = self._cache.take(tenant, given) if tenant else None  # somebody fetched it while we waited?
                if key is None:
                    if tenant is None or tenant.primary is not None:  # not known, or its messages are used up
                        tenant = self._list(context)
                    self._make_ready(tenant)
                    self._cache.remember(tenant)
                    key = self._cache.take(tenant, given)
        if tenant is None or key is None:
            raise KeyServiceError("a tenant's key was used up before it could be used; allow more messages", retryable=True)
        self._refresh_if_due(tenant)
        return key

    def _decryption_key(self, key_id: bytes, given: Mapping[str, str]) -> Key:
        if old := self._decrypt_only.get(key_id):
            return old
        context = EncryptionContext.of(given)
        tenant = self._cache.get(context)
        if tenant is None or (key_id not in tenant.keys and key_id not in tenant.stored.erased):
            with self._lock(context):
                tenant = self._cache.get(context) or self._list(context)
                if key_id not in tenant.stored.live and key_id not in tenant.stored.erased:
                    tenant = self._list(context, known=tenant)  # a key that another process has added since?
                if wanted := tenant.stored.live.get(key_id):
                    self._add(tenant, wanted)
                self._cache.remember(tenant)
        if key := self._cache.read(tenant, given, key_id):
            self._refresh_if_due(tenant)
            return key
        if key_id in tenant.stored.erased:
            raise KeyErased(f"sealed under key {key_id.hex()}, which was erased", key_id)
        raise UnknownKey(f"sealed under key {key_id.hex()}, which this tenant does not have", key_id)

    def _is_ready(self, tenant: CachedTenant | None) -> bool:
        """Says whether all keys of a tenant are in memory and stay for half the cache age."""
        return (
            tenant is not None
            and tenant.primary is not None
            and tenant.keys.keys() >= tenant.stored.live.keys()
            and tenant.expires - monotonic() >= self._cache.limits.age / 2
        )

    def _prefetch(self, context: EncryptionContext) -> None:
        with self._lock(context):
            tenant = self._cache.get(context)
            if not self._is_ready(tenant):
                tenant = self._list(context)
                self._make_ready(tenant)
                for stored in tenant.stored.live.values():
                    self._add(tenant, stored)
                self._cache.remember(tenant)

    def _refresh_if_due(self, tenant: CachedTenant) -> None:
        if self._cache.due(tenant):
            threading.Thread(target=self._refresh, args=(tenant,), name="encrypted-serde-keys", daemon=True).start()

    def _refresh(self, old: CachedTenant) -> None:
        """Fetches a tenant afresh. A failure is logged, and the attempt repeated while the old keys last."""
        try:
            with self._lock(old.context):
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
            tenant.succeed(known)
        return tenant

    def _make_ready(self, tenant: CachedTenant) -> None:
        """Sees to it that a tenant can be written to: unwraps its primary key, or makes its first."""
        if tenant.stored.primary is None:
            key, stored = self._new_key(tenant.context)
            tenant.stored = self._store.add_first(tenant.context, stored)
            if key.id in tenant.stored.live:
                tenant.add(key)
                self._tell("key_created", key.id, tenant.context)
        if (primary := tenant.stored.primary) is None:
            raise KeyServiceError("the tenant was erased while its first key was made", retryable=True)
        self._add(tenant, primary)

    def _add(self, tenant: CachedTenant, stored: StoredKey) -> None:
        if stored.id not in tenant.keys:
            key, _ = self._unwrap(tenant.context, stored)
            tenant.add(key)

    def _unwrap(self, context: EncryptionContext, stored: StoredKey) -> tuple[Key, bytes]:
        wrapper = self._wrappers.get(stored.wrapper)
        if wrapper is None:
            raise KeyServiceError(
                f"key {stored.id.hex()} is wrapped by {stored.wrapper}, which this keyring was not given", retryable=False
            )
        secret = wrapper.unwrap(stored.wrapped, context.pairs)
        try:
            key = Key.from_bytes(secret)
        except (TypeError, ConfigurationError):
            key = None
        if key is None or key.id != stored.id:
            raise KeyServiceError(f"{wrapper.name} unwrapped something else than key {stored.id.hex()}", retryable=False)
        return key, secret

    def _new_key(self, context: EncryptionContext) -> tuple[Key, StoredKey]:
        while True:
            secret = os.urandom(KEY_SIZE)
            try:
                key = Key.from_bytes(secret)
                break
            except ConfigurationError:  # one draw in 2^43 looks like text
                continue
        wrapped = self._wrapper.wrap(secret, context.pairs)
        return key, StoredKey(key.id, 1, self._wrapper.name, wrapped)

    def _lock(self, context: EncryptionContext) -> threading.Lock:
        # Refused before waiting: the thread that holds the lock may itself wait for the loop of this one.
        refuse_own_loop(self._store.base)
        return self._locks[hash(context.encoded) % _STRIPES]

    def _tell(self, action: str, key_id: bytes, context: EncryptionContext) -> None:
        if self._audit is not None:
            notify(self._audit, AuditEvent(action, key_id, context.pairs))
