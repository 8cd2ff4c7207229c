"""The sealer: how one value is sealed and opened. The whole security argument of this package is in this file.

What is sealed. ``blob = front | nonce | ciphertext | tag | tail``. The front names the key, the tail carries the encryption
context and, for bound values, claims; both are readable, and authenticated together with everything else that gives the value
its meaning:

    associated data = LP("encrypted-serde/1") | LP(type tag) | front | LP(location) | tail

* The *type tag* (``msgpack+xaes-256-gcm``) decides which deserialiser runs, so nobody may relabel it.
* The *location* is where the value belongs: thread, namespace, channel. It is not stored. The reader says where it found the
  value, and a value that was moved does not open.
* The *claims* are further facts about the place that only some readers know. They are stored, and compared by those who do.
* The *context* (tenant) is also an input of the data key: two tenants never share one, even under one `Key`.
* The *key id* is a hash of the secret. AES-GCM by itself lets somebody craft one ciphertext that opens under two keys; a
  ciphertext that names its key by hash cannot.

Where one part ends and the next begins is fixed before the AEAD runs: the front has a fixed length, the tail says its lengths
at its end, and the flags in the front say what is in it. All of that is associated data, so bytes that are moved from one
part to another change it.

How it is opened. Checks run from cheap and harmless to costly: type tag, version, flags and lengths, bound or not, expected
context, key, AEAD, claims, decompression. The context is compared before any key is looked for, so a request of tenant A
never unwraps a key of tenant B. Nothing is returned, decompressed or deserialised before the AEAD has accepted it.

Randomness. Every random byte comes from the kernel: those of a value in the call that seals it, those of a `Batch` in the
saver call that it serves. With XAES-256-GCM the first 12 bytes of the nonce are kept for up to 2^16 values, the other 12 are
fresh for each, and two processes that share the first part after a fork therefore still never share a nonce (but by the
chance that `ciphers` states).

`format` has the bytes, `binding` the places, `prepared` the caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidTag

from ..errors import (
    AuthenticationFailed,
    ConfigurationError,
    MalformedEnvelope,
    UnknownKey,
    WrongContext,
    WrongLocation,
)
from .binding import Binding
from .bounded import Bounded
from .ciphers import DEFAULT, TAG_SIZE, Aead, get_cipher
from .compression import check_compression, compress, decompress
from .context import (
    NO_CONTEXT,
    NO_READER,
    EncryptionContext,
    check_accepted_contexts,
    check_names,
    check_required_context,
    current,
    what_differs,
)
from .encoding import pl
from .forks import start_anew_in_children
from .format import FLAG_BOUND, FLAG_ZSTD, FRONT, MAX_PLAINTEXT, Head, Opened, Sealed, split_type_tag
from .keys import Key, KeyProvider, Keyring, as_key_provider
from .prepared import Readers, Writer, associated_data, make_aead, seal_large
from .randomness import AT_ONCE, random_bytes
from .waiting import PromptKeyProvider

_LARGE = 1 << 16  # from here on assembling in place is cheaper than joining
_BATCH_ID_SIZE = 8


class Sealer:
    """Seals and opens values. Everything of this package that encrypts goes through one of these.

    `seal` and `open` are for values that may be stored anywhere, `seal_bound` and `open_bound` for values that belong to one
    place. Neither opens what the other sealed. A copy of a sealer is the sealer itself.

    Args:
        keys: A `Key` or any `KeyProvider`.
        cipher: What to write with: ``"xaes-256-gcm"``, ``"aes-256-gcm"`` or ``"aes-256-eax"``. All of them are read.
        compression: ``"zstd"`` to compress values that get smaller by it. The length of a value then tells about its
            content.
        required_context: Names without which nothing is sealed, so that a forgotten `encryption_context` is an error and
            not a value of nobody.
        accept_contexts: Contexts that are read besides the expected one, e.g. ``({},)`` for rows from before there were
            tenants. Every tenant can read them.
        require_context_to_read: Refuse to open anything where no `encryption_context` is set, instead of believing the one
            that is stored with the value.

    Raises:
        TypeError: If an argument is of the wrong type.
        ConfigurationError: If the cipher or compression is unknown, zstd is not installed, or a context name or context
            cannot be one.

    Attributes:
        keys: The key provider.
        cipher: Name of the cipher that is written with.
        compression: ``"zstd"`` or None.
        may_block: Whether the provider makes its callers wait for a key, even those that `waiting.promptly` calls.
        required_context: Names without which nothing is sealed.
        accepted_contexts: As given, encoded.
        require_context_to_read: As given.
    """

    def __init__(
        self,
        keys: Key | KeyProvider,
        *,
        cipher: str = DEFAULT,
        compression: str | None = None,
        required_context: Iterable[str] = (),
        accept_contexts: Iterable[Mapping[str, str]] = (),
        require_context_to_read: bool = False,
    ) -> None:
        self.keys = as_key_provider(keys)
        self._cipher = get_cipher(cipher)
        self.cipher = self._cipher.NAME
        self.compression = compression
        self.may_block = not isinstance(self.keys, (Keyring, PromptKeyProvider))
        self._encryption_key = self.keys.encryption_key
        self._decryption_key = self.keys.decryption_key
        # The keys of a Keyring never change, so who has opened a value once need not ask for its key again.
        self._asks_again = type(self.keys) is not Keyring
        self._nonce_size = self._cipher.NONCE_REST
        self._compress = check_compression(compression)
        self.required_context = check_required_context(required_context)
        self.accepted_contexts = check_accepted_contexts(accept_contexts)
        self.require_context_to_read = require_context_to_read
        self._writers: Bounded[bytes, Writer] = Bounded()
        self._readers: Bounded[str, Readers] = Bounded()
        self._aeads: Bounded[tuple[Head, bytes], Aead] = Bounded()
        self._process = object()
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Makes batches that were drawn before a fork known as such."""
        self._process = object()

    def __copy__(self) -> Sealer:
        return self

    def __deepcopy__(self, memo: object) -> Sealer:
        return self

    # --- values that may be stored anywhere

    def seal(self, inner_type: str, plaintext: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Seals a value that is not bound to a place.

        Args:
            inner_type: Name of the format of the plaintext, e.g. ``msgpack``.
            plaintext: Up to 2^31 - 17 bytes.
            context: The encryption context; the ambient `encryption_context` when None.

        Returns:
            The type tag and the blob.

        Raises:
            ConfigurationError: If the inner type makes no valid type tag, the value is too large, or the context lacks a
                required name.
            KeyServiceError: If the key cannot be had.
        """
        writer = self._writer(context)
        tag = writer.tags.get(inner_type) or writer.add_tag(inner_type)
        aead, prefix, start = writer.state
        data = tag.unbound[0]
        if self._compress and (packed := compress(plaintext)) is not None:
            plaintext, start, data = packed, writer.fronts[FLAG_ZSTD] + prefix, tag.unbound[FLAG_ZSTD]
        nonce = random_bytes(self._nonce_size)
        if len(plaintext) < _LARGE:
            return tag.text, b"".join((start, nonce, aead.encrypt(nonce, plaintext, data), writer.tail))
        return tag.text, seal_large(start, aead, nonce, plaintext, data, writer.tail)

    def open(self, type_tag: str, blob: bytes, *, context: EncryptionContext | None = None) -> tuple[str, bytes]:
        """Opens what `seal` gave.

        Args:
            type_tag: As stored.
            blob: As stored.
            context: The expected encryption context; the ambient `encryption_context` when None, and where there is none
                either, the one stored with the value serves.

        Returns:
            The inner type and the plaintext.

        Raises:
            UnsupportedCipher: If the type tag names another cipher.
            UnsupportedFormat: If the version or a flag is unknown, or zstd is needed and not installed.
            MalformedEnvelope: If it has not the shape of a sealed value.
            WrongLocation: If it is bound to a place.
            WrongContext: If it was sealed under another context than the expected one, and that is not an accepted one; or none
                is expected, and ``require_context_to_read`` is on.
            UnknownKey: If the provider does not have its key.
            KeyErased: If its key was destroyed.
            KeyServiceError: If its key cannot be had now.
            AuthenticationFailed: If anything was changed.
        """
        readers = self._readers.get(type_tag) or self._readers_of(type_tag)
        reader = readers.known.get(blob[readers.start])
        if reader is None or not blob.endswith(reader.tail):
            reader = readers.find(type_tag, blob)
        head, aead = reader.head, reader.aead
        expected = current.get() if context is None else context
        if expected is None:
            if self.require_context_to_read:
                raise WrongContext(NO_READER)
        elif expected.encoded != head.context.encoded:
            self._check_context(head.context, expected)
        if aead is None or self._asks_again:
            key = self._key(head)
            if aead is None:
                aead = make_aead(key, head.cipher, head.context, blob[readers.start][FRONT:])
        body = blob[reader.body] if len(blob) < _LARGE else memoryview(blob)[reader.body]
        try:
            plaintext = aead.decrypt(blob[readers.nonce], body, reader.associated_data)
        except _REFUSED:
            raise _refusal(body) from None
        if reader.aead is None:  # only now: what was not authentic takes no place in the cache
            reader.aead = aead
            readers.note(blob, reader)
        return head.inner_type, decompress(plaintext) if head.flags & FLAG_ZSTD else plaintext

    # --- values that belong to one place

    def seal_bound(
        self, inner_type: str, plaintext: bytes, binding: Binding, *, context: EncryptionContext | None = None
    ) -> bytes:
        """Seals a value that belongs to one place, as sealed bytes: ``C1 45 53 31 | LP(type tag) | blob``.

        Args:
            inner_type: Name of the format of the plaintext, e.g. ``msgpack``.
            plaintext: Up to 2^31 - 17 bytes.
            binding: Where it belongs, from a maker of `binding`. Its claims stay readable.
            context: The encryption context; the ambient `encryption_context` when None.

        Raises:
            ConfigurationError: If inner type, location or claims cannot be encoded or a claim is missing, the value is too
                large, or the context lacks a required name.
            KeyServiceError: If the key cannot be had.
        """
        return self._seal_bound(self._writer(context), random_bytes(self._nonce_size), inner_type, plaintext, binding)

    def batch(self, count: int, *, context: EncryptionContext | None = None) -> Batch:
        """Prepares to seal about so many bound values, drawing nonces for them at once.

        Args:
            count: How many values are expected. More may be sealed; then, and beyond what the kernel gives at once, each
                draws its own.
            context: The encryption context; the ambient `encryption_context` of this moment when None.
        """
        return Batch(self, count, context)

    def _seal_bound(self, writer: Writer, nonce: bytes, inner_type: str, plaintext: bytes, binding: Binding) -> bytes:
        if binding.encoded is None:
            raise ConfigurationError("a value is sealed with all the claims of its place; some are missing")
        tag = writer.tags.get(inner_type) or writer.add_tag(inner_type)
        aead, prefix, _ = writer.state
        flags = FLAG_BOUND
        if self._compress and (packed := compress(plaintext)) is not None:
            plaintext, flags = packed, FLAG_BOUND | FLAG_ZSTD
        tail = pl(binding.encoded) + writer.tail
        data = associated_data(tag.starts[flags], binding.location, tail)
        if len(plaintext) < _LARGE:
            return b"".join((tag.bound[flags], prefix, nonce, aead.encrypt(nonce, plaintext, data), tail))
        return seal_large(tag.bound[flags] + prefix, aead, nonce, plaintext, data, tail)

    def open_bound(self, sealed: Sealed | bytes, binding: Binding, *, context: EncryptionContext | None = None) -> Opened:
        """Opens what `seal_bound` gave.

        Args:
            sealed: As stored, or parsed already.
            binding: Where it was found, and what else the reader knows of the place: each of these claims must be in the
                value, equal.
            context: As for `open`.

        Raises:
            WrongLocation: If it is not bound to a place, or a claim differs.
            AuthenticationFailed: If anything was changed, or it was sealed for another location.
            EncryptedSerdeError: As for `open`.
        """
        parsed = Sealed.of_bytes(sealed) if isinstance(sealed, bytes) else sealed
        head, stored, nonce, end = parsed.head, parsed.data, parsed.nonce, parsed.end
        # Claims that are, byte for byte, what we would write need not be parsed.
        is_same = parsed.encoded_claims == binding.encoded
        claims = (is_same and binding.given) or parsed.claims
        if not head.flags & FLAG_BOUND:
            raise WrongLocation("a value that is not bound to a place is stored where only bound ones belong")
        expected = current.get() if context is None else context
        if expected is None:
            if self.require_context_to_read:
                raise WrongContext(NO_READER)
        elif expected.encoded != head.context.encoded:
            self._check_context(head.context, expected)
        rest = nonce + head.cipher.NONCE_PREFIX
        slot = (head, stored[nonce:rest])
        aead = self._aeads.get(slot)
        is_known = aead is not None
        if aead is None or self._asks_again:
            key = self._key(head)
            if aead is None:
                aead = make_aead(key, head.cipher, head.context, slot[1])
        data = associated_data(head.authenticated, binding.location, stored[end:])
        ciphertext = rest + head.cipher.NONCE_REST
        body = stored[ciphertext:end] if len(stored) < _LARGE else memoryview(stored)[ciphertext:end]
        try:
            plaintext = aead.decrypt(stored[rest:ciphertext], body, data)
        except _REFUSED:
            raise _refusal(body) from None
        if not is_known:
            self._aeads[slot] = aead
        if not is_same:
            for name, value in binding.claims.items():
                if claims.get(name) != value:
                    del plaintext  # error reporters show the variables of a frame
                    raise WrongLocation(f"the value was sealed with another {name} than that of the place it was found in")
        if head.flags & FLAG_ZSTD:
            plaintext = decompress(plaintext)
        return Opened(head.inner_type, plaintext, claims)

    # --- keys and contexts

    def _writer(self, context: EncryptionContext | None) -> Writer:
        if context is None:
            context = current.get() or NO_CONTEXT
        if (writer := self._writers.get(context.encoded)) is None:  # before a key is asked for
            check_names(self.required_context, context)
        key = self._encryption_key(context.pairs)
        if writer is None or writer.key_id != key.id:
            writer = Writer(key, self._cipher, context)
            self._writers[context.encoded] = writer
        elif not next(writer.budget, False):
            writer.renew()
        return writer

    def _check_context(self, stored: EncryptionContext, expected: EncryptionContext) -> None:
        if stored.encoded not in self.accepted_contexts:
            raise WrongContext(what_differs(stored, expected))

    def _key(self, head: Head) -> Key:
        """Finds the key of a stored value, whose context was compared already."""
        key = self._decryption_key(head.key_id, head.context.pairs)
        if key.id != head.key_id:
            raise UnknownKey(f"asked for key {head.key_id.hex()}, the key provider gave another", head.key_id)
        return key

    def _readers_of(self, type_tag: str) -> Readers:
        readers = self._readers[type_tag] = Readers(split_type_tag(type_tag)[1])
        return readers


class Batch:
    """Seals the bound values of one call of a saver; made by `Sealer.batch`. Its nonces are used once each, and only by it.

    Attributes:
        context: The encryption context that all its values are sealed under.
    """

    __slots__ = ("_nonces", "_process", "_random", "_sealer", "_writer", "context")

    def __init__(self, sealer: Sealer, count: int, context: EncryptionContext | None) -> None:
        self.context = (current.get() or NO_CONTEXT) if context is None else context
        self._sealer, size = sealer, sealer._nonce_size
        self._writer: Writer | None = None
        self._process = sealer._process
        self._random = random = random_bytes(min(_BATCH_ID_SIZE + size * count, AT_ONCE))
        self._nonces = [*range(_BATCH_ID_SIZE, len(random) - size + 1, size)]  # where each begins

    @property
    def id(self) -> str:
        """16 random hexadecimal digits, for values that must be found together."""
        return self._random[:_BATCH_ID_SIZE].hex()

    def seal(self, inner_type: str, plaintext: bytes, binding: Binding) -> bytes:
        """Seals one value as `Sealer.seal_bound` does, under the key of the first. Threads may share a batch."""
        sealer = self._sealer
        if (writer := self._writer) is None:
            writer = self._writer = sealer._writer(self.context)
        elif not next(writer.budget, False):
            writer.renew()
        if sealer._process is not self._process:  # a fork shares nonces that were drawn before it
            self._nonces.clear()
        try:
            start = self._nonces.pop()  # atomic: no nonce is handed out twice
        except IndexError:
            nonce = random_bytes(sealer._nonce_size)
        else:
            nonce = self._random[start : start + sealer._nonce_size]
        return sealer._seal_bound(writer, nonce, inner_type, plaintext, binding)


_REFUSED = (InvalidTag, ValueError, OverflowError)
"""How an AEAD refuses: a nonce cut short is a ValueError, 2 GiB and more an OverflowError."""


def _refusal(body: bytes | memoryview) -> MalformedEnvelope | AuthenticationFailed:
    if not TAG_SIZE <= len(body) <= MAX_PLAINTEXT + TAG_SIZE:
        return MalformedEnvelope("the value ends inside its nonce or tag, or is larger than any that is written")
    return AuthenticationFailed("the value was changed, or is stored in a place that it was not sealed for")
