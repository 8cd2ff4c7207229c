"""The items of a key store: what is stored in them, and what follows from those of one tenant.

Every tenant has a namespace of its own, named by a hash of its context. In it are

* ``key-<id>``: one wrapped key, with its generation. Written once; only `KeyStore.replace` writes it again, with the same key.
* ``erased-<id>``: a tombstone. It voids its own id, whatever the item of the key says, and every key of its generation and
  below, whether that was deleted yet or not.

The generation decides which key is written with, so nobody who writes to the store may choose it: beside it is a proof that
only the key itself gives (`proof_of`), and it is compared whenever a key is unwrapped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from langgraph.store.base import Op, PutOp

from ..core.context import EncryptionContext
from ..core.encoding import lp
from ..core.keys import KEY_SIZE, PROTOCOL, Key
from ..core.opaque import opaque
from ..errors import ConfigurationError, KeyServiceError

ROOT = "encrypted_serde_keys"
"""First label of every namespace that is used."""

KEY, ERASED = "key-", "erased-"
_FORMAT = 1
_MAX_GENERATION = 1 << 63
_SHOWN = 80  # characters of a text that is stored in the store


class StoredKey(NamedTuple):
    """A wrapped key.

    Attributes:
        id: The id of the key inside, as its writer said. Compare it after unwrapping.
        generation: 1 for a tenant's first key, one more with each rotation.
        wrapper: `KeyWrapper.name` of what wrapped it.
        wrapped: What `KeyWrapper.wrap` returned.
        proof: What `proof_of` returns for the key and the generation. Compare it after unwrapping.
    """

    id: bytes
    generation: int
    wrapper: str
    wrapped: bytes
    proof: bytes = b""

    def __repr__(self) -> str:
        return opaque(self)


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

    def __repr__(self) -> str:
        return opaque(self)

    @property
    def primary(self) -> StoredKey | None:
        """The key to write with: highest generation, then lowest id. None where there is no live key."""
        return min(self.live.values(), key=lambda key: (-key.generation, key.id), default=None)


class Record(NamedTuple):
    """An item of the key store.

    Attributes:
        key: The key, as far as it is known: of a tombstone only id and generation.
        context: Whose it is, says the item.
        is_tombstone: Whether it is one.
    """

    key: StoredKey
    context: EncryptionContext
    is_tombstone: bool


def proof_of(key: Key, context: EncryptionContext, generation: int) -> bytes:
    """Returns what proves the generation of a key: HKDF of it, purpose ``generation``."""
    return key.derive("generation", context.encoded, generation.to_bytes(8, "big"))


def namespace_of(context: EncryptionContext) -> tuple[str, str]:
    """Returns the namespace of a tenant. Labels may not hold a full stop, and a context value may: so the label is a hash."""
    return (ROOT, sha256(PROTOCOL + lp(b"key-store") + context.encoded).hexdigest())


def shown(text: str) -> str:
    """Returns a text from the store for a message: in one line, and short."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


# --- reading -----------------------------------------------------------------------------------------------------------


def tenant_of(records: Iterable[Record]) -> TenantKeys:
    """Returns what follows from all items of one tenant."""
    records = [*records]
    tombstones = {record.key.id for record in records if record.is_tombstone}
    void = max((record.key.generation for record in records if record.is_tombstone), default=0)
    keys = [record.key for record in records if not record.is_tombstone]
    live = {key.id: key for key in keys if key.id not in tombstones and key.generation > void}
    erased = tombstones | {key.id for key in keys if key.id not in live}
    return TenantKeys(live, frozenset(erased), max((record.key.generation for record in records), default=0))


def parse(item: Any) -> Record:
    """Reads an item.

    Raises:
        KeyServiceError: If it is not what this module writes.
    """
    name, value = item.key, item.value
    if not isinstance(name, str) or not isinstance(value, Mapping):
        raise _not_ours(name, "is not a key of this package")
    is_key = name.startswith(KEY)
    prefix = KEY if is_key else ERASED
    try:
        if value["format"] != _FORMAT:
            raise _not_ours(name, "has an unknown format: it was written by a newer release of encrypted-serde")
        key_id, generation = bytes.fromhex(name.removeprefix(prefix)), value["generation"]
        wrapper = value["wrapper"] if is_key else ""
        wrapped, proof = (base64.b64decode(value[part], validate=True) if is_key else b"" for part in ("wrapped", "proof"))
        context = EncryptionContext.of(value["context"])
    except (AttributeError, KeyError, TypeError, ValueError, ConfigurationError):
        raise _not_ours(name, "is not a key of this package") from None
    is_number = type(generation) is int and 0 < generation < _MAX_GENERATION
    if name != prefix + key_id.hex() or len(key_id) != KEY_SIZE or not is_number or not isinstance(wrapper, str):
        raise _not_ours(name, "is not a key of this package")
    return Record(StoredKey(key_id, generation, wrapper, wrapped, proof), context, not is_key)


def _not_ours(name: object, problem: str) -> KeyServiceError:
    item = shown(name) if isinstance(name, str) else f"a {type(name).__name__}"
    return KeyServiceError(f"the item {item} in the key store {problem}", retryable=False)


# --- writing -----------------------------------------------------------------------------------------------------------


def put_key(context: EncryptionContext, key: StoredKey) -> Op:
    """Returns the operation that stores a key."""
    parts = {"wrapper": key.wrapper, "wrapped": _encoded(key.wrapped), "proof": _encoded(key.proof)}
    return _put(context, KEY, key, parts)


def put_tombstone(context: EncryptionContext, key: StoredKey) -> Op:
    """Returns the operation that stores the tombstone of a key."""
    return _put(context, ERASED, key, {})


def delete_key(context: EncryptionContext, key_id: bytes) -> Op:
    """Returns the operation that deletes a key."""
    return PutOp(namespace_of(context), KEY + key_id.hex(), None)


def _put(context: EncryptionContext, prefix: str, key: StoredKey, parts: Mapping[str, str]) -> Op:
    value = {"format": _FORMAT, "context": dict(context.pairs), "generation": key.generation, **parts}
    # Without ttl=None a store with a default time to live would sweep it; without index=False it would be embedded.
    return PutOp(namespace_of(context), prefix + key.id.hex(), value, index=False, ttl=None)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
