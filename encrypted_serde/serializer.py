"""`EncryptedSerializer`: what a checkpointer is given as ``serde=``."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from .audit import AuditListener, make_sealer
from .core.ciphers import DEFAULT
from .core.keys import Key, KeyProvider
from .core.sealer import Sealer
from .errors import MalformedEnvelope
from .wrapping.admission import Admission
from .wrapping.description import summary
from .wrapping.legacy import CIPHER as LEGACY_CIPHER

_LEGACY_SUFFIX = f"+{LEGACY_CIPHER}"


class EncryptedSerializer(JsonPlusSerializer):
    """Seals every value that a checkpointer stores through its serializer, and opens nothing that was not sealed.

    Pass it as ``serde=`` to any checkpointer that honours that argument. What a serializer cannot protect (metadata;
    scalars that Postgres inlines; the place of a value) `EncryptedSaver` does.

    It is a `JsonPlusSerializer` in name only, so that ``LANGGRAPH_STRICT_MSGPACK=true`` finds the one method it asks for and
    a compiled graph keeps this serializer, with the graph's allowlist applied to the inner one.

    Args:
        keys: A `Key`, any `KeyProvider` such as `Keyring`, or a `Sealer` that has the next options already.
        serde: How objects become bytes before they are sealed. A `JsonPlusSerializer` by default.
        cipher: What to write with: ``"xaes-256-gcm"`` (default; no practical limit on the number of values),
            ``"aes-256-gcm"`` (2^32 values per key) or ``"aes-256-eax"`` (2^48 values, slower). All of them are read.
        compression: ``"zstd"`` to compress values that get smaller by it; needs the extra ``zstd``. The length of a stored
            value then tells something about its content.
        allow_plaintext: For a migration: rows that were never encrypted are read too, through ``serde``, but never
            ``pickle``. **While this is on, nothing is promised against somebody who can write rows.** Each inner type is
            logged once and counted in `admitted_reads`.
        legacy_keys: For a migration: raw AES keys under which langgraph's own `EncryptedSerializer` wrote. Its rows are read
            with a strict msgpack allowlist, never written. **While this is set, somebody who can write rows may relabel them.**
        required_context: Names that the `encryption_context` must have, or nothing is written: ``("tenant_id",)``.
        accept_contexts: Contexts that are read besides the current one, e.g. ``({},)`` for rows from before there were
            tenants. Every tenant can read them.
        require_context_to_read: Refuse to read where no encryption context is set. Without it a request that forgets the tenant
            reads the rows of all, each under the context that is stored with it.
        audit: Told of everything that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If cipher, compression, a legacy key or a context cannot be used. The message says what to do.

    Example:
        ```python
        serde = EncryptedSerializer(Keyring.from_env())
        saver = SqliteSaver(connection, serde=serde)
        ```
    """

    def __init__(
        self,
        keys: Key | KeyProvider | Sealer,
        *,
        serde: SerializerProtocol | None = None,
        cipher: str = DEFAULT,
        compression: str | None = None,
        allow_plaintext: bool = False,
        legacy_keys: Iterable[bytes] = (),
        required_context: Iterable[str] = (),
        accept_contexts: Iterable[Mapping[str, str]] = (),
        require_context_to_read: bool = False,
        audit: AuditListener | None = None,
    ) -> None:
        super().__init__()
        inner = JsonPlusSerializer() if serde is None else serde
        if isinstance(inner, type) or not isinstance(inner, SerializerProtocol):
            raise TypeError(f"serde must have dumps_typed and loads_typed; {type(inner).__name__} has not")
        if isinstance(inner, EncryptedSerializer):
            raise TypeError("serde is an EncryptedSerializer already: values would be sealed twice")
        self._inner = inner
        self._sealer = make_sealer(
            keys,
            cipher=cipher,
            compression=compression,
            required_context=required_context,
            accept_contexts=accept_contexts,
            require_context_to_read=require_context_to_read,
            audit=audit,
        )
        self._open = self._sealer.open
        self._admission = Admission(self._sealer, plaintext=allow_plaintext, legacy_keys=legacy_keys, allowlist_from=inner)

    @property
    def admitted_reads(self) -> Counter[str]:
        """How many plaintext values were read, by inner type. Zero for long enough: turn the switch off."""
        return self._admission.plaintext_types

    @property
    def inner(self) -> SerializerProtocol:
        """How objects become bytes before they are sealed."""
        return self._inner

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Serializes an object and seals the result.

        Returns:
            The type tag, constant for each inner type (``msgpack+xaes-256-gcm``), and the sealed bytes.

        Raises:
            KeyServiceError: If the key provider has no key now. Nothing is ever written unencrypted instead.
            ConfigurationError: If the encryption context lacks a required name.
        """
        inner_type, plaintext = self._inner.dumps_typed(obj)
        return self._sealer.seal(inner_type, plaintext)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Opens a stored value and deserializes it. Nothing is deserialized before it was authenticated.

        Args:
            data: Type tag and bytes, as a tuple or list; the bytes in any buffer type.

        Raises:
            PlaintextRefused: If it was never sealed and ``allow_plaintext`` is off, or it is a pickle.
            EncryptedSerdeError: As `Sealer.open` raises it, if it is anything but a value sealed under one of the keys.
        """
        try:
            type_tag, blob = data
        except (TypeError, ValueError):
            raise MalformedEnvelope("a stored value is a pair of type tag and bytes") from None
        if type(blob) is not bytes or type(type_tag) is not str:
            type_tag, blob = _plain_types(type_tag, blob)
        if not _is_sealed(type_tag):
            return self._admission.loads(self._inner, self._admission.admit(type_tag, blob))
        return self._inner.loads_typed(self._open(type_tag, blob))

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> EncryptedSerializer:
        """Returns this serializer with more types on the inner serializer's msgpack allowlist.

        LangGraph calls this when a graph is compiled under ``LANGGRAPH_STRICT_MSGPACK=true``. Keys, caches and the count of
        plaintext reads are shared with the original.
        """
        extra = tuple(extra_allowlist)
        clone = copy.copy(self)
        if isinstance(self._inner, JsonPlusSerializer):
            clone._inner = self._inner.with_msgpack_allowlist(extra)
        clone._admission = self._admission.with_allowlist(extra)
        return clone

    def __repr__(self) -> str:
        return f"<EncryptedSerializer {summary(self._sealer, self._admission)}>"


@lru_cache(maxsize=256)
def _is_sealed(type_tag: str) -> bool:
    return "+" in type_tag and not type_tag.endswith(_LEGACY_SUFFIX)


def _plain_types(type_tag: object, blob: object) -> tuple[str, bytes]:
    if not isinstance(type_tag, str):
        raise MalformedEnvelope(f"a type tag is str, not {type(type_tag).__name__}")
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise MalformedEnvelope(f"a stored value is bytes, not {type(blob).__name__}")
    return type_tag, bytes(blob)
