"""Opening a stored value and writing it anew in the form that is asked for, as bytes: no object is ever built of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..core.binding import Binding
from ..core.ciphers import DEFAULT, get_cipher
from ..core.compression import check_compression
from ..core.context import NO_CONTEXT, EncryptionContext, what_differs
from ..core.keys import Key, KeyProvider, Keyring, SearchKeyProvider, as_key_provider, current_key_id
from ..core.opaque import opaque
from ..core.sealer import Sealer
from ..errors import ConfigurationError, WrongContext
from ..rows.parts import Opened
from ..rows.stored import LEGACY, NONE, PLAINTEXT, SEALED, UNDECODABLE, Form, Stored
from ..rows.write import MetadataKeys
from ..wrapping.admission import Admission
from ..wrapping.inert import Inert, pack, unpack
from ..wrapping.upstream import DELTA_SNAPSHOT
from .asked_keys import AskedKeys
from .report import Seen, Unconvertible

SAVER = "saver"
SERDE = "serde"
TARGETS = (SAVER, SERDE, PLAINTEXT)
"""What a database can be brought to: as `EncryptedSaver` writes, as a saver with ``serde=EncryptedSerializer`` does, or as
it was before either."""

INLINED, READABLE_PART, METADATA = "inlined scalar", "readable part", "checkpoints.metadata"
"""What a saver with ``serde=`` never asks it about."""

NO_COMPRESSION = "none"

ITEM, ITEM_VALUE = "item", "store.value"
"""An item of a store, whose sealed form is one, and the column of it and of the readable fields beside it."""

ContextOf = Mapping[str, str] | Callable[[str], Mapping[str, str]] | None

_EXTENSIONS = frozenset({0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)})  # first bytes of an extension object


class Blocked(Unconvertible):
    """A row that may not become ours yet: it would look like one that somebody tampered with, beside another that is not."""


class Switches(NamedTuple):
    """What is admitted besides what we sealed for its place. Every switch starts closed.

    Attributes:
        plaintext: Values that were never encrypted, but never ``pickle``.
        unbound: Values of `EncryptedSerializer` where bound ones belong.
        legacy_keys: Raw AES keys of langgraph's own `EncryptedSerializer`.
    """

    plaintext: bool = False
    unbound: bool = False
    legacy_keys: tuple[bytes, ...] = ()

    def described(self) -> dict[str, Any]:
        """Returns them for a report. Of keys it says how many."""
        return {"allow_plaintext": self.plaintext, "allow_unbound": self.unbound, "legacy_keys": len(self.legacy_keys)}

    def __repr__(self) -> str:
        return opaque(self)


def looked_at(what: str, readable: Collection[str], searchable: Collection[str], reserved: Collection[str]) -> MetadataKeys:
    """Checks which names of metadata, or of fields of items, the database is to look at.

    Raises:
        TypeError: If one of the two is a single str.
        ConfigurationError: If a name is in both, or is one of those that we write.
    """
    if isinstance(readable, str) or isinstance(searchable, str):
        raise TypeError(f"readable_{what} and searchable_{what} take several names: write ('city',)")
    if wrong := ({*readable} & {*searchable}) | ({*readable, *searchable} & {*reserved}):
        raise ConfigurationError(
            f"{what} cannot be readable and searchable, or have a reserved name: {', '.join(sorted(wrong))}"
        )
    return MetadataKeys(frozenset(readable), frozenset(searchable))


class Target(NamedTuple):
    """How values are to be stored in the database.

    Attributes:
        form: One of `TARGETS`.
        cipher: What to seal with; None leaves sealed values with theirs, and takes the default for others.
        compression: ``"zstd"``, ``"none"``, or None to leave it as it is.
        context: The encryption context of values that have none yet, by thread; those that have one keep it.
        fields: Fields of items that the database looks at, besides those that it does already.
        metadata_keys: The metadata keys that `EncryptedSaver` is told of.
    """

    form: str = SAVER
    cipher: str | None = None
    compression: str | None = None
    context: ContextOf = None
    fields: MetadataKeys = MetadataKeys()
    metadata_keys: MetadataKeys = MetadataKeys()


class RowCodec:
    """Knows the keys, what is admitted, and the form that is asked for.

    Args:
        keys: What to open and seal with.
        switches: What is admitted.
        target: The form that is asked for.
        expected: The context that every value must have; None where each may have its own.
        dry_run: Whether what is written anew is not stored.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If an argument cannot be used.
    """

    def __init__(
        self,
        keys: Key | KeyProvider,
        switches: Switches,
        target: Target = Target(),  # noqa: B008  # immutable
        *,
        expected: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> None:
        if target.form not in TARGETS:
            raise ConfigurationError(f"unknown target {target.form!r}; choose one of: {', '.join(TARGETS)}")
        if target.cipher is not None:
            get_cipher(target.cipher)
        if target.compression != NO_COMPRESSION:
            check_compression(target.compression)
        self.form, self.cipher, self.compression, self._context, self.fields, self.metadata_keys = target
        self.dry_run = dry_run
        provider = as_key_provider(keys)
        self.keys: KeyProvider = provider if isinstance(provider, Keyring) else AskedKeys(provider)
        self.makes_marks = isinstance(provider, SearchKeyProvider)  # beside items, as a store does
        self._opener = Sealer(self.keys)
        self._sealers: dict[tuple[str, bool], Sealer] = {}
        self._expected = None if expected is None else EncryptionContext.of(expected)
        to_saver = target.form == SAVER
        self.admission = Admission(
            self._opener,
            plaintext=switches.plaintext,
            unbound=switches.unbound or not to_saver,
            legacy_keys=switches.legacy_keys,
        )

    def context_of(self, thread_id: str) -> EncryptionContext:
        """Returns the encryption context of values of a thread that have none."""
        pairs = self._context(thread_id) if callable(self._context) else self._context
        return EncryptionContext.of(pairs) if pairs else NO_CONTEXT

    def context_beside(self, form: Form, thread_id: str) -> EncryptionContext:
        """Returns the encryption context for what has none, and is stored beside a value that may have one."""
        return self.context_of(thread_id) if form.context is None else form.context

    @property
    def only_key(self) -> Key | None:
        """The key that everything is to be sealed under, where there is exactly one and nothing else is asked for."""
        plain_rotation = self.form != PLAINTEXT and self.cipher is None and self.compression is None
        return self.keys.primary if plain_rotation and isinstance(self.keys, Keyring) else None

    # --- what is to be done

    def is_done(self, seen: Seen) -> bool:
        """Says whether a value is stored in the form that is asked for, as far as that can be seen without opening it."""
        kind, form = seen.form.kind, seen.form
        if kind in (UNDECODABLE, LEGACY):
            return False
        if self.form == PLAINTEXT:
            return kind != SEALED
        if kind == SEALED:
            return form.bound == (self.form == SAVER or seen.what == ITEM) and self._is_current(form)
        if seen.column == ITEM_VALUE:  # readable copies stay, and a value in place of an item is none
            return kind == NONE or seen.what != ITEM
        if self.form == SAVER:
            return kind == NONE
        return seen.what in (READABLE_PART, INLINED) or seen.column == METADATA

    def may_shrink(self, seen: Seen) -> bool:
        """Says whether a value might get smaller by the compression that is asked for; only trying can tell."""
        form = seen.form
        return self.form != PLAINTEXT and form.kind == SEALED and self.compression == "zstd" and not form.compressed

    def _is_current(self, form: Form) -> bool:
        current = current_key_id(self.keys, (form.context or NO_CONTEXT).pairs)
        if current != form.key_id or self.cipher not in (None, form.cipher):
            return False
        return not (form.compressed and self.compression == NO_COMPRESSION)

    # --- opening

    def open(self, found: Stored, bind: Callable[[bool], Binding], *, is_proven: bool = False) -> Opened:
        """Opens a value, as `rows.verify.Reader` says. Each value may have its own context, unless one is expected."""
        if found.error is not None and "+" not in found.type_tag:  # what it is refused for is the admission's to say
            raise found.error
        context = found.form.context
        if self._expected is not None and context is not None and context.encoded != self._expected.encoded:
            raise WrongContext(what_differs(context, self._expected))
        if found.sealed is not None and "+" not in found.type_tag:
            inner_type, data, claims = self._opener.open_bound(found.sealed, bind(found.is_delta), context=context)
            return Opened(inner_type, data, found.form, claims, found.is_delta)
        if found.form.kind == NONE:
            return Opened("null", b"", found.form)
        admitted = self.admission.open(found.type_tag, found.data, context=context, is_proven=is_proven)
        if is_proven or self.form == SAVER:
            self.admission.settle(admitted, len(found.data), is_proven=is_proven)
        return Opened(admitted.inner_type, admitted.plaintext, found.form, is_delta=found.is_delta, kind=admitted.kind)

    # --- sealing

    def seal(self, opened: Opened, where: Binding, context: EncryptionContext) -> bytes:
        """Seals for a place. A value that was bound keeps its claims, and one that was sealed its context.

        Cipher and compression stay too, where nothing else is asked for.
        """
        sealer, context = self._sealer(opened.form, context)
        where = Binding.of(where.location, opened.claims) if opened.form.bound else where
        return sealer.seal_bound(opened.inner_type, opened.data, where, context=context)

    def unbound(self, opened: Opened, context: EncryptionContext) -> tuple[str, bytes]:
        """Returns type and bytes of a value that is bound to no place: sealed, or in plaintext if that is asked for."""
        inner_type, data = opened.inner_type, opened.data
        if opened.is_delta:
            inner_type, data = "msgpack", pack(Inert(DELTA_SNAPSHOT, as_msgpack(inner_type, data)))
        if self.form == PLAINTEXT:
            return inner_type, data
        sealer, context = self._sealer(opened.form, context)
        return sealer.seal(inner_type, data, context=context)

    def _sealer(self, form: Form, context: EncryptionContext) -> tuple[Sealer, EncryptionContext]:
        cipher = self.cipher or form.cipher or DEFAULT
        zstd = form.compressed if self.compression is None else self.compression == "zstd"
        sealer = self._sealers.get((cipher, zstd))
        if sealer is None:
            sealer = Sealer(self.keys, cipher=cipher, compression="zstd" if zstd else None)
            self._sealers[cipher, zstd] = sealer
        return sealer, context if form.context is None else form.context


def out_of_snapshot(opened: Opened) -> Opened:
    """Takes a channel value that was opened whole out of the snapshot of a delta channel, if it is in one."""
    data = opened.data
    if opened.is_delta or opened.form.bound or opened.inner_type != "msgpack" or not data or data[0] not in _EXTENSIONS:
        return opened
    value = unpack_exactly(data)
    return opened._replace(data=value.data, is_delta=True) if value.code == DELTA_SNAPSHOT else opened


def unpack_exactly(packed: bytes) -> Any:
    """Takes msgpack apart.

    Raises:
        Unconvertible: If putting it together again would not give the same bytes, so that parts would not be what they were.
    """
    value = unpack(packed)
    if pack(value) != packed:
        raise Unconvertible("the value is msgpack of an unusual encoding, which cannot be taken apart without changing it")
    return value


def as_msgpack(inner_type: str, data: bytes) -> bytes:
    """Returns a serialized value as msgpack, so that it can be part of a packed checkpoint.

    Raises:
        Unconvertible: If the value is of a type (json, pickle, a serializer's own) that only its serializer can read.
    """
    if inner_type == "msgpack":
        return data
    if inner_type == "null":
        return pack(None)
    if inner_type in ("bytes", "bytearray"):
        return pack(data)
    raise Unconvertible(f"a value of type {inner_type!r} cannot be put into a packed checkpoint")
