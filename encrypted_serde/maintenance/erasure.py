"""`prove_erased`: rows under destroyed keys are counted, and shown to be unreadable with the keys that there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..core.context import NO_CONTEXT, EncryptionContext
from ..core.keys import KEY_SIZE, Key, KeyProvider, as_key_provider
from ..errors import ConfigurationError, KeyErased, UnknownKey
from .database import ProgressListener, Selection
from .opening import open_database
from .report import Report, Seen
from .scan import Scanning, scan_opened

READABLE = "readable"


@dataclass
class ErasureProof(Report):
    """What stands under the keys, and what became of the attempt to get them.

    Attributes:
        key_ids: The keys in question, 64 hex digits each.
        values: How many values stand under each.
        outcomes: How many values there are by what became of the attempt to open them: the class of the refusal,
            ``KeyErased`` or ``UnknownKey``, or ``readable``.
    """

    key_ids: list[str] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)

    def reasons(self) -> list[str]:
        """Says why it is no proof; empty if it is one."""
        readable = self.outcomes.get(READABLE, 0)
        return super().reasons() + ([f"{readable:,} values under these keys can be read"] if readable else [])


def prove_erased(
    database: str | Path,
    keys: Key | KeyProvider,
    key_ids: Collection[bytes],
    *,
    selection: Selection = Selection(),  # noqa: B008  # immutable
    progress: ProgressListener | None = None,
) -> ErasureProof:
    """Counts the values of a database that stand under given keys, and shows that none of them can be read.

    A value is opened with the key that its header names, for the context that its header names, and the id of a key is a hash
    of it. So a value is unreadable exactly if the provider refuses that key for that context: this is asked for every key
    and context that is found. It says so of these keys and this database alone, which may be a restored backup.

    Args:
        database: As for `scan`.
        keys: The key provider of the application, with its key store and key service; or keys of the environment.
        key_ids: Ids of the destroyed keys, 32 bytes each: `Erasure.tombstones`.
        selection: Which rows; all by default.
        progress: Is told now and then how far it is.

    Raises:
        ConfigurationError: If no key id is given, or one is not 32 bytes; as for `scan`.
        DatabaseFailed: If the database cannot be read, or is none of a checkpointer or a store.
        KeyServiceError: If the provider cannot say now whether it has a key. That is no proof.
    """
    asked = frozenset(key_ids)
    if not asked or any(len(key_id) != KEY_SIZE for key_id in asked):
        raise ConfigurationError(f"name at least one key by its id, {KEY_SIZE} bytes or {2 * KEY_SIZE} hex digits")
    selection.check()
    attempts = _Attempts(as_key_provider(keys), asked)
    report = ErasureProof("prove-erased", key_ids=sorted(key_id.hex() for key_id in asked))
    report.options = selection.described()
    with open_database(database, write=False) as opened:
        report.database, report.server = opened.label, opened.server
        scan_opened(opened, report, selection, (), Scanning(progress=progress, visit=attempts.visit))
    report.values = {key_id.hex(): attempts.values[key_id] for key_id in sorted(asked)}
    report.outcomes = dict(sorted(attempts.outcomes.items()))
    report.compared = ["every value that names one of these keys, with what the key provider has for it"]
    report.not_compared = [
        "copies elsewhere: other databases, backups, logs, traces",
        "whether the keys stand in a backup of the key store, or in a copy that somebody made",
    ]
    if selection != Selection():
        report.not_compared.append("rows that were not selected")
    report.finish()
    return report


class _Attempts:
    """Counts values under the keys in question, and tries to get each key once for each context."""

    def __init__(self, keys: KeyProvider, asked: frozenset[bytes]) -> None:
        self._keys = keys
        self._asked = asked
        self._known: dict[tuple[bytes, bytes], str] = {}
        self.values: Counter[bytes] = Counter()
        self.outcomes: Counter[str] = Counter()

    def visit(self, found: list[Seen]) -> None:
        for seen in found:
            if seen.form.key_id in self._asked:
                self.values[seen.form.key_id] += 1
                self.outcomes[self._attempt(seen.form.key_id, seen.form.context or NO_CONTEXT)] += 1

    def _attempt(self, key_id: bytes, context: EncryptionContext) -> str:
        slot = (key_id, context.encoded)
        if slot not in self._known:
            try:
                self._keys.decryption_key(key_id, context.pairs)
                self._known[slot] = READABLE
            except (KeyErased, UnknownKey) as error:
                self._known[slot] = type(error).__name__
        return self._known[slot]
