"""What a key per tenant costs beside one `Keyring` in memory, and how often the key service is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSerializer, Key, KeyProvider, Keyring
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring

TENANT_KEYRING, KEYRING = "TenantKeyring", "Keyring"

KEY_PROVIDERS: dict[str, Callable[[], KeyProvider]] = {
    TENANT_KEYRING: lambda: TenantKeyring(InMemoryStore(), LocalKeyWrapper(Key.generate())),
    KEYRING: lambda: Keyring(primary=Key.generate()),
}
"""Where keys come from. Both are warm once the first value was sealed."""

ACME = {"tenant_id": "acme"}


def tenant_serializer(provider: str) -> EncryptedSerializer:
    """Makes a serializer with keys from one of `KEY_PROVIDERS`. Use it inside ``encryption_context(ACME)``."""
    return EncryptedSerializer(KEY_PROVIDERS[provider](), required_context=tuple(ACME))


class CountingWrapper(LocalKeyWrapper):
    """Counts the calls to what stands for a key service."""

    def __init__(self) -> None:
        super().__init__(Key.generate())
        self.calls: Counter[str] = Counter()

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        self.calls["wrap"] += 1
        return super().wrap(secret, context)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self.calls["unwrap"] += 1
        return super().unwrap(wrapped, context)
