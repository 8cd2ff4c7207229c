"""`open_view`: a database of sealed threads and items, read only, as data for programs and for the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ..anchor.client import AnchorClient
from ..anchor.entries import Anchor
from ..audit import AuditListener
from ..core.keys import Key, KeyProvider
from ..errors import ConfigurationError
from ..maintenance.codec import Switches
from ..maintenance.selection import first_id
from .anchoring import AnchoredThread, threads_gone
from .finding import Findings, find
from .looking import Looker
from .masking import Mask
from .model import Item, Namespace, Occurrence, Refused, ThreadLine, ThreadPage
from .source import Source, open_source
from .stored import StoredHead, StoredItem
from .thread import PAGE, NotFound, Thread, time_of

CHECKED = 5
"""So many checkpoints of a thread are verified for a list of threads."""

UNREADABLE = Refused("MalformedEnvelope", "the names in the row are none that a saver writes")

_SCANNED = 2000  # threads looked through for one page of one context


@dataclass(frozen=True, slots=True)
class Search:
    """Which threads are meant.

    Attributes:
        text: A part of the id.
        tenant: A value of the encryption context.
        since: With a checkpoint that is not older, as far as their ids tell a time.
        until: With none that is newer.
    """

    text: str = ""
    tenant: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> dict[str, str]:
        """Returns what the database is to look for."""
        times = {"since": self.since, "until": self.until}
        found = {name: first_id(moment) for name, moment in times.items() if moment is not None}
        return {**found, "text": self.text} if self.text else found

    def holds(self, line: ThreadLine) -> bool:
        """Says whether a thread belongs to the tenant that is meant."""
        return not self.tenant or self.tenant in (line.context or {}).values()


def open_view(
    database: str | Path,
    keys: Key | KeyProvider,
    *,
    context: Mapping[str, str] | None = None,
    actor: str | None = None,
    reason: str | None = None,
    audit: AuditListener | None = None,
    mask: Iterable[str] = (),
    anchor: Anchor | None = None,
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
        anchor: Knows what must be there: what is missing is marked, and what was put back is refused. The caller closes it.
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
    client = None if anchor is None else AnchorClient(anchor, keys, writes=False)
    with ExitStack() as stack:
        source = open_source(stack, database, keys, context, Switches(allow_plaintext, allow_unbound))
        return View(source, looker, masked, _Limits(context, client), stack.pop_all())


class _Limits(NamedTuple):
    context: Mapping[str, str] | None
    client: AnchorClient | None


class View:
    """A database that was opened to look at. Use `open_view`.

    Attributes:
        label: What the database is called; without a password.
        server: What it says it is.
        mask: Hides on screen, and counts.
        has_threads: Whether it has threads.
        has_items: Whether it has items of a store.
    """

    def __init__(self, source: Source, looker: Looker, mask: Mask, limits: _Limits, stack: ExitStack) -> None:
        self.source, self.looker, self.mask = source, looker, mask
        self.label, self.server = source.label, source.server
        self.has_threads, self.has_items = source.has_threads, source.has_items
        self._context, self._client = limits
        self._stack = stack

    def __enter__(self) -> View:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection, and what `close_with` was given."""
        self._stack.close()

    def close_with(self, other: AbstractContextManager[Any]) -> None:
        """Leaves another context when the view is closed."""
        self._stack.push(other.__exit__)

    # --- threads

    def threads(self, search: Search = Search(), *, after: str = "", limit: int = PAGE) -> ThreadPage:  # immutable
        """Returns a page of threads, the newest first. A few checkpoints of each are verified.

        Args:
            search: Which threads.
            after: `ThreadPage.after` of the page before.
            limit: So many at most.
        """
        self.looker.look({"list": "threads"})
        is_narrow = bool(search.tenant) or self._context is not None
        conditions, place = search.conditions(), _split(after)
        is_all = not (after or conditions or is_narrow)
        known = [] if self._client is None or not is_all else self._client.threads()
        total = None if after or is_narrow else self._count(conditions)
        gone = threads_gone(self._client, self.source.thread_ids(), known) if self._client and is_all else None
        lines: list[ThreadLine] = []
        size, left, more = _SCANNED // 4 if is_narrow else limit + 1, _SCANNED, self.has_threads
        while more and left > 0:
            found = self.source.threads(conditions, place, size)
            more, left = len(found) == size, left - len(found)
            for name, count, newest in found:
                if len(lines) == limit:
                    return ThreadPage(tuple(lines), total, "\n".join(place), gone)
                place = (newest, name)
                line = self._narrow_line(place, count, search) if is_narrow else self._thread_line(place, count, CHECKED)
                lines += [] if line is None else [line]
        return ThreadPage(tuple(lines), total, "\n".join(place) if more else "", gone)

    def _count(self, conditions: Mapping[str, str]) -> int:
        return self.source.count_threads(conditions) if self.has_threads else 0

    def _narrow_line(self, place: Sequence[str], count: int, search: Search) -> ThreadLine | None:
        """Returns a line; None for a thread of another context than the one that is looked at."""
        newest = self._thread_line(place, count, 1)
        if (newest.refused and newest.refused.error == "WrongContext") or not search.holds(newest):
            return None
        return self._thread_line(place, count, CHECKED)

    def _thread_line(self, place: Sequence[str], count: int, checked: int) -> ThreadLine:
        newest, name = place
        anchored = None if self._client is None or checked == 1 else AnchoredThread(self._client, name)
        missing = () if anchored is None else anchored.missing(self.source.spots(name))
        spots = self.source.spots(name, checked)
        heads = self.source.heads(name, spots)
        outcomes = [heads.get(spot) for spot in spots]
        refused = next(
            (each or UNREADABLE for each in outcomes if not isinstance(each, StoredHead)), None if spots else UNREADABLE
        )
        first = outcomes[0] if outcomes else None
        context = first.form.context if isinstance(first, StoredHead) else None
        return ThreadLine(
            name, count, newest, time_of(first, newest), context and context.pairs, len(spots), refused, len(missing)
        )

    def thread(self, thread_id: str) -> Thread:
        """Returns a thread.

        Raises:
            NotFound: If the database has no checkpoint of it.
        """
        return Thread(self.source, self.looker, self.mask, thread_id, self._client)

    # --- items

    def namespaces(self, *, after: str = "", limit: int = PAGE) -> list[Namespace]:
        """Returns the namespaces of a store.

        Args:
            after: `Namespace.place` of the last one before.
            limit: So many at most.
        """
        self.looker.look({"list": "namespaces"})
        return self._namespaces(after, limit)

    def _namespaces(self, after: str, limit: int) -> list[Namespace]:
        found = [(place, count, place.split(".")) for place, count in self.source.prefixes(after, limit)]
        names = self.source.labels({label for *_, labels in found for label in labels})
        return [Namespace(tuple(names.get(label, label) for label in labels), place, count) for place, count, labels in found]

    def _place_of(self, namespace: str) -> str:
        """Returns what the database calls a namespace."""
        after, found = "", [Namespace((), namespace, 0)] if self.source.keys(namespace, "", 1) else self._namespaces("", PAGE)
        while found:
            for each in found:
                if namespace in (each.place, ".".join(each.labels)):
                    return each.place
            after = found[-1].place
            found = self._namespaces(after, PAGE)
        return namespace

    def items(self, namespace: str, *, after: str = "", limit: int = PAGE) -> list[Item]:
        """Returns items of a namespace, opened, in the order of the keys that the database has.

        Args:
            namespace: Its labels, joined by dots; or as the database has it.
            after: The key, as the database has it, of the last item before.
            limit: So many at most.
        """
        self.looker.look({"namespace": namespace})
        return self._items(self._place_of(namespace), after, limit)

    def _items(self, place: str, after: str, limit: int) -> list[Item]:
        return [self._item(item) for item in self.source.items(place, self.source.keys(place, after, limit))]

    def item(self, namespace: str, key: str) -> Item:
        """Returns an item, by the names of the application or of the database.

        Raises:
            NotFound: If there is none.
        """
        place = self._place_of(namespace)
        item = next(iter(map(self._item, self.source.items(place, [key]))), None) or self._by_key(place, key)
        self.looker.look({"namespace": namespace, "key": key}, Refused("NotFound", "") if item is None else item.refused)
        if item is None:
            raise NotFound("the database has no such item")
        return item

    def _by_key(self, place: str, key: str) -> Item | None:
        after, found = "", self._items(place, "", PAGE)
        while found:
            for item in found:
                if item.key == key:
                    return item
            after = found[-1].place[1]
            found = self._items(place, after, PAGE)
        return None

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


def _split(after: str) -> tuple[str, ...]:
    newest, separator, name = after.partition("\n")
    return (newest, name) if separator else ()
