"""Writing: how a checkpoint and its writes are sealed before an inner saver sees them.

Every value is sealed on its own, bound to thread, namespace and channel (which every way of reading knows) and with claims
about the rest of its place (which some ways of reading know). The claims stand in the header, readable as the row itself is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot

from ..core.context import EncryptionContext
from ..core.encoding import b64url_encode, lp, lps, utf8
from ..core.envelope import SEALED_TEXT_PREFIX, Batch, Sealer
from ..errors import ConfigurationError, MalformedEnvelope
from ..wrapping.gate import Deferred
from ..wrapping.search import is_searchable, search_token
from .inner import Habits
from .manifest import KEY, Manifest, digest, split_metadata

VALUE = lp(b"value")
DELTA = lp(b"delta")
WRITE = lp(b"write")
MANIFEST = lp(b"manifest")


class Place(NamedTuple):
    """Where rows stand: a thread and a checkpoint namespace.

    Attributes:
        thread_id: As text, the way it stands in the database.
        checkpoint_ns: The namespace; empty for the root graph.
        encoded: Both, as the part of every location that is constant in a saver call.
    """

    thread_id: str
    checkpoint_ns: str
    encoded: bytes

    @classmethod
    def of(cls, thread_id: object, checkpoint_ns: str) -> Place:
        """Encodes a thread and a namespace."""
        return _place(str(thread_id), checkpoint_ns)

    @classmethod
    def of_config(cls, config: RunnableConfig) -> Place:
        """Encodes the thread and namespace that a config names."""
        configurable = config["configurable"]
        return cls.of(configurable["thread_id"], configurable.get("checkpoint_ns", ""))

    @classmethod
    def found(cls, configurable: Mapping[str, Any]) -> tuple[Place, str]:
        """Encodes where a saver says that it found a row, and gives the row's checkpoint id.

        Raises:
            MalformedEnvelope: If no row that we wrote can stand there.
        """
        checkpoint_ns, checkpoint_id = configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"]
        if not isinstance(checkpoint_ns, str) or not isinstance(checkpoint_id, str):
            raise MalformedEnvelope("the namespace or id of a stored checkpoint is no text")
        try:
            return cls.of(configurable["thread_id"], checkpoint_ns), checkpoint_id
        except ConfigurationError as error:
            raise MalformedEnvelope(f"a stored thread or namespace has an impossible form: {error}") from None

    def location(self, surface: bytes, field: str) -> bytes:
        """Gives the location of what stands here under a channel, or of the manifest of a checkpoint id."""
        return surface + self.encoded + lp(utf8(field))


@lru_cache(maxsize=1024)
def _place(thread_id: str, checkpoint_ns: str) -> Place:
    return Place(thread_id, checkpoint_ns, lps((thread_id, checkpoint_ns)))


def version_text(version: object) -> str:
    """Gives a channel version as text; a whole float reads as the integer it may come back as."""
    return str(int(version)) if isinstance(version, float) and version.is_integer() else str(version)


class RowSealer:
    """Seals what a saver is about to store.

    Args:
        sealer: The core.
        serde: How values become bytes.
        habits: What the inner saver does with them.
        readable_keys: Metadata keys that stay readable.
        searchable_keys: Metadata keys that get a search token.
    """

    def __init__(
        self,
        sealer: Sealer,
        serde: SerializerProtocol,
        habits: Habits,
        readable_keys: Collection[str],
        searchable_keys: Collection[str],
    ) -> None:
        self._sealer = sealer
        self._serde = serde
        self._habits = habits
        self._readable_keys = readable_keys
        self._searchable_keys = searchable_keys

    def checkpoint(
        self,
        place: Place,
        parent_id: str | None,
        checkpoint: Checkpoint,
        metadata: Mapping[str, Any],
        context: EncryptionContext | None,
    ) -> tuple[Checkpoint, dict[str, Any]]:
        """Seals a checkpoint and its metadata.

        Args:
            place: Where it will stand.
            parent_id: Id of its parent, or None.
            checkpoint: As LangGraph gave it. It is not changed.
            metadata: The whole metadata, scalars of the config included.
            context: The encryption context; the ambient one when None.

        Returns:
            Both as the inner saver is to store them.
        """
        values = checkpoint["channel_values"]
        versions = checkpoint["channel_versions"]
        batch = self._sealer.batch(len(values) + 1, context=context)
        sealed: dict[str, Any] = {}
        for channel, value in values.items():
            claims = {"version": version_text(versions[channel])} if channel in versions else {}
            sealed[channel] = None if value is None else self._value(batch, place, channel, value, claims)
        result: Checkpoint = {**checkpoint, "channel_values": sealed}
        if sends := cast("list[Any]", checkpoint.get("pending_sends")):
            known = {"checkpoint_id": checkpoint["id"], "size": str(len(sends))}
            result["pending_sends"] = [  # type: ignore[typeddict-unknown-key]  # of formats below 4
                _text(self._seal(batch, send, place.location(WRITE, TASKS), {**known, "idx": str(position)}))
                for position, send in enumerate(sends)
            ]
        return result, self._metadata(batch, place, parent_id, result, metadata)

    def writes(
        self,
        place: Place,
        checkpoint_id: str,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        context: EncryptionContext | None,
    ) -> list[tuple[str, Any]]:
        """Seals the writes of one task.

        The ordinary ones form a batch, of which a reader takes all or none. Special ones (errors, interrupts, resume values)
        replace each other one by one in the database, and stand alone.
        """
        batch = self._sealer.batch(len(writes), context=context)
        ordinary = sum(channel not in WRITES_IDX_MAP for channel, _ in writes)
        common = {"task_id": task_id, "checkpoint_id": checkpoint_id, "task_path": task_path}
        together = {**common, "batch": batch.id, "size": str(ordinary)}
        sealed = []
        for position, (channel, value) in enumerate(writes):
            special = WRITES_IDX_MAP.get(channel)
            claims = {**together, "idx": str(position)} if special is None else {**common, "idx": str(special)}
            sealed.append((channel, self._handed(batch, value, place.location(WRITE, channel), claims)))
        return sealed

    def _value(self, batch: Batch, place: Place, channel: str, value: Any, claims: Mapping[str, str]) -> Any:
        if isinstance(value, _DeltaSnapshot):
            return _DeltaSnapshot(self._handed(batch, value.value, place.location(DELTA, channel), claims))
        location = place.location(VALUE, channel)
        if self._habits.inlines_scalars and isinstance(value, (str, int, float, bool)):
            return _text(self._seal(batch, value, location, claims))
        return self._handed(batch, value, location, claims)

    def _handed(self, batch: Batch, value: Any, location: bytes, claims: Mapping[str, str]) -> Deferred | bytes:
        seal = partial(self._seal, batch, value, location, claims)
        return Deferred(seal) if self._habits.asks_serde else seal()

    def _seal(self, batch: Batch, value: Any, location: bytes, claims: Mapping[str, str]) -> bytes:
        inner_type, plaintext = self._serde.dumps_typed(value)
        return batch.seal(inner_type, plaintext, location, claims)

    def _metadata(
        self,
        batch: Batch,
        place: Place,
        parent_id: str | None,
        checkpoint: Checkpoint,
        metadata: Mapping[str, Any],
    ) -> dict[str, Any]:
        readable, private = split_metadata(metadata, self._readable_keys)
        for name in self._searchable_keys:
            if is_searchable(value := private.get(name)):
                key = self._sealer.keys.encryption_key(batch.context.pairs)
                readable[name] = search_token(key, name, batch.context, value)
        values = checkpoint["channel_values"]
        manifest = Manifest(
            checkpoint_id=checkpoint["id"],
            parent_id=parent_id,
            values=[channel for channel, value in values.items() if value is not None],
            nones=[channel for channel, value in values.items() if value is None],
            private=self._serde.dumps_typed(private),
            digest=digest(checkpoint, readable),
        )
        sealed = batch.seal("msgpack", manifest.pack(), place.location(MANIFEST, checkpoint["id"]), {})
        return {**readable, KEY: _text(sealed)}


def _text(sealed: bytes) -> str:
    return SEALED_TEXT_PREFIX + b64url_encode(sealed)
