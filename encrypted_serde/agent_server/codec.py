"""Values of the server's JSON objects, and blobs: how they are sealed and opened. Knows neither event loop nor request.

JSON. The server hands over one object at a time and allows its values to change, never its keys. Each value is sealed by
itself, as text, bound to its key name and its encryption context. It is never bound to model, field or thread: the server
moves values between them (a cron's metadata becomes a run's metadata becomes a thread's). Values written under several
tenants may stand side by side in one row, so the reader takes the tenant from each envelope and not from the row's marker.

A value travels as JSON text of the inner type ``json`` and comes back by ``json.loads``. LangGraph's own JSON decoder would
construct the objects that the text asks for.

Blobs are checkpoints and the like: opaque bytes, sealed under the context and bound to nothing but being a blob.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

from langgraph_sdk import DecryptResult

from ..core.binding import BLOB, Binding, json_value
from ..core.context import EncryptionContext
from ..core.format import Head, Sealed, find_sealed, sealed_text
from ..core.sealer import Sealing
from ..errors import (
    AuthenticationFailed,
    EncryptedSerdeError,
    KeyErased,
    KeyServiceError,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongContext,
    WrongLocation,
)
from ..wrapping.legacy import LegacyReader

LEGACY_TEXT_PREFIX = "encrypted.aes:"
"""What the server's own AES encryption (``LANGGRAPH_AES_KEY``) puts before the base64 of a sealed value."""

SERVER_KEYS = frozenset(
    {
        *("assistant_id", "checkpoint_id", "graph_id", "run_id", "task_id", "thread_id"),
        *("langgraph_api_url", "langgraph_api_version", "langgraph_auth_permissions", "langgraph_auth_user_id"),
        *("langgraph_host", "langgraph_plan", "langgraph_request_id", "langgraph_version"),
    }
)
"""Keys that the server never shows to an encrypt handler and always to a decrypt handler. A client can therefore store text
there that looks sealed, and must not be able to make a row unreadable by it."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_NOT_OURS = (UnknownKey, UnsupportedCipher, UnsupportedFormat, MalformedEnvelope)


class HandlerError(EncryptedSerdeError):
    """Data that a handler cannot work with. Never a ValueError, whose text the server would send to the client."""


class Leniency(NamedTuple):
    """What a codec lets pass or repairs.

    Attributes:
        replace_old: Whether replacements are made for values that are not under the key to write with.
        allow_foreign: Whether text that only looks sealed passes.
        allow_plaintext: Whether blobs that were never sealed pass.
        keeps_foreign: Whether values of another context are left sealed on reading, so that they must not be written again.
    """

    replace_old: bool = True
    allow_foreign: bool = False
    allow_plaintext: bool = False
    keeps_foreign: bool = False


class Codec:
    """Seals and opens what the server stores. Synchronous: it knows neither event loop nor request.

    Args:
        sealer: What seals and opens.
        skip: Keys that are left alone.
        prefix: What a key must begin with to be sealed.
        leniency: What else passes.
        legacy: Reader of the server's own AES values; empty where there are none.
    """

    def __init__(
        self,
        sealer: Sealing,
        *,
        skip: frozenset[str],
        prefix: str,
        leniency: Leniency,
        legacy: LegacyReader,
    ) -> None:
        self.sealer = sealer
        self._skip = skip
        self._prefix = prefix
        self._replace_old, self._allow_foreign, self._allow_plaintext, self._keeps_foreign = leniency
        self._legacy = legacy

    def seal_json(self, data: Mapping[str, Any], context: EncryptionContext) -> dict[str, Any]:
        """Seals the values of an object and leaves its keys, None and whatever is skipped as they are.

        Raises:
            WrongContext: If a value is sealed already, under another context, where such values are left sealed on reading:
                sealed once more, under this context, its owner could not read it.
            HandlerError: If a value is no JSON, or a skipped one would make the server refuse to read the row.
            KeyServiceError: If the key cannot be had.
        """
        return {name: self._seal_value(name, value, context) for name, value in data.items()}

    def open_json(
        self, data: Mapping[str, Any], expected: EncryptionContext | None = None
    ) -> dict[str, Any] | DecryptResult[dict[str, Any]]:
        """Opens the sealed values of an object, one layer each, and leaves all others as they are.

        Args:
            data: As stored.
            expected: Whose values to open; everybody's when None. Those of another context stay as they are: the server opens
                rows to compare and to list them, and shows them to whoever may see them only afterwards.

        Returns:
            The object; with a replacement where a value is to be re-encrypted.

        Raises:
            EncryptedSerdeError: As `Sealer.open_bound` raises it, for a value that is sealed and does not open.
        """
        opened, replacement = dict(data), dict(data)
        for name, value in data.items():
            if not isinstance(value, str) or self._skipped(name):
                continue
            try:
                sealed = find_sealed(value)
                if sealed is None:
                    opened[name] = self._open_legacy_text(value)
                    continue
                plaintext, anew = self._open(sealed, "json", json_value(name), expected)
            except WrongContext:
                continue
            except _NOT_OURS:
                if not self._allow_foreign:
                    raise
                continue
            opened[name] = json.loads(plaintext)
            if anew is not None:
                replacement[name] = self._seal_text(name, plaintext, anew)
        return opened if replacement == data else DecryptResult(opened, replacement)

    def seal_blob(self, data: bytes, context: EncryptionContext) -> bytes:
        """Seals a blob.

        Raises:
            KeyServiceError: If the key cannot be had.
        """
        return self.sealer.seal_bound("bytes", data, BLOB, context=context)

    def open_blob(self, data: bytes, expected: EncryptionContext | None = None) -> bytes | DecryptResult[bytes]:
        """Opens a blob: one of ours, or one of the server's own AES blobs where its key was given.

        Args:
            data: As stored.
            expected: The context that it must have if it is sealed; its own when None.

        Returns:
            The plaintext; with a replacement where it is to be re-encrypted.

        Raises:
            PlaintextRefused: If it was never sealed and ``allow_plaintext`` is off.
            EncryptedSerdeError: As `Sealer.open_bound` raises it.
        """
        if (sealed := find_sealed(data)) is not None:
            plaintext, anew = self._open(sealed, "bytes", BLOB, expected)
            return plaintext if anew is None else DecryptResult(plaintext, self.seal_blob(plaintext, anew))
        if self._legacy:
            try:
                return self._legacy.open("bytes", data)
            except (AuthenticationFailed, MalformedEnvelope):
                if not self._allow_plaintext:
                    raise
        if not self._allow_plaintext:
            raise PlaintextRefused("a blob was never encrypted; pass allow_plaintext=True while you migrate such blobs")
        return data

    def _skipped(self, name: str) -> bool:
        return name in self._skip or not name.startswith(self._prefix)

    def _seal_value(self, name: str, value: Any, context: EncryptionContext) -> Any:
        if value is None:
            return None
        if self._skipped(name):
            if isinstance(value, str) and value.startswith(LEGACY_TEXT_PREFIX):
                # The server takes it for its own AES encryption and refuses the whole row, in every search that finds it.
                raise HandlerError("a value that is not encrypted begins like one of the server's AES values")
            return value
        if self._keeps_foreign and isinstance(value, str) and _is_of_another(value, context):
            raise WrongContext("a value belongs to another encryption context, and would become unreadable for its owner")
        try:
            text = _ENCODER.encode(value)
        except (TypeError, ValueError, RecursionError):
            raise HandlerError("a value cannot be written as JSON") from None
        return self._seal_text(name, text.encode("utf-8", "surrogatepass"), context)

    def _seal_text(self, name: str, plaintext: bytes, context: EncryptionContext) -> str:
        return sealed_text(self.sealer.seal_bound("json", plaintext, json_value(name), context=context))

    def _open(
        self, sealed: Sealed, inner_type: str, binding: Binding, expected: EncryptionContext | None
    ) -> tuple[bytes, EncryptionContext | None]:
        """Opens a value; gives its context too where it is to be sealed again."""
        head = sealed.head
        # Never an encryption_context that happens to be around.
        opened = self.sealer.open_bound(sealed, binding, context=head.context if expected is None else expected)
        if opened.inner_type != inner_type:
            raise WrongLocation(f"a value of inner type {opened.inner_type!r} stands where {inner_type!r} belongs")
        return opened.plaintext, head.context if self._is_old(head) else None

    def _is_old(self, head: Head) -> bool:
        if not self._replace_old:
            return False
        try:
            return self.sealer.keys.encryption_key(head.context.pairs).id != head.key_id
        except (KeyServiceError, KeyErased, UnknownKey):
            return False  # reading must not fail for want of a key to write with

    def _open_legacy_text(self, value: str) -> Any:
        if not value.startswith(LEGACY_TEXT_PREFIX) or (self._allow_foreign and not self._legacy):
            return value
        if not self._legacy:
            raise PlaintextRefused("a value was encrypted under LANGGRAPH_AES_KEY; pass that key in legacy_keys")
        try:
            return json.loads(self._legacy.open("bytes", b64decode(value[len(LEGACY_TEXT_PREFIX) :], validate=True)))
        except (ValueError, RecursionError):  # no base64; no JSON
            raise MalformedEnvelope("a value begins like one of the server's AES values and is none") from None


def _is_of_another(text: str, context: EncryptionContext) -> bool:
    try:
        sealed = find_sealed(text)
    except EncryptedSerdeError:  # it only looks like one
        return False
    return sealed is not None and sealed.head.context.encoded != context.encoded
