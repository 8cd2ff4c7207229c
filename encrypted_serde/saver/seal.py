"""Writing: how a checkpoint and its writes are sealed before an inner saver sees them.

Every value is sealed on its own, bound to thread, namespace and channel (which every way of reading knows) and with claims
about the rest of its place (which some ways of reading know). The claims are in the header, readable as the row itself is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint, CheckpointMetadata, get_checkpoint_metadata

from ..core import binding
from ..core.binding import Binding, WriteMaker
from ..core.claims import task_claims
from ..core.context import EncryptionContext
from ..core.format import sealed_text
from ..core.sealer import Batch
from ..errors import ConfigurationError
from ..rows.listed import Listed
from ..rows.write import MetadataKeys, Writer, beside, readable_and_manifest
from ..wrapping.gate import Deferred
from ..wrapping.offload import LARGE
from ..wrapping.search import search_token
from ..wrapping.serialize import dumps, dumps_as_json_would
from ..wrapping.upstream import DeltaSnapshot
from .wiring import At, Wiring


class RowSealer:
    """Seals what a saver is about to store.

    Args:
        wiring: The parts of the wrapper.
        now: Whether what the saver is going to store is sealed at once, even if the saver would ask for it.
    """

    def __init__(self, wiring: Wiring, *, now: bool) -> None:
        self._wiring = wiring
        self._serde = wiring.serde
        self._keys = MetadataKeys(wiring.readable_keys, wiring.searchable_keys)
        self._seal_others = partial(Deferred, self._seal) if wiring.traits.asks_serde else self._seal
        self._seal_stored = self._seal if now else self._seal_others
        # What the plain saver keeps in JSON; all else it serializes, or refuses.
        self._inlined = (str, int, float) if wiring.traits.inlines_scalars else ()
        self._writer = Writer(self._keys, _no_token, self._dumps_private)
        self._nothing: tuple[str, bytes] | None = None

    def checkpoint(
        self,
        at: At,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: Mapping[str, Any],
    ) -> tuple[Checkpoint, CheckpointMetadata, Listed]:
        """Seals a checkpoint and its metadata.

        Args:
            at: Where it goes, and its parent.
            config: The run's, whose scalars become metadata.
            checkpoint: As LangGraph gave it. It is not changed.
            metadata: As LangGraph gave them.
            new_versions: Channels whose value this put stores for the first time.

        Returns:
            Both as the inner saver is to store them, and what is to be remembered once it has.
        """
        if checkpoint.get("pending_sends"):
            raise ConfigurationError("a checkpoint with pending sends is of a format below 4, which LangGraph migrates first")
        traits, values, versions = self._wiring.traits, checkpoint["channel_values"], checkpoint["channel_versions"]
        if traits.text_versions:
            versions = {name: str(version) for name, version in versions.items()}
        expected = len(values) if traits.stores_all_values else len(new_versions)
        batch = self._wiring.sealer.batch(expected + 1, context=at.context)
        inline = self._inline(values, new_versions) if traits.inlines_scalars else frozenset()
        sealed: dict[str, Any] = {}
        for channel, value in values.items():
            if value is None:
                sealed[channel] = None
                continue
            is_delta = isinstance(value, DeltaSnapshot)
            make, bare = (binding.delta, value.value) if is_delta else (binding.value, value)
            arguments = batch, channel, bare, make, at.place, channel, versions.get(channel)
            if channel in inline or traits.asks_json:
                handed: Any = sealed_text(self._seal(*arguments))
            else:
                is_stored = traits.stores_all_values or channel in new_versions
                handed = (self._seal_stored if is_stored else self._seal_others)(*arguments)
            sealed[channel] = DeltaSnapshot(handed) if is_delta else handed
        listed = self._listed(at, checkpoint, versions, new_versions, inline)
        stored: Checkpoint = {**checkpoint, "channel_values": sealed}
        document = {**stored, "channel_versions": versions} if traits.text_versions else stored
        whole = get_checkpoint_metadata(config, metadata)
        return stored, self._metadata(batch, at, document, whole, listed), listed

    def _inline(self, values: Mapping[str, Any], new_versions: Mapping[str, Any]) -> Collection[str]:
        """Returns the channels that the saver stores beside the checkpoint: those that are None, or handed over as text."""
        return {name for name, value in values.items() if value is None or _stays_inline(value, is_new=name in new_versions)}

    def _listed(
        self,
        at: At,
        checkpoint: Checkpoint,
        versions: Mapping[str, Any],
        new_versions: Mapping[str, Any],
        inline: Collection[str],
    ) -> Listed:
        """Returns what the manifest lists; channels that are `inline` have no rows of their own."""
        values = checkpoint["channel_values"]
        if self._wiring.traits.stores_all_values:
            return Listed.of(values)
        stored = {name: values[name] is not None if name in values else None for name in new_versions}
        if not inline:
            return self._wiring.remembered.listed(at.place, checkpoint["id"], versions, stored)
        apart = self._wiring.remembered.listed(at.place, checkpoint["id"], versions, {**stored, **dict.fromkeys(inline)})
        beside = Listed.of({name: values[name] for name in inline})
        return Listed(apart.values + beside.values, apart.nones + beside.nones, apart.checkpoint, apart.seen)

    def writes(
        self, at: At, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> tuple[list[tuple[str, Any]], str]:
        """Seals the writes of one task, and gives the id that is sealed into all of them.

        The ordinary ones form a batch, of which a reader takes all or none. Special ones (errors, interrupts, resume values)
        replace each other one by one in the database, and form no batch.
        """
        batch = self._wiring.sealer.batch(len(writes), context=at.context)
        ordinary: dict[str, int] = {}
        for channel, _ in writes:
            if channel not in WRITES_IDX_MAP:
                ordinary[channel] = ordinary.get(channel, 0) + 1
        task = task_claims(task_id, cast("str", at.checkpoint_id), task_path, batch.id)
        maker = WriteMaker(at.place, task, sum(ordinary.values()))
        seal = self._seal_stored
        sealed: list[tuple[str, Any]] = []
        for position, (channel, value) in enumerate(writes):
            if (special := WRITES_IDX_MAP.get(channel)) is None:
                handed = seal(batch, channel, value, maker.ordinary, channel, position, ordinary[channel])
            else:
                handed = seal(batch, channel, value, maker.special, channel, special)
            sealed.append((channel, handed))
        return sealed, batch.id

    def _seal(self, batch: Batch, channel: str, value: Any, make: Callable[..., Binding], *where: Any) -> bytes:
        serialize = dumps_as_json_would if isinstance(value, self._inlined) else dumps
        inner_type, plaintext = serialize(self._serde, value, "the value of channel", channel)
        return batch.seal(inner_type, plaintext, make(*where))

    def _metadata(self, batch: Batch, at: At, document: Mapping[str, Any], metadata: Mapping[str, Any], listed: Listed) -> Any:
        writer = self._writer
        if self._keys.searchable:
            writer = writer._replace(token=partial(self._token, batch.context))
        readable, packed = readable_and_manifest(at.checkpoint_id, listed, document, metadata, writer)
        return beside(readable, batch.seal("msgpack", packed, binding.manifest(at.place, document["id"])))

    def _dumps_private(self, private: dict[str, Any]) -> tuple[str, bytes]:
        if private:
            return dumps_as_json_would(self._serde, private, "the metadata")
        if self._nothing is None:  # as almost always
            self._nothing = dumps(self._serde, private, "the metadata")
        return self._nothing

    def _token(self, context: EncryptionContext, name: str, value: Any) -> str:
        return search_token(self._wiring.sealer.keys.encryption_key(context.pairs), name, context, value)


def _stays_inline(value: Any, *, is_new: bool) -> bool:
    """Says whether a value is handed over as text, for a saver that keeps such values in JSON.

    A text that is new in this put may as well have a row of its own: as part of a JSON document a large one is encoded and
    parsed several times over. One that is not new stays where the saver looks for it, or it would be lost.
    """
    if is_new and isinstance(value, str) and len(value) >= LARGE:
        return False
    return isinstance(value, (str, int, float, bool))


def _no_token(name: str, value: Any) -> str:
    raise ConfigurationError(f"the metadata key {name!r} is not searchable")
