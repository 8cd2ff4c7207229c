"""`EncryptedCache`: wraps any cache of node results, so that neither results nor what they were computed from can be read.

LangGraph's key of an entry is an unkeyed hash of the input of a node: one who has the cache can guess inputs and compare. Here
the key becomes an HMAC, and the value is sealed and bound to namespace and key. An entry that does not open is a miss, told to
the audit: a cache may be deleted at any time, so its content never makes a run fail.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol

from .audit import AuditListener, make_sealer, tell_refused
from .core import binding
from .core.context import NO_CONTEXT, EncryptionContext, check_names, check_reading, current
from .core.encoding import lp, lps, utf8
from .core.keys import Key, KeyProvider
from .core.sealer import Batch, Sealer
from .errors import ConfigurationError, EncryptedSerdeError, MalformedEnvelope, PlaintextRefused
from .serializer import EncryptedSerializer
from .wrapping import serialize
from .wrapping.offload import LARGE, is_about_a_row, is_large
from .wrapping.steps import Steps, Work, arun, run

logger = logging.getLogger(__name__)


class EncryptedCache(BaseCache[Any]):
    """Wraps a cache: keys become keyed hashes, values are sealed and bound to namespace and key.

    Use it wherever the inner cache is used: ``graph.compile(cache=EncryptedCache(SqliteCache(path="cache.db"), keys))``.

    Readable by nature stay namespaces (the module and name of a node), times, sizes, and how many entries there are. Entries
    belong to the encryption context and to the key that is written with: after a change of either they are computed anew.

    Args:
        inner: The cache to wrap. It goes on to work as it did; what is written through the wrapper it cannot read.
        keys: A `Key`, a `KeyProvider` such as `Keyring`, or a `Sealer`, which has options of its own.
        serde: How values become bytes before they are sealed; what the inner cache uses by default.
        required_context: Names that the encryption context must have, or nothing is cached: ``("tenant_id",)``.
        require_context_to_read: Refuse to read where no encryption context is set.
        audit: Told of everything that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If ``inner`` is no cache, or another argument is of the wrong type.
        ConfigurationError: If an option cannot be used.

    Attributes:
        inner: As given.
        serde: How values become bytes.
    """

    def __init__(
        self,
        inner: BaseCache[Any],
        keys: Key | KeyProvider | Sealer,
        *,
        serde: SerializerProtocol | None = None,
        required_context: Iterable[str] = (),
        require_context_to_read: bool = False,
        audit: AuditListener | None = None,
    ) -> None:
        if not isinstance(inner, BaseCache) or isinstance(inner, EncryptedCache):
            raise TypeError(f"inner must be a cache that is not encrypted yet, not {type(inner).__name__}")
        chosen = inner.serde if serde is None else serde
        super().__init__(serde=chosen.inner if isinstance(chosen, EncryptedSerializer) else chosen)
        self.inner = inner
        self._gated: Any = _view(inner)
        self._sealer = make_sealer(
            keys, required_context=required_context, require_context_to_read=require_context_to_read, audit=audit
        )

    def __repr__(self) -> str:
        return f"<EncryptedCache of {type(self.inner).__name__}, {self._sealer.cipher}, {type(self._sealer.keys).__name__}>"

    # --- reading

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Gets the cached values for keys; what does not open is left out, as what is not there.

        Raises:
            WrongContext: If there is no encryption context, and one is required to read.
        """
        return run(self._get(keys))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Gets the cached values for keys, as `get` does. What takes long works in a thread."""
        return await arun(self._get(keys))

    def _get(self, keys: Sequence[FullKey]) -> Steps[dict[FullKey, Any]]:
        check_reading(self._sealer.require_context_to_read, current.get())
        may_block = self._sealer.may_block
        asked, context = yield Work(partial(self._asked, keys), may_block)
        found = yield from self._found([*asked.values()])
        is_large = sum(len(value) for value in found.values() if isinstance(value, bytes)) >= LARGE
        opened: dict[FullKey, Any] = yield Work(partial(self._open, asked, found, context), is_large or may_block)
        return opened

    def _found(self, places: list[FullKey]) -> Steps[dict[FullKey, Any]]:
        """Asks for all places at once; where a row cannot be read, for one after the other."""
        found: dict[FullKey, Any] = {}
        try:
            found = yield _Call(self._gated, "get", places)
        except Exception as error:
            if not is_about_a_row(error):
                raise
            if len(places) == 1:
                self._missed(MalformedEnvelope(f"the inner cache cannot read a row ({type(error).__name__})"))
                return {}
        else:
            return found
        for place in places:
            found |= yield from self._found([place])
        return found

    def _asked(self, keys: Sequence[FullKey]) -> tuple[dict[FullKey, FullKey], EncryptionContext]:
        context = current.get() or NO_CONTEXT
        try:
            secret = _secret(self._sealer.keys.encryption_key(context.pairs), context.encoded)
        except EncryptedSerdeError as error:
            self._missed(error)
            return {}, context
        return {
            (tuple(namespace), key): (tuple(namespace), _hashed(secret, namespace, key)) for namespace, key in keys
        }, context

    def _open(
        self, asked: Mapping[FullKey, FullKey], found: Mapping[FullKey, Any], context: EncryptionContext
    ) -> dict[FullKey, Any]:
        stored = {key: value for (_, key), value in found.items()}  # a cache may give a namespace back changed
        opened: dict[FullKey, Any] = {}
        for wanted, (namespace, key) in asked.items():
            if key in stored:
                try:
                    opened[wanted] = self._value(stored[key], namespace, key, context)
                except EncryptedSerdeError as error:
                    self._missed(error)
        return opened

    def _value(self, stored: Any, namespace: Namespace, key: str, context: EncryptionContext) -> Any:
        if not isinstance(stored, bytes):
            raise PlaintextRefused("a cache entry that was never sealed")
        inner_type, plaintext, _ = self._sealer.open_bound(stored, binding.entry(namespace, key), context=context)
        try:
            return serialize.loads(self.serde, inner_type, plaintext)
        except Exception as error:  # noqa: BLE001  # a class that is gone, or has other fields now, raises what it likes
            raise MalformedEnvelope(f"a cache entry does not deserialize any more ({type(error).__name__})") from None

    def _missed(self, error: EncryptedSerdeError) -> None:
        tell_refused(self._sealer, error)
        logger.warning("a cache entry counts as missing: %s: %s", type(error).__name__, error)

    # --- writing

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Caches values, each for so many seconds. Nothing is cached while no key can be had.

        Raises:
            ConfigurationError: If a value cannot be sealed, or the encryption context lacks a required name.
            TypeError: If a value cannot be serialized.
        """
        run(self._set(pairs))

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Caches values, as `set` does. What takes long works in a thread."""
        await arun(self._set(pairs))

    def _set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> Steps[None]:
        is_heavy = self._sealer.may_block or any(is_large(value) for value, _ in pairs.values())
        yield _Call(self._gated, "set", (yield Work(partial(self._seal, pairs), is_heavy)))

    def _seal(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> dict[FullKey, tuple[Any, int | None]]:
        check_names(self._sealer.required_context, current.get() or NO_CONTEXT)
        asked, context = self._asked(list(pairs))
        try:
            batch = self._sealer.batch(len(asked), context=context)
            return {
                asked[at]: (self._sealed(batch, asked[at], value), ttl) for at, (value, ttl) in pairs.items() if at in asked
            }
        except ConfigurationError:
            raise
        except EncryptedSerdeError as error:
            self._missed(error)
            return {}

    def _sealed(self, batch: Batch, place: FullKey, value: Any) -> bytes:
        inner_type, plaintext = serialize.dumps(self.serde, value, "a node result")
        return batch.seal(inner_type, plaintext, binding.entry(*place))

    # --- the rest

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Deletes the entries of namespaces, or all of the inner cache, those of other tenants too."""
        self.inner.clear(namespaces)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Deletes entries, as `clear` does."""
        await self.inner.aclear(namespaces)


class _Call(NamedTuple):
    """A call of the inner cache, as a step; the asynchronous method has an "a" before its name."""

    inner: Any
    method: str
    argument: Any

    def now(self) -> Any:
        return getattr(self.inner, self.method)(self.argument)

    async def later(self) -> Any:
        return await getattr(self.inner, f"a{self.method}")(self.argument)


class _Gate:
    """The serializer of the inner cache: lets bytes through, and makes of everything else a value that says so."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "bytes", obj

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        type_tag, blob = data
        return blob if type_tag == "bytes" and isinstance(blob, bytes) else NotImplemented


def _view(inner: BaseCache[Any]) -> BaseCache[Any]:
    """Returns the inner cache with the gate for a serializer: of its type, and with its very attributes."""
    members = {"serde": property(lambda self: _GATE), "__del__": lambda self: None}  # its owner closes it
    view: BaseCache[Any] = object.__new__(type(type(inner).__name__, (type(inner),), members))
    view.__dict__ = inner.__dict__
    return view


_GATE = _Gate()


@lru_cache(maxsize=1024)
def _secret(key: Key, context: bytes) -> bytes:
    return key.derive("name", b"entry", context)


def _hashed(secret: bytes, namespace: Namespace, key: str) -> str:
    return hmac.digest(secret, lps(namespace) + lp(utf8(key)), "sha256").hex()[:32]
