"""Opening a stored value and writing it anew in the form that is asked for, as bytes: no object is ever built of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from langgraph.checkpoint.serde.types import TASKS

from ..core.binding import Binding, Place
from ..core.ciphers import DEFAULT, get_cipher
from ..core.compression import check_compression
from ..core.context import NO_CONTEXT, EncryptionContext, parse_context
from ..core.encoding import lp, utf8
from ..core.format import is_sealed, sealed_text
from ..core.keys import Key, KeyProvider, Keyring
from ..core.sealer import Sealer
from ..errors import ConfigurationError, MalformedEnvelope, PlaintextRefused, UnsupportedCipher
from ..wrapping.admission import NEVER_PLAINTEXT
from ..wrapping.inert import Inert
from ..wrapping.legacy import LegacyReader
from .model import INLINED, LEGACY, METADATA, NONE, PLAINTEXT, READABLE_PART, SEALED, UNDECODABLE, Form, Seen
from .packing import DELTA_SNAPSHOT, as_msgpack, delta_snapshot, pack, unpack
from .recognise import recognise_part, recognise_typed, sealed_in

VALUE, DELTA, WRITE, MANIFEST = lp(b"value"), lp(b"delta"), lp(b"write"), lp(b"manifest")

SAVER = "saver"
SERDE = "serde"
TARGETS = (SAVER, SERDE, PLAINTEXT)
"""What a database can be brought to: as `EncryptedSaver` writes, as a saver with ``serde=EncryptedSerializer`` does, or as
it was before either."""

NO_COMPRESSION = "none"

ContextOf = Mapping[str, str] | Callable[[str], Mapping[str, str]] | None

_NO_CLAIMS: Mapping[str, str] = {}


class Opened(NamedTuple):
    """A value, opened.

    Attributes:
        inner_type: Format of the plaintext.
        data: The plaintext.
        form: How it was stored.
        claims: Of a bound value.
        is_delta: Whether it stands in a `_DeltaSnapshot`; the plaintext is without it.
    """

    inner_type: str
    data: bytes
    form: Form
    claims: Mapping[str, str] = _NO_CLAIMS
    is_delta: bool = False


class Coder:
    """Knows the keys, and the form that is asked for.

    Args:
        keys: What to open and seal with.
        target: One of `TARGETS`.
        cipher: What to seal with; None leaves sealed values with theirs, and takes the default for others.
        compression: ``"zstd"``, ``"none"``, or None to leave it as it is.
        legacy_keys: Raw AES keys of langgraph's own serializer.
        context: The encryption context of values that have none yet, by thread; those that have one keep it.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If an argument cannot be used.
    """

    def __init__(
        self,
        keys: Key | KeyProvider,
        *,
        target: str,
        cipher: str | None,
        compression: str | None,
        legacy_keys: Iterable[bytes],
        context: ContextOf,
    ) -> None:
        if target not in TARGETS:
            raise ConfigurationError(f"unknown target {target!r}; choose one of: {', '.join(TARGETS)}")
        if cipher is not None:
            get_cipher(cipher)
        if compression != NO_COMPRESSION:
            check_compression(compression)
        self.target = target
        self.cipher = cipher
        self.compression = compression
        self._opener = Sealer(keys)
        self.keys = self._opener.keys
        self._sealers: dict[tuple[str, bool], Sealer] = {}
        self._legacy = LegacyReader(legacy_keys)
        self._context = context

    def context_of(self, thread_id: str) -> EncryptionContext:
        """Gives the encryption context of values of a thread that have none."""
        pairs = self._context(thread_id) if callable(self._context) else self._context
        return EncryptionContext.of(pairs) if pairs else NO_CONTEXT

    def context_beside(self, form: Form, thread_id: str) -> EncryptionContext:
        """Gives the encryption context for what has none, and stands beside a value that may have one."""
        return parse_context(form.context) if form.kind == SEALED else self.context_of(thread_id)

    @property
    def only_key(self) -> Key | None:
        """The key that everything is to be sealed under, where there is exactly one and nothing else is asked for."""
        plain_rotation = self.target != PLAINTEXT and self.cipher is None and self.compression is None
        return self.keys.primary if plain_rotation and isinstance(self.keys, Keyring) else None

    # --- what is to be done

    def is_done(self, seen: Seen) -> bool:
        """Says whether a value stands in the form that is asked for, as far as that can be seen without opening it."""
        kind, form = seen.form.kind, seen.form
        if kind in (UNDECODABLE, LEGACY):
            return False
        if self.target == PLAINTEXT:
            return kind != SEALED
        if kind == SEALED:
            return form.bound == (self.target == SAVER) and self._is_current(form)
        if self.target == SAVER:
            return kind == NONE
        # A saver with serde= never asks it about metadata, nor Postgres about scalars.
        return seen.what in (READABLE_PART, INLINED) or seen.column == METADATA

    def may_shrink(self, seen: Seen) -> bool:
        """Says whether a value might get smaller by the compression that is asked for; only trying can tell."""
        form = seen.form
        return self.target != PLAINTEXT and form.kind == SEALED and self.compression == "zstd" and not form.compressed

    def _is_current(self, form: Form) -> bool:
        key = self.keys.encryption_key(parse_context(form.context).pairs)
        if key.id != form.key_id or self.cipher not in (None, form.cipher):
            return False
        return not (form.compressed and self.compression == NO_COMPRESSION)

    # --- opening

    def open_typed(
        self, type_tag: str | None, data: bytes, place: Place, surface: bytes, channel: str, known: Mapping[str, str]
    ) -> Opened:
        """Opens a value that stands beside its type.

        Args:
            type_tag: As stored.
            data: As stored.
            place: Where it stands.
            surface: As what it stands there.
            channel: Under which channel.
            known: The claims that it must have, if it is bound.

        Raises:
            EncryptedSerdeError: If it does not open.
        """
        form = recognise_typed(type_tag, data, len(data))
        if type_tag is None or (form.kind == UNDECODABLE and "+" not in type_tag and type_tag != "bytes"):
            raise MalformedEnvelope("the value has no type, or is cut")
        inner_type, _, _ = type_tag.rpartition("+")
        if form.kind == LEGACY:
            if not self._legacy:
                raise UnsupportedCipher("a value of langgraph's own serializer, and no legacy key was given")
            return _unwrapped(Opened(inner_type, self._legacy.open(inner_type, data), form), surface)
        if "+" in type_tag:
            return _unwrapped(Opened(*self._opener.open(type_tag, data, context=parse_context(form.context)), form), surface)
        if form.kind == SEALED:
            if type_tag == "msgpack":
                return self.open_part(unpack(data), place, channel, known)
            return self.open_bound(data, form, location(place, surface, channel), known)
        if type_tag in NEVER_PLAINTEXT:
            raise PlaintextRefused(f"a plaintext value of type {type_tag!r} is not vouched for: it could run any code")
        return _unwrapped(Opened(type_tag, data, form), surface)

    def open_part(self, value: object, place: Place, channel: str, known: Mapping[str, str]) -> Opened:
        """Opens a channel value that is part of a checkpoint that was taken apart. Raises as `open_typed` does."""
        if isinstance(value, bytes) and is_sealed(value):
            return self.open_bound(value, recognise_typed("bytes", value, len(value)), location(place, VALUE, channel), known)
        if isinstance(value, Inert) and value.code == DELTA_SNAPSHOT:
            inner = unpack(value.data) if value.data[:1] in b"\xc4\xc5\xc6" else None
            if not isinstance(inner, bytes) or not is_sealed(inner):
                return Opened("msgpack", value.data, Form(PLAINTEXT), is_delta=True)
            form = recognise_typed("bytes", inner, len(inner))
            return self.open_bound(inner, form, location(place, DELTA, channel), known)._replace(is_delta=True)
        return Opened("msgpack", pack(value), Form(PLAINTEXT))

    def open_bound(self, sealed: bytes, form: Form, location: bytes, known: Mapping[str, str]) -> Opened:
        """Opens sealed bytes. Raises as `Sealer.open_bound` does."""
        opened = self._opener.open_bound(sealed, Binding.of(location, known), context=parse_context(form.context))
        return Opened(opened.inner_type, opened.plaintext, form, opened.claims)

    def open_send(self, send: object, place: Place, known: Mapping[str, str]) -> Opened:
        """Opens a pending send of a checkpoint of a format below 4. Raises as `open_typed` does."""
        sealed = sealed_in(send)
        if sealed is None:
            return Opened("msgpack", pack(send), Form(PLAINTEXT))
        return self.open_bound(sealed, recognise_part(send), location(place, WRITE, TASKS), known)

    # --- sealing

    def seal_bound(self, opened: Opened, location: bytes, claims: Mapping[str, str], context: EncryptionContext) -> bytes:
        """Seals for a place.

        A value that was sealed keeps its own context, and its cipher and compression where nothing else is asked for.
        """
        sealer, context = self._sealer(opened.form, context)
        return sealer.seal_bound(opened.inner_type, opened.data, Binding.of(location, claims), context=context)

    def seal_value(
        self, opened: Opened, place: Place, channel: str, claims: Mapping[str, str], context: EncryptionContext
    ) -> bytes:
        """Seals a channel value for its place; a bound one keeps its claims."""
        where = location(place, DELTA if opened.is_delta else VALUE, channel)
        return self.seal_bound(opened, where, opened.claims if opened.form.bound else claims, context)

    def unbound(self, opened: Opened, context: EncryptionContext) -> tuple[str, bytes]:
        """Gives type and bytes of a value that is bound to no place: sealed, or in plaintext if that is asked for."""
        inner_type, data = opened.inner_type, opened.data
        if opened.is_delta:
            inner_type, data = "msgpack", pack(Inert(DELTA_SNAPSHOT, as_msgpack(inner_type, data)))
        if self.target == PLAINTEXT:
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
        return sealer, parse_context(form.context) if form.kind == SEALED else context


def as_text(sealed: bytes) -> str:
    """Gives sealed bytes as sealed text."""
    return sealed_text(sealed)


def location(place: Place, surface: bytes, field: str) -> bytes:
    """Gives the location of what stands in a place."""
    return surface + place.encoded + lp(utf8(field))


def _unwrapped(opened: Opened, surface: bytes) -> Opened:
    """Takes a channel value out of its `_DeltaSnapshot`, if it is in one."""
    if surface != VALUE or opened.inner_type != "msgpack" or (data := delta_snapshot(opened.data)) is None:
        return opened
    return opened._replace(data=data, is_delta=True)
