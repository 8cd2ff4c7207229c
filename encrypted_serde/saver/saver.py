"""`EncryptedSaver`: wraps any checkpointer so that nothing it stores is readable, and nothing can be moved."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    _with_msgpack_allowlist,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamEncryptedSerializer

from ..audit import AuditListener, make_sealer
from ..core.ciphers import DEFAULT
from ..core.context import EncryptionContext, current
from ..core.keys import Key, KeyProvider
from ..errors import ConfigurationError
from ..serializer import EncryptedSerializer
from ..wrapping.gate import Admission, Gate
from ..wrapping.legacy import LegacyReader
from ..wrapping.offload import is_heavy, is_large, seal_now
from .inner import habits_of
from .listing import Lister
from .manifest import KEY, LANGGRAPH_KEYS, survives_json
from .open import IDENTITY, RowOpener, ambient
from .optional import class_for
from .seal import Place, RowSealer

ContextSource = Mapping[str, str] | Callable[[RunnableConfig], Mapping[str, str] | None]


class EncryptedSaver(BaseCheckpointSaver[Any]):
    """Wraps a checkpointer: every value, write and private metadata key is sealed, and bound to the row it belongs to.

    Use it wherever the inner saver is used: ``graph.compile(checkpointer=EncryptedSaver(PostgresSaver(conn), keys))``. It
    has the optional methods (``prune``, ``copy_thread``, ...) that the inner saver has.

    Readable by nature stay thread, namespace, checkpoint and task ids, channel and node names, task paths, versions, times,
    sizes, whether a value is None, and the metadata keys ``source``, ``step``, ``parents``, ``run_id`` and those of delta
    channels. Not detectable are the deletion of the newest rows or of all writes of a task (which then runs again), and a
    whole older database put in place of the newer one.

    Args:
        inner: The saver to wrap. It goes on to work as it did; what is written through the wrapper it cannot read.
        keys: A `Key` or any `KeyProvider`, such as `Keyring`.
        serde: How values become bytes before they are sealed; what the inner saver would use by default.
        cipher: What to write with, as for `EncryptedSerializer`.
        compression: ``"zstd"`` to compress values that get smaller by it; lengths then tell about content.
        allow_plaintext: Moving in: rows that were never encrypted are read. **While this is on, nothing is promised against
            somebody who can write rows.** On Postgres it is needed until every channel was written anew or re-encrypted.
        allow_unbound: Moving in: values that `EncryptedSerializer` wrote (under these keys) are read. **While this is on,
            such a value may be moved to any place.**
        legacy_keys: Moving in: raw AES keys of langgraph's own `EncryptedSerializer`. Its values are read with a strict
            msgpack allowlist. **While this is set, whoever can write rows may relabel and move them.**
        readable_metadata: Metadata keys to leave readable besides those that LangGraph needs.
        searchable_metadata: Metadata keys that ``list(filter=)`` finds inside the database, by equality, without their being
            readable. Which rows share a value can be seen.
        context: The encryption context of what is written, and expected of what is read: a mapping, or a callable that gets
            the run's config. The ambient `encryption_context` where it is, or gives, None.
        required_context: Names that the encryption context must have, or nothing is written: ``("tenant_id",)``.
        accept_contexts: Contexts that are read besides the expected one, e.g. ``({},)`` for rows from before there were
            tenants. Every tenant can read them.
        pass_config: Further keys of ``configurable`` that the inner saver needs. Their scalars become readable metadata.
        verify_delta_history: Rebuild delta channels from verified checkpoints, one by one, instead of the inner saver's
            faster way, which authenticates each write but not which checkpoints form the chain.
        audit: Told of everything that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If ``inner`` is no saver, or another argument is of the wrong type.
        ConfigurationError: If an option cannot be used.

    Attributes:
        inner: As given.
        serde: How values become bytes.
    """

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        keys: Key | KeyProvider,
        *,
        serde: SerializerProtocol | None = None,
        cipher: str = DEFAULT,
        compression: str | None = None,
        allow_plaintext: bool = False,
        allow_unbound: bool = False,
        legacy_keys: Iterable[bytes] = (),
        readable_metadata: Collection[str] = (),
        searchable_metadata: Collection[str] = (),
        context: ContextSource | None = None,
        required_context: Iterable[str] = (),
        accept_contexts: Iterable[Mapping[str, str]] = (),
        pass_config: Collection[str] = (),
        verify_delta_history: bool = False,
        audit: AuditListener | None = None,
    ) -> None:
        if not isinstance(inner, BaseCheckpointSaver) or isinstance(inner, EncryptedSaver):
            raise TypeError(f"inner must be a checkpointer that is not encrypted yet, not {type(inner).__name__}")
        super().__init__(serde=_value_serde(inner.serde if serde is None else serde))
        self.inner = inner
        self._habits = habits_of(inner)
        self._readable_keys = LANGGRAPH_KEYS | _names("readable_metadata", readable_metadata) | frozenset(pass_config)
        self._searchable_keys = _names("searchable_metadata", searchable_metadata)
        if both := self._searchable_keys & self._readable_keys:
            raise ConfigurationError(f"metadata keys cannot be readable and searchable: {', '.join(sorted(both))}")
        self._context = context if context is None or callable(context) else EncryptionContext.of(context)
        self._passed_keys = (*IDENTITY, *pass_config)
        self._sealer = make_sealer(
            keys,
            cipher=cipher,
            compression=compression,
            required_context=required_context,
            accept_contexts=accept_contexts,
            audit=audit,
        )
        self._admission = Admission(
            self._sealer,
            plaintext=allow_plaintext,
            unbound=allow_unbound,
            legacy=LegacyReader(legacy_keys, allowlist_from=self.serde),
        )
        self._gated = copy.copy(inner)
        self._gated.serde = Gate(self._admission)
        self._connect()
        self.__class__ = class_for(type(self), inner, verify_delta_history=verify_delta_history)

    def _connect(self) -> None:
        self._rows = RowSealer(self._sealer, self.serde, self._habits, self._readable_keys, self._searchable_keys)
        self._opener = RowOpener(self._sealer, self.serde, self._admission, self._habits)
        self._lister = Lister(
            self._gated, self._opener, self._sealer, self._habits, self._admission, self._readable_keys, self._searchable_keys
        )

    # --- what is not about rows

    @property
    def admitted_reads(self) -> Counter[str]:
        """How many values each switch for moving in let through: by ``plaintext``, ``legacy`` and ``unbound``."""
        return self._admission.admitted

    @property
    def config_specs(self) -> list[Any]:
        """The inner saver's."""
        return self.inner.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Gives the next version of a channel, as the inner saver does."""
        return self.inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> EncryptedSaver:
        """Gives this saver with more types on the msgpack allowlist; LangGraph calls it under strict msgpack."""
        clone = copy.copy(self)
        clone.serde = _with_msgpack_allowlist(self.serde, extra_allowlist)
        clone._admission = self._admission.with_allowlist(extra_allowlist)
        clone._gated = copy.copy(self._gated)
        clone._gated.serde = Gate(clone._admission)
        clone._connect()
        return clone

    # --- writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Seals a checkpoint and stores it. Arguments and result are those of the inner saver."""
        sealed, sealed_metadata = self._seal(config, checkpoint, metadata)
        return self._gated.put(self._inner_config(config), sealed, cast("Any", sealed_metadata), new_versions)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Seals a checkpoint and stores it. Arguments and result are those of the inner saver."""
        if self._habits.asks_serde:
            sealed, sealed_metadata = self._seal(config, checkpoint, metadata)
            stored = checkpoint["channel_values"] if self._habits.stores_all_values else new_versions
            large = [channel for channel in stored if is_large(checkpoint["channel_values"].get(channel))]
            if large:
                await asyncio.to_thread(seal_now, [sealed["channel_values"].get(channel) for channel in large])
        else:
            sealed, sealed_metadata = await asyncio.to_thread(self._seal, config, checkpoint, metadata)
        return await self._gated.aput(self._inner_config(config), sealed, cast("Any", sealed_metadata), new_versions)

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Seals the writes of a task and stores them."""
        sealed = self._seal_writes(config, writes, task_id, task_path)
        self._gated.put_writes(self._inner_config(config), sealed, task_id, task_path)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Seals the writes of a task and stores them."""
        if self._habits.asks_serde:
            sealed = self._seal_writes(config, writes, task_id, task_path)
            if any(is_large(value) for _, value in writes):
                await asyncio.to_thread(seal_now, [value for _, value in sealed])
        else:
            sealed = await asyncio.to_thread(self._seal_writes, config, writes, task_id, task_path)
        await self._gated.aput_writes(self._inner_config(config), sealed, task_id, task_path)

    def _seal(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[Checkpoint, dict[str, Any]]:
        configurable = config["configurable"]
        place = Place.of_config(config)
        whole = cast("Mapping[str, Any]", get_checkpoint_metadata(config, metadata))
        for name in self._passed_keys[len(IDENTITY) :]:  # the inner saver will store it readable, whatever we do
            if name in whole and not survives_json(whole[name]):
                raise ConfigurationError(f"pass_config: {name!r} has a value that JSON columns change; pass it as text")
        return self._rows.checkpoint(place, configurable.get("checkpoint_id"), checkpoint, whole, self._context_of(config))

    def _seal_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> list[tuple[str, Any]]:
        configurable = config["configurable"]
        place = Place.of_config(config)
        return self._rows.writes(place, configurable["checkpoint_id"], writes, task_id, task_path, self._context_of(config))

    # --- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Fetches a checkpoint and verifies it. Raises as `RowOpener.checkpoint` does; None only if there is none."""
        asked, context = self._inner_config(config), self._context_of(config)
        with ambient(context):
            found = self._gated.get_tuple(asked)
        return None if found is None else self._open(config, asked, found, context)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Fetches a checkpoint and verifies it, as `get_tuple` does. A large one is opened off the event loop."""
        asked, context = self._inner_config(config), self._context_of(config)
        with ambient(context):
            found = await self._gated.aget_tuple(asked)
        if found is None:
            return None
        if is_heavy(found):
            return await asyncio.to_thread(self._open, config, asked, found, context)
        return self._open(config, asked, found, context)

    def _open(
        self,
        config: RunnableConfig,
        asked: RunnableConfig,
        found: CheckpointTuple,
        context: EncryptionContext | None,
    ) -> CheckpointTuple:
        self._opener.check_identity(asked, found)
        opened = self._opener.checkpoint(found, context)
        # Some savers give back the config they were asked with.
        return opened._replace(config=config) if found.config is asked else opened

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Lists checkpoints, verified, in the order of the inner saver and with the answers it would give in plaintext.

        The expected encryption context is that of the call, wherever the answers are fetched.
        """
        asked = None if config is None else self._inner_config(config)
        return self._lister.list(asked, self._expected(config), filter, before, limit)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Lists checkpoints as `list` does."""
        asked = None if config is None else self._inner_config(config)
        return self._lister.alist(asked, self._expected(config), filter, before, limit)

    # --- deleting

    def delete_thread(self, thread_id: str) -> None:
        """Deletes a thread, as the inner saver does."""
        self._gated.delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes a thread, as the inner saver does."""
        await self._gated.adelete_thread(thread_id)

    # --- configs

    def _inner_config(self, config: RunnableConfig) -> RunnableConfig:
        """Keeps what the inner saver needs. It writes every scalar it is given into readable metadata."""
        configurable = config["configurable"]
        return {"configurable": {name: configurable[name] for name in self._passed_keys if name in configurable}}

    def _expected(self, config: RunnableConfig | None) -> EncryptionContext | None:
        """Gives the context that answers must have, as it is at this moment."""
        if config is None and callable(self._context) and current.get() is None:
            raise ConfigurationError("list(None) has no run's config to ask context= with: use an encryption_context")
        context = self._context_of(config)
        return current.get() if context is None else context

    def _context_of(self, config: RunnableConfig | None) -> EncryptionContext | None:
        source = self._context
        if source is None or isinstance(source, EncryptionContext):
            return source
        pairs = None if config is None else source(config)
        return None if pairs is None else EncryptionContext.of(pairs)


def _value_serde(serde: SerializerProtocol) -> SerializerProtocol:
    """Gives the serializer inside encrypting ones: values are sealed once, here."""
    while isinstance(serde, (EncryptedSerializer, UpstreamEncryptedSerializer)):
        serde = serde.inner if isinstance(serde, EncryptedSerializer) else serde.serde
    return serde


def _names(option: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise TypeError(f"{option} is a collection of metadata keys, not one str")
    if KEY in names:
        raise ConfigurationError(f"{option}: the metadata key {KEY!r} is the manifest's")
    return frozenset(names)
