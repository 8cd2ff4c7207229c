"""What a look at a database returns: threads, checkpoints, writes, items. Each holds values, or why they stay hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .messages import Message
from .values import Fields, Value


@dataclass(frozen=True, slots=True)
class Refused:
    """Why something stays hidden.

    Attributes:
        error: The class of the error, of `encrypted_serde.errors`.
        reason: What it says.
    """

    error: str
    reason: str

    def __str__(self) -> str:
        return f"{self.error}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ThreadLine:
    """A thread in a list.

    Attributes:
        id: Its id.
        checkpoints: How many checkpoints it has, those of subgraphs included.
        newest: Id of the newest.
        time: When that was written, where its id or its content tells.
        context: The encryption context of the newest; None where it does not open.
        checked: How many of its checkpoints were verified for this list, the newest first.
        refused: Why the first that does not open is refused; None if all that were verified open.
        missing: How many of its checkpoints an anchor requires and the database does not have.
    """

    id: str
    checkpoints: int
    newest: str
    time: str | None
    context: Mapping[str, str] | None
    checked: int
    refused: Refused | None
    missing: int = 0


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """A page of threads, the newest first.

    Attributes:
        lines: The threads.
        total: How many there are in all that match; None on later pages.
        after: What to ask for the next page with; empty on the last.
        gone: How many threads an anchor requires of which the database has no row; None where that was not asked.
    """

    lines: tuple[ThreadLine, ...]
    total: int | None
    after: str
    gone: int | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """Which checkpoint of a thread. Nothing of it is verified.

    Attributes:
        namespace: Its namespace; empty for the root graph.
        id: Its id.
        parent: Id of its parent; empty if it has none.
    """

    namespace: str
    id: str
    parent: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A checkpoint that an anchor requires and the database does not have.

    Attributes:
        namespace: Its namespace; None where nobody knows the name.
        id: Its id.
    """

    namespace: str | None
    id: str


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A checkpoint in a history.

    Attributes:
        spot: Which.
        refused: Why the rest is hidden; None if the checkpoint was verified.
        time: When it was written.
        source: What made it: ``input``, ``loop``, ``update``, ``fork``.
        step: The step of the graph.
        updated: The channels that it changed.
        next: The nodes that run next, as far as its row tells.
        interrupts: How many interrupts wait at it.
        errors: How many of its tasks failed.
        context: Its encryption context.
        is_entered: Whether an anchor knows it; None where no anchor is asked.
    """

    spot: Spot
    refused: Refused | None = None
    time: str | None = None
    source: str = ""
    step: int | None = None
    updated: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    interrupts: int = 0
    errors: int = 0
    context: Mapping[str, str] | None = None
    is_entered: bool | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a thread's history, the newest first.

    Attributes:
        lines: The checkpoints.
        start: How many newer ones there are.
        total: How many there are in all.
        spots: All of them, unverified, for a picture of the whole.
        missing: What an anchor requires and the database does not have.
    """

    lines: tuple[HistoryLine, ...]
    start: int
    total: int
    spots: tuple[Spot, ...]
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of the graph's state in a checkpoint.

    Attributes:
        name: Its name.
        version: Its version.
        value: What it holds; None if that is refused.
        refused: Why.
        messages: The same as a conversation, where it is one.
        replayed: Of a delta channel that the checkpoint does not hold: how many writes were added to its last snapshot. The
            application's reducer may have put them together in another way.
        size: Bytes of the serialized value.
    """

    name: str
    version: str
    value: Value | None
    refused: Refused | None = None
    messages: tuple[Message, ...] | None = None
    replayed: int | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """A pending write: what a task of the next step wrote.

    Attributes:
        task: Id of the task.
        path: Path of the task: it names the node.
        number: Its position; negative for LangGraph's own channels.
        channel: Where it writes to.
        value: What; None if that is refused.
        refused: Why.
    """

    task: str
    path: str
    number: int
    channel: str
    value: Value | None
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint with all its values.

    Attributes:
        line: It, as the history has it. If that is refused, everything else is empty.
        channels: The state: the application's channels first, LangGraph's own after them.
        metadata: Its metadata.
        writes: Its pending writes, in the order in which LangGraph applies them.
        next: The nodes that run next, as far as the checkpoint tells without the application's code.
        is_latest: Whether it is the newest of its namespace.
        key_id: Id of the key that its manifest is sealed with.
        cipher: What that is sealed with.
        admitted: Whether a switch let it through, so that nothing proves where it is from.
    """

    line: HistoryLine
    channels: tuple[Channel, ...] = ()
    metadata: Fields = field(default_factory=lambda: Fields(()))
    writes: tuple[Write, ...] = ()
    next: tuple[str, ...] = ()
    is_latest: bool = False
    key_id: str = ""
    cipher: str = ""
    admitted: bool = False

    def channel(self, name: str) -> Channel | None:
        """Returns a channel by its name; None if the checkpoint has no value for it."""
        return next((channel for channel in self.channels if channel.name == name), None)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of a store.

    Attributes:
        labels: Its labels; under pseudonyms those of the store's sealed dictionary, where that opens.
        place: As the database has it: labels joined by dots.
        items: How many items it has.
    """

    labels: tuple[str, ...]
    place: str
    items: int


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a store.

    Attributes:
        namespace: Its namespace, as the application says it; under pseudonyms, once the item is open.
        key: Its key, likewise.
        place: Namespace and key as the database has them.
        value: What it holds; None if that is refused.
        refused: Why.
        context: Its encryption context.
    """

    namespace: tuple[str, ...]
    key: str
    place: tuple[str, str]
    value: Value | None
    refused: Refused | None = None
    context: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Where a text occurs.

    Attributes:
        where: ``channel``, ``metadata``, ``write`` or ``item``.
        place: Thread, namespace and channel; or namespace and key of an item.
        checkpoints: How many checkpoints or versions hold it there.
        first: Id of the first of them; for values stored by version, the version.
        last: Id of the last of them.
        excerpt: Some of what is around it.
        value: The newest value that holds it.
    """

    where: str
    place: Mapping[str, str]
    checkpoints: int
    first: str
    last: str
    excerpt: str
    value: Value
