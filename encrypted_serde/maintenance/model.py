"""What maintenance speaks of: how a value stands in a database, what was found, what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..core.context import parse_context
from ..errors import EncryptedSerdeError

PLAINTEXT = "plaintext"
LEGACY = "legacy"
SEALED = "sealed"
NONE = "none"
UNVOUCHED = "no manifest"
UNDECODABLE = "undecodable"

CHECKPOINT = "checkpoints.checkpoint"
METADATA = "checkpoints.metadata"
"""The columns that every database of a checkpointer has."""

INLINED = "inlined scalar"
READABLE_PART = "readable part"
WHOLE = "whole checkpoint"
"""What is found in them, beside channel values and metadata keys."""

INTERRUPTED = ". What was committed stays, nothing is half written; run the command again"
"""What a failure amounts to where a database was being written to."""

FAILURES_KEPT = 1000
"""How many failures a result describes; the rest are counted."""

PROBLEMS = ("plaintext", "legacy", "old-key", "unbound", "undecodable")
"""What `ScanReport.problems` counts, and ``scan --fail-on`` accepts."""


class DatabaseFailed(EncryptedSerdeError):
    """The database did not do what was asked: not a checkpointer's, no permission, full, gone. Nothing is half written."""


class Unconvertible(EncryptedSerdeError):
    """A value that opens, but cannot be written in the form that was asked for. It stays as it is."""


class Form(NamedTuple):
    """How one value is stored, as its type and header say. Nothing of it is authenticated.

    Attributes:
        kind: `PLAINTEXT`, `LEGACY` (langgraph's own ``+aes``), `SEALED`, `NONE` (a stored None), `UNVOUCHED` (a checkpoint
            without a manifest, whose readable part nobody vouches for) or `UNDECODABLE`.
        cipher: Of sealed values.
        key_id: Of sealed values.
        context: Of sealed values, encoded.
        bound: Whether it belongs to one place.
        compressed: Whether its plaintext is compressed.
    """

    kind: str
    cipher: str = ""
    key_id: bytes = b""
    context: bytes = b""
    bound: bool = False
    compressed: bool = False


class Seen(NamedTuple):
    """One value that was found.

    Attributes:
        column: Table and column.
        what: What it is there, e.g. ``channel value``.
        form: How it is stored.
        size: In bytes.
        value: As stored, for samples.
    """

    column: str
    what: str
    form: Form
    size: int
    value: Any = None


class Progress(NamedTuple):
    """How far a scan or re-encryption is.

    Attributes:
        table: The table it is in.
        rows: Rows read so far, of all tables.
        total: Rows of all tables, estimated; None where nobody knows.
        bytes: Bytes read so far.
    """

    table: str
    rows: int
    total: int | None
    bytes: int


ProgressListener = Callable[[Progress], None]


@dataclass
class Line:
    """Values that are stored alike.

    Attributes:
        column: Table and column.
        what: What they are there.
        kind: See `Form`.
        cipher: Of sealed values.
        key_id: Of sealed values, 64 hex digits.
        context: Of sealed values.
        bound: Whether they belong to one place each.
        compressed: Whether they are compressed.
        values: How many.
        bytes: How large together.
        samples: A few of them, shortened, if samples were asked for.
    """

    column: str
    what: str
    kind: str
    cipher: str
    key_id: str
    context: Mapping[str, str]
    bound: bool
    compressed: bool
    values: int = 0
    bytes: int = 0
    samples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, seen: Seen) -> Line:
        """Starts the line that a value belongs to."""
        form = seen.form
        context = dict(parse_context(form.context).pairs)
        return cls(seen.column, seen.what, form.kind, form.cipher, form.key_id.hex(), context, form.bound, form.compressed)


@dataclass
class ScanReport:
    """What stands in a database.

    Attributes:
        database: Which one, without a password.
        rows: How many rows each table has.
        lines: What is in them.
    """

    database: str
    rows: dict[str, int] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def problems(self, current_keys: Iterable[str] = ()) -> dict[str, int]:
        """Counts values by what an operator may not want to find.

        Args:
            current_keys: Ids, in hex, of the keys that are written with. Values under another one count as ``old-key``; none
                does where this is empty.

        Returns:
            For each of `PROBLEMS` how many there are. A value may count for several.
        """
        current = frozenset(current_keys)
        counts = dict.fromkeys(PROBLEMS, 0)
        for line in self.lines:
            sealed = line.kind == SEALED
            counts["plaintext"] += line.values * (line.kind == PLAINTEXT)
            counts["legacy"] += line.values * (line.kind == LEGACY)
            counts["old-key"] += line.values * (sealed and bool(current) and line.key_id not in current)
            counts["unbound"] += line.values * ((sealed and not line.bound) or line.kind == UNVOUCHED)
            counts["undecodable"] += line.values * (line.kind == UNDECODABLE)
        return counts

    def as_dict(self) -> dict[str, Any]:
        """Gives all attributes as types that JSON knows."""
        return asdict(self)


@dataclass(frozen=True)
class Failure:
    """A row that was left as it was.

    Attributes:
        table: Its table.
        row: Its primary key.
        error: Class and message of what went wrong.
    """

    table: str
    row: Mapping[str, Any]
    error: str


@dataclass
class Reencryption:
    """What a re-encryption did.

    Attributes:
        dry_run: Whether nothing was written.
        read: Rows that were read.
        rewritten: Rows that were written anew, or would have been.
        overtaken: Rows that somebody else changed meanwhile; what they wrote counts.
        failed: Rows that could not be converted and were left as they were.
        failures: The first thousand of these.
        left: Rows that do not stand in the form that was asked for, by the scan at the end.
        scan: That scan.
    """

    dry_run: bool = False
    read: int = 0
    rewritten: int = 0
    overtaken: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    left: int = 0
    scan: ScanReport | None = None

    def fail(self, failure: Failure) -> None:
        """Counts a failure, and keeps the first thousand."""
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)

    def as_dict(self) -> dict[str, Any]:
        """Gives all attributes as types that JSON knows."""
        return asdict(self)
