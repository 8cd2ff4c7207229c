"""What the commands give: counts, failures and a verdict, and all of it as a document that can be kept as evidence.

`docs/auditor.md` has the schema of the document. Another proof about a database is another subclass of `Report`.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .. import __version__
from ..core.context import EncryptionContext
from ..core.format import VERSION
from ..errors import EncryptedSerdeError
from ..rows.stored import SEALED, UNVOUCHED, Form

SCHEMA = "encrypted-serde/report/1"
FAILURES_KEPT = 1000
"""How many failures, and groups of them, a report describes; the rest are counted."""

MAX_LINES = 10_000
"""How many different lines a report has; names of metadata keys and contexts are chosen by writers of rows."""

MAX_CONTEXTS = 100_000
"""Up to so many contexts are counted exactly."""

PROBLEMS = ("plaintext", "legacy", "old-key", "unbound", "undecodable")
"""What `Tally.problems` counts, and ``scan --fail-on`` accepts."""


class DatabaseFailed(EncryptedSerdeError):
    """The database did not do what was asked: not a checkpointer's, no permission, full, gone. Nothing is half written."""


class Unconvertible(EncryptedSerdeError):
    """A value that opens, but cannot be written in the form that was asked for. It stays as it is."""


class Seen(NamedTuple):
    """One value that was found.

    Attributes:
        column: Table and column.
        what: What it is there, e.g. ``channel value``.
        form: How it is stored.
        size: In bytes.
    """

    column: str
    what: str
    form: Form
    size: int


@dataclass
class Line:
    """Values that are stored alike.

    Attributes:
        column: Table and column.
        what: What they are there.
        kind: See `Form`.
        cipher: Of sealed values.
        key_id: Of sealed values, 64 hex digits.
        bound: Whether they belong to one place each.
        compressed: Whether they are compressed.
        context: Of sealed values; None where contexts are not told apart.
        values: How many.
        bytes: How large together.
    """

    column: str
    what: str
    kind: str
    cipher: str
    key_id: str
    bound: bool
    compressed: bool
    context: Mapping[str, str] | None
    values: int = 0
    bytes: int = 0


class Tally:
    """Counts values by how they are stored.

    Args:
        by_context: Whether values under different contexts have lines of their own.
    """

    def __init__(self, *, by_context: bool = False) -> None:
        self._by_context = by_context
        self._lines: dict[tuple[Any, ...], Line] = {}
        self._contexts: dict[bytes, EncryptionContext] = {}

    def add(self, seen: Seen) -> Line:
        """Counts one value, and gives its line."""
        context = seen.form.context
        if context is not None and len(self._contexts) < MAX_CONTEXTS:
            self._contexts[context.encoded] = context
        shown = context if self._by_context else None
        what = seen.what
        slot = (seen.column, what, *seen.form[:5], shown and shown.encoded)
        if slot not in self._lines and len(self._lines) >= MAX_LINES:
            what, shown = "(other)", None
            slot = (seen.column, what, *seen.form[:5], None)
        line = self._lines.get(slot)
        if line is None:
            kind, cipher, key_id, bound, compressed, _ = seen.form
            pairs = None if shown is None else dict(shown.pairs)
            line = self._lines[slot] = Line(seen.column, what, kind, cipher, key_id.hex(), bound, compressed, pairs)
        line.values += 1
        line.bytes += seen.size
        return line

    @property
    def lines(self) -> list[Line]:
        """What was counted, in order."""
        order = sorted(self._lines, key=lambda slot: (*slot[:-1], slot[-1] or b""))
        return [self._lines[slot] for slot in order]

    @property
    def contexts(self) -> int:
        """How many different encryption contexts there were, at most `MAX_CONTEXTS`; the empty one is none."""
        return len(self._contexts) - (b"" in self._contexts)

    def seen_contexts(self) -> list[EncryptionContext]:
        """Returns the contexts of all sealed values, the empty one too; at most `MAX_CONTEXTS`."""
        return [*self._contexts.values()]

    def totals(self, name: str) -> dict[str, int]:
        """Adds up values by an attribute of their lines."""
        counts: Counter[str] = Counter()
        for line in self._lines.values():
            if text := getattr(line, name):
                counts[text] += line.values
        return dict(sorted(counts.items()))

    def problems(self, current_keys: Iterable[str] = ()) -> dict[str, int | None]:
        """Counts values by what an operator may not want to find.

        Args:
            current_keys: Ids of the keys that are written with, 64 or at least the first 12 hex digits. Values under another
                one count as ``old-key``; that is None, not compared, where none is given.

        Returns:
            For each of `PROBLEMS` how many there are. A value may count for several.
        """
        current = (*current_keys,)
        known = {key_id: is_current(key_id, current) for key_id in {line.key_id for line in self._lines.values()}}
        counts: Counter[str] = Counter()
        for line in self._lines.values():
            is_sealed = line.kind == SEALED  # of others the kind is the name of the problem, if it is one
            counts["unbound" if line.kind == UNVOUCHED or (is_sealed and not line.bound) else line.kind] += line.values
            counts["old-key"] += line.values * (is_sealed and not known[line.key_id])
        return {problem: counts[problem] if current or problem != "old-key" else None for problem in PROBLEMS}


def is_current(key_id: str, current_keys: Sequence[str]) -> bool:
    """Says whether a key is one of those that are written with, each named by its id or by the first 12 digits of it."""
    return key_id.startswith(tuple(current_keys))


class Failure(NamedTuple):
    """A row that could not be read, opened or converted, and was left as it was.

    Attributes:
        table: Its table.
        row: Its primary key.
        error: Class of what went wrong.
        reason: Its message.
    """

    table: str
    row: Mapping[str, Any]
    error: str
    reason: str

    @classmethod
    def of(cls, table: str, row: Mapping[str, Any], error: Exception) -> Failure:
        """Describes an error. Of what is not ours only the class is told: its text may hold stored values."""
        ours = isinstance(error, EncryptedSerdeError)
        reason = str(error.args[0]) if ours and error.args else "the row could not be read"
        key = {name: part if isinstance(part, (str, int)) or part is None else repr(part) for name, part in row.items()}
        return cls(table, key, type(error).__name__, reason)


@dataclass
class Report:
    """What a command did and found.

    Attributes:
        command: Its name.
        database: Which database, without credentials.
        server: What it says it is, with its version.
        options: What it was told, without secrets.
        started: When it began, in UTC.
        finished: When it ended.
        rows: How many rows of each table were read.
        bytes: How many bytes these were.
        tally: How values are stored.
        current_keys: Ids of keys that are not old; empty where keys were not compared.
        failed: How many rows failed.
        failures: The first thousand of them.
        groups: How many failed for the same reason, by table, class and reason.
        compared: What was compared, in words.
        not_compared: What was not.
    """

    command: str
    database: str = ""
    server: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    finished: datetime | None = None
    rows: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    tally: Tally = field(default_factory=Tally)
    current_keys: tuple[str, ...] = ()
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    groups: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    compared: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def fail(self, failure: Failure) -> None:
        """Counts a failure, and keeps the first thousand."""
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)
        group = (failure.table, failure.error, failure.reason)
        if group not in self.groups and len(self.groups) >= FAILURES_KEPT:
            group = (failure.table, failure.error, "(other)")
        self.groups[group] += 1

    def start_again(self) -> None:
        """Forgets the failures of a pass before."""
        self.failed, self.failures, self.groups = 0, [], Counter()

    @property
    def done(self) -> int:
        """How many rows were changed so far."""
        return 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return ((self.finished or datetime.now(timezone.utc)) - self.started).total_seconds()

    @property
    def is_empty(self) -> bool:
        """Whether no row was found at all."""
        return not any(self.rows.values())

    def reasons(self) -> list[str]:
        """Says why the verdict is not "passed"; empty if it is. `is_empty` is for the caller to judge."""
        return [f"{self.failed} rows failed"] if self.failed else []

    def problems(self) -> dict[str, int | None]:
        """Counts values by what an operator may not want to find; see `Tally.problems`."""
        return self.tally.problems(self.current_keys)

    def result(self) -> dict[str, Any]:
        """Returns what only this command counts."""
        common = {item.name for item in fields(Report)}
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in common}

    def document(self, reasons: Iterable[str] | None = None) -> dict[str, Any]:
        """Returns all of it as types that JSON knows.

        Args:
            reasons: Why it did not pass; `reasons` when None.
        """
        why = [*(self.reasons() if reasons is None else reasons)]
        document = {
            "schema": SCHEMA,
            "command": self.command,
            "verdict": "failed" if why else "passed",
            "reasons": why,
            "exit_code": 3 if why else 0,
            "started": self.started.isoformat(timespec="seconds"),
            "finished": self.finished and self.finished.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "run_by": {"user": _account(), "host": socket.gethostname()},
            "software": {"encrypted-serde": __version__, "format": VERSION},
            "database": {"name": self.database, "server": self.server},
            "options": self.options,
            "rows": self.rows,
            "bytes": self.bytes,
            "totals": {
                "values": sum(self.tally.totals("kind").values()),
                "forms": self.tally.totals("kind"),
                "keys": self.tally.totals("key_id"),
                "contexts": self.tally.contexts,
            },
            "current_keys": [*self.current_keys],
            "problems": self.problems(),
            "lines": [asdict(line) for line in self.tally.lines],
            "failures": {
                "rows": self.failed,
                "groups": [
                    {"table": table, "error": error, "reason": reason, "rows": number}
                    for (table, error, reason), number in self.groups.most_common()
                ],
                "first": [failure._asdict() for failure in self.failures],
            },
            "compared": self.compared,
            "not_compared": self.not_compared,
            "result": self.result(),
        }
        return {**document, "sha256": digest(document)}


@dataclass
class Deletion(Report):
    """What a command deleted.

    Attributes:
        dry_run: Whether nothing was deleted.
        deleted: Rows that were deleted, by table; in a dry run, that would have been.
    """

    dry_run: bool = False
    deleted: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """How many rows were deleted so far."""
        return self.deleted.total()


def digest(document: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a report as 64 hex digits: of its JSON without ``sha256``, with sorted keys and no spaces.

    It shows that a report was cut or edited by accident. It is no signature: who edits a report can compute it anew, so keep
    the digest apart from the report.
    """
    covered = {name: part for name, part in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that no account has
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
