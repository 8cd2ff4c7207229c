"""`prove_erased`: what is left of destroyed keys in a key store, and what can be read of the values under them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.context import NO_CONTEXT, EncryptionContext
from ..core.erasing import ErasingKeyProvider
from ..core.keys import KEY_SIZE, Key, KeyProvider, as_key_provider
from ..errors import ConfigurationError, KeyErased, UnknownKey
from ..rows.stored import LEGACY, PLAINTEXT, SEALED
from .items import StoreItems, Vectors
from .opening import Work, at_work
from .report import Report, Seen
from .scan import scan_all
from .selection import ProgressListener, Selection
from .table import Row, Table

READABLE = "readable"


@dataclass
class ErasureProof(Report):
    """What is stored under the keys, and what became of the attempt to get them.

    Attributes:
        key_ids: The keys in question, 64 hex digits each.
        key_store: The key store that was asked, and looked through.
        key_services: The key services that its keys may be wrapped by.
        not_erased: Those keys that have no tombstone in the key store.
        wrapped: Those that are still stored wrapped in the key store.
        contexts_alive: How many of their contexts have another key there that is not void.
        values: How many values are sealed under each key.
        outcomes: How many values there are by what became of the attempt to open them: the class of the refusal,
            ``KeyErased`` or ``UnknownKey``, or ``readable``.
        other_values: How many values of the same contexts or threads are sealed under other keys that can be had.
        readable: What stays readable beside these values, by kind.
        allow_empty: Whether finding no value under the keys is no objection.
    """

    key_ids: list[str] = field(default_factory=list)
    key_store: str = ""
    key_services: list[str] = field(default_factory=list)
    not_erased: list[str] = field(default_factory=list)
    wrapped: list[str] = field(default_factory=list)
    contexts_alive: int = 0
    values: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    other_values: int = 0
    readable: Counter[str] = field(default_factory=Counter)
    allow_empty: bool = False

    def reasons(self) -> list[str]:
        """Says why it is no proof; empty if it is one."""
        others = self.outcomes.total() - self.outcomes[READABLE] - self.outcomes[KeyErased.__name__]
        readable = ", ".join(f"{number:,} {what}" for what, number in self.readable.items())
        found = [
            (self.outcomes[READABLE], "values under these keys can be read"),
            (others, "values are under keys that the key provider never knew: it is another one, or they were not erased"),
            (len(self.not_erased), "of these keys have no tombstone in the key store"),
            (len(self.wrapped), "of these keys are still stored wrapped in the key store"),
            (self.contexts_alive, "of their contexts have another key, so they are in use"),
            (self.other_values, "values of the same contexts or threads are under other keys, and can be read"),
        ]
        reasons = [f"{number:,} {problem}" for number, problem in found if number]
        if readable:
            reasons.append(f"readable beside these values: {readable}")
        if not any(self.values.values()) and not self.allow_empty:
            reasons.append("no value is stored under these keys: is it the right database? (--allow-empty if so)")
        return super().reasons() + reasons


def prove_erased(
    database: str | Path,
    keys: Key | KeyProvider,
    key_ids: Collection[bytes],
    *,
    readable_metadata: Collection[str] = (),
    allow_empty: bool = False,
    progress: ProgressListener | None = None,
) -> ErasureProof:
    """Shows that keys are destroyed, and that no value under them, nor anything beside one, can be read.

    The key store is looked through for each of the keys: there must be its tombstone, and it must not be stored there wrapped.
    Then each value is looked at that names one of the keys in its header: the provider must refuse that key for that context
    with `KeyErased`. And what is readable beside these values is counted: metadata, copies of fields, what we did not
    seal in the same thread, vectors of embeddings. Values of the same thread under another key that can be had are an objection
    too: they hold what was said before. It says so of this key store and this database alone, which may be a restored backup.

    Args:
        database: As for `scan`.
        keys: The key provider of the application, with its key store and key service.
        key_ids: Ids of the destroyed keys, 32 bytes each: `Erasure.tombstones`.
        readable_metadata: Metadata keys, and fields of items, that are readable on purpose and say nothing of a person.
        allow_empty: Whether finding no value under the keys is no objection: they may have been removed.
        progress: Is told now and then how far it is.

    Raises:
        ConfigurationError: If no key id is given, one is not 32 bytes, or the provider has no key store; as for `scan`.
        DatabaseFailed: If the database cannot be read, or is none of a checkpointer or a store.
        KeyServiceError: If the key store cannot be read. That is no proof.
    """
    asked = frozenset(key_ids)
    if not asked or any(len(key_id) != KEY_SIZE for key_id in asked):
        raise ConfigurationError(f"name at least one key by its id, {KEY_SIZE} bytes or {2 * KEY_SIZE} hex digits")
    provider = as_key_provider(keys)
    if not isinstance(provider, ErasingKeyProvider):
        raise ConfigurationError(
            f"{type(provider).__name__} destroys no keys, so it can prove nothing: give the application's own TenantKeyring "
            "(--keys MODULE:NAME)"
        )
    report = ErasureProof("prove-erased", key_ids=_hex(asked), allow_empty=allow_empty)
    report.options = {"readable_metadata": sorted(readable_metadata), "allow_empty": allow_empty}
    left = provider.standing(asked)
    if left.unreadable:
        raise ConfigurationError(
            f"{left.unreadable} items of the key store could not be looked at: one of these keys may be stored in them"
        )
    report.key_store, report.key_services, report.contexts_alive = left.store, [*left.services], left.contexts_alive
    report.not_erased, report.wrapped = _hex(asked - left.tombstones), _hex(left.wrapped)
    with at_work(report, database, Selection(), progress) as work:
        attempts = _Attempts(provider, asked, work)
        first = Work(work.database, work.selection, Report("scan"), work.progress, work.total)
        scan_all(first, readable_metadata, attempts.collect)
        scan_all(work, readable_metadata, attempts.count)
        attempts.conclude()
    report.compared = [
        "the whole key store: which of these keys have a tombstone, and which are stored there wrapped",
        "every value that names one of these keys, with what the key provider has for it",
        "what is readable beside these values: metadata keys, fields, what we did not seal in the same threads, vectors",
    ]
    report.not_compared = [
        "copies elsewhere: other databases, backups, logs, traces",
        "whether the keys are in a backup of the key store, or in a copy that somebody made",
        "processes that run: one that used a key keeps it in memory until its cache ages out, and can read with it until then",
        "thread ids, namespaces, keys of items and contexts: they are readable by nature",
    ]
    return report


def _hex(key_ids: Iterable[bytes]) -> list[str]:
    return sorted(key_id.hex() for key_id in key_ids)


class _Attempts:
    """Counts values under the keys in question and beside them, and tries to get each key once for each context."""

    def __init__(self, keys: KeyProvider, asked: frozenset[bytes], work: Work[ErasureProof]) -> None:
        self._keys, self._asked, self._report = keys, asked, work.report
        self._vectors = Vectors(work.database)
        self._known: dict[tuple[bytes, bytes], str] = {}
        self._contexts: set[bytes] = set()
        self._threads: set[object] = set()
        self._report.values.update({key_id.hex(): 0 for key_id in sorted(asked)})

    def collect(self, table: Table, row: Row, found: list[Seen]) -> None:
        """Notes the contexts and the threads of the values in question."""
        if is_asked := [seen for seen in found if self._is_asked(seen)]:
            self._contexts |= {(seen.form.context or NO_CONTEXT).encoded for seen in is_asked}
            self._threads |= {row.cells["thread_id"]} if table.has_threads else set()

    def count(self, table: Table, row: Row, found: list[Seen]) -> None:
        """Counts the values in question, and what can be read beside them."""
        report, is_here = self._report, any(map(self._is_asked, found))
        is_near = table.has_threads and row.cells["thread_id"] in self._threads
        for seen in found:
            key_id, context = seen.form.key_id, seen.form.context or NO_CONTEXT
            if self._is_asked(seen):
                report.values[key_id.hex()] += 1
                report.outcomes[self._attempt(key_id, context)] += 1
            elif seen.form.kind == SEALED and (is_near or context.encoded in self._contexts):
                report.other_values += self._attempt(key_id, context) == READABLE
            elif seen.form.kind in (PLAINTEXT, LEGACY) and (is_here or is_near):
                report.readable[seen.what if is_here else "values in the same threads that we did not seal"] += 1
        if is_here and isinstance(table, StoreItems) and (vectors := self._vectors.of(row.cells["prefix"], row.cells["key"])):
            report.readable["vectors"] += vectors

    def conclude(self) -> None:
        """Asks for keys that no value is under, for any context: they may be among those from before there were tenants."""
        for key_id in self._asked:
            if not self._report.values[key_id.hex()] and self._attempt(key_id, NO_CONTEXT) == READABLE:
                self._report.outcomes[READABLE] += 1

    def _is_asked(self, seen: Seen) -> bool:
        return seen.form.kind == SEALED and seen.form.key_id in self._asked

    def _attempt(self, key_id: bytes, context: EncryptionContext) -> str:
        slot = (key_id, context.encoded)
        if slot not in self._known:
            try:
                self._keys.decryption_key(key_id, context.pairs)
                self._known[slot] = READABLE
            except (KeyErased, UnknownKey) as error:
                self._known[slot] = type(error).__name__
        return self._known[slot]
