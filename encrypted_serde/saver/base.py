"""What a saver needs before it has a method: its parts, and what a run's config says to it.

`optional` and `copying` write their methods for this class, which `EncryptedSaver` is a subclass of.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from ..audit import tell_refused
from ..core.binding import Place
from ..core.context import EncryptionContext, check_reading, current
from ..errors import ConfigurationError, WrongContext
from ..serializer import EncryptedSerializer
from ..wrapping import upstream
from ..wrapping.steps import Step, Steps, Work
from .anchoring import Anchoring
from .listing import Asked, Lister
from .open import IDENTITY, RowOpener
from .seal import RowSealer
from .wiring import At, Wiring

ContextSource = Mapping[str, str] | Callable[[RunnableConfig], Mapping[str, str] | None]


class WiredSaver(BaseCheckpointSaver[Any]):
    """A saver with its parts, and no method of its own yet.

    Attributes:
        inner: The saver that is wrapped.
    """

    inner: BaseCheckpointSaver[Any]
    _context: EncryptionContext | Callable[[RunnableConfig], Mapping[str, str] | None] | None
    _wiring: Wiring

    def _connect(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._sealer = RowSealer(wiring, now=True)
        self._late_sealer = RowSealer(wiring, now=False)  # seals large values in the thread in which the saver asks for them
        self._opener = RowOpener(wiring)
        self._lister = Lister(wiring, self._opener)
        self._anchoring = None if wiring.anchor is None else Anchoring(wiring, self._opener, wiring.anchor)

    @property
    def serde(self) -> SerializerProtocol:
        """How values become bytes before they are sealed."""
        return self._wiring.serde

    @serde.setter
    def serde(self, serde: SerializerProtocol) -> None:
        self._connect(replace(self._wiring, serde=value_serde(serde)))

    def _work(self, is_heavy: bool | Callable[[], bool], function: Callable[..., Any], *arguments: Any) -> Step:
        """Returns the step that calls something which seals or opens, without holding an event loop."""
        return Work(partial(function, *arguments), self._wiring.sealer.may_block or is_heavy)

    def _before_deleting(self, thread_ids: Sequence[str]) -> Steps[None]:
        """Is called before threads are deleted or pruned. A subclass may refuse that."""
        yield from ()

    def _open(self, config: RunnableConfig, asked: RunnableConfig, found: CheckpointTuple, at: At) -> CheckpointTuple:
        self._opener.check_identity(asked, found)
        opened = self._opener.checkpoint(found, at.context)
        # Some savers give back the config they were asked with.
        return opened._replace(config=config) if found.config is asked else opened

    def _asked(self, config: RunnableConfig) -> tuple[RunnableConfig, At]:
        """Returns the config for the inner saver, and its place. A namespace of None is the root, as LangGraph means it."""
        identity = _identity(config)
        if identity.get("checkpoint_ns", "") is None:
            identity["checkpoint_ns"] = ""
        place = Place.of(identity["thread_id"], identity.get("checkpoint_ns"))
        context = None if self._context is None else self._context_of(config)
        return {"configurable": identity}, At(place, identity.get("checkpoint_id") or None, context)

    def _asked_to_read(self, config: RunnableConfig) -> tuple[RunnableConfig, At]:
        asked, at = self._asked(config)
        self._require_reader(at.context)
        return asked, at

    def _require_reader(self, context: EncryptionContext | None) -> None:
        """Refuses to read without a context where one is required, whether a row is there or not."""
        sealer = self._wiring.sealer
        try:
            check_reading(sealer.require_context_to_read, current.get() if context is None else context)
        except WrongContext as error:
            tell_refused(sealer, error)
            raise

    def _forget(self, thread_ids: Iterable[str]) -> None:
        """Forgets which values of threads are stored: a run that goes on reads it anew, and stores again what is gone."""
        with suppress(ConfigurationError):  # of an id that no row of ours can have
            self._wiring.remembered.forget(thread_ids)

    def _listed(
        self, config: RunnableConfig | None, wanted: dict[str, Any] | None, before: RunnableConfig | None, limit: int | None
    ) -> Asked:
        """Returns what is to be listed, with the context that answers must have, as it is at this moment."""
        if config is None and callable(self._context) and current.get() is None:
            raise ConfigurationError("list(None) has no run's config to ask context= with: use an encryption_context")
        context = self._context_of(config)
        self._require_reader(context)
        asked: RunnableConfig | None = (
            {"configurable": _identity(config)} if config else config
        )  # {}: what it means is the inner saver's to say
        return Asked(asked, current.get() if context is None else context, wanted, before, limit)

    def _context_of(self, config: RunnableConfig | None) -> EncryptionContext | None:
        source = self._context
        if source is None or isinstance(source, EncryptionContext):
            return source
        pairs = None if config is None else source(config)
        return None if pairs is None else EncryptionContext.of(pairs)

    def _for_copying(self) -> tuple[EncryptionContext | None, WiredSaver]:
        """Returns the context that a thread to be copied must have, and a saver that writes under the ambient one."""
        source = self._context
        if callable(source) and current.get() is None:
            raise ConfigurationError("copy_thread has no run's config to ask context= with: use an encryption_context")
        writer = copy.copy(self)
        writer._context = None
        return (None if callable(source) else source), writer


def _identity(config: RunnableConfig) -> dict[str, Any]:
    """Returns what the inner saver needs of a config. It writes every scalar it is given into readable metadata."""
    configurable = config["configurable"]
    return {name: configurable[name] for name in IDENTITY if name in configurable}


def value_serde(serde: SerializerProtocol) -> SerializerProtocol:
    """Returns the serializer inside encrypting ones: values are sealed once, here."""
    while isinstance(serde, (EncryptedSerializer, upstream.EncryptedSerializer)):
        serde = serde.inner if isinstance(serde, EncryptedSerializer) else serde.serde
    if not isinstance(serde, SerializerProtocol):
        raise TypeError(f"serde must have dumps_typed and loads_typed; {type(serde).__name__} has not")
    return serde
