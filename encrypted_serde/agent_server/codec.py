"""Values of the server's JSON objects, and blobs: how they are sealed and opened. Knows neither event loop nor request.

JSON. The server hands over one object at a time and allows its values to change, never its keys. Each value is sealed by
itself, as text, bound to its key name and its encryption context. It is never bound to model, field or thread: the server
moves values between them (a cron's metadata becomes a run's metadata becomes a thread's). Values written under several
tenants may be stored side by side in one row, so the reader takes the tenant from each envelope and not from the row's marker.

A value travels as JSON text of the inner type ``json`` and comes back by ``json.loads``. LangGraph's own JSON decoder would
construct the objects that the text asks for.

Blobs are checkpoints and the like: opaque bytes, sealed under the context and bound to nothing but being a blob.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from langgraph_sdk import DecryptResult

from .. import errors
from ..core.binding import BLOB, Binding, json_value
from ..core.context import EncryptionContext
from ..core.format import Head, Sealed, find_sealed, sealed_text
from ..core.sealer import Sealer
from ..wrapping.admission import Admission
from ..wrapping.legacy import CIPHER as LEGACY_CIPHER
from .served import hidden_keys, hidden_places

LEGACY_TEXT_PREFIX = "encrypted.aes:"
"""What the server's own AES encryption (``LANGGRAPH_AES_KEY``) puts before the base64 of a sealed value."""

DEEPEST = 200
"""Levels of nesting of a JSON value. The server writes 254, and puts a value into rows, and rows into lists."""

SERVER_KEYS = frozenset(
    {
        *("assistant_id", "checkpoint_id", "graph_id", "run_id", "task_id", "thread_id"),
        *("langgraph_api_url", "langgraph_api_version", "langgraph_auth_permissions", "langgraph_auth_user_id"),
        *("langgraph_host", "langgraph_plan", "langgraph_request_id", "langgraph_version"),
        *("__pregel_checkpoint_ns", "__pregel_checkpointer", "__pregel_durability", "__pregel_resuming"),
        *("__pregel_stream", "__pregel_task_id", "__after_seconds__", "__request_start_time_ms__"),
        *("__blob_encryption_context__", "__encryption_context__"),
    }
)
"""Keys that the server never shows to an encrypt handler and always to a decrypt handler: those of the releases that were
tried. A client can store text there that looks sealed, and must not make a row unreadable by it."""

SERVER_PLACES = frozenset(
    {
        *(("run", "config", "recursion_limit"), ("run", "config", "max_concurrency")),
        *(("run", "kwargs", "temporary"), ("run", "configurable", "ttl")),
        *(("checkpoint", "metadata", name) for name in ("source", "step", "parents", "run_attempt")),
        ("checkpoint", "metadata", "counters_since_delta_snapshot"),
    }
)
"""The same for keys that are hidden in one place only: model, field, key."""

_CONTAINERS = frozenset({"config", "configurable", "context", "input", "command", "metadata"})
"""Keys whose value the server expects to be an object, also where a tenant may not open it. An empty one stays as it is."""

_LEGACY_TAG = f"bytes+{LEGACY_CIPHER}"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_NOT_OURS = (errors.UnknownKey, errors.UnsupportedCipher, errors.UnsupportedFormat, errors.MalformedEnvelope)
_NOT_AS_SEALED = (*_NOT_OURS, errors.AuthenticationFailed, errors.WrongLocation, errors.PlaintextRefused)


class HandlerError(errors.EncryptedSerdeError):
    """Data that a handler cannot work with. Never a ValueError, whose text the server would send to the client."""

    http_status = 422


class Codec:
    """Seals and opens what the server stores. Synchronous: it knows neither event loop nor request.

    Args:
        sealer: What seals and opens.
        admission: What else is read: blobs that were never sealed, and the server's own AES values.
        skip: Keys that are left alone, besides those of the server.
        allow_foreign: Whether text that only looks sealed passes.
        keeps_foreign: Whether values of another context are left sealed on reading, so that they must not be written again.
    """

    def __init__(
        self,
        sealer: Sealer,
        admission: Admission,
        *,
        skip: frozenset[str] = frozenset(),
        allow_foreign: bool = False,
        keeps_foreign: bool = False,
    ) -> None:
        self.sealer = sealer
        self._admission = admission
        self._skip = skip
        self._allow_foreign, self._keeps_foreign = allow_foreign, keeps_foreign

    def seal_json(self, data: Mapping[str, Any], context: EncryptionContext) -> dict[str, Any]:
        """Seals the values of an object and leaves its keys, None and whatever is skipped as they are.

        Raises:
            WrongContext: If a value is sealed already, under another context, where such values are left sealed on reading:
                sealed once more, under this context, its owner could not read it.
            HandlerError: If a value is no JSON, or none that the server could send again, or a skipped one would make the
                server refuse to read the row.
            KeyServiceError: If the key cannot be had.
        """
        skip = self._skip | SERVER_KEYS | hidden_keys()
        return {name: self._seal_value(name, value, context, skip) for name, value in data.items()}

    def open_json(
        self, data: Mapping[str, Any], expected: EncryptionContext | None = None, place: tuple[str, str] = ("", "")
    ) -> dict[str, Any] | DecryptResult[dict[str, Any]]:
        """Opens the sealed values of an object, one layer each, and leaves all others as they are.

        Values of an erased key stay sealed: a row must not be lost to everybody, nor become impossible to delete, for one
        value in it.

        Args:
            data: As stored.
            expected: Whose values to open; everybody's when None. Those of another context stay as they are: the server opens
                rows to compare and to list them, and afterwards shows them only to those who may see them.
            place: Model and field, which tell where the server itself stores what clients wrote.

        Returns:
            The object; with a replacement where a value is to be re-encrypted.

        Raises:
            EncryptedSerdeError: As `Sealer.open_bound` raises it, for a value that is sealed and does not open.
        """
        opened, replacement = dict(data), dict(data)
        skip, hidden = self._skip | SERVER_KEYS | hidden_keys(), SERVER_PLACES | hidden_places()
        for name, value in data.items():
            if not isinstance(value, str) or name in skip:
                continue
            try:
                sealed = find_sealed(value)
                if sealed is None:
                    opened[name] = self._open_legacy_text(value)
                    continue
                plaintext, anew = self._open(sealed, "json", json_value(name), expected)
            except (errors.WrongContext, errors.KeyErased):
                continue
            except _NOT_AS_SEALED as error:
                if name.startswith("__") or (*place, name) in hidden:
                    continue
                if not (self._allow_foreign and isinstance(error, _NOT_OURS)):
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
        """Opens a blob: one of ours, or one that a switch admits.

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
        if self._admission.legacy:
            try:
                return self._admission.admit(_LEGACY_TAG, data).plaintext
            except (errors.AuthenticationFailed, errors.MalformedEnvelope):
                if not self._admission.plaintext:
                    raise
        return self._admission.admit("bytes", data).plaintext

    def _seal_value(self, name: str, value: Any, context: EncryptionContext, skip: frozenset[str]) -> Any:
        if value is None or (isinstance(value, dict) and not value and name in _CONTAINERS):
            return value
        if name in skip:
            if isinstance(value, str) and value.startswith(LEGACY_TEXT_PREFIX):
                # The server takes it for its own AES encryption and refuses the whole row, in every search that finds it.
                raise HandlerError("a value that is not encrypted begins like one of the server's AES values")
            return value
        if self._keeps_foreign and isinstance(value, str) and _is_of_another(value, context):
            problem = "a value belongs to another encryption context, and would become unreadable for its owner"
            raise errors.WrongContext(problem)
        return self._seal_text(name, _as_json(value).encode("utf-8", "surrogatepass"), context)

    def _seal_text(self, name: str, plaintext: bytes, context: EncryptionContext) -> str:
        return sealed_text(self.sealer.seal_bound("json", plaintext, json_value(name), context=context))

    def _open(
        self, sealed: Sealed, inner_type: str, binding: Binding, expected: EncryptionContext | None
    ) -> tuple[bytes, EncryptionContext | None]:
        """Opens a value; returns its context too where it is to be sealed again."""
        head = sealed.head
        # Never an encryption_context that happens to be around.
        opened = self.sealer.open_bound(sealed, binding, context=head.context if expected is None else expected)
        if opened.inner_type != inner_type:
            raise errors.WrongLocation(f"a value of inner type {opened.inner_type!r} is stored where {inner_type!r} belongs")
        return opened.plaintext, head.context if self._is_old(head) else None

    def _is_old(self, head: Head) -> bool:
        try:
            return self.sealer.keys.encryption_key(head.context.pairs).id != head.key_id
        except (errors.KeyServiceError, errors.KeyErased, errors.UnknownKey):
            return False  # reading must not fail for want of a key to write with

    def _open_legacy_text(self, value: str) -> Any:
        if not value.startswith(LEGACY_TEXT_PREFIX) or (self._allow_foreign and not self._admission.legacy):
            return value
        if not self._admission.legacy:
            raise errors.PlaintextRefused("a value was encrypted under LANGGRAPH_AES_KEY; pass that key in legacy_keys")
        try:
            data = b64decode(value[len(LEGACY_TEXT_PREFIX) :], validate=True)
            return json.loads(self._admission.admit(_LEGACY_TAG, data).plaintext)
        except (ValueError, RecursionError):  # no base64; no JSON
            raise errors.MalformedEnvelope("a value begins like one of the server's AES values and is none") from None


def _as_json(value: Any) -> str:
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        raise HandlerError("a value cannot be written as JSON") from None
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        raise HandlerError(f"a value has more than {DEEPEST} levels of nesting: the server could not send it again")
    return text


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, (dict, list, tuple))]:
        depth += 1
        level = [part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole)]
    return depth


def _is_of_another(text: str, context: EncryptionContext) -> bool:
    try:
        sealed = find_sealed(text)
    except errors.EncryptedSerdeError:  # it only looks like one
        return False
    return sealed is not None and sealed.head.context.encoded != context.encoded
