"""Reading: how what an inner saver returned is taken apart, verified, and only then turned into objects.

`rows.verify` has the rules. Here LangGraph's tuples become `Parts`, and what was verified becomes a tuple again. Everything of
a checkpoint is verified before any of it is deserialised. (To answer a filter, verified metadata is looked at first.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory, PendingWrite

from ..audit import tell_refused
from ..core import binding
from ..core.binding import Place, WriteClaims
from ..core.context import EncryptionContext, current, may_read
from ..core.opaque import opaque
from ..errors import ConfigurationError, EncryptedSerdeError, MalformedEnvelope, WrongLocation
from ..rows.manifest import KEY
from ..rows.parts import Parts, bound_to, channel, check_document, find_manifest, is_none
from ..rows.stored import Stored
from ..rows.verify import Rules, Verified, open_value, open_write, verify_row
from ..rows.writes import Write, in_order, require_whole, whole_batches
from ..wrapping.gate import Foreign
from ..wrapping.serialize import Waiting, loads
from ..wrapping.upstream import TASKS
from .found import Reader, Values, stored
from .wiring import At, Wiring

_T = TypeVar("_T")
_E = TypeVar("_E", bound=EncryptedSerdeError)

IDENTITY = ("thread_id", "checkpoint_ns", "checkpoint_id")
"""Keys of ``configurable`` that say which row is meant."""

_NO_SENDS = 4  # from this format on a checkpoint has no pending sends


class _Head(NamedTuple):
    """The readable part of a row, verified.

    Attributes:
        row: As it was verified; None if the whole checkpoint is one admitted value.
        metadata: All of it.
    """

    row: Verified | None
    metadata: Waiting

    @property
    def is_proven(self) -> bool:
        """Whether the row carries proof that we sealed it."""
        return self.row is not None and self.row.is_proven


class OpenedRow(NamedTuple):
    """A row, verified and opened.

    Attributes:
        checkpoint: The row as the caller gets it.
        writes: Its pending writes, in the order of those in the checkpoint.
        context: What it is sealed under; of a row from before the wrapper the expected context.
    """

    checkpoint: CheckpointTuple
    writes: Sequence[Write]
    context: EncryptionContext | None

    def __repr__(self) -> str:
        return opaque(self)


class RowOpener:
    """Verifies and opens what a saver returned.

    Args:
        wiring: The parts of the wrapper.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._sealer = wiring.sealer
        self._traits = wiring.traits
        self._gaps_only_in = wiring.gaps_only_in
        self._rules = Rules(
            stores_all_values=self._traits.stores_all_values,
            prunes=self._traits.prunes,
            has_no_parents=self._traits.is_shallow,
            added_keys=self._traits.added_keys,
            gathers_sends=self._traits.gathers_sends,
            admits=bool(wiring.admission),
            admits_plaintext=wiring.admission.plaintext,
        )

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
                raise self._told(WrongLocation(f"asked for {name} {wanted[name]!r}, the saver returned {got.get(name)!r}"))

    def own(self, found: CheckpointTuple, context: EncryptionContext | None) -> CheckpointTuple | None:
        """Returns a row with its manifest parsed; None if it names a context that the caller may not read.

        Nothing of it is authenticated before it is opened.
        """
        expected = current.get() if context is None else context
        manifest = find_manifest(found.metadata) if isinstance(found.metadata, Mapping) else None
        if manifest is None or manifest.sealed is None:  # opening it says what is wrong with it
            return found
        if not may_read(manifest.sealed.head.context, expected, self._sealer.accepted_contexts):
            return None
        return found._replace(metadata=cast("CheckpointMetadata", {**found.metadata, KEY: manifest}))

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
        return cast("OpenedRow", self.row(found, context)).checkpoint

    def row(
        self,
        found: CheckpointTuple,
        context: EncryptionContext | None,
        matches: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> OpenedRow | None:
        """Opens a row as `checkpoint` does. One whose metadata do not match has its own fields verified, and is None."""
        return self._naming(self._at(found, context), self._row, found, matches)

    def _row(
        self, at: At, reader: Reader, found: CheckpointTuple, matches: Callable[[Mapping[str, Any]], bool] | None
    ) -> OpenedRow | None:
        head = self._head(found, at, reader)
        if matches is not None and not matches(head.metadata()):
            return None
        values = {} if head.row is None else self._values(head.row, reader)
        writes = self._pending_writes(found.pending_writes, at, reader, is_proven=head.is_proven)
        # From here on objects are built.
        opened = CheckpointTuple(
            found.config,
            cast("Checkpoint", self._whole(found, at) if head.row is None else self._document(head.row, values, reader)),
            cast("CheckpointMetadata", head.metadata()),
            found.parent_config,
            None if writes is None else [(write.task_id, write.channel, write.value()) for write in writes],
        )
        sealed_under = None if head.row is None else head.row.form.context
        return OpenedRow(opened, writes or (), at.context if sealed_under is None else sealed_under)

    def listed(self, found: CheckpointTuple, context: EncryptionContext | None) -> None:
        """Verifies a row's own fields, and remembers what is listed for it."""
        self._naming(self._at(found, context), lambda at, reader: self._head(found, at, reader))

    def _head(self, found: CheckpointTuple, at: At, reader: Reader) -> _Head:
        metadata: Any = found.metadata
        if metadata is None:
            metadata = {}
        elif not isinstance(metadata, (dict, Mapping)):
            raise MalformedEnvelope("the metadata is no mapping")
        if type(found.checkpoint) is Foreign:
            is_proven = isinstance(metadata.get(KEY), (str, Stored))
            found.checkpoint.admit(at.context, is_proven=True) if is_proven else found.checkpoint.open(at.context)
            if found.checkpoint.get("id") != at.checkpoint_id:
                raise WrongLocation("the checkpoint in this row is another one than the row says, or is not admitted")
            return _Head(None, self._plain_metadata(metadata, at))
        if type(metadata) is Foreign:
            metadata.open(at.context)
        parts = self._parts(found, at, metadata)
        row = verify_row(parts, reader, self._rules)
        self._remember(at, row)
        if row.manifest is None:
            return _Head(row, self._plain_metadata(metadata, at))
        given = Waiting(loads, self._wiring.serde, *row.manifest.private)
        return _Head(row, Waiting(lambda: {**row.readable, **given()}))

    def _parts(self, found: CheckpointTuple, at: At, metadata: Mapping[str, Any]) -> Parts:
        document = check_document(found.checkpoint)
        values, apart = Values(), Values()
        nones: list[str] = []
        for name, value in document["channel_values"].items():
            (values if self._is_in_row(value) else apart)[name] = value
            if value is None or (type(value) is Foreign and is_none(stored(value))):
                nones.append(name)
        parent_id = found.parent_config["configurable"]["checkpoint_id"] if found.parent_config else None
        manifest = find_manifest(metadata)
        return Parts(
            at.place, at.checkpoint_id or "", parent_id, document, metadata, values, apart, manifest, known_nones=nones
        )

    def _is_in_row(self, value: Any) -> bool:
        """Says whether a value is stored in the row of its checkpoint, and not in one of its own that may be older."""
        if self._traits.stores_all_values:
            return True
        return self._traits.inlines_scalars and isinstance(value, (str, int, float, bool, type(None)))

    def _values(self, row: Verified, reader: Reader) -> dict[str, Waiting]:
        parts = row.parts
        values: dict[str, Waiting] = {}
        for name, value in parts.document["channel_values"].items():
            if name == TASKS and isinstance(value, list) and not row.is_proven:
                values[name] = self._gathered(value, parts.place, reader)
                continue
            in_row = name in parts.values
            opened = open_value(row, name, (parts.values if in_row else parts.apart)[name], reader, in_row=in_row)
            values[name] = reader.waiting(opened)
        return values

    def _gathered(self, sends: Sequence[Any], place: Place, reader: Reader) -> Waiting:
        """Opens sends that a saver gathered from the writes of the parent, for a row of a format below 4."""
        where = binding.write(place, TASKS, WriteClaims())
        waiting = [reader.waiting(reader.open(stored(send), lambda _: where)) for send in sends]
        return Waiting(lambda: [send() for send in waiting])

    def _document(self, row: Verified, values: Mapping[str, Waiting], reader: Reader) -> dict[str, Any]:
        document = {**row.document, "channel_values": {name: value() for name, value in values.items()}}
        sends = row.parts.document.get("pending_sends")
        if sends is not None:  # of formats below 4, which the wrapper never wrote
            is_theirs = row.is_proven or (self._traits.gathers_sends and row.document.get("v", 0) >= _NO_SENDS)
            document["pending_sends"] = [] if is_theirs else self._gathered(sends, row.parts.place, reader)()
        return document

    def _whole(self, found: CheckpointTuple, at: At) -> Any:
        foreign = cast("Foreign", found.checkpoint)
        return self._wiring.admission.loads(self._wiring.serde, foreign.admit(at.context))

    def _plain_metadata(self, metadata: Mapping[str, Any], at: At) -> Waiting:
        if isinstance(metadata, Foreign):
            admitted = metadata.admit(at.context)
            return Waiting(lambda: self._wiring.admission.loads(self._wiring.serde, admitted))
        return Waiting.holding(dict(metadata))

    def _remember(self, at: At, row: Verified) -> None:
        """Remembers which channels have a row of their own, for the manifests of the checkpoints that follow."""
        remembered, parts = self._wiring.remembered, row.parts
        if self._traits.stores_all_values or at.checkpoint_id is None:
            return
        manifest = parts.metadata.get(KEY)
        if isinstance(manifest, str) and remembered.knows(at.place, at.checkpoint_id, manifest):
            return
        names = parts.apart if row.manifest is None else {*row.manifest.values, *row.manifest.nones}
        nones = parts.names()[1]
        stored = {name: name not in nones for name in parts.apart if name in names}
        listed = remembered.listed(at.place, at.checkpoint_id, row.document["channel_versions"], stored)
        remembered.note(listed, manifest)

    # --- writes

    def _pending_writes(
        self, found: Sequence[PendingWrite] | None, at: At, reader: Reader, *, is_proven: bool
    ) -> list[Write] | None:
        if not found:
            return None if found is None else []
        if self._traits.mixes_writes:
            opened = [self._write(write, at._replace(checkpoint_id=None), reader, is_proven=is_proven) for write in found]
            of_this = [write for write in opened if not write.claims or write.claims.checkpoint_id == at.checkpoint_id]
        else:
            of_this = [self._write(write, at, reader, is_proven=is_proven) for write in found]
        writes = in_order(of_this)
        whole = whole_batches(writes)
        if self._gaps_only_in not in (None, at.checkpoint_id) and len(whole) < len(writes):
            raise WrongLocation("writes of a task are missing")
        return whole

    def _write(self, found: PendingWrite, at: At, reader: Reader, *, is_proven: bool) -> Write:
        task_id, name, value = found
        if not isinstance(task_id, str) or not isinstance(name, str):
            raise MalformedEnvelope("a write without the names of its task and channel")
        known = WriteClaims(task_id, at.checkpoint_id)
        opened = open_write(
            stored(value), lambda _: bound_to(binding.write, at.place, name, known), reader, is_proven=is_proven
        )
        claims = WriteClaims.read(opened.claims) if opened.form.bound else None
        return Write(task_id, name, reader.waiting(opened), claims)

    # --- the history of delta channels

    def history(self, found: Mapping[str, DeltaChannelHistory], at: At) -> dict[str, DeltaChannelHistory]:
        """Verifies and opens what an inner saver's ``get_delta_channel_history`` returned.

        Each write and seed is authenticated to thread, namespace and channel, and of no batch of writes may some be missing;
        which checkpoints form the chain is not verified.
        """
        return self._naming(at._replace(checkpoint_id=None), self._history, found)

    def _history(self, at: At, reader: Reader, found: Mapping[str, DeltaChannelHistory]) -> dict[str, DeltaChannelHistory]:
        verified: dict[str, tuple[list[Write], Waiting | None]] = {}
        for name, entry in found.items():
            writes = in_order([self._write(write, at, reader, is_proven=False) for write in entry["writes"]])
            require_whole(writes)
            verified[name] = writes, self._seed(name, entry["seed"], at, reader) if "seed" in entry else None
        return {name: _built(*waiting) for name, waiting in verified.items()}

    def _seed(self, name: str, value: Any, at: At, reader: Reader) -> Waiting:
        if value is True and self._traits.inlines_scalars:  # what Postgres keeps beside the checkpoint for a snapshot
            raise WrongLocation(f"the value of channel {name!r} is missing")
        return reader.waiting(reader.open(stored(value), channel(at.place, name, None)))

    # --- which row

    def _at(self, found: CheckpointTuple, context: EncryptionContext | None) -> At:
        """Says where a row is stored."""
        configurable = found.config["configurable"]
        checkpoint_ns, checkpoint_id = configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"]
        if not isinstance(checkpoint_ns, str) or not isinstance(checkpoint_id, str):
            raise self._told(MalformedEnvelope("the namespace or id of a stored checkpoint is no text"))
        if checkpoint_ns == self._traits.root_name:
            checkpoint_ns = ""
        try:
            return At(Place.of(configurable["thread_id"], checkpoint_ns), checkpoint_id, context)
        except ConfigurationError as error:
            problem = f"a stored thread or namespace has an impossible form: {error}"
            raise self._told(MalformedEnvelope(problem)) from None

    def _told(self, error: _E) -> _E:
        """Tells the audit of a refusal, and returns it to be raised."""
        tell_refused(self._sealer, error)
        return error

    def _naming(self, at: At, work: Callable[..., _T], *arguments: Any) -> _T:
        """Does something with a row, and says in a refusal which row it is about, and sees to it that it is audited."""
        try:
            return work(at, Reader(self._wiring, at.context), *arguments)
        except EncryptedSerdeError as error:
            error.row = at.named
            self._told(error)
            raise


def _built(writes: list[Write], seed: Waiting | None) -> DeltaChannelHistory:
    built: DeltaChannelHistory = {"writes": [(write.task_id, write.channel, write.value()) for write in writes]}
    if seed is not None:
        built["seed"] = seed()
    return built
