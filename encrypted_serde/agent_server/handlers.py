"""The handlers that `langgraph_sdk.Encryption` asks for: JSON objects, blobs, and the context of a request.

`codec` says how values are sealed, `trust` which context a request may write under. Here is what the server calls, and who
may: a write needs a context that the context handler gave; a read takes the context that is stored with the value, unless
``require_context_to_read`` is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from langgraph_sdk import DecryptResult, Encryption
from langgraph_sdk import EncryptionContext as RequestContext

from ..audit import AuditListener, make_sealer, tell_refused
from ..core.context import NO_CONTEXT, EncryptionContext, check_required_context
from ..core.keys import Key, KeyProvider
from ..core.sealer import Sealer
from ..core.waiting import aside
from ..errors import ConfigurationError, EncryptedSerdeError
from ..wrapping.admission import Admission
from .codec import Codec, HandlerError
from .served import is_in_memory, named, served_metadata
from .startup import PROBE, TOKEN, Surface, handler_calls, is_probe, surfaces
from .trust import (
    REFUSED,
    Answer,
    ContextFromUser,
    Trust,
    answer,
    check_context_from_user,
    context_of_request,
    patiently,
    problem_of,
)

_T = TypeVar("_T")


def make_encryption(
    keys: Key | KeyProvider | Sealer,
    *,
    skip: Iterable[str] = ("owner",),
    context_from_user: ContextFromUser | None = None,
    required_context: Iterable[str] = (),
    require_context_to_read: bool = False,
    allow_foreign: bool = False,
    allow_plaintext: bool = False,
    legacy_keys: Iterable[bytes] = (),
    audit: AuditListener | None = None,
) -> Encryption:
    """Makes the object that ``LANGGRAPH_ENCRYPTION`` and ``"encryption"`` in ``langgraph.json`` point to.

    Args:
        keys: A `Key`, any `KeyProvider` or a `Sealer`: the same object that `encrypted_saver` is given. With a `Keyring` the
            handlers work on the event loop; any other provider may have to ask a service, and they work in a thread.
            ``Sealer(keys, accept_contexts=({},))`` reads values from before there were tenants.
        skip: Keys of JSON objects that stay readable, and searchable: those that your ``Auth`` handlers filter on. What
            is stored there is never opened either, since clients choose it.
        context_from_user: Async function of ``(user, ctx)`` that gives the encryption context, e.g. ``{"tenant_id":
            user.tenant_id}``. Writes under a context that it did not give are refused; so are all writes of a request for
            which it failed. Without it nothing has a context.
        required_context: Names that the context of a request must have, or it writes nothing: ``("tenant_id",)``. Say the
            same to `encrypted_saver`.
        require_context_to_read: Let a request read only what was stored under its own context, instead of all that the keys
            open. Values of another tenant stay sealed text; blobs are refused, and so is writing such a text again. It holds
            where the server calls the handlers itself; a core that asks for them over gRPC does not say who reads.
        allow_foreign: Text that has the form of a sealed value but names a key that is not there (or a format that is not
            known) is passed on unchanged, instead of refused.
        allow_plaintext: For a migration: blobs that were never encrypted are read too. **While this is on, nothing is
            promised against somebody who can write rows.** In JSON, values that are not sealed always pass: the server
            stores its own beside them.
        legacy_keys: For a migration: raw AES keys, ``os.environ["LANGGRAPH_AES_KEY"].encode()``, under which the server
            itself wrote. Such values and blobs are read, never written.
        audit: Told of every value and blob that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If an argument is of the wrong type; if ``context_from_user`` is not async or does not take two arguments.
        ConfigurationError: If a legacy key cannot be used; if a context is required and there is no
            ``context_from_user`` to give one.

    Example:
        ```python
        async def tenant(user, ctx):
            return {"tenant_id": user["tenant_id"]}

        encryption = make_encryption(keys, context_from_user=tenant, required_context=("tenant_id",))
        ```
    """
    if isinstance(skip, str):
        raise TypeError("skip is a collection of keys, not one str")
    if context_from_user is not None:
        check_context_from_user(context_from_user)
    sealer = make_sealer(keys, audit=named(audit))
    trust = Trust(sealer.keys, sealer.required_context.union(check_required_context(required_context)))
    if context_from_user is None and (trust.required or require_context_to_read):
        raise ConfigurationError("where a context is required there must be a context_from_user that gives it")
    codec = Codec(
        sealer,
        Admission(sealer, plaintext=allow_plaintext, legacy_keys=legacy_keys),
        skip=frozenset(skip),
        allow_foreign=allow_foreign,
        keeps_foreign=require_context_to_read,
    )
    surfaces["handlers"] = Surface(sealer.keys, trust.required)
    handlers = _Handlers(codec, trust, context_from_user, require_context_to_read=require_context_to_read)
    encryption = Encryption()
    encryption.encrypt.json(handlers.encrypt_json)
    encryption.decrypt.json(handlers.decrypt_json)
    encryption.encrypt.blob(handlers.encrypt_blob)
    encryption.decrypt.blob(handlers.decrypt_blob)
    encryption.context(handlers.context)
    return encryption


class _Handlers:
    """What the server calls. Each method counts its call and keeps the event loop free; `Codec` does the work."""

    def __init__(
        self, codec: Codec, trust: Trust, context_from_user: ContextFromUser | None, *, require_context_to_read: bool
    ) -> None:
        self._codec = codec
        self._trust = trust
        self._context_from_user = context_from_user
        self._only_own = require_context_to_read

    async def context(self, user: Any, ctx: RequestContext) -> dict[str, Any]:
        """Returns what the server carries through the request. Raises nothing: it would go on with the client's header."""
        handler_calls["context"] += 1
        if is_probe(ctx.metadata):
            return dict(PROBE)
        # First, so that whatever becomes of this call nothing but its result counts in this request.
        answer.set(Answer({TOKEN: REFUSED}, None))
        answered = await self._answer(user, ctx)
        answer.set(answered)
        return dict(answered.carried)

    async def _answer(self, user: Any, ctx: RequestContext) -> Answer:
        of_key = False
        try:
            context = await context_of_request(self._context_from_user, user, ctx)
            if self._context_from_user is None:
                return Answer({}, context)
            of_key = True
            return Answer(await aside(self._codec.sealer.may_block, self._trust.carried, context), context)
        except Exception as error:  # noqa: BLE001  # whatever somebody's function, a key store or a key service raises
            return Answer({TOKEN: problem_of(error, of_key=of_key)}, None)

    async def encrypt_json(self, ctx: RequestContext, data: dict[str, Any]) -> dict[str, Any]:
        handler_calls["encrypt.json"] += 1
        if is_probe(ctx.metadata, data):
            return dict(data)
        sealed, ctx.metadata = await self._call(self._sealed, ctx, data)  # the server stores this context beside the row
        return sealed

    async def decrypt_json(self, ctx: RequestContext, data: dict[str, Any]) -> dict[str, Any] | DecryptResult[dict[str, Any]]:
        handler_calls["decrypt.json"] += 1
        place = str(ctx.model), str(ctx.field)

        async def opened() -> dict[str, Any] | DecryptResult[dict[str, Any]]:
            return await self._call(lambda: self._codec.open_json(data, self._reader(ctx), place))

        # langgraph dev opens the row of a run to start it. One that does not open is forgotten; from 0.18 on the server stops.
        return await (patiently(opened, by_itself=is_in_memory()) if ctx.model == "run" else opened())

    async def encrypt_blob(self, ctx: RequestContext, data: bytes) -> bytes:
        handler_calls["encrypt.blob"] += 1
        return await self._call(lambda: self._codec.seal_blob(data, self._writer(ctx)))

    async def decrypt_blob(self, ctx: RequestContext, data: bytes) -> bytes | DecryptResult[bytes]:
        handler_calls["decrypt.blob"] += 1
        return await self._call(lambda: self._codec.open_blob(data, self._reader(ctx)))

    def _sealed(self, ctx: RequestContext, data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Seals an object; returns the context to be stored beside it, too."""
        context = self._writer(ctx)
        sealed = self._codec.seal_json(data, context)
        return sealed, self._trust.stored(context, ctx) if ctx.metadata else {}

    def _writer(self, ctx: RequestContext) -> EncryptionContext:
        """Returns the context to write under."""
        # Without context_from_user there is one context, the empty one, and nothing to be trusted.
        if self._context_from_user is None and not ctx.metadata:
            return NO_CONTEXT
        context = self._trust.trusted(ctx.metadata, ctx.model)
        self._trust.check_names(context)
        return context

    def _reader(self, ctx: RequestContext) -> EncryptionContext | None:
        """Returns the context that values must have to be read; None for each value's own."""
        # `ctx` of a decrypt handler holds what is stored in the row, and not who asks. None: the server asks for itself.
        if not self._only_own or (served := served_metadata()) is None or is_probe(served):
            return None
        context = self._trust.trusted(served, ctx.model) if served else NO_CONTEXT
        self._trust.check_names(context)
        return context

    async def _call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return await aside(self._codec.sealer.may_block, function, *arguments)
        except ConfigurationError:
            raise HandlerError("a key name or value exceeds a limit of the format") from None
        except EncryptedSerdeError as error:
            tell_refused(self._codec.sealer, error)
            raise
