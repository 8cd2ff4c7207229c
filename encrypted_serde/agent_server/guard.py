"""`TenantSaver`: the server's checkpointer, which never lets a request change what belongs to another tenant.

`EncryptedSaver` refuses to *read* a thread under another context than it has; but a request without any context reads it with
the stored one, would run on it, and would leave it unreadable for its owner. So every change is compared with the context that
the thread has.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from ..audit import tell_refused
from ..core.bounded import Bounded
from ..core.context import NO_CONTEXT, EncryptionContext, current, encryption_context
from ..core.format import find_sealed
from ..errors import WrongContext
from ..rows.manifest import KEY
from ..saver import EncryptedSaver
from ..saver.optional import copy_steps
from ..wrapping.steps import Step, Steps, arun
from .served import named, served_metadata
from .tokens import UntrustedContext
from .trust import Trust, patiently

_REMEMBERED = 4096  # threads whose context is known


class _Patient(NamedTuple):
    """A step that is done again where the key service is away; see `patiently`."""

    step: Step

    def now(self) -> Any:
        return self.step.now()

    async def later(self) -> Any:
        return await patiently(self.step.later)


class _Compared(NamedTuple):
    """A step that compares threads with the request that changes them: see `TenantSaver`."""

    compare: Callable[[], Awaitable[None]]

    def now(self) -> None:
        """The server calls no synchronous method."""

    async def later(self) -> None:
        await self.compare()


class TenantSaver(EncryptedSaver):
    """An `EncryptedSaver` for the server: its encryption context is that of the request or run that is served.

    Only the asynchronous methods compare a thread with the request that changes it; the server calls no others. What may be
    read, and which names a write needs, holds for the synchronous ones too.

    Args:
        inner: As for `EncryptedSaver`.
        keys: As for `EncryptedSaver`.
        require_context_to_read: Refuse to read for a request without a context, or without a required name in it.
        **options: As for `EncryptedSaver`, without ``context``.

    Raises:
        TypeError: As for `EncryptedSaver`.
        ConfigurationError: As for `EncryptedSaver`.

    Attributes:
        keys: The key provider.
        trust: What says whose request is served.
    """

    def __init__(
        self, inner: BaseCheckpointSaver[Any], keys: Any, *, require_context_to_read: bool = False, **options: Any
    ) -> None:
        options["audit"] = named(options.get("audit"))
        super().__init__(inner, keys, context=self._served_pairs, require_context_to_read=require_context_to_read, **options)
        sealer = self._wiring.sealer
        self.trust = Trust(sealer.keys, sealer.required_context)
        self.keys = sealer.keys
        self._only_own = sealer.require_context_to_read
        self._accepted = sealer.accepted_contexts
        self._owners: Bounded[str, bytes] = Bounded(_REMEMBERED)

    def _served_pairs(self, config: RunnableConfig) -> Mapping[str, str] | None:
        served = self.trust.served()
        return None if served is None else served.pairs

    # --- reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Reads a checkpoint, for callers that may read."""
        await self._check_reader()
        return await super().aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Lists checkpoints, for callers that may read."""
        await self._check_reader()
        rows = super().alist(config, filter=filter, before=before, limit=limit)
        async with aclosing(cast("AsyncGenerator[CheckpointTuple]", rows)):
            async for row in rows:
                yield row

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Reads the history of delta channels, for callers that may read."""
        await self._check_reader()
        return await super().aget_delta_channel_history(config=config, channels=channels)

    async def _check_reader(self) -> None:
        served = await self._served(needs_names=self._only_own)
        if self._only_own and served is None:
            raise self._refused(UntrustedContext("this request has no encryption context, and may read nothing"))

    # --- changing

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Stores a checkpoint in a thread of the same context."""
        await self._check_writer(config)
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores writes in a thread of the same context."""
        await self._check_writer(config)
        await super().aput_writes(config, writes, task_id, task_path)

    def _before_deleting(self, thread_ids: Sequence[str]) -> Steps[None]:
        yield _Compared(partial(self._check_deleted, thread_ids))

    async def _check_deleted(self, thread_ids: Sequence[str]) -> None:
        """Refuses to delete or prune threads of another context. The server's own sweeping deletes any thread.

        A thread that cannot be opened any more can still be deleted by its owner: nothing is opened for it.
        """
        if served_metadata() is not None:
            served = await self._served(needs_names=False)
            for thread_id in thread_ids:
                await self._check_owner(thread_id, served)
        for thread_id in thread_ids:
            self._owners.pop(str(thread_id), None)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies a thread of the same context, whether or not the inner saver can."""
        served = await self._served(needs_names=True)
        await self._check_owner(source_thread_id, served)
        with encryption_context((served or NO_CONTEXT).pairs):
            await arun(copy_steps(self, source_thread_id, target_thread_id))

    async def _check_writer(self, config: RunnableConfig) -> None:
        served = await self._served(needs_names=True)
        thread_id = str(config["configurable"]["thread_id"])
        await self._check_owner(thread_id, served)
        # A thread without a context may get one, where such threads are accepted. All others stay whose they are.
        if served is not None or NO_CONTEXT.encoded not in self._accepted:
            self._owners[thread_id] = (served or NO_CONTEXT).encoded

    async def _check_owner(self, thread_id: str, served: EncryptionContext | None) -> None:
        """Refuses to change a thread that has another context than the one served."""
        own = (served or NO_CONTEXT).encoded
        if self._owners.get(str(thread_id)) == own:
            return
        stored = await self._stored_context(str(thread_id))
        if stored is not None and stored.encoded != own and stored.encoded not in self._accepted:
            raise self._refused(
                WrongContext("this thread has another encryption context than the request, which may not change it")
            )

    async def _stored_context(self, thread_id: str) -> EncryptionContext | None:
        """Reads the context of a thread's newest checkpoint: as its header says, which is enough against a mistake."""
        newest: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        if (found := await self._wiring.gated.aget_tuple(newest)) is None:
            return None
        sealed = find_sealed((found.metadata or {}).get(KEY))
        return NO_CONTEXT if sealed is None else sealed.head.context

    # --- who asks

    def _work(self, is_heavy: bool | Callable[[], bool], function: Callable[..., Any], *arguments: Any) -> Step:
        return _Patient(super()._work(is_heavy, function, *arguments))

    async def _served(self, *, needs_names: bool) -> EncryptionContext | None:
        """Returns the context of the request, checked in a thread: its token may be under a key that a service has.

        Outside of a server, and of requests, the ambient `encryption_context` counts.
        """
        served = current.get()
        try:
            if served_metadata():
                served = await self._work(False, self.trust.served).later()
            if needs_names:
                self.trust.check_names(served)
        except UntrustedContext as error:
            raise self._refused(error) from None
        return served if served and served.pairs else None

    def _refused(self, error: WrongContext) -> WrongContext:
        tell_refused(self._wiring.sealer, error)
        return error
