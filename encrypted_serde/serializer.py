"""`EncryptedSerializer`: what a checkpointer is given as ``serde=``."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from .audit import AuditEvent, AuditListener, make_sealer
from .core.ciphers import DEFAULT
from .core.keys import Key, KeyProvider
from .errors import EncryptedSerdeError, MalformedEnvelope, PlaintextRefused, UnsupportedCipher
from .wrapping.legacy import CIPHER as LEGACY_CIPHER
from .wrapping.legacy import LegacyReader, loads_unauthenticated

logger = logging.getLogger(__name__)

NEVER_PLAINTEXT = frozenset({"pickle"})
"""Inner types that are refused unauthenticated under every switch: reading one runs code of the writer's choice."""


class EncryptedSerializer(JsonPlusSerializer):
    """Seals every value that a checkpointer stores through its serializer, and opens nothing that was not sealed.

    Pass it as ``serde=`` to any checkpointer that honours that argument. What a serializer cannot protect (metadata;
    scalars that Postgres inlines; the place of a value) `EncryptedSaver` does.

    It is a `JsonPlusSerializer` in name only, so that ``LANGGRAPH_STRICT_MSGPACK=true`` finds the one method it asks for and
    a compiled graph keeps this serializer, with the graph's allowlist applied to the inner one.

    Args:
        keys: A `Key` or any `KeyProvider`, such as `Keyring`.
        serde: How objects become bytes before they are sealed. A `JsonPlusSerializer` by default.
        cipher: What to write with: ``"xaes-256-gcm"`` (default; no practical limit on the number of values),
            ``"aes-256-gcm"`` (2^32 values per key) or ``"aes-256-eax"`` (2^48 values, slower). All of them are read.
        compression: ``"zstd"`` to compress values that get smaller by it; needs the extra ``zstd``. The length of a stored
            value then tells something about its content.
        allow_plaintext: For a migration: rows that were never encrypted are read too, through ``serde``, but never
            ``pickle``. **While this is on, nothing is promised against somebody who can write rows.** Each inner type is
            logged once and counted in `plaintext_reads`.
        legacy_keys: For a migration: raw AES keys under which langgraph's own `EncryptedSerializer` wrote. Its rows are read
            with a strict msgpack allowlist, never written. **While this is set, whoever can write rows may relabel them.**
        required_context: Names that the `encryption_context` must have, or nothing is written: ``("tenant_id",)``.
        accept_contexts: Contexts that are read besides the current one, e.g. ``({},)`` for rows from before there were
            tenants. Every tenant can read them.
        audit: Told of everything that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If cipher, compression, a legacy key or a context cannot be used. The message says what to do.

    Attributes:
        plaintext_reads: How many plaintext values were read, by inner type. Zero for long enough: turn the switch off.

    Example:
        ```python
        serde = EncryptedSerializer(Keyring.from_env())
        saver = SqliteSaver(connection, serde=serde)
        ```
    """

    def __init__(
        self,
        keys: Key | KeyProvider,
        *,
        serde: SerializerProtocol | None = None,
        cipher: str = DEFAULT,
        compression: str | None = None,
        allow_plaintext: bool = False,
        legacy_keys: Iterable[bytes] = (),
        required_context: Iterable[str] = (),
        accept_contexts: Iterable[Mapping[str, str]] = (),
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
            audit=audit,
        )
        self._audit = audit
        self._allow_plaintext = bool(allow_plaintext)
        self._legacy = LegacyReader(legacy_keys, allowlist_from=inner)
        self.plaintext_reads: Counter[str] = Counter()

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
        if "+" not in type_tag:
            return self._loads_plaintext(type_tag, blob)
        try:
            return self._inner.loads_typed(self._sealer.open(type_tag, blob))
        except UnsupportedCipher:
            inner_type, _, cipher = type_tag.rpartition("+")
            if cipher != LEGACY_CIPHER:
                raise
            if not self._legacy:
                self._tell("refuse", cipher, blob, UnsupportedCipher.__name__)
                raise
        return self._loads_legacy(inner_type, blob)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> EncryptedSerializer:
        """Gives this serializer with more types on the inner serializer's msgpack allowlist.

        LangGraph calls this when a graph is compiled under ``LANGGRAPH_STRICT_MSGPACK=true``. Keys, caches and the count of
        plaintext reads are shared with the original.
        """
        extra = tuple(extra_allowlist)
        clone = copy.copy(self)
        if isinstance(self._inner, JsonPlusSerializer):
            clone._inner = self._inner.with_msgpack_allowlist(extra)
        clone._legacy = self._legacy.with_msgpack_allowlist(extra)
        return clone

    def _loads_legacy(self, inner_type: str, blob: bytes) -> Any:
        try:
            value = self._legacy.loads(inner_type, blob)
        except EncryptedSerdeError as error:
            self._tell("refuse", LEGACY_CIPHER, blob, type(error).__name__)
            raise
        self._tell("open", LEGACY_CIPHER, blob, "ok")
        return value

    def _loads_plaintext(self, inner_type: str, data: bytes) -> Any:
        if problem := self._plaintext_problem(inner_type):
            self._tell("refuse", None, data, PlaintextRefused.__name__)
            raise PlaintextRefused(problem)
        if inner_type not in self.plaintext_reads:
            logger.warning("reading unencrypted rows of type %r, because allow_plaintext is on", inner_type)
        self.plaintext_reads[inner_type] += 1
        self._tell("open", None, data, "plaintext")
        return loads_unauthenticated(self._inner, inner_type, data)

    def _plaintext_problem(self, inner_type: str) -> str | None:
        if not self._allow_plaintext:
            return f"a row of type {inner_type!r} was never encrypted; pass allow_plaintext=True while you migrate such rows"
        if inner_type in NEVER_PLAINTEXT:
            return f"an unencrypted row of type {inner_type!r} is never read: it could run any code"
        return None

    def _tell(self, action: str, cipher: str | None, data: bytes, outcome: str) -> None:
        if self._audit is not None:
            self._audit(AuditEvent(action, cipher=cipher, size=len(data), outcome=outcome))


def _plain_types(type_tag: object, blob: object) -> tuple[str, bytes]:
    if not isinstance(type_tag, str):
        raise MalformedEnvelope(f"a type tag is str, not {type(type_tag).__name__}")
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise MalformedEnvelope(f"a stored value is bytes, not {type(blob).__name__}")
    return type_tag, bytes(blob)
