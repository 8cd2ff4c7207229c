"""`open_view`: a database of sealed threads and items, read only, as data for programs and for the pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from ..audit import AuditListener
from ..core.keys import Key, KeyProvider
from ..errors import ConfigurationError, EncryptedSerdeError
from ..maintenance.coder import Switches
from .changes import Change, compare
from .execution import ERROR, INTERRUPT, is_internal, next_nodes
from .finding import Findings, find
from .looking import Looker
from .masking import Mask
from .messages import as_conversation
from .model import (
    Channel,
    Checkpoint,
    HistoryLine,
    HistoryPage,
    Item,
    Occurrence,
    Refused,
    Spot,
    ThreadLine,
    ThreadPage,
    Write,
)
from .source import Head, Source, StoredItem, StoredValue, StoredWrite, open_source
from .values import Scalar, Value

PAGE = 50
"""Threads, checkpoints or items of a page."""

CHECKED = 3
"""So many checkpoints of a thread are verified for a list of threads."""

_SCANNED = 2000  # threads looked through for one page of one context
_TASK_CHANNELS = (INTERRUPT, ERROR)


class NotFound(EncryptedSerdeError):
    """There is no such thread, checkpoint or item in the database."""


@dataclass(frozen=True, slots=True)
class Search:
    """Which threads are meant.

    Attributes:
        text: A part of the id.
        since: Not older than this id of a checkpoint.
        until: Older than this id of a checkpoint.
    """

    text: str = ""
    since: str = ""
    until: str = ""

    def conditions(self) -> dict[str, str]:
        """Returns what is said."""
        named = {"text": self.text, "since": self.since, "until": self.until}
        return {name: text for name, text in named.items() if text}


def open_view(
    database: str | Path,
    keys: Key | KeyProvider,
    *,
    context: Mapping[str, str] | None = None,
    actor: str | None = None,
    reason: str | None = None,
    audit: AuditListener | None = None,
    mask: Iterable[str] = (),
    allow_plaintext: bool = False,
    allow_unbound: bool = False,
) -> View:
    """Opens a database to look at what is sealed in it. Nothing is written, and no class of the application is needed.

    Every row is verified as `EncryptedSaver` and `EncryptedStore` do it before anything of it is returned. What does not hold
    is returned as `Refused`, with the reason in place of the value.

    Args:
        database: Path of a SQLite file, URL or conninfo string of a Postgres database, URL of a MySQL or MariaDB database.
        keys: What to open with: they decide what can be seen.
        context: Show only what is sealed under this encryption context.
        actor: Who looks; by default the name of the account.
        reason: Why. Required where ``ENCRYPTED_SERDE_REQUIRE_REASON=1`` is set.
        audit: Is told of every look, before anything is returned.
        mask: What to hide in values: ``email``, ``iban``, ``card``, ``phone``, ``token``, or a regular expression. It is no
            anonymisation.
        allow_plaintext: Show also what was never sealed, marked as such.
        allow_unbound: Show also what `EncryptedSerializer` sealed, marked as such.

    Returns:
        The view, open until `View.close` or the end of its ``with`` block.

    Raises:
        DatabaseFailed: If the database cannot be opened, or is none of a checkpointer or a store.
        ConfigurationError: If an argument cannot be used, a driver is not installed, or a reason is required.

    Example:
        ```python
        with open_view("app.db", Keyring.from_env(), reason="ticket 4711") as view:
            for line in view.thread("42").history():
                print(line.time, line.updated)
        ```
    """
    looker, masked = Looker(actor, reason, audit), Mask.of(mask)
    with ExitStack() as stack:
        source = open_source(stack, database, keys, context, Switches(allow_plaintext, allow_unbound))
        return View(source, looker, masked, context, stack.pop_all())


class View:
    """A database that was opened to look at. Use `open_view`.

    Attributes:
        label: What the database is called; without a password.
        server: What it says it is.
        mask: Hides on screen, and counts.
        has_threads: Whether it has threads.
        has_items: Whether it has items of a store.
    """

    def __init__(self, source: Source, looker: Looker, mask: Mask, context: Mapping[str, str] | None, stack: ExitStack) -> None:
        self.source, self.looker, self.mask = source, looker, mask
        self.label, self.server = source.label, source.server
        self.has_threads, self.has_items = source.has_threads, source.has_items
        self._context, self._stack = context, stack

    def __enter__(self) -> View:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._stack.close()

    # --- threads

    def threads(self, search: Search = Search(), *, after: str = "", limit: int = PAGE) -> ThreadPage:  # immutable
        """Returns a page of threads, the newest first. A few checkpoints of each are verified.

        Args:
            search: Which threads.
            after: `ThreadPage.after` of the page before.
            limit: So many at most.
        """
        self.looker.look({"list": "threads"})
        conditions = search.conditions()
        total = None if after or self._context is not None else self._count(conditions)
        place: Sequence[str] = _split(after)
        lines: list[ThreadLine] = []
        left = _SCANNED
        while self.has_threads and len(lines) < limit and left > 0:
            found = self.source.threads(conditions, place, limit + 1)
            left -= len(found)
            for name, count, newest in found[:limit]:
                place = (newest, name)
                if (line := self._thread_line(name, count, newest)) is not None:
                    lines.append(line)
                if len(lines) == limit:
                    break
            else:
                if len(found) <= limit:
                    return ThreadPage(tuple(lines), total, "")
                continue
            if found[-1][0] == place[1]:
                return ThreadPage(tuple(lines), total, "")
        return ThreadPage(tuple(lines), total, _joined(place) if self.has_threads else "")

    def _count(self, conditions: Mapping[str, str]) -> int:
        return self.source.count_threads(conditions) if self.has_threads else 0

    def _thread_line(self, name: str, count: int, newest: str) -> ThreadLine | None:
        """Returns a line; None for a thread of another context than the one that is looked at."""
        spots = self.source.spots(name, CHECKED)
        heads = self.source.heads(name, spots)
        outcomes = [heads.get(spot) for spot in spots]
        refused = next((each for each in outcomes if isinstance(each, Refused)), None)
        if self._context is not None and refused is not None and refused.error == "WrongContext":
            return None
        first = outcomes[0] if outcomes else None
        context = first.form.context if isinstance(first, Head) else None
        time = _time_of(first, newest)
        return ThreadLine(name, count, newest, time, context and context.pairs, len(spots), refused)

    def thread(self, thread_id: str) -> Thread:
        """Returns a thread.

        Raises:
            NotFound: If the database has no checkpoint of it.
        """
        spots = self.source.spots(thread_id)
        if not spots:
            self.looker.look({"thread": thread_id}, Refused("NotFound", ""))
            raise NotFound("the database has no such thread")
        return Thread(self, thread_id, spots)

    # --- items

    def namespaces(self, *, after: str = "", limit: int = PAGE) -> list[tuple[str, int]]:
        """Returns the namespaces of a store, as the database has them, and the number of their items."""
        self.looker.look({"list": "namespaces"})
        return self.source.prefixes(after, limit)

    def items(self, namespace: str, *, after: str = "", limit: int = PAGE) -> list[Item]:
        """Returns items of a namespace, in the order of their keys, opened.

        Args:
            namespace: As the database has it: labels joined by dots.
            after: The key, as the database has it, of the last item before.
            limit: So many at most.
        """
        self.looker.look({"namespace": namespace})
        return [self._item(item) for item in self.source.items(namespace, self.source.keys(namespace, after, limit))]

    def item(self, namespace: str, key: str) -> Item:
        """Returns an item, named as the database does.

        Raises:
            NotFound: If there is none.
        """
        found = self.source.items(namespace, [key])
        if not found:
            self.looker.look({"namespace": namespace, "key": key}, Refused("NotFound", ""))
            raise NotFound("the database has no such item")
        item = self._item(found[0])
        self.looker.look({"namespace": namespace, "key": key}, item.refused, item.context)
        return item

    # --- everything

    def find(self, text: str) -> Findings:
        """Searches every decrypted value, of threads and items.

        Args:
            text: What to look for. Neither case nor how an accent is encoded makes a difference.

        Raises:
            ConfigurationError: If the text is empty.
        """
        if not text.strip():
            raise ConfigurationError("an empty text is found everywhere: say what to look for")
        self.looker.look({"list": "everything that holds a text"})
        found = find(self.source, text)
        return replace(found, occurrences=tuple(map(self._masked, found.occurrences)))

    def _masked(self, one: Occurrence) -> Occurrence:
        return replace(one, excerpt=self.mask.text(one.excerpt), value=self.mask.value(one.value)) if self.mask else one

    def _item(self, found: StoredItem) -> Item:
        names = (*found.place[0].split("."), found.place[1]) if found.names is None else found.names
        if isinstance(found.value, Refused):
            return Item(names[:-1], names[-1], found.place, None, found.value)
        return Item(names[:-1], names[-1], found.place, self.mask.value(found.value), None, found.context)


class Thread:
    """A thread of a database that is looked at. `View.thread` returns it.

    Attributes:
        id: Its id.
        spots: Its checkpoints, the newest first, unverified.
    """

    def __init__(self, view: View, thread_id: str, spots: Sequence[Spot]) -> None:
        self.id, self.spots = thread_id, tuple(spots)
        self._view, self._source = view, view.source

    def history(self) -> Iterator[HistoryLine]:
        """Returns every checkpoint, verified, the newest first."""
        for start in range(0, len(self.spots), PAGE):
            yield from self.page(start).lines

    def page(self, start: int = 0, limit: int = PAGE) -> HistoryPage:
        """Returns a part of the history.

        Args:
            start: How many newer checkpoints to pass over.
            limit: So many at most.
        """
        self._view.looker.look({"thread": self.id})
        spots = self.spots[start : start + limit]
        heads = self._source.heads(self.id, spots)
        writes = self._source.writes(self.id, spots, _TASK_CHANNELS)
        lines = tuple(_line(spot, heads.get(spot), writes.get(spot, ())) for spot in spots)
        return HistoryPage(lines, start, len(self.spots), self.spots)

    def latest(self, namespace: str = "") -> Checkpoint:
        """Returns the newest checkpoint of the root graph, or of another namespace.

        Raises:
            NotFound: If there is none.
        """
        return self.checkpoint(None, namespace)

    def checkpoint(self, checkpoint_id: str | None = None, namespace: str | None = None) -> Checkpoint:
        """Returns a checkpoint with its values, metadata and pending writes.

        Args:
            checkpoint_id: Which; the newest when None.
            namespace: In which namespace; when None the one that has it, and of the newest the root.

        Raises:
            NotFound: If there is none.
        """
        spot = self._spot(checkpoint_id, namespace)
        found = self._read(spot)
        self._view.looker.look({"thread": self.id, **_place(spot)}, found.line.refused, found.line.context)
        return found

    def changes(self, before: str | None, after: str) -> tuple[Change, ...]:
        """Returns what differs between the states of two checkpoints. LangGraph's own channels are left out.

        Args:
            before: The older one; None for nothing, as before the first.
            after: The newer one.

        Raises:
            NotFound: If there is no such checkpoint.
        """
        old = {} if before is None else self._state(self.checkpoint(before))
        return compare(old, self._state(self.checkpoint(after)))

    @staticmethod
    def _state(checkpoint: Checkpoint) -> dict[str, Value]:
        return {each.name: each.value for each in checkpoint.channels if each.value is not None and not is_internal(each.name)}

    def _spot(self, checkpoint_id: str | None, namespace: str | None) -> Spot:
        if checkpoint_id is None:
            wanted = [spot for spot in self.spots if spot.namespace == (namespace or "")] or [*self.spots[:1]]
        else:
            wanted = [spot for spot in self.spots if spot.id == checkpoint_id and namespace in (None, spot.namespace)]
        if not wanted:
            raise NotFound("the thread has no such checkpoint")
        return wanted[0]

    def _read(self, spot: Spot) -> Checkpoint:
        head = self._source.heads(self.id, [spot]).get(spot)
        stored = self._source.writes(self.id, [spot]).get(spot, [])
        line = _line(spot, head, stored)
        if not isinstance(head, Head):
            return Checkpoint(line)
        mask = self._view.mask
        versions = head.document.get("channel_versions", {})
        values = self._source.values(self.id, spot, head)
        channels = [_channel(name, versions.get(name), value, mask) for name, value in values.items()]
        writes = tuple(_write(each, mask) for each in stored)
        is_latest = spot == next(each for each in self.spots if each.namespace == spot.namespace)
        return Checkpoint(
            line,
            tuple(sorted(channels, key=lambda channel: (is_internal(channel.name), channel.name != "messages", channel.name))),
            mask.value(head.metadata),  # type: ignore[arg-type]  # fields stay fields
            writes,
            next_nodes(head.document, {channel.name: channel.value for channel in channels}, writes if is_latest else ()),
            is_latest,
            head.form.key_id.hex(),
            head.form.cipher,
            head.admitted,
        )


def _place(spot: Spot) -> dict[str, str]:
    return {"checkpoint": spot.id, **({"checkpoint_ns": spot.namespace} if spot.namespace else {})}


def _line(spot: Spot, head: Head | Refused | None, writes: Iterable[StoredWrite]) -> HistoryLine:
    if head is None:
        return HistoryLine(spot, Refused("NotFound", "the checkpoint is no longer there"))
    if isinstance(head, Refused):
        return HistoryLine(spot, head)
    opened = [write for write in writes if isinstance(write.value, StoredValue)]
    source, step = head.metadata.get("source"), head.metadata.get("step")
    return HistoryLine(
        spot,
        None,
        _time_of(head, spot.id),
        str(source.value) if isinstance(source, Scalar) else "",
        step.value if isinstance(step, Scalar) and isinstance(step.value, int) else None,
        tuple(str(name) for name in head.document.get("updated_channels") or () if not is_internal(str(name))),
        sum(write.channel == INTERRUPT for write in opened),
        sum(write.channel == ERROR for write in opened),
        head.form.context.pairs if head.form.context else None,
    )


def _channel(name: str, version: object, found: StoredValue | Refused, mask: Mask) -> Channel:
    text = "" if version is None else str(version)
    if isinstance(found, Refused):
        return Channel(name, text, None, found)
    value = mask.value(found.read())
    return Channel(name, text, value, None, as_conversation(value), found.is_delta, len(found.data))


def _write(found: StoredWrite, mask: Mask) -> Write:
    names = (found.task, found.path, found.number, found.channel)
    if isinstance(found.value, Refused):
        return Write(*names, None, found.value)
    return Write(*names, mask.value(found.value.read()))


# --- times and places ---------------------------------------------------------------------------------------------------

_EPOCH = datetime(1582, 10, 15, tzinfo=timezone.utc)


def time_of_id(checkpoint_id: str) -> str | None:
    """Returns the time in an id that LangGraph gave, a UUID of version 6; None if it tells none."""
    digits = checkpoint_id.replace("-", "")
    if len(checkpoint_id) != 36 or len(digits) != 32 or digits[12] != "6":
        return None
    try:
        ticks = int(digits[:12], 16) << 12 | int(digits[13:16], 16)
        return (_EPOCH + timedelta(microseconds=ticks // 10)).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return None


def _time_of(head: Head | Refused | None, checkpoint_id: str) -> str | None:
    stamp: Any = head.document.get("ts") if isinstance(head, Head) else None
    return stamp if isinstance(stamp, str) and stamp else time_of_id(checkpoint_id)


def _joined(place: Sequence[str]) -> str:
    return "\n".join(place)


def _split(after: str) -> tuple[str, ...]:
    newest, separator, name = after.partition("\n")
    return (newest, name) if separator else ()
