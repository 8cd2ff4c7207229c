"""`prove_erased`: what is left of destroyed keys in a key store, and what can be read of the values under them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.context import NO_CONTEXT, EncryptionContext
from ..core.erasing import ErasingKeyProvider, KeysLeft
from ..core.keys import KEY_SIZE, Key, KeyProvider, as_key_provider
from ..errors import ConfigurationError, KeyErased, UnknownKey
from ..rows.stored import PLAINTEXT, SEALED
from .database import Database
from .items import StoreItems, Vectors
from .opening import at_work
from .report import MAX_CONTEXTS, Report, Seen
from .scan import scan_all
from .selection import ProgressListener, Selection
from .table import Row, Table

READABLE = "readable"
_MAX_OWNERS = 1_000_000  # threads whose plaintext is told apart


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
        other_values: How many values of the same contexts are sealed under other keys that can be had.
        readable: What stays readable beside these values, by kind.
        allow_empty: Whether finding no value under the keys is no objection.
    """

    key_ids: list[str] = field(default_factory=list)
    key_store: str = ""
    key_services: list[str] = field(default_factory=list)
    not_erased: list[str] = field(default_factory=list)
    wrapped: list[str] = field(default_factory=list)
    contexts_alive: int = 0
    values: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    other_values: int = 0
    readable: dict[str, int] = field(default_factory=dict)
    allow_empty: bool = False

    def reasons(self) -> list[str]:
        """Says why it is no proof; empty if it is one."""
        others = sum(number for outcome, number in self.outcomes.items() if outcome not in (READABLE, KeyErased.__name__))
        readable = ", ".join(f"{number:,} {what}" for what, number in self.readable.items())
        found = [
            (self.outcomes.get(READABLE, 0), "values under these keys can be read"),
            (others, "values are under keys that the key provider never knew: it is another one, or they were not erased"),
            (len(self.not_erased), "of these keys have no tombstone in the key store"),
            (len(self.wrapped), "of these keys still stand wrapped in the key store"),
            (self.contexts_alive, "of their contexts have another key, so they are in use"),
            (self.other_values, "values of the same contexts are under other keys, and can be read"),
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
    selection: Selection = Selection(),  # noqa: B008  # immutable
    readable_metadata: Collection[str] = (),
    allow_empty: bool = False,
    progress: ProgressListener | None = None,
) -> ErasureProof:
    """Shows that keys are destroyed, and that no value under them, nor anything beside one, can be read.

    The key store is looked through for each of the keys: there must be its tombstone, and it must not be stored there wrapped.
    Then each value is looked at that names one of the keys in its header: the provider must refuse that key for that context
    with `KeyErased`. And what is readable beside these values is counted: metadata, copies of fields, plaintext in the same
    thread, vectors of embeddings. It says so of this key store and this database alone, which may be a restored backup.

    Args:
        database: As for `scan`.
        keys: The key provider of the application, with its key store and key service.
        key_ids: Ids of the destroyed keys, 32 bytes each: `Erasure.tombstones`.
        selection: Which rows; all by default.
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
    _ask_key_store(report, provider.standing(asked), asked)
    with at_work(report, database, selection, progress) as work:
        attempts = _Attempts(provider, asked, work.database)
        scan_all(work, readable_metadata, visit=attempts.visit)
    report.values = {key_id.hex(): attempts.values[key_id] for key_id in sorted(asked)}
    report.outcomes = dict(sorted((attempts.outcomes + attempts.kept_apart()).items()))
    report.other_values = attempts.others()
    report.readable = dict(sorted(attempts.left_readable().items()))
    report.compared = [
        "the whole key store: which of these keys have a tombstone, and which stand there wrapped",
        "every value that names one of these keys, with what the key provider has for it",
        "what is readable beside these values: metadata keys, fields, plaintext of the same threads, vectors",
    ]
    report.not_compared = [
        "copies elsewhere: other databases, backups, logs, traces",
        "whether the keys stand in a backup of the key store, or in a copy that somebody made",
        "thread ids, namespaces, keys of items and contexts: they are readable by nature",
    ]
    if selection != Selection():
        report.not_compared.append("rows that were not selected")
    return report


def _hex(key_ids: Iterable[bytes]) -> list[str]:
    return sorted(key_id.hex() for key_id in key_ids)


def _ask_key_store(report: ErasureProof, left: KeysLeft, asked: frozenset[bytes]) -> None:
    report.key_store, report.key_services = left.store, [*left.services]
    report.not_erased, report.wrapped = _hex(asked - left.tombstones), _hex(left.wrapped)
    report.contexts_alive = left.contexts_alive
    if left.unreadable:
        raise ConfigurationError(
            f"{left.unreadable} items of the key store could not be looked at: one of these keys may stand in them"
        )


class _Attempts:
    """Counts values under the keys in question and beside them, and tries to get each key once for each context."""

    def __init__(self, keys: KeyProvider, asked: frozenset[bytes], database: Database) -> None:
        self._keys = keys
        self._asked = asked
        self._vectors = Vectors(database)
        self._known: dict[tuple[bytes, bytes], str] = {}
        self._contexts: dict[bytes, EncryptionContext] = {}
        self._elsewhere: dict[bytes, Counter[bytes]] = {}
        self._threads: set[object] = set()
        self._plaintext: Counter[object] = Counter()
        self._beside: Counter[str] = Counter()
        self.values: Counter[bytes] = Counter()
        self.outcomes: Counter[str] = Counter()

    def visit(self, table: Table, row: Row, found: list[Seen]) -> None:
        """Is given what was found in a row."""
        is_asked = False
        for seen in found:
            if seen.form.kind == SEALED:
                context = seen.form.context or NO_CONTEXT
                if seen.form.key_id in self._asked:
                    is_asked = True
                    self._contexts[context.encoded] = context
                    self.values[seen.form.key_id] += 1
                    self.outcomes[self._attempt(seen.form.key_id, context)] += 1
                elif len(self._elsewhere) < MAX_CONTEXTS:
                    self._elsewhere.setdefault(context.encoded, Counter())[seen.form.key_id] += 1
        readable = [seen.what for seen in found if seen.form.kind == PLAINTEXT]
        if is_asked:
            self._beside.update(readable)
            if isinstance(table, StoreItems):
                self._beside["vectors"] += self._vectors.of(row.cells["prefix"], row.cells["key"])
        if table.has_threads:
            self._in_thread(row.cells["thread_id"], is_asked, len(readable))

    def _in_thread(self, thread: object, is_asked: bool, plaintext: int) -> None:
        if is_asked:
            self._threads.add(thread)
        elif plaintext and len(self._plaintext) < _MAX_OWNERS:
            self._plaintext[thread] += plaintext

    def left_readable(self) -> Counter[str]:
        """Returns what is readable beside the values, and in other rows of their threads."""
        found = +self._beside
        if elsewhere := sum(number for thread, number in self._plaintext.items() if thread in self._threads):
            found["plaintext values in the same threads"] = elsewhere
        return found

    def others(self) -> int:
        """Returns how many values of the same contexts are sealed under other keys that can be had."""
        return sum(
            number
            for encoded, context in self._contexts.items()
            for key_id, number in self._elsewhere.get(encoded, Counter[bytes]()).items()
            if self._attempt(key_id, context) == READABLE
        )

    def kept_apart(self) -> Counter[str]:
        """Returns how many of the keys the provider has for any context: keys from before there were tenants."""
        return Counter(
            READABLE for key_id in self._asked if not self.values[key_id] and self._attempt(key_id, NO_CONTEXT) == READABLE
        )

    def _attempt(self, key_id: bytes, context: EncryptionContext) -> str:
        slot = (key_id, context.encoded)
        if slot not in self._known:
            try:
                self._keys.decryption_key(key_id, context.pairs)
                self._known[slot] = READABLE
            except (KeyErased, UnknownKey) as error:
                self._known[slot] = type(error).__name__
        return self._known[slot]
