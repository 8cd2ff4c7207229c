"""The handlers that `langgraph_sdk.Encryption` asks for: JSON objects, blobs, and the context of a request.

JSON. The server hands over one object at a time and allows its values to change, never its keys. Each value is sealed by
itself, as text, bound to its key name and its encryption context. It is never bound to model, field or thread: the server
moves values between them (a cron's metadata becomes a run's metadata becomes a thread's). Values written under several
tenants stand side by side in one row, so the reader takes the tenant from each envelope and not from the row's marker.

A value travels as JSON text of the inner type ``json`` and comes back by ``json.loads``. LangGraph's own JSON decoder would
construct the objects that the text asks for.

Blobs are checkpoints and the like: opaque bytes, sealed under the context and bound to nothing but being a blob.
"""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from langgraph_sdk import DecryptResult, Encryption
from langgraph_sdk import EncryptionContext as RequestContext

from ..audit import AuditListener, make_sealer
from ..core.binding import BLOB, Binding, json_value
from ..core.ciphers import DEFAULT
from ..core.context import NO_CONTEXT, EncryptionContext
from ..core.format import Head, Sealed, find_sealed, sealed_text
from ..core.keys import Key, KeyProvider, Keyring
from ..core.sealer import Sealer, Sealing
from ..errors import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerdeError,
    KeyErased,
    KeyServiceError,
    MalformedEnvelope,
    PlaintextRefused,
    UnknownKey,
    UnsupportedCipher,
    UnsupportedFormat,
    WrongLocation,
)
from ..wrapping.legacy import LegacyReader
from .startup import handler_calls
from .trust import (
    REFUSED,
    ContextFromUser,
    check_context_from_user,
    context_of_request,
    vouch,
    vouched_context,
)

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
_T = TypeVar("_T")


class HandlerError(EncryptedSerdeError):
    """Data that a handler cannot work with. Never a ValueError, whose text the server would send to the client."""


def make_encryption(
    keys: Key | KeyProvider,
    *,
    skip: Iterable[str] = ("owner",),
    prefix_only: str | None = None,
    context_from_user: ContextFromUser | None = None,
    replace_old: bool = True,
    allow_foreign: bool = False,
    allow_plaintext: bool = False,
    legacy_keys: Iterable[bytes] = (),
    cipher: str = DEFAULT,
    compression: str | None = None,
    audit: AuditListener | None = None,
) -> Encryption:
    """Makes the object that ``LANGGRAPH_ENCRYPTION`` and ``"encryption"`` in ``langgraph.json`` point to.

    Args:
        keys: A `Key` or any `KeyProvider`. With a `Keyring` the handlers work on the event loop; any other provider may have
            to ask a service, and the handlers work in a thread.
        skip: Keys of JSON objects that stay readable, and searchable: those that your ``Auth`` handlers filter on. What
            stands there is never opened either, since clients choose it.
        prefix_only: Seal only keys that begin with this, and treat all others as skipped.
        context_from_user: Async function of ``(user, ctx)`` that gives the encryption context, e.g. ``{"tenant_id":
            user.tenant_id}``. Writes under a context that it did not give are refused; so are all writes of a request for
            which it failed. Without it nothing has a context.
        replace_old: Hand the server a replacement for each value that was not sealed under the key to write with, so that
            rows are re-encrypted as they are read. Servers that do not know replacements ignore them.
        allow_foreign: Text that has the form of a sealed value but names a key that is not there (or a format that is not
            known) is passed on as it stands, instead of refused.
        allow_plaintext: For a migration: blobs that were never encrypted are read too. **While this is on, nothing is
            promised against somebody who can write rows.** In JSON, values that are not sealed always pass: the server
            stores its own beside them.
        legacy_keys: For a migration: raw AES keys, ``os.environ["LANGGRAPH_AES_KEY"].encode()``, under which the server
            itself wrote. Such values and blobs are read, never written.
        cipher: As for `EncryptedSerializer`.
        compression: As for `EncryptedSerializer`; it is applied to each JSON value and each blob.
        audit: Told of every value and blob that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If an argument is of the wrong type; if ``context_from_user`` is not async or does not take two arguments.
        ConfigurationError: If cipher, compression or a legacy key cannot be used.

    Example:
        ```python
        async def tenant(user, ctx):
            return {"tenant_id": user["tenant_id"]}

        encryption = make_encryption(Keyring.from_env(), context_from_user=tenant)
        ```
    """
    if isinstance(skip, str):
        raise TypeError("skip is a collection of keys, not one str")
    if context_from_user is not None:
        check_context_from_user(context_from_user)
    codec = Codec(
        make_sealer(keys, cipher=cipher, compression=compression, required_context=(), accept_contexts=(), audit=audit),
        skip=frozenset(skip) | SERVER_KEYS,
        prefix_only=prefix_only or "",
        replace_old=replace_old,
        allow_foreign=allow_foreign,
        allow_plaintext=allow_plaintext,
        legacy=LegacyReader(legacy_keys),
    )
    # Tokens are no data: they are sealed and opened aside, and leave no trace in the audit.
    handlers = _Handlers(codec, Sealer(keys, cipher=cipher), context_from_user)
    encryption = Encryption()
    encryption.encrypt.json(handlers.encrypt_json)
    encryption.decrypt.json(handlers.decrypt_json)
    encryption.encrypt.blob(handlers.encrypt_blob)
    encryption.decrypt.blob(handlers.decrypt_blob)
    encryption.context(handlers.context)
    return encryption


class _Handlers:
    """What the server calls. Each method counts its call and keeps the event loop free; `Codec` does the work."""

    def __init__(self, codec: Codec, tokens: Sealer, context_from_user: ContextFromUser | None) -> None:
        self._codec = codec
        self._tokens = tokens
        self._context_from_user = context_from_user
        self._blocks = not isinstance(codec.sealer.keys, Keyring)

    async def context(self, user: Any, ctx: RequestContext) -> dict[str, Any]:
        handler_calls["context"] += 1
        context = await context_of_request(self._context_from_user, user, ctx)
        if context is None:
            return dict(REFUSED)
        if self._context_from_user is None:
            return {}
        return await self._call(vouch, self._tokens, context)

    async def encrypt_json(self, ctx: RequestContext, data: dict[str, Any]) -> dict[str, Any]:
        handler_calls["encrypt.json"] += 1
        return await self._call(lambda: self._codec.seal_json(data, self._context(ctx)))

    async def decrypt_json(self, ctx: RequestContext, data: dict[str, Any]) -> dict[str, Any] | DecryptResult[dict[str, Any]]:
        handler_calls["decrypt.json"] += 1
        return await self._call(self._codec.open_json, data)

    async def encrypt_blob(self, ctx: RequestContext, data: bytes) -> bytes:
        handler_calls["encrypt.blob"] += 1
        return await self._call(lambda: self._codec.seal_blob(data, self._context(ctx)))

    async def decrypt_blob(self, ctx: RequestContext, data: bytes) -> bytes | DecryptResult[bytes]:
        handler_calls["decrypt.blob"] += 1
        return await self._call(self._codec.open_blob, data)

    def _context(self, ctx: RequestContext) -> EncryptionContext:
        # Without context_from_user there is one context, the empty one, and nothing to vouch for.
        if self._context_from_user is None and not ctx.metadata:
            return NO_CONTEXT
        return vouched_context(self._tokens, ctx.metadata)

    async def _call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        try:
            if self._blocks:
                return await asyncio.to_thread(function, *arguments)
            return function(*arguments)
        except ConfigurationError:
            raise HandlerError("a key name or value exceeds a limit of the format") from None


class Codec:
    """Seals and opens what the server stores. Synchronous: it knows neither event loop nor request.

    Args:
        sealer: What seals and opens.
        skip: Keys that are left alone.
        prefix_only: What a key must begin with to be sealed.
        replace_old: Whether to make replacements.
        allow_foreign: Whether text that only looks sealed passes.
        allow_plaintext: Whether blobs that were never sealed pass.
        legacy: Reader of the server's own AES values; empty where there are none.
    """

    def __init__(
        self,
        sealer: Sealing,
        *,
        skip: frozenset[str],
        prefix_only: str,
        replace_old: bool,
        allow_foreign: bool,
        allow_plaintext: bool,
        legacy: LegacyReader,
    ) -> None:
        self.sealer = sealer
        self._skip = skip
        self._prefix = prefix_only
        self._replace_old = replace_old
        self._allow_foreign = allow_foreign
        self._allow_plaintext = allow_plaintext
        self._legacy = legacy

    def seal_json(self, data: Mapping[str, Any], context: EncryptionContext) -> dict[str, Any]:
        """Seals the values of an object and leaves its keys, None and whatever is skipped as they are.

        Raises:
            HandlerError: If a value is no JSON, or a skipped one would make the server refuse to read the row.
            KeyServiceError: If the key cannot be had.
        """
        return {name: self._seal_value(name, value, context) for name, value in data.items()}

    def open_json(self, data: Mapping[str, Any]) -> dict[str, Any] | DecryptResult[dict[str, Any]]:
        """Opens the sealed values of an object, one layer each, and leaves all others as they are.

        Returns:
            The object; with a replacement where a value is to be re-encrypted.

        Raises:
            EncryptedSerdeError: As `Sealer.open_bound` raises it, for a value that is sealed and does not open.
        """
        opened, replacement = dict(data), dict(data)
        replaced = False
        for name, value in data.items():
            if not isinstance(value, str) or self._skipped(name):
                continue
            try:
                sealed = find_sealed(value)
                if sealed is not None:
                    plaintext, context = self._open(sealed, "json", json_value(name))
            except _NOT_OURS:
                if not self._allow_foreign:
                    raise
                continue
            if sealed is not None:
                opened[name] = json.loads(plaintext)
                if context is not None:
                    replacement[name] = self._seal_text(name, plaintext, context)
                    replaced = True
            elif value.startswith(LEGACY_TEXT_PREFIX):
                opened[name] = self._open_legacy_text(value)
        return DecryptResult(opened, replacement) if replaced else opened

    def seal_blob(self, data: bytes, context: EncryptionContext) -> bytes:
        """Seals a blob.

        Raises:
            KeyServiceError: If the key cannot be had.
        """
        return self.sealer.seal_bound("bytes", data, BLOB, context=context)

    def open_blob(self, data: bytes) -> bytes | DecryptResult[bytes]:
        """Opens a blob: one of ours, or one of the server's own AES blobs where its key was given.

        Returns:
            The plaintext; with a replacement where it is to be re-encrypted.

        Raises:
            PlaintextRefused: If it was never sealed and ``allow_plaintext`` is off.
            EncryptedSerdeError: As `Sealer.open_bound` raises it.
        """
        if (sealed := find_sealed(data)) is not None:
            plaintext, context = self._open(sealed, "bytes", BLOB)
            return plaintext if context is None else DecryptResult(plaintext, self.seal_blob(plaintext, context))
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
        try:
            text = _ENCODER.encode(value)
        except (TypeError, ValueError, RecursionError):
            raise HandlerError("a value cannot be written as JSON") from None
        return self._seal_text(name, text.encode("utf-8", "surrogatepass"), context)

    def _seal_text(self, name: str, plaintext: bytes, context: EncryptionContext) -> str:
        return sealed_text(self.sealer.seal_bound("json", plaintext, json_value(name), context=context))

    def _open(self, sealed: Sealed, inner_type: str, binding: Binding) -> tuple[bytes, EncryptionContext | None]:
        """Opens a value under the context that it carries; gives that context too where it is to be sealed again."""
        head = sealed.head
        # The expectation is what the envelope says, and not an encryption_context that happens to be around.
        opened = self.sealer.open_bound(sealed, binding, context=head.context)
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
        if not self._legacy:
            if self._allow_foreign:
                return value
            raise PlaintextRefused("a value was encrypted under LANGGRAPH_AES_KEY; pass that key in legacy_keys")
        try:
            blob = b64decode(value[len(LEGACY_TEXT_PREFIX) :], validate=True)
        except (binascii.Error, ValueError):
            raise MalformedEnvelope("a value begins like one of the server's AES values and is none") from None
        return json.loads(self._legacy.open("bytes", blob))
