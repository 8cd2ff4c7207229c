"""Reading: how what an inner saver returned is verified, and only then turned into objects.

Everything of a checkpoint is verified before any of it is deserialised: the row is the one that was asked for, the manifest
vouches for all that is readable, every value opens where it was found, and none is missing. (To answer a filter, verified
metadata is looked at first.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory, PendingWrite

from ..audit import tell_refused
from ..core import binding
from ..core.binding import Binding, Place, WriteClaims
from ..core.context import EncryptionContext, current, may_read
from ..core.format import Opened, Sealed, find_sealed, is_sealed
from ..core.opaque import opaque
from ..errors import ConfigurationError, EncryptedSerdeError, MalformedEnvelope, PlaintextRefused, WrongLocation
from ..rows.listed import Listed
from ..rows.manifest import KEY, Found, Manifest, Verified, is_before_v4
from ..rows.writes import Task, Write, in_order, require_whole, whole_batches
from ..wrapping.admission import PLAINTEXT, Admitted
from ..wrapping.gate import Foreign, pack_inert
from ..wrapping.serialize import Waiting
from ..wrapping.upstream import TASKS, DeltaSnapshot
from .wiring import At, Wiring

IDENTITY = ("thread_id", "checkpoint_ns", "checkpoint_id")
"""Keys of ``configurable`` that say which row is meant."""

_SCALARS = (str, int, float, bool)
_NONE = Waiting.holding(None)


class _Head(NamedTuple):
    """The readable part of a row, verified; of a row from before the wrapper, as it stands there.

    Attributes:
        manifest: None for a row from before the wrapper.
        checkpoint: Without channel values and pending sends; None if the whole checkpoint is one admitted value.
        metadata: All of it.
    """

    manifest: Manifest | None
    checkpoint: Mapping[str, Any] | None
    metadata: Waiting

    def __repr__(self) -> str:
        return opaque(self)

    @property
    def is_proven(self) -> bool:
        """Whether the row carries proof that we sealed it."""
        return self.manifest is not None


class RowOpener:
    """Verifies and opens what a saver returned.

    Args:
        wiring: The parts of the wrapper.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._sealer = wiring.sealer
        self._serde = wiring.serde
        self._admission = wiring.admission
        self._traits = wiring.traits
        self._gaps_only_in = wiring.gaps_only_in
        self._remembered = wiring.remembered

    def check_identity(self, asked: RunnableConfig | None, found: CheckpointTuple, *, is_listed: bool = False) -> None:
        """Refuses a row of another thread, namespace or checkpoint than was asked for.

        Args:
            asked: What was asked for.
            found: What came.
            is_listed: Whether it came in a list: some savers take the root namespace for all there.

        Raises:
            WrongLocation: If it is one.
        """
        wanted: Mapping[str, Any] = asked["configurable"] if asked else {}
        got = found.config["configurable"]
        for name in ("thread_id", "checkpoint_ns") if self._traits.is_shallow else IDENTITY:
            if wanted.get(name) is None or (name == "checkpoint_id" and not wanted[name]):  # an empty id is the latest
                continue
            if name == "checkpoint_ns" and not wanted[name] and is_listed and self._traits.lists_all:
                continue
            if str(wanted[name]) != str(got.get(name, "")):
                error = WrongLocation(f"asked for {name} {wanted[name]!r}, the saver returned {got.get(name)!r}")
                tell_refused(self._sealer, error)
                raise error

    def is_of_others(self, found: CheckpointTuple, context: EncryptionContext | None) -> bool:
        """Says whether a row names a context that whoever asks may not read, before anything of it is authenticated."""
        expected = current.get() if context is None else context
        stored = found.metadata.get(KEY) if isinstance(found.metadata, Mapping) else None
        try:
            sealed = find_sealed(stored) if isinstance(stored, str) else None
        except EncryptedSerdeError:  # opening it says what is wrong with it
            return False
        return sealed is not None and not may_read(sealed.head.context, expected, self._sealer.accepted_contexts)

    # --- a checkpoint

    def checkpoint(self, found: CheckpointTuple, context: EncryptionContext | None) -> CheckpointTuple:
        """Verifies and opens one checkpoint with its metadata and pending writes.

        Args:
            found: As the inner saver returned it.
            context: The expected encryption context; the ambient one when None.

        Raises:
            PlaintextRefused: If something was never sealed, and no switch admits it.
            WrongLocation: If an authentic part does not belong here, or one is missing.
            AuthenticationFailed: If a part was changed, or was sealed for another place.
            EncryptedSerdeError: As `Sealer.open_bound` raises it.
        """
        with self._row(found, context) as at:
            head = self._head(found, at)
            channels, versions = self._channels(found.checkpoint, head, at)
            sends = self._pending_sends(found.checkpoint, head, at)
            writes = self._pending_writes(found.pending_writes, at, is_proven=head.is_proven)
            # From here on objects are built.
            if head.checkpoint is None:
                checkpoint = self._admit(found.checkpoint, at.context)()
            else:
                checkpoint = {
                    **head.checkpoint,
                    **({} if versions is None else {"channel_versions": versions}),
                    "channel_values": {name: value() for name, value in channels.items()},
                }
                if sends is not None:
                    checkpoint["pending_sends"] = [send() for send in sends]
            return CheckpointTuple(
                found.config,
                cast("Checkpoint", checkpoint),
                cast("CheckpointMetadata", head.metadata()),
                found.parent_config,
                None if writes is None else [(write.task_id, write.channel, write.value()) for write in writes],
            )

    def tasks(self, found: CheckpointTuple, context: EncryptionContext | None) -> list[Task]:
        """Verifies and opens the pending writes of a row, by task."""
        tasks: dict[tuple[str, str], Task] = {}
        with self._row(found, context) as at:
            for write in self._pending_writes(found.pending_writes, at, is_proven=False) or ():
                path = (write.claims.task_path if write.claims else None) or ""
                task = tasks.setdefault((write.task_id, path), Task(write.task_id, path, []))
                task.writes.append((write.channel, write.value()))
        return [*tasks.values()]

    def metadata(self, found: CheckpointTuple, context: EncryptionContext | None) -> dict[str, Any]:
        """Verifies a row's own fields and gives its metadata, without opening the values."""
        with self._row(found, context) as at:
            metadata: dict[str, Any] = self._head(found, at).metadata()
            return metadata

    def _head(self, found: CheckpointTuple, at: At) -> _Head:
        stored: Mapping[str, Any] = found.metadata or {}
        if not isinstance(stored, Mapping):
            raise MalformedEnvelope("the metadata is no mapping")
        sealed = find_sealed(stored.get(KEY)) if isinstance(stored.get(KEY), str) else None
        if sealed is None:
            return self._head_from_before(found, at)
        checkpoint_id = at.checkpoint_id or ""
        manifest = Manifest.unpack(self._open(sealed, _bind(binding.manifest, at.place, checkpoint_id), at.context).plaintext)
        checkpoint = found.checkpoint
        _check_form(checkpoint)
        if isinstance(checkpoint, Foreign):
            checkpoint.admit(at.context, is_proven=True)
        verified: Verified = manifest.verify(
            Found(
                checkpoint_id=checkpoint_id,
                parent_id=found.parent_config["configurable"]["checkpoint_id"] if found.parent_config else None,
                checkpoint=checkpoint,
                readable={name: value for name, value in stored.items() if name != KEY},
                loses_parent=self._traits.is_shallow or self._traits.prunes,
                added_keys=self._traits.added_keys,
            )
        )
        values, nones = self._kinds(checkpoint)
        manifest.check_channels(values, nones, partial(self._is_by_version, checkpoint))
        self._remember(at, checkpoint, manifest.values, manifest.nones)
        inner_type, private = manifest.private
        given = Waiting.for_bytes(self._serde, inner_type, private)
        return _Head(manifest, verified.checkpoint, Waiting(lambda: {**verified.readable, **given()}))

    def _head_from_before(self, found: CheckpointTuple, at: At) -> _Head:
        """Accepts a checkpoint without a manifest, if a switch says that there may be such."""
        for part in (found.checkpoint, found.metadata):
            if isinstance(part, Foreign):
                part.open(at.context)
        if not self._admission:
            raise PlaintextRefused(
                "the checkpoint has no manifest: it was not written by EncryptedSaver, or was stripped of it"
            )
        _check_form(found.checkpoint)
        if found.checkpoint.get("id") != at.checkpoint_id:
            raise WrongLocation("the checkpoint in this row is another one than the row says, or is not admitted")
        if self._traits.stores_all_values and not isinstance(found.checkpoint, Foreign) and not self._admission.plaintext:
            raise PlaintextRefused("the checkpoint was never encrypted")
        values, sends = found.checkpoint.get("channel_values"), found.checkpoint.get("pending_sends")
        stored = [*values.values()] if isinstance(values, Mapping) else []
        stored += sends if isinstance(sends, list) else []
        if any(is_sealed(_bare(value)) for value in stored):
            raise PlaintextRefused("the checkpoint has values that were sealed for it, and no manifest: it was stripped of it")
        if isinstance(found.metadata, Foreign):
            metadata = self._admit(found.metadata, at.context)
        else:
            metadata = Waiting.holding(dict(found.metadata or {}))
        if isinstance(values, Mapping):
            self._remember(at, found.checkpoint, *self._kinds(found.checkpoint))
        return _Head(None, None if isinstance(found.checkpoint, Foreign) else found.checkpoint, metadata)

    def listed(self, found: CheckpointTuple, context: EncryptionContext | None) -> None:
        """Verifies a row's own fields, and remembers what is listed for it."""
        with self._row(found, context) as at:
            self._head(found, at)

    def _remember(self, at: At, checkpoint: Mapping[str, Any], values: Sequence[str], nones: Sequence[str]) -> None:
        """Remembers which of these channels have a row of their own, for the manifests of the checkpoints that follow."""
        if self._traits.stores_all_values or at.checkpoint_id is None:
            return
        found = checkpoint["channel_values"]
        apart = [name for name in values if not self._stands_in_row(found[name])]
        listed = Listed(apart, [] if self._traits.inlines_scalars else [*nones])
        self._remembered.note(at.place, at.checkpoint_id, listed, checkpoint["channel_versions"])

    def _is_by_version(self, checkpoint: Mapping[str, Any], channel: str) -> bool:
        """Says whether a value is sealed, in a row of its own, and was found by the version of its channel."""
        if self._traits.stores_all_values or channel not in checkpoint["channel_versions"]:
            return False
        value = _bare(checkpoint["channel_values"][channel])
        return isinstance(value, bytes) and is_sealed(value)

    def _kinds(self, checkpoint: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Divides channels into those with a value, and those that are None."""
        values: list[str] = []
        nones: list[str] = []
        for channel, value in checkpoint["channel_values"].items():
            if self._is_gathered(channel, value, checkpoint):
                continue
            # Encrypting serializers seal None too, and one may stand there from before the wrapper.
            is_none = value is None or (isinstance(value, Foreign) and value.type_tag.partition("+")[0] == "null")
            (nones if is_none else values).append(channel)
        return values, nones

    def _is_gathered(self, channel: str, value: object, checkpoint: Mapping[str, Any]) -> bool:
        """Says whether the saver gathered a value from the writes of the parent, as a bare list: sends of a format below 4."""
        return channel == TASKS and isinstance(value, list) and self._traits.migrates_sends and is_before_v4(checkpoint)

    def _channels(self, checkpoint: Mapping[str, Any], head: _Head, at: At) -> tuple[dict[str, Waiting], dict[str, Any] | None]:
        """Opens the channel values; gives the channel versions too, where sends that a saver gathered change them."""
        if head.checkpoint is None:
            return {}, None  # admitted as a whole
        versions: dict[str, Any] = dict(head.checkpoint["channel_versions"])
        values: dict[str, Waiting] = {}
        sends = None
        for channel, value in checkpoint["channel_values"].items():
            if self._is_gathered(channel, value, head.checkpoint):
                sends = values[channel] = self._gathered_sends(value, head.manifest, at)
            else:
                values[channel] = self._value(channel, value, versions.get(channel), head, at)
        if head.manifest is not None and sends is not None and versions:  # as the savers choose it, who were not asked to
            return values, {**versions, TASKS: max(versions.values())}
        return values, None

    def _gathered_sends(self, sends: list[Any], manifest: Manifest | None, at: At) -> Waiting:
        parent_id = manifest.parent_id if manifest else None
        if manifest is not None and parent_id is None:
            raise WrongLocation("the checkpoint has no parent, whose sends these could be")
        writes = [self._send_of_parent(send, parent_id, at) for send in sends]
        in_order(writes)
        require_whole(writes)
        return Waiting(lambda: [write.value() for write in writes])

    def _send_of_parent(self, value: Any, parent_id: str | None, at: At) -> Write:
        if (sealed := find_sealed(value)) is None:
            return Write("", TASKS, self._admit(value, at.context, is_proven=parent_id is not None))
        known = WriteClaims(checkpoint_id=parent_id)
        opened = self._open(sealed, _bind(binding.write, at.place, TASKS, known), at.context)
        claims = WriteClaims.read(opened.claims)
        return Write(claims.task_id or "", TASKS, self._waiting(opened), claims)

    def _pending_sends(self, checkpoint: Mapping[str, Any], head: _Head, at: At) -> list[Waiting] | None:
        if head.checkpoint is None or (sends := checkpoint.get("pending_sends")) is None:
            return None
        if not is_before_v4(head.checkpoint):
            if self._traits.gathers_sends:
                return []
            if sends:
                raise WrongLocation("a checkpoint of format 4 has no pending sends: these were put there")
        if self._traits.gathers_sends:
            return self._sends_of_parent(sends, head, at)
        return [
            self._send(send, _bind(binding.send, at.place, at.checkpoint_id, idx, len(sends)), at, is_proven=head.is_proven)
            for idx, send in enumerate(sends)
        ]

    def _send(self, value: Any, place: Binding, at: At, *, is_proven: bool) -> Waiting:
        if (sealed := find_sealed(value)) is None:
            return self._admit(value, at.context, is_proven=is_proven)
        opened = self._open(sealed, place, at.context)
        if "task_id" in opened.claims:
            raise WrongLocation("a write of a task stands among the sends that a checkpoint was written with")
        return self._waiting(opened)

    def _sends_of_parent(self, sends: list[Any], head: _Head, at: At) -> list[Waiting]:
        if self._traits.is_shallow:  # which keeps no parent
            return [self._send_of_parent(send, None, at).value for send in sends]
        writes = [self._send_of_parent(send, head.manifest.parent_id if head.manifest else None, at) for send in sends]
        in_order(writes)
        require_whole(writes)
        return [write.value for write in writes]

    # --- writes

    def _pending_writes(self, found: Sequence[PendingWrite] | None, at: At, *, is_proven: bool) -> list[Write] | None:
        if found is None:
            return None
        if self._traits.mixes_writes:
            opened = [self._write(write, at._replace(checkpoint_id=None), is_proven=is_proven) for write in found]
            of_this = [write for write in opened if not write.claims or write.claims.checkpoint_id == at.checkpoint_id]
        else:
            of_this = [self._write(write, at, is_proven=is_proven) for write in found]
        writes = in_order(of_this)
        whole = whole_batches(writes)
        if self._gaps_only_in not in (None, at.checkpoint_id) and len(whole) < len(writes):
            raise WrongLocation("writes of a task are missing")
        return whole

    def _write(self, found: PendingWrite, at: At, *, is_proven: bool) -> Write:
        task_id, channel, value = found
        if not isinstance(task_id, str) or not isinstance(channel, str):
            raise MalformedEnvelope("a write without the names of its task and channel")
        if (sealed := find_sealed(value)) is None:
            return Write(task_id, channel, self._admit(value, at.context, is_proven=is_proven))
        known = WriteClaims(task_id, at.checkpoint_id)
        opened = self._open(sealed, _bind(binding.write, at.place, channel, known), at.context)
        return Write(task_id, channel, self._waiting(opened), WriteClaims.read(opened.claims))

    # --- the history of delta channels

    def history(self, found: Mapping[str, DeltaChannelHistory], at: At) -> dict[str, DeltaChannelHistory]:
        """Verifies and opens what an inner saver's ``get_delta_channel_history`` returned.

        Each write and seed is authenticated to thread, namespace and channel, and of no batch of writes may some be missing;
        which checkpoints form the chain is not verified.
        """
        verified: dict[str, tuple[list[Write], Waiting | None]] = {}
        everywhere = at._replace(checkpoint_id=None)
        with self._naming(at.place, None):
            for channel, entry in found.items():
                writes = in_order([self._write(write, everywhere, is_proven=False) for write in entry["writes"]])
                require_whole(writes)
                seed = self._value(channel, entry["seed"], None, _Head(None, None, _NONE), at) if "seed" in entry else None
                verified[channel] = writes, seed
            return {channel: _built(*waiting) for channel, waiting in verified.items()}

    # --- one value

    def _value(self, channel: str, value: Any, version: object, head: _Head, at: At) -> Waiting:
        """Verifies the value of a channel, which may stand in a delta snapshot."""
        if value is None:
            return _NONE
        if isinstance(value, DeltaSnapshot) and (sealed := find_sealed(value.value)) is not None:
            waiting = self._waiting(self._open(sealed, _bind(binding.delta, at.place, channel, version), at.context))
            return Waiting(lambda: DeltaSnapshot(waiting()))
        if (sealed := find_sealed(value)) is None:
            return self._admit(value, at.context, is_proven=head.is_proven and self._stands_in_row(value))
        return self._waiting(self._open(sealed, _bind(binding.value, at.place, channel, version), at.context))

    def _stands_in_row(self, value: Any) -> bool:
        """Says whether a value stands in the row of its checkpoint, and not in one of its own that may be older."""
        return self._traits.stores_all_values or (self._traits.inlines_scalars and isinstance(value, _SCALARS))

    def _open(self, sealed: Sealed, place: Binding, context: EncryptionContext | None) -> Opened:
        return self._sealer.open_bound(sealed, place, context=context)

    def _waiting(self, opened: Opened) -> Waiting:
        return Waiting.for_bytes(self._serde, opened.inner_type, opened.plaintext)

    def _admit(self, value: Any, context: EncryptionContext | None, *, is_proven: bool = False) -> Waiting:
        """Accepts a value that was not sealed for its place if a switch is on for its kind.

        Raises:
            EncryptedSerdeError: The reason why not, if none is, or if the row carries proof that it was sealed.
        """
        if isinstance(value, Foreign):
            admitted = value.admit(context, is_proven=is_proven)
            return Waiting(lambda: self._admission.loads(self._serde, admitted))
        self._admission.admit_plain(type(value).__name__, "a value", is_proven=is_proven)
        if type(value) in _SCALARS or isinstance(value, bytes):
            return Waiting.holding(value)
        plain = Admitted(PLAINTEXT, "msgpack", pack_inert(value))
        return Waiting(lambda: self._admission.loads(self._serde, plain))

    # --- which row

    @contextmanager
    def _row(self, found: CheckpointTuple, context: EncryptionContext | None) -> Iterator[At]:
        """Says where a row stands, and names it in every refusal."""
        configurable = found.config["configurable"]
        try:
            checkpoint_ns, checkpoint_id = configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"]
            if not isinstance(checkpoint_ns, str) or not isinstance(checkpoint_id, str):
                raise MalformedEnvelope("the namespace or id of a stored checkpoint is no text")
            if checkpoint_ns == self._traits.root_name:
                checkpoint_ns = ""
            try:
                place = Place.of(configurable["thread_id"], checkpoint_ns)
            except ConfigurationError as error:
                raise MalformedEnvelope(f"a stored thread or namespace has an impossible form: {error}") from None
        except MalformedEnvelope as error:
            tell_refused(self._sealer, error)
            raise
        with self._naming(place, checkpoint_id):
            yield At(place, checkpoint_id, context)

    @contextmanager
    def _naming(self, place: Place, checkpoint_id: str | None) -> Iterator[None]:
        """Says in an error which row it is about, and sees to it that it is audited."""
        try:
            yield
        except EncryptedSerdeError as error:
            row = {"thread": place.thread_id, "namespace": place.checkpoint_ns}
            error.row = row if checkpoint_id is None else {**row, "checkpoint": checkpoint_id}
            tell_refused(self._sealer, error)
            raise


def _bind(make: Callable[..., Binding], *known: Any) -> Binding:
    """Calls a maker with what a row says of itself.

    Raises:
        MalformedEnvelope: If that cannot be encoded: then we have not written it.
    """
    try:
        return make(*known)
    except ConfigurationError as error:
        raise MalformedEnvelope(f"a stored name has an impossible form: {error}") from None


def _built(writes: list[Write], seed: Waiting | None) -> DeltaChannelHistory:
    built: DeltaChannelHistory = {"writes": [(write.task_id, write.channel, write.value()) for write in writes]}
    if seed is not None:
        built["seed"] = seed()
    return built


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, DeltaSnapshot) else value


def _check_form(checkpoint: Any) -> None:
    """Refuses what no saver was ever handed as a checkpoint, before its parts are looked at."""
    if not isinstance(checkpoint, Mapping):
        raise MalformedEnvelope("the checkpoint is no mapping")
    if isinstance(checkpoint, Foreign):
        return
    channels = [checkpoint.get(name) for name in ("channel_values", "channel_versions")]
    if not all(isinstance(part, Mapping) and all(isinstance(name, str) for name in part) for part in channels):
        raise MalformedEnvelope("the checkpoint has no channels")
    if not isinstance(checkpoint.get("pending_sends") or [], list):
        raise MalformedEnvelope("the checkpoint's pending sends are no list")
