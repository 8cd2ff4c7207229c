"""Keys: 32 bytes of secret with an id that commits to them, and the rule by which every other key is derived.

Nothing here encrypts. A `Key` derives data keys; a `KeyProvider` says which key to write with and finds the one that a
stored value names. All that is secret stays inside `Key`, which cannot be printed, pickled or changed.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol, runtime_checkable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import ConfigurationError, UnknownKey
from .encoding import b64url_decode, b64url_encode, lp, utf8
from .environment import read_texts

if TYPE_CHECKING:
    from typing_extensions import Self

PROTOCOL = lp(b"encrypted-serde/1")
"""Domain separation: the first field of every HKDF info and of all associated data."""

KEY_SIZE = 32
"""Bytes of secret in a `Key`, and in every key derived from one (AES-256)."""

_PRINTABLE = frozenset(string.printable.encode("ascii"))
_MIN_DISTINCT = 17
_TEXT_PREFIX = "esk1-"
_TEXT_LENGTH = len(_TEXT_PREFIX) + 48
_AROUND = " \t\r\n\"'`"  # what files of settings leave around a text
_HOW_TO_MAKE = "; make one with Key.from_text(), Key.from_bytes() or Keyring.from_env()"
_CHECK_SIZE = 4
_ENV = "ENCRYPTED_SERDE_KEY"
_ENV_DECRYPT = "ENCRYPTED_SERDE_DECRYPT_KEYS"
_ENV_DATABASE = "ENCRYPTED_SERDE_DATABASE"
_MAX_NAME = 1024


def _weakness(secret: bytes) -> str | None:
    """Says what is wrong with a secret that no random generator would have drawn."""
    if len(secret) != KEY_SIZE:
        return f"a key is exactly {KEY_SIZE} bytes, not {len(secret)}"
    if _PRINTABLE.issuperset(secret):
        return "these bytes are readable text, not a key: use Key.generate(), or from_hex/from_base64/from_text to decode"
    if len(set(secret)) < _MIN_DISTINCT:
        return f"a key with fewer than {_MIN_DISTINCT} different byte values is not random: use Key.generate()"
    return None


def drawn_secret() -> bytes:
    """Draws the secret of a new key, and another one where it looks like text: that is one draw in 2^43."""
    while True:
        secret = os.urandom(KEY_SIZE)
        if _weakness(secret) is None:
            return secret


class Key:
    """A 256-bit secret from which data keys are derived, and the public id that names it.

    Built by one of the class methods; immutable. ``repr`` and ``str`` show the first digits of the id, a copy is the same
    object, pickling raises TypeError. Two keys are equal when their ids are.

    Attributes:
        id: 32 public bytes, HKDF of the secret. AES-GCM does not commit to its key; this id does, since nobody can find a
            second secret with the same id. It is stored in every header and is authenticated there.
    """

    __slots__ = ("_secret", "id")
    id: bytes
    _secret: bytes

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("use Key.generate(), Key.from_text(), Key.from_bytes(), Key.from_hex() or Key.from_base64()")

    @classmethod
    def from_bytes(cls, secret: bytes) -> Key:
        """Takes 32 bytes from a cryptographic random generator.

        Args:
            secret: Exactly 32 bytes.

        Raises:
            TypeError: If it is not bytes. A password or other text is no key.
            ConfigurationError: If the length is wrong, all bytes are printable ASCII (chance for a random key: 2^-43), or
                fewer than 17 different values occur.
        """
        if not isinstance(secret, bytes):
            raise TypeError(f"a key is {KEY_SIZE} bytes, not {type(secret).__name__}")
        if problem := _weakness(secret):
            raise ConfigurationError(problem)
        key = object.__new__(cls)
        object.__setattr__(key, "_secret", secret)
        object.__setattr__(key, "id", key.derive("key-id"))
        return key

    @classmethod
    def generate(cls) -> Key:
        """Draws a new key from the operating system's random generator."""
        return cls.from_bytes(drawn_secret())

    @classmethod
    def from_hex(cls, text: str) -> Key:
        """Takes 64 hexadecimal digits.

        Raises:
            TypeError: If it is not str.
            ConfigurationError: If it is not 64 digits, or `from_bytes` refuses the bytes.
        """
        _require_text(text)
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise ConfigurationError("a key in hex is exactly 64 hexadecimal digits")
        return cls.from_bytes(bytes.fromhex(text))

    @classmethod
    def from_base64(cls, text: str) -> Key:
        """Takes base64 of 32 bytes: the standard or the URL-safe alphabet, not both; padding may be left out.

        Raises:
            TypeError: If it is not str.
            ConfigurationError: If it is not canonical base64 of exactly 32 bytes (the hex text of a key, for instance, is
                valid base64 of 48), or `from_bytes` refuses the bytes.
        """
        _require_text(text)
        if set("+/") & set(text) and set("-_") & set(text):
            raise ConfigurationError("a key in base64 uses one alphabet, not a mixture of two")
        secret = b64url_decode(text.removesuffix("=").translate(str.maketrans("+/", "-_")))
        if secret is None or len(secret) != KEY_SIZE:
            raise ConfigurationError(f"a key in base64 encodes exactly {KEY_SIZE} bytes: 43 characters, or 44 with '='")
        return cls.from_bytes(secret)

    @classmethod
    def from_text(cls, text: str) -> Key:
        """Takes the text form that `to_text` and ``encrypted-serde keygen`` give: ``esk1-`` and 48 characters.

        The last characters are a checksum: a text with a character changed, lost or swapped is refused.

        Raises:
            TypeError: If it is not str.
            ConfigurationError: If it is not exactly such a text. The message never repeats it.
        """
        _require_text(text)
        if text.strip(_AROUND) != text:
            raise ConfigurationError("the key text has quotes or white space around it: take them away")
        if text.startswith(_TEXT_PREFIX) and len(text) != _TEXT_LENGTH:
            raise ConfigurationError(f"the key text has {len(text)} characters, not {_TEXT_LENGTH}: it was cut or lengthened")
        data = b64url_decode(text[len(_TEXT_PREFIX) :]) if text.startswith(_TEXT_PREFIX) else None
        if data is None:
            raise ConfigurationError(
                f"a key text is '{_TEXT_PREFIX}' and 48 characters of base64url; make one with: encrypted-serde keygen"
            )
        key = cls.from_bytes(data[:KEY_SIZE])
        if data[KEY_SIZE:] != key.id[:_CHECK_SIZE]:
            raise ConfigurationError("the checksum of the key text does not match: it was mistyped or cut")
        return key

    def to_text(self) -> str:
        """Returns the secret as text of 53 characters, for a secret store. Somebody who reads it can read the data."""
        return _TEXT_PREFIX + b64url_encode(self._secret + self.id[:_CHECK_SIZE])

    def for_database(self, name: str) -> Key:
        """Derives the key of one database from this secret: HKDF, purpose ``database``.

        Rows of another database under the same key are authentic: an approval that is copied from staging opens in production.
        With a key for each, it is an `UnknownKey` there.

        Args:
            name: What you call the database: ``production``. No secret, and never to be changed.

        Raises:
            TypeError: If it is not str.
            ConfigurationError: If it is empty, longer than 1024 bytes of UTF-8, or no text.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a database is a str, not {type(name).__name__}")
        encoded = utf8(name)
        if not 1 <= len(encoded) <= _MAX_NAME:
            raise ConfigurationError(f"the name of a database is 1 to {_MAX_NAME} bytes long")
        return Key.from_bytes(self.derive("database", encoded))

    def derive(self, purpose: str, *fields: bytes) -> bytes:
        """Derives 32 bytes for one purpose: HKDF-SHA256 (RFC 5869), no salt.

        The info is ``LP("encrypted-serde/1") LP(purpose) LP(field)...``, so no two purposes or fields ever share a key.

        Args:
            purpose: ``key-id``, ``data-key``, ``search``, ``name``, ``mark``, ``wrap``, ``database`` or ``generation``.
            *fields: What the derived key is for; at most 65535 bytes each.
        """
        info = PROTOCOL + lp(purpose.encode("ascii")) + b"".join([lp(field) for field in fields])
        return HKDF(SHA256(), KEY_SIZE, None, info).derive(self._secret)

    def __repr__(self) -> str:
        return f"<Key {self.id.hex()[:12]}>"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Key) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Key cannot be changed")

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, memo: object) -> Key:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Key cannot be pickled: pass it by Key.to_text() through a secret store")


def _require_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"expected the text of a key as str, not {type(text).__name__}")


@runtime_checkable
class KeyProvider(Protocol):
    """Where keys come from. Called for every value, so answers should come from memory.

    Both methods must return a `Key` whose id was computed from its secret, which building one through `Key` ensures.
    """

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        """Returns the key to write with.

        Args:
            context: The encryption context of the value; empty where there is none.

        Raises:
            KeyServiceError: If the key cannot be had now.
        """
        ...

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        """Returns the key that a stored value names.

        Args:
            key_id: The 32 bytes in the header. Not authenticated yet: it may be anything.
            context: The encryption context in the header, already compared with what the reader expects.

        Raises:
            UnknownKey: If there is no such key for this context.
            KeyErased: If it was destroyed on purpose.
            KeyServiceError: If the key cannot be had now.
        """
        ...


@runtime_checkable
class SearchKeyProvider(Protocol):
    """A `KeyProvider` that can also say under which keys rows may have been written: searchable metadata needs that."""

    def search_keys(self, context: Mapping[str, str]) -> Sequence[Key]:
        """Returns every key under which rows of a context may have been written, the one to write with first."""
        ...


class Keyring:
    """Keys held in memory: one to write with, any number to read with. Key rotation is two of these in turn.

    Args:
        primary: Everything is written under this key. It is named, never "the first" or "the last" of a list.
        decrypt_only: Keys that are read but no longer, or not yet, written.

    Raises:
        TypeError: If something other than a `Key` is given.

    Attributes:
        primary: As given.
    """

    def __new__(cls, *unnamed: object, **named: object) -> Self:
        """Says which name is missing, where Python would only say that there is one argument too many."""
        if unnamed:
            raise TypeError("a Keyring takes its keys by name: Keyring(primary=key, decrypt_only=[older])")
        return super().__new__(cls)

    def __init__(self, *, primary: Key, decrypt_only: Iterable[Key] = ()) -> None:
        if isinstance(decrypt_only, (Key, str, bytes)) or not isinstance(decrypt_only, Iterable):
            raise TypeError("decrypt_only takes several keys: write [key], or leave it out")
        keys = [primary, *decrypt_only]
        for key in keys:
            if not isinstance(key, Key):
                raise TypeError(f"a Keyring holds Key objects, not {type(key).__name__}{_HOW_TO_MAKE}")
        self.primary = primary
        self._by_id = {key.id: key for key in keys}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, database: str | None = None) -> Keyring:
        """Builds a keyring from environment variables.

        ``ENCRYPTED_SERDE_KEY`` holds the text of the primary key, ``ENCRYPTED_SERDE_DECRYPT_KEYS`` (optional) those of keys
        to read with, separated by commas. Each may instead name a file that holds it, as container secrets do, by
        ``ENCRYPTED_SERDE_KEY_FILE`` and ``ENCRYPTED_SERDE_DECRYPT_KEYS_FILE``; in a file, lines separate keys too. Or a command
        that prints it, by ``ENCRYPTED_SERDE_KEY_COMMAND`` and ``ENCRYPTED_SERDE_DECRYPT_KEYS_COMMAND``: no shell runs it.
        ``ENCRYPTED_SERDE_DATABASE`` (optional) is a name for `for_database`.

        Args:
            environ: Read this mapping instead of ``os.environ``.
            database: In place of ``ENCRYPTED_SERDE_DATABASE``.

        Raises:
            ConfigurationError: If the primary key is missing, several forms of one variable are set, a file cannot be read, a
                command fails, or a text is no key. Names the variable, never its content.
        """
        environ = os.environ if environ is None else environ
        primary = _keys_from_env(environ, _ENV)
        if len(primary) != 1:
            raise ConfigurationError(
                f"set {_ENV} (or {_ENV}_FILE, {_ENV}_COMMAND) to exactly one key text; make one with: encrypted-serde keygen"
            )
        keys = cls(primary=primary[0], decrypt_only=_keys_from_env(environ, _ENV_DECRYPT))
        if database is None:
            database = environ.get(_ENV_DATABASE) or None
        return keys if database is None else keys.for_database(database)

    def for_database(self, name: str) -> Keyring:
        """Returns the keyring of one database: `Key.for_database` of every key."""
        primary, *others = (key.for_database(name) for key in self._by_id.values())
        return Keyring(primary=primary, decrypt_only=others)

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        """Returns the primary key, whatever the context."""
        return self.primary

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        """Returns the key with this id.

        Raises:
            UnknownKey: If this keyring does not hold it. The message names the id.
        """
        key = self._by_id.get(key_id)
        if key is None:
            raise UnknownKey(
                f"sealed under key {key_id.hex()}, which this keyring does not hold; an older key of yours belongs into "
                "decrypt_only (ENCRYPTED_SERDE_DECRYPT_KEYS)",
                key_id,
            )
        return key

    def current_key_id(self, context: Mapping[str, str]) -> bytes:
        """Returns the id of the primary key."""
        return self.primary.id

    def search_keys(self, context: Mapping[str, str]) -> list[Key]:
        """Returns every key, the primary first."""
        return list(self._by_id.values())

    def __repr__(self) -> str:
        others = [repr(key) for key in self._by_id.values() if key != self.primary]
        return f"Keyring(primary={self.primary!r}, decrypt_only=[{', '.join(others)}])"


def _keys_from_env(environ: Mapping[str, str], name: str) -> list[Key]:
    form, texts = read_texts(environ, name, _TEXT_PREFIX)
    try:
        return [Key.from_text(text) for text in texts]
    except ConfigurationError as error:
        raise ConfigurationError(f"{form}: {error}") from None


def current_key_id(keys: KeyProvider, context: Mapping[str, str]) -> bytes | None:
    """Returns the id of the key that a context writes with; None if it has none. A provider that can say so makes none."""
    ask: Callable[[Mapping[str, str]], bytes | None] | None = getattr(keys, "current_key_id", None)
    return keys.encryption_key(context).id if ask is None else ask(context)


def as_key_provider(keys: Key | KeyProvider) -> KeyProvider:
    """Accepts what a user passes as ``keys``: one `Key`, or any `KeyProvider`.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(keys, Key):
        return Keyring(primary=keys)
    if isinstance(keys, type) or not isinstance(keys, KeyProvider):
        raise TypeError(f"keys must be a Key or a KeyProvider such as Keyring, not {type(keys).__name__}{_HOW_TO_MAKE}")
    return keys
