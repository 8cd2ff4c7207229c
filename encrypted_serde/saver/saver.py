"""`EncryptedSaver`: wraps any checkpointer so that nothing it stores is readable, and nothing can be moved."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from ..anchor.entries import Anchor
from ..audit import AuditListener, make_sealer
from ..core.context import EncryptionContext
from ..core.keys import Key, KeyProvider, Keyring
from ..core.sealer import Sealer
from ..errors import ConfigurationError
from ..rows.manifest import KEY, LANGGRAPH_KEYS
from ..wrapping import upstream
from ..wrapping.admission import Admission
from ..wrapping.description import summary
from ..wrapping.gate import Gate, gated
from ..wrapping.json_gate import JsonGate
from ..wrapping.offload import is_heavy, is_large, seal_now
from ..wrapping.steps import Steps, arun, astream, run, stream
from .anchoring import client_for
from .base import ContextSource, WiredSaver, value_serde
from .listing import Lister
from .optional import class_for
from .seal import RowSealer
from .steps import Call, ambient
from .traits import Traits, next_of_its_own, traits_of, with_probed
from .wiring import At, Wiring


class EncryptedSaver(WiredSaver):
    """Wraps a checkpointer: every value, write and private metadata key is sealed, and bound to the row it belongs to.

    Use it wherever the inner saver is used: ``graph.compile(checkpointer=EncryptedSaver(PostgresSaver(conn), keys))``. It
    has the optional methods (``prune``, ``copy_thread``, ...) that the inner saver has.

    Readable by nature stay thread, namespace, checkpoint and task ids, channel and node names, task paths, versions, times,
    sizes, whether a value is None, and the metadata keys ``source``, ``step``, ``parents``, ``run_id`` and those of delta
    channels. Not detectable without an ``anchor`` are the deletion of the newest rows or of all writes of a task (which then
    runs again), and a whole older database put in place of the newer one.

    Args:
        inner: The saver to wrap. It goes on to work as it did; what is written through the wrapper it cannot read.
        keys: A `Key`, any `KeyProvider` such as `Keyring`, or a `Sealer`, which has options of its own:
            ``Sealer(keys, compression="zstd")``. With any provider but `Keyring`, which may have to ask a service, the
            asynchronous methods seal and open in a thread.
        serde: How values become bytes before they are sealed; what the inner saver would use by default.
        allow_plaintext: Moving in: rows that were never encrypted are read. **While this is on, nothing is promised against
            somebody who can write rows.** On Postgres it is needed until every channel was written anew or re-encrypted.
        allow_unbound: Moving in: values that `EncryptedSerializer` wrote (under these keys) are read. **While this is on,
            such a value may be moved to any place.**
        legacy_keys: Moving in: raw AES keys of langgraph's own `EncryptedSerializer`. Its values are read with a strict
            msgpack allowlist. **While this is set, somebody who can write rows may relabel and move them.**
        readable_metadata: Metadata keys to leave readable besides those that LangGraph needs.
        searchable_metadata: Metadata keys that ``list(filter=)`` finds inside the database, by equality, without their being
            readable. Which rows share a value can be seen.
        context: The encryption context of what is written, and expected of what is read: a mapping, or a callable that gets
            the run's config. The ambient `encryption_context` where it is, or gives, None.
        required_context: Names that the encryption context must have, or nothing is written: ``("tenant_id",)``.
        require_context_to_read: Refuse to read where no encryption context is set. Without it a request that forgets the tenant
            reads the rows of all, each under the context that is stored with it.
        verify_delta_history: Rebuild delta channels from verified checkpoints, one by one, instead of the inner saver's
            faster way, which authenticates each write but not which checkpoints form the chain.
        audit: Told of everything that is sealed, opened and refused. See `encrypted_serde.audit`.
        anchor: An append-only list out of reach of those who write the database, such as `SqliteAnchor` or `PostgresAnchor`:
            what was deleted or put back there is refused with `Incomplete`. See docs/anchor.md.
        traits: How the inner saver treats what it is handed, if it is none that is known (docs/coverage.md lists them) and
            gives back something else than it was given.

    Raises:
        TypeError: If ``inner`` is no saver, or another argument is of the wrong type.
        ConfigurationError: If an option cannot be used.

    Attributes:
        inner: As given.
        serde: How values become bytes. Another may be assigned.
    """

    def __new__(
        cls, inner: Any = None, *args: Any, verify_delta_history: bool = False, anchor: Any = None, **options: Any
    ) -> EncryptedSaver:
        """Chooses the class with the optional methods of the inner saver."""
        if not args and not options:  # a copy, whose class was chosen already
            return object.__new__(cls)
        is_slow = verify_delta_history or anchor is not None
        chosen = class_for(EncryptedSaver, cls, type(inner), verify_delta_history=is_slow)
        return cast("EncryptedSaver", object.__new__(chosen))

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        keys: Key | KeyProvider | Sealer,
        *,
        serde: SerializerProtocol | None = None,
        allow_plaintext: bool = False,
        allow_unbound: bool = False,
        legacy_keys: Iterable[bytes] = (),
        readable_metadata: Collection[str] = (),
        searchable_metadata: Collection[str] = (),
        context: ContextSource | None = None,
        required_context: Iterable[str] = (),
        require_context_to_read: bool = False,
        verify_delta_history: bool = False,
        audit: AuditListener | None = None,
        anchor: Anchor | None = None,
        traits: Traits | None = None,
    ) -> None:
        if not isinstance(inner, BaseCheckpointSaver) or isinstance(inner, EncryptedSaver):
            hint = " (enter it: with PostgresSaver.from_conn_string(...) as inner)" if hasattr(inner, "__enter__") else ""
            raise TypeError(f"inner must be a checkpointer that is not encrypted yet, not {type(inner).__name__}{hint}")
        if traits is not None and not isinstance(traits, Traits):
            raise TypeError(f"traits must be Traits, not {type(traits).__name__}")
        self.inner = inner
        self._context = context if context is None or callable(context) else EncryptionContext.of(context)
        readable = LANGGRAPH_KEYS | _names("readable_metadata", readable_metadata)
        searchable = _names("searchable_metadata", searchable_metadata)
        if both := searchable & readable:
            raise ConfigurationError(f"metadata keys cannot be readable and searchable: {', '.join(sorted(both))}")
        sealer = make_sealer(
            keys, required_context=required_context, require_context_to_read=require_context_to_read, audit=audit
        )
        own = value_serde(inner.serde if serde is None else serde)
        admission = Admission(
            sealer, plaintext=allow_plaintext, unbound=allow_unbound, legacy_keys=legacy_keys, allowlist_from=own
        )
        known = traits_of(inner) if traits is None else with_probed(traits, inner)
        client = client_for(anchor, sealer.keys, known)
        view = gated(inner, _gate(admission, known))
        self._connect(Wiring(view, sealer, own, admission, known, readable, searchable, anchor=client))
        super().__init__(serde=own)

    # --- what is not about rows

    @property
    def admitted_reads(self) -> Counter[str]:
        """How many values each switch for moving in let through: by ``plaintext``, ``legacy`` and ``unbound``."""
        return self._wiring.admission.admitted

    @property
    def passed_over(self) -> Counter[str]:
        """How many rows lists left out, by the class of the refusal: ``KeyErased``."""
        return self._wiring.admission.passed_over

    def __repr__(self) -> str:
        shown = summary(self._wiring.sealer, self._wiring.admission)
        return f"<EncryptedSaver of {type(self.inner).__name__}, {shown}>"

    @property
    def config_specs(self) -> list[Any]:
        """The inner saver's."""
        return self.inner.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Returns the next version of a channel, as the inner saver does."""
        if self._wiring.traits.reuses_versions:
            return next_of_its_own(current)
        return self.inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> EncryptedSaver:
        """Returns this saver with more types on the msgpack allowlist; LangGraph calls it under strict msgpack."""
        admission = self._wiring.admission.with_allowlist(extra_allowlist)
        serde = upstream.with_msgpack_allowlist(self.serde, extra_allowlist)
        view = gated(self.inner, _gate(admission, self._wiring.traits))
        return self._with(gated=view, serde=serde, admission=admission)

    def _with(self, **changed: Any) -> EncryptedSaver:
        clone = copy.copy(self)
        clone._connect(replace(self._wiring, **changed))
        return clone

    # --- writing

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Seals a checkpoint and stores it. Arguments and result are those of the inner saver."""
        if self._anchoring is not None:
            return run(self._put(self._sealer, config, checkpoint, metadata, new_versions))
        # The same without steps, as in the two others below: with a saver in memory they take up to a sixth of the time.
        asked, at = self._asked(config)
        if self._needs_parent(at, checkpoint, new_versions):
            with ambient(at.context):
                found = self._wiring.gated.get_tuple(asked)
            self._note_parent(asked, at, found)
            new_versions = _all_versions(checkpoint) if found is None else new_versions
        sealed, beside, listed = self._sealer.checkpoint(at, config, checkpoint, metadata, new_versions)
        stored = self._wiring.gated.put(asked, sealed, beside, new_versions)
        self._wiring.remembered.note(listed, beside.get(KEY))
        return stored

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Seals a checkpoint and stores it. Arguments and result are those of the inner saver."""
        return await arun(self._put(self._late_sealer, config, checkpoint, metadata, new_versions))

    def _put(
        self,
        sealer: RowSealer,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Steps[RunnableConfig]:
        asked, at = yield self._work(False, self._asked, config)
        if self._needs_parent(at, checkpoint, new_versions):
            found = yield Call(self._wiring.gated, "get_tuple", (asked,), at.context)
            yield self._work(False, self._note_parent, asked, at, found)
            new_versions = _all_versions(checkpoint) if found is None else new_versions
        traits, values = self._wiring.traits, checkpoint["channel_values"]

        def store(versions: ChannelVersions) -> Steps[RunnableConfig]:
            seal = partial(sealer.checkpoint, at, config, checkpoint, metadata, versions)
            sealed, beside, listed = yield self._work(not traits.asks_serde, seal)
            if sealer is self._late_sealer:
                asks_for = values if traits.stores_all_values else versions
                yield from self._seal_ahead([(values.get(name), sealed["channel_values"].get(name)) for name in asks_for])
            stored: RunnableConfig = yield Call(self._wiring.gated, "put", (asked, sealed, beside, versions))
            self._wiring.remembered.note(listed, beside.get(KEY))
            return stored

        if self._anchoring is None:
            return (yield from store(new_versions))
        return (yield from self._anchoring.checkpoint(at, checkpoint["id"], [new_versions, _all_versions(checkpoint)], store))

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Seals the writes of a task and stores them."""
        if self._anchoring is None:
            asked, at = self._asked_to_write(config)
            self._wiring.gated.put_writes(asked, self._sealer.writes(at, writes, task_id, task_path)[0], task_id, task_path)
        else:
            run(self._put_writes(self._sealer, config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Seals the writes of a task and stores them."""
        await arun(self._put_writes(self._late_sealer, config, writes, task_id, task_path))

    def _put_writes(
        self, sealer: RowSealer, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Steps[None]:
        asked, at = yield self._work(False, self._asked_to_write, config)
        seal = partial(sealer.writes, at, writes, task_id, task_path)
        sealed, batch = yield self._work(not self._wiring.traits.asks_serde, seal)
        if sealer is self._late_sealer:
            yield from self._seal_ahead([(value, handed[1]) for (_, value), handed in zip(writes, sealed, strict=True)])
        store = Call(self._wiring.gated, "put_writes", (asked, sealed, task_id, task_path))
        if self._anchoring is None:
            yield store
        else:
            yield from self._anchoring.writes(at, writes, task_id, batch, store)

    def _asked_to_write(self, config: RunnableConfig) -> tuple[RunnableConfig, At]:
        asked, at = self._asked(config)
        return asked, at if at.checkpoint_id is not None else at._replace(checkpoint_id=config["configurable"]["checkpoint_id"])

    def _seal_ahead(self, handed: Sequence[tuple[Any, Any]]) -> Steps[None]:
        """Seals what an inner saver would seal on the event loop and must not: what is large, or needs a key to be fetched.

        Args:
            handed: Values, each with what the inner saver is handed for it.
        """
        if self._wiring.traits.asks_serde:
            large = [later for value, later in handed if is_large(value)]
            is_remote = not isinstance(self._wiring.sealer.keys, Keyring)  # a keyring in memory always has its key
            if is_remote or large:
                yield self._work(bool(large), seal_now, [later for _, later in handed] if is_remote else large)

    def _needs_parent(self, at: At, checkpoint: Checkpoint, new_versions: ChannelVersions) -> bool:
        """Says whether the parent has to be read to know which of its values this checkpoint shares with it."""
        wiring = self._wiring
        if at.checkpoint_id is None or wiring.traits.stores_all_values:
            return False
        shares_none = checkpoint["channel_versions"].keys() <= new_versions.keys()
        return not shares_none and not wiring.remembered.knows(at.place, at.checkpoint_id)

    def _note_parent(self, asked: RunnableConfig, at: At, found: CheckpointTuple | None) -> None:
        """Verifies the parent, and remembers what its manifest lists."""
        if found is not None:
            self._opener.check_identity(asked, found)
            self._opener.listed(found, at.context)

    # --- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Fetches a checkpoint and verifies it. Raises as `RowOpener.checkpoint` does; None only if there is none."""
        if self._anchoring is not None:
            return run(self._get(config))
        asked, at = self._asked_to_read(config)
        with ambient(at.context):
            found = self._wiring.gated.get_tuple(asked)
        return None if found is None else self._open(config, asked, found, at)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Fetches a checkpoint and verifies it, as `get_tuple` does. A large one is opened off the event loop."""
        return await arun(self._get(config))

    def _get(self, config: RunnableConfig) -> Steps[CheckpointTuple | None]:
        asked, at = yield self._work(False, self._asked_to_read, config)
        opened = partial(self._open, config, asked, at=at)
        if self._anchoring is not None:
            return (yield from self._anchoring.found(asked, at, opened))
        found = yield Call(self._wiring.gated, "get_tuple", (asked,), at.context)
        return None if found is None else (yield self._work(partial(is_heavy, found), opened, found))

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
        return stream(self._lists().steps(self._listed(config, filter, before, limit)))

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Lists checkpoints as `list` does."""
        return astream(self._lists().steps(self._listed(config, filter, before, limit)))

    def _lists(self) -> Lister:
        return self._lister if self._anchoring is None else self._anchoring.lister()

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Returns writes and seeds of delta channels by going through verified checkpoints, one by one."""
        target = self.get_tuple(config) if channels else None
        if target is None:
            return super().get_delta_channel_history(config=config, channels=channels)
        strict = self._with(gaps_only_in=target.config["configurable"]["checkpoint_id"])
        return super(EncryptedSaver, strict).get_delta_channel_history(config=target.config, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Returns writes and seeds of delta channels, as `get_delta_channel_history` does."""
        target = await self.aget_tuple(config) if channels else None
        if target is None:
            return await super().aget_delta_channel_history(config=config, channels=channels)
        strict = self._with(gaps_only_in=target.config["configurable"]["checkpoint_id"])
        return await super(EncryptedSaver, strict).aget_delta_channel_history(config=target.config, channels=channels)


def _gate(admission: Admission, traits: Traits) -> Gate:
    return JsonGate(admission) if traits.asks_json else Gate(admission)


def _all_versions(checkpoint: Checkpoint) -> ChannelVersions:
    """Returns the versions of all channels that have a value: all are stored where a parent is gone, with its values."""
    values = checkpoint["channel_values"]
    return {name: version for name, version in checkpoint["channel_versions"].items() if name in values}


def _names(option: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise TypeError(f"{option} is a collection of metadata keys, not one str")
    if KEY in names:
        raise ConfigurationError(f"{option}: the metadata key {KEY!r} is the manifest's")
    return frozenset(names)
