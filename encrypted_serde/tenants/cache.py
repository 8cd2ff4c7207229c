"""The cache of unwrapped keys. All its limits are in `CacheLimits`; nothing is used beyond them.

When three quarters of a tenant's time are used up, the cache says that it is due to be fetched afresh. The last quarter is for
that: a tenant in use stays warm, and a key service that is away for a while is not noticed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType
from typing import Any

from ..core.bounded import Bounded
from ..core.context import EncryptionContext
from ..core.forks import start_anew_in_children
from ..core.keys import Key
from ..errors import ConfigurationError
from .records import TenantKeys

_USES = 4096  # context objects, and ids of keys, for which the answer is remembered


@dataclass(frozen=True)
class CacheLimits:
    """How long unwrapped keys stay in memory. The one place that says so.

    Attributes:
        age: Seconds after which a key is unwrapped again. So long another process may go on with a key that was rotated or
            erased here, and so long a key service may be away unnoticed.
        tenants: How many tenants are kept at once. The one fetched longest ago goes first.

    Raises:
        ConfigurationError: If a limit is not positive.
    """

    age: float = 300.0
    tenants: int = 1024

    def __post_init__(self) -> None:
        if not (self.age > 0 and self.tenants > 0):
            raise ConfigurationError("the limits of the key cache must be positive")


class CachedTenant:
    """What is known of one tenant: what the store held, and the keys that were unwrapped.

    Args:
        context: The tenant.
        stored: What the store held.
        limits: Limits of the cache.
        since: When that was, on the monotonic clock.

    Attributes:
        keys: The unwrapped keys, by id. Changed by the holder of the tenant's lock.
        expires: When all of this must be forgotten.
        refresh_at: When it is due to be fetched afresh.
    """

    __slots__ = ("context", "expires", "keys", "refresh_at", "since", "stored")

    def __init__(self, context: EncryptionContext, stored: TenantKeys, limits: CacheLimits, since: float) -> None:
        self.context, self.stored, self.since = context, stored, since
        self.keys: dict[bytes, Key] = {}
        self.expires = since + limits.age
        self.refresh_at = since + limits.age * 3 / 4

    @property
    def primary(self) -> Key | None:
        """The key to write with, if it was unwrapped."""
        stored = self.stored.primary
        return self.keys.get(stored.id) if stored else None


class Use:
    """An answer that may be given again for the same context object: a key, and until when."""

    __slots__ = ("context", "key", "tenant", "until")

    def __init__(self, context: Mapping[str, str], tenant: CachedTenant, key: Key) -> None:
        self.context, self.tenant, self.key = context, tenant, key
        self.until = min(tenant.refresh_at, tenant.expires)


class KeyCache:
    """Tenants by context, and in front of them the answers given last, by context object and by key id.

    Args:
        limits: How long, how many.

    Attributes:
        limits: As given.
        writing: The uses for `encryption_key`, by the identity of the context object.
        reading: The uses for `decryption_key`, by key id.
    """

    def __init__(self, limits: CacheLimits) -> None:
        self.limits = limits
        self.writing: Bounded[int, Use] = Bounded(_USES)
        self.reading: Bounded[bytes, Use] = Bounded(_USES)
        self._tenants: dict[bytes, CachedTenant] = {}
        self._guard = threading.Lock()  # never held while anything else is waited for
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Makes the lock anew, in a child process."""
        self._guard = threading.Lock()

    def get(self, context: EncryptionContext) -> CachedTenant | None:
        """Returns what is known of a tenant, unless that is too old."""
        tenant = self._tenants.get(context.encoded)
        return tenant if tenant is not None and tenant.expires > monotonic() else None

    def use(self, uses: dict[Any, Use], slot: int | bytes, given: Mapping[str, str], tenant: CachedTenant, key: Key) -> None:
        """Remembers a key as the answer for a context object, in `writing` or `reading`."""
        with self._guard:
            # Any mapping but this kind could be changed by its owner and name another tenant then. And a caller that was slow
            # to come here must not bring back what was forgotten meanwhile.
            if type(given) is MappingProxyType and self._tenants.get(tenant.context.encoded) is tenant:
                uses[slot] = Use(given, tenant, key)

    def due(self, tenant: CachedTenant) -> bool:
        """Says whether a tenant should be fetched afresh now. Says so once, and again later should nothing come of it."""
        now = monotonic()
        if now < tenant.refresh_at:
            return False
        with self._guard:
            if due := now >= tenant.refresh_at:
                tenant.refresh_at = now + self.limits.age / 20
        return due

    def remember(self, tenant: CachedTenant) -> None:
        """Keeps a tenant, in place of what was known of it before."""
        with self._guard:
            encoded = tenant.context.encoded
            if self._tenants.get(encoded) is not tenant:
                self._drop(encoded)
            self._tenants[encoded] = tenant
            while len(self._tenants) > self.limits.tenants:
                self._drop(next(iter(self._tenants)))

    def forget(self, context: EncryptionContext) -> None:
        """Drops what is known of a tenant."""
        with self._guard:
            self._drop(context.encoded)

    def _drop(self, encoded: bytes) -> None:
        old = self._tenants.pop(encoded, None)
        if old is not None:
            _forget_uses(self.writing, old)
            _forget_uses(self.reading, old)


def _forget_uses(uses: dict[Any, Use], tenant: CachedTenant) -> None:
    for slot in [slot for slot, use in uses.items() if use.tenant is tenant]:
        del uses[slot]
