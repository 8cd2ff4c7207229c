"""Writing: how a checkpoint and its writes are sealed before an inner saver sees them.

Every value is sealed on its own, bound to thread, namespace and channel (which every way of reading knows) and with claims
about the rest of its place (which some ways of reading know). The claims stand in the header, readable as the row itself is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, cast

from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint

from ..audit import BatchSealing
from ..core import binding
from ..core.binding import Binding, WriteMaker
from ..core.claims import task_claims
from ..core.format import sealed_text
from ..errors import ConfigurationError
from ..rows.listed import Listed
from ..rows.write import Listing, MetadataKeys, Writer, sealed_metadata
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
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._keys = MetadataKeys(wiring.readable_keys, wiring.searchable_keys)
        self._asks_serde = wiring.traits.asks_serde
        self._inlines = wiring.traits.inlines_scalars
        self._dumps = dumps_as_json_would if wiring.traits.inlines_scalars else dumps

    def checkpoint(
        self,
        at: At,
        checkpoint: Checkpoint,
        metadata: Mapping[str, Any],
        new_versions: Mapping[str, Any],
    ) -> tuple[Checkpoint, dict[str, Any], Listed]:
        """Seals a checkpoint and its metadata.

        Args:
            at: Where it will stand, and its parent.
            checkpoint: As LangGraph gave it. It is not changed.
            metadata: The whole metadata, scalars of the config included.
            new_versions: Channels whose value this put stores for the first time.

        Returns:
            Both as the inner saver is to store them, and the channels whose values rows of their own hold.
        """
        values = checkpoint["channel_values"]
        versions = self._versions_as_read(checkpoint)
        expected = len(values) if self._wiring.traits.stores_all_values else len(new_versions)
        batch = self._wiring.sealer.batch(expected + 1, context=at.context)
        sealed: dict[str, Any] = {}
        inline: set[str] = set()
        for channel, value in values.items():
            if value is None:
                sealed[channel] = None
                if self._inlines:
                    inline.add(channel)
                continue
            where = (binding.value, at.place, channel, versions.get(channel))
            if isinstance(value, DeltaSnapshot):
                where = (binding.delta, at.place, channel, versions.get(channel))
                if self._wiring.traits.asks_json:
                    sealed[channel] = DeltaSnapshot(sealed_text(self._seal(batch, channel, value.value, *where)))
                else:
                    sealed[channel] = DeltaSnapshot(self._handed(batch, channel, value.value, *where))
            elif self._stays_inline(value, is_new=channel in new_versions):
                sealed[channel] = sealed_text(self._seal(batch, channel, value, *where))
                inline.add(channel)
            else:
                sealed[channel] = self._handed(batch, channel, value, *where)
        result: Checkpoint = {**checkpoint, "channel_values": sealed}
        if checkpoint.get("pending_sends"):
            raise ConfigurationError("a checkpoint with pending sends is of a format below 4, which LangGraph migrates first")
        listed = self._listed(at, values, versions, {*new_versions, *inline})
        apart = listed
        if inline:
            apart = Listed(*([name for name in names if name not in inline] for names in listed))
        return result, self._metadata(batch, at, result, metadata, listed), apart

    def _listed(self, at: At, values: Mapping[str, Any], versions: Mapping[str, Any], stored: Collection[str]) -> Listed:
        """Returns what the manifest lists; `stored` are the channels that a saver with a value per version stores anew."""
        if self._wiring.traits.stores_all_values:
            listed, stored = Listed([], []), values.keys()
        else:
            listed = self._wiring.remembered.listed_too(at.place, versions, stored)
        for name, value in values.items():
            if name in stored:
                (listed.nones if value is None else listed.values).append(name)
        return listed

    def writes(
        self, at: At, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> tuple[list[tuple[str, Any]], str]:
        """Seals the writes of one task, and gives the id that is sealed into all of them.

        The ordinary ones form a batch, of which a reader takes all or none. Special ones (errors, interrupts, resume values)
        replace each other one by one in the database, and stand alone.
        """
        batch = self._wiring.sealer.batch(len(writes), context=at.context)
        call = batch.id
        ordinary: dict[str, int] = {}
        for channel, _ in writes:
            if channel not in WRITES_IDX_MAP:
                ordinary[channel] = ordinary.get(channel, 0) + 1
        task = task_claims(task_id, cast("str", at.checkpoint_id), task_path, call)
        maker = WriteMaker(at.place, task, sum(ordinary.values()))
        sealed = []
        for position, (channel, value) in enumerate(writes):
            if (special := WRITES_IDX_MAP.get(channel)) is None:
                handed = self._handed(batch, channel, value, maker.ordinary, channel, position, ordinary[channel])
            else:
                handed = self._handed(batch, channel, value, maker.special, channel, special)
            sealed.append((channel, handed))
        return sealed, call

    def _versions_as_read(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        versions = checkpoint["channel_versions"]
        return {name: str(version) for name, version in versions.items()} if self._wiring.traits.text_versions else versions

    def _stays_inline(self, value: Any, *, is_new: bool) -> bool:
        """Says whether a value is handed over as text, for a saver that keeps such values in JSON.

        A text that is new in this put may as well have a row of its own: as part of a JSON document a large one is encoded and
        parsed several times over. One that is not new stays where the saver looks for it, or it would be lost.
        """
        if self._wiring.traits.asks_json:
            return True
        if not self._inlines or not isinstance(value, (str, int, float, bool)):
            return False
        return not (is_new and isinstance(value, str) and len(value) >= LARGE)

    def _handed(
        self, batch: BatchSealing, channel: str, value: Any, make: Callable[..., Binding], *where: Any
    ) -> Deferred | bytes:
        """Hands a value to the saver: sealed, or to be sealed when the saver asks for its bytes. `make` is given `where`."""
        if self._asks_serde:
            return Deferred(self._seal, batch, channel, value, make, *where)
        return self._seal(batch, channel, value, make, *where)

    def _seal(self, batch: BatchSealing, channel: str, value: Any, make: Callable[..., Binding], *where: Any) -> bytes:
        inner_type, plaintext = self._dumps(self._wiring.serde, value, "the value of channel", channel)
        return batch.seal(inner_type, plaintext, make(*where))

    def _metadata(
        self,
        batch: BatchSealing,
        at: At,
        checkpoint: Checkpoint,
        metadata: Mapping[str, Any],
        listed: Listed,
    ) -> dict[str, Any]:
        serde, listing = self._wiring.serde, Listing(checkpoint["id"], at.checkpoint_id, listed.values, listed.nones)
        writer = Writer(
            self._keys,
            token=partial(self._token, batch),
            dumps=lambda private: dumps_as_json_would(serde, private, "the metadata"),
            seal=partial(batch.seal, "msgpack"),
        )
        document: Mapping[str, Any] = checkpoint
        if self._wiring.traits.text_versions:
            document = {**checkpoint, "channel_versions": self._versions_as_read(checkpoint)}
        return sealed_metadata(at.place, listing, document, metadata, writer)

    def _token(self, batch: BatchSealing, name: str, value: Any) -> str:
        key = self._wiring.sealer.keys.encryption_key(batch.context.pairs)
        return search_token(key, name, batch.context, value)
