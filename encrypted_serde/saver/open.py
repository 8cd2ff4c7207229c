"""Reading: how what an inner saver returned is verified, and only then turned into objects.

Everything of a checkpoint is verified before any of it is deserialised: the row is the one that was asked for, the manifest
vouches for all that is readable, every value opens where it was found, and none is missing. (To answer a filter, verified
metadata is looked at first; the histories of delta channels are verified channel by channel.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot

from ..core.context import EncryptionContext, encryption_context
from ..core.envelope import Sealer, parse_sealed, parse_sealed_text
from ..errors import ConfigurationError, EncryptedSerdeError, MalformedEnvelope, PlaintextRefused, WrongLocation
from ..wrapping.gate import LEGACY, PLAINTEXT, UNBOUND, Admission, Foreign, pack
from ..wrapping.legacy import loads_unauthenticated
from .inner import Habits
from .manifest import KEY, Manifest, digest, is_before_v4
from .seal import DELTA, MANIFEST, VALUE, WRITE, Place, version_text
from .writes import Task, Thunk, Write, in_order, whole_batches

logger = logging.getLogger(__name__)

IDENTITY = ("thread_id", "checkpoint_ns", "checkpoint_id")
"""Keys of ``configurable`` that say which row is meant."""

_SCALARS = frozenset({str, int, float, bool, type(None)})


class RowOpener:
    """Verifies and opens what a saver returned.

    Args:
        sealer: The core.
        serde: How bytes become values again.
        admission: Which values that were not sealed for their place are read all the same.
        habits: What the inner saver does with rows.
    """

    def __init__(self, sealer: Sealer, serde: SerializerProtocol, admission: Admission, habits: Habits) -> None:
        self._sealer = sealer
        self._serde = serde
        self._admission = admission
        self._habits = habits

    def check_identity(self, asked: RunnableConfig | None, found: CheckpointTuple) -> None:
        """Refuses a row of another thread, namespace or checkpoint than was asked for.

        Raises:
            WrongLocation: If it is one.
        """
        wanted = asked["configurable"] if asked else {}
        got = found.config["configurable"]
        for name in ("thread_id", "checkpoint_ns") if self._habits.is_shallow else IDENTITY:
            if wanted.get(name) is not None and str(wanted[name]) != str(got.get(name, "")):
                error = WrongLocation(f"asked for {name} {wanted[name]!r}, the saver returned {got.get(name)!r}")
                self._sealer.refused(error)
                raise error

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
        configurable = found.config["configurable"]
        place, checkpoint_id = self._found_at(configurable)
        with self._naming(place, checkpoint_id):
            metadata = self._metadata(found, place, checkpoint_id, context)
            channels = self._channels(found.checkpoint, place, context)
            sends = self._pending_sends(found.checkpoint, place, context)
            writes = self._pending_writes(found.pending_writes, place, checkpoint_id, context)
            # From here on objects are built.
            if isinstance(found.checkpoint, Foreign):
                checkpoint = self._admit(found.checkpoint)()
            else:
                checkpoint = {**found.checkpoint, "channel_values": {name: thunk() for name, thunk in channels.items()}}
            if sends:
                checkpoint["pending_sends"] = [thunk() for thunk in sends]
            return CheckpointTuple(
                found.config,
                cast("Checkpoint", checkpoint),
                cast("CheckpointMetadata", metadata()),
                found.parent_config,
                None if writes is None else [(write.task_id, write.channel, write.thunk()) for write in writes],
            )

    def tasks(self, found: CheckpointTuple, context: EncryptionContext | None) -> list[Task]:
        """Verifies and opens the pending writes of a row, by task."""
        configurable = found.config["configurable"]
        place, checkpoint_id = self._found_at(configurable)
        tasks: dict[tuple[str, str], Task] = {}
        with self._naming(place, checkpoint_id):
            for write in self._pending_writes(found.pending_writes, place, checkpoint_id, context) or ():
                task = tasks.setdefault((write.task_id, write.task_path), Task(write.task_id, write.task_path, []))
                task.writes.append((write.channel, write.thunk()))
        return [*tasks.values()]

    def metadata(self, found: CheckpointTuple, context: EncryptionContext | None) -> dict[str, Any]:
        """Verifies a row's own fields and gives its metadata, without opening the values."""
        configurable = found.config["configurable"]
        place, checkpoint_id = self._found_at(configurable)
        with self._naming(place, checkpoint_id):
            metadata: dict[str, Any] = self._metadata(found, place, checkpoint_id, context)()
            return metadata

    def _metadata(self, found: CheckpointTuple, place: Place, checkpoint_id: str, context: EncryptionContext | None) -> Thunk:
        stored: Mapping[str, Any] = found.metadata or {}
        if not isinstance(stored, Mapping):
            raise MalformedEnvelope("the metadata is no mapping")
        sealed = parse_sealed_text(text) if isinstance(text := stored.get(KEY), str) else None
        if sealed is None:
            return self._metadata_from_before(found, checkpoint_id)
        manifest = Manifest.unpack(
            self._sealer.open_bound(sealed, _location(place, MANIFEST, checkpoint_id), {}, context=context).plaintext
        )
        checkpoint = _well_formed(found.checkpoint)
        readable = {name: value for name, value in stored.items() if name != KEY}
        if not checkpoint_id == checkpoint.get("id") == manifest.checkpoint_id:
            raise WrongLocation("the checkpoint in this row is another one than the row says")
        if not _is_digest(manifest.digest, checkpoint, readable):
            raise WrongLocation("the readable part of the checkpoint or of its metadata was changed")
        self._check_parent(found, manifest, readable)
        self._check_channels(checkpoint, manifest)
        return lambda: {**readable, **self._serde.loads_typed(manifest.private)}

    def _metadata_from_before(self, found: CheckpointTuple, checkpoint_id: str) -> Thunk:
        """Accepts a checkpoint without a manifest, if a switch says that there may be such."""
        for part in (found.checkpoint, found.metadata):
            _raise_if_refused(part)
        if not self._admission:
            raise PlaintextRefused(
                "the checkpoint has no manifest: it was not written by EncryptedSaver, or was stripped of it"
            )
        if _well_formed(found.checkpoint).get("id") != checkpoint_id:
            raise WrongLocation("the checkpoint in this row is another one than the row says, or is not admitted")
        if isinstance(found.metadata, Foreign):
            return self._admit(found.metadata)
        return lambda: dict(found.metadata or {})

    def _check_parent(self, found: CheckpointTuple, manifest: Manifest, readable: Mapping[str, Any]) -> None:
        parent_id = found.parent_config["configurable"]["checkpoint_id"] if found.parent_config else None
        if parent_id == manifest.parent_id:
            return
        # prune(keep_latest) leaves the checkpoint it keeps without a parent, but refuses threads with delta channels.
        if parent_id is None and (
            self._habits.is_shallow or (self._habits.prunes and "counters_since_delta_snapshot" not in readable)
        ):
            return
        raise WrongLocation("the checkpoint has another parent than it was written with")

    def _check_channels(self, checkpoint: Mapping[str, Any], manifest: Manifest) -> None:
        values = checkpoint["channel_values"]
        for channel in manifest.values:
            if values.get(channel) is None:
                raise WrongLocation(f"the value of channel {channel!r} is missing")
        for channel in manifest.nones:
            if channel not in values or not _is_none(values[channel]):
                raise WrongLocation(f"channel {channel!r} was written as None, and is not")
        # Savers that keep a value per version also find those of delta channels that were left out since.
        for channel in values.keys() - {*manifest.values, *manifest.nones}:
            if channel not in checkpoint["channel_versions"] or _is_none(values[channel]):
                raise WrongLocation(f"channel {channel!r} had no value when the checkpoint was written")

    def _channels(self, checkpoint: Mapping[str, Any], place: Place, context: EncryptionContext | None) -> dict[str, Thunk]:
        if isinstance(checkpoint, Foreign):
            return {}  # admitted as a whole, or refused as a whole
        versions = checkpoint["channel_versions"]
        thunks: dict[str, Thunk] = {}
        for channel, value in checkpoint["channel_values"].items():
            claims = {"version": version_text(versions[channel])} if channel in versions else {}
            if channel == TASKS and isinstance(value, list) and is_before_v4(checkpoint):
                # Savers gather the sends of a format below 4 from the parent's writes, as a bare list.
                thunks[channel] = _all([self._value(WRITE, item, place, TASKS, {}, context) for item in value])
            else:
                thunks[channel] = self._value(VALUE, value, place, channel, claims, context)
        return thunks

    def _pending_sends(self, checkpoint: Mapping[str, Any], place: Place, context: EncryptionContext | None) -> list[Thunk]:
        if isinstance(checkpoint, Foreign):
            return []
        sends = checkpoint.get("pending_sends") or ()
        # Shallow savers put the writes of the checkpoint before there.
        known = {} if self._habits.is_shallow else {"checkpoint_id": checkpoint["id"], "size": str(len(sends))}
        return [
            self._value(WRITE, send, place, TASKS, {**known, "idx": str(position)} if known else {}, context)
            for position, send in enumerate(sends)
        ]

    # --- writes

    def _pending_writes(
        self,
        found: Sequence[PendingWrite] | None,
        place: Place,
        checkpoint_id: str,
        context: EncryptionContext | None,
    ) -> list[Write] | None:
        if found is None:
            return None
        writes = [self._write(write, place, {"checkpoint_id": checkpoint_id}, context) for write in found]
        return whole_batches(in_order(writes))

    def _write(self, found: PendingWrite, place: Place, known: Mapping[str, str], context: EncryptionContext | None) -> Write:
        task_id, channel, value = found
        if not isinstance(task_id, str) or not isinstance(channel, str):
            raise MalformedEnvelope("a write without the names of its task and channel")
        sealed = _sealed_bytes(value)
        if sealed is None:
            return Write(task_id, channel, self._admit(value))
        location = _location(place, WRITE, channel)
        opened = self._sealer.open_bound(sealed, location, {**known, "task_id": task_id}, context=context)
        claims = opened.claims
        return Write(
            task_id=task_id,
            channel=channel,
            thunk=partial(self._serde.loads_typed, (opened.inner_type, opened.plaintext)),
            checkpoint_id=claims["checkpoint_id"],
            task_path=claims["task_path"],
            idx=int(claims["idx"]),
            batch=claims.get("batch", ""),
            size=int(claims.get("size", 0)),
        )

    # --- the history of delta channels

    def history(
        self, found: Mapping[str, DeltaChannelHistory], place: Place, context: EncryptionContext | None
    ) -> dict[str, DeltaChannelHistory]:
        """Verifies and opens what an inner saver's ``get_delta_channel_history`` returned.

        Each write and seed is authenticated to thread, namespace and channel; which checkpoints form the chain is not.
        """
        result: dict[str, DeltaChannelHistory] = {}
        with self._naming(place, None):
            for channel, entry in found.items():
                opened: DeltaChannelHistory = {"writes": self._history_writes(entry["writes"], place, context)}
                if "seed" in entry:
                    opened["seed"] = self._value(VALUE, entry["seed"], place, channel, {}, context)()
                result[channel] = opened
        return result

    def _history_writes(
        self, found: Sequence[PendingWrite], place: Place, context: EncryptionContext | None
    ) -> list[PendingWrite]:
        writes = in_order([self._write(write, place, {}, context) for write in found])
        return [(write.task_id, write.channel, write.thunk()) for write in writes]

    # --- one value

    def _value(
        self,
        surface: bytes,
        value: Any,
        place: Place,
        channel: str,
        claims: Mapping[str, str],
        context: EncryptionContext | None,
    ) -> Thunk:
        """Verifies a value that may stand as sealed bytes, sealed text, in a delta snapshot, or not sealed at all."""
        if value is None:
            return _none
        if isinstance(value, _DeltaSnapshot) and _sealed_bytes(value.value) is not None:
            return _snapshot(self._value(DELTA, value.value, place, channel, claims, context))
        sealed = _sealed_bytes(value)
        if sealed is None:
            return self._admit(value)
        opened = self._sealer.open_bound(sealed, _location(place, surface, channel), claims, context=context)
        return partial(self._serde.loads_typed, (opened.inner_type, opened.plaintext))

    def _admit(self, value: Any) -> Thunk:
        """Accepts a value that was not sealed for its place if a switch is on for its kind.

        Raises:
            EncryptedSerdeError: The reason why not, if none is.
        """
        if isinstance(value, Foreign):
            if value.error is not None:
                raise value.error
            serde = self._admission.legacy.strict if value.legacy else self._serde
            self._note(LEGACY if value.legacy else PLAINTEXT if "+" not in value.type_tag else UNBOUND, len(value.data))
            return partial(loads_unauthenticated, serde, value.inner_type, value.plaintext)
        if not self._admission.plaintext:
            raise PlaintextRefused("a value that was never sealed stands where sealed ones belong")
        self._note(PLAINTEXT, None)
        if type(value) in _SCALARS or isinstance(value, bytes):
            return lambda: value
        return lambda: loads_unauthenticated(self._serde, "msgpack", pack(value))

    def _note(self, kind: str, size: int | None) -> None:
        """Counts what a switch admitted, logs the first of each kind, and sees to it that it is audited."""
        admitted = self._admission.admitted
        if kind not in admitted:
            logger.warning("reading values that are %s, because a switch for moving in is on", kind)
        admitted[kind] += 1
        self._sealer.admitted(kind, size)

    def _found_at(self, configurable: Mapping[str, Any]) -> tuple[Place, str]:
        try:
            return Place.found(configurable)
        except MalformedEnvelope as error:
            self._sealer.refused(error)
            raise

    @contextmanager
    def _naming(self, place: Place, checkpoint_id: str | None) -> Iterator[None]:
        """Adds to an error which row it is about, and sees to it that it is audited."""
        try:
            yield
        except EncryptedSerdeError as error:
            row = f"thread {place.thread_id!r}, namespace {place.checkpoint_ns!r}"
            if checkpoint_id is not None:
                row += f", checkpoint {checkpoint_id!r}"
            error.args = (f"{error.args[0]} ({row})", *error.args[1:])
            self._sealer.refused(error)
            raise


def _location(place: Place, surface: bytes, field: str) -> bytes:
    try:
        return place.location(surface, field)
    except ConfigurationError as error:  # what cannot be encoded cannot have been written by us
        raise MalformedEnvelope(f"a stored name has an impossible form: {error}") from None


def _is_digest(expected: bytes, checkpoint: Mapping[str, Any], readable: Mapping[str, Any]) -> bool:
    try:
        return digest(checkpoint, readable) == expected
    except ConfigurationError:  # something that is no JSON, which we digest never
        return False


def ambient(context: EncryptionContext | None) -> AbstractContextManager[None]:
    """Makes the expected context the ambient one while the inner saver reads: the gate opens unbound values with it."""
    return nullcontext() if context is None else encryption_context(context.pairs)


def _sealed_bytes(value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return value if parse_sealed(value) else None
    return parse_sealed_text(value) if isinstance(value, str) else None


def _raise_if_refused(part: object) -> None:
    if isinstance(part, Foreign) and part.error is not None:
        raise part.error


def _well_formed(checkpoint: Any) -> Mapping[str, Any]:
    """Refuses what no saver was ever handed as a checkpoint, before its parts are looked at."""
    _raise_if_refused(checkpoint)
    if not isinstance(checkpoint, Mapping):
        raise MalformedEnvelope("the checkpoint is no mapping")
    if isinstance(checkpoint, Foreign):
        return checkpoint
    channels = [checkpoint.get(name) for name in ("channel_values", "channel_versions")]
    if not all(isinstance(part, Mapping) and all(isinstance(name, str) for name in part) for part in channels):
        raise MalformedEnvelope("the checkpoint has no channels")
    if not isinstance(checkpoint.get("pending_sends") or [], list):
        raise MalformedEnvelope("the checkpoint's pending sends are no list")
    return checkpoint


def _is_none(value: Any) -> bool:
    if isinstance(value, Foreign):  # encrypting serializers seal None too, and one may stand there from before the wrapper
        _raise_if_refused(value)
        return value.inner_type == "null"
    return value is None


def _none() -> None:
    return None


def _snapshot(thunk: Thunk) -> Thunk:
    return lambda: _DeltaSnapshot(thunk())


def _all(thunks: Sequence[Thunk]) -> Thunk:
    return lambda: [thunk() for thunk in thunks]
