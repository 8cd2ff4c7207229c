"""One kind of row: what its columns may hold, how its values are stored, how it is opened and how it is written anew.

To add a table, write a class with `Table.look`, `Table.open` and `Table.recode`, and put it into ``TABLES`` of the databases
that can have it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..errors import MalformedEnvelope
from ..rows.stored import Stored, find_part, find_typed
from .report import DatabaseFailed, Failure, Seen, Unconvertible
from .selection import THREAD, Selection

if TYPE_CHECKING:
    from .codec import RowCodec
    from .database import Database

PAGE_BYTES = 8 << 20
"""Pages get shorter when their values are larger together."""

READ_ROWS = 200
"""Rows of a page that is only looked at."""

LOOK, OPEN, VERIFY = 0, 1, 2
"""What rows are read for: values cut to `HEAD` and `TAIL`; whole; whole, and with the columns that only `verify` compares."""


MAYBE_TEXT, MAYBE_BYTES = (str, type(None)), (bytes, type(None))


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Its name.
        types: What it may hold.
        sql: What is selected for it, where that is not the column alone.
        reading: From which of `LOOK`, `OPEN`, `VERIFY` on it is read.
        is_large: Whether it holds the value, of which `LOOK` takes head and tail alone.
    """

    name: str
    types: tuple[type, ...] = (str,)
    sql: str = ""
    reading: int = LOOK
    is_large: bool = False


class Row:
    """A row that was read.

    Attributes:
        cells: What stood in it, by column. Anything may: `Table.checked` says whether it is what should.
        place: By which it comes after the rows before it.
        size: Bytes of its values.
    """

    __slots__ = ("_made", "_parts", "cells", "place", "size")

    def __init__(self, cells: dict[str, Any], place: tuple[Any, ...], size: int) -> None:
        self.cells, self.place, self.size = cells, place, size
        self._made: dict[str, Any] = {}
        self._parts: dict[int, tuple[object, Stored]] = {}  # by identity, of values that are kept here

    def once(self, column: str, make: Callable[[], Any]) -> Any:
        """Returns what is made of a column, which is made once."""
        if column not in self._made:
            self._made[column] = make()
        return self._made[column]

    def value(self, column: str, size: int | None = None) -> Stored:
        """Returns the value that is stored in a column beside its type, which is parsed once. Its size is that of the row."""
        whole = self.size if size is None else size
        found: Stored = self.once(column, lambda: find_typed(self.cells["type"], self.cells[column] or b"", whole))
        return found

    def part(self, value: object) -> Stored:
        """Returns how a part of what was made of a column is stored. It is parsed once."""
        if id(value) not in self._parts:
            self._parts[id(value)] = value, find_part(value)
        return self._parts[id(value)][1]


class Table(ABC):
    """One table of a database.

    Args:
        database: The database it is in.
        columns: The columns it has there.

    Attributes:
        name: Its name.
        key: Its primary key.
        columns: What is read of a row, the primary key first.
        changed: What `recode` gives new values for.
        has_checkpoint_id: Whether it has a column of that name, which tells the time.
        owner: The column that says which part of a partitioned run a row belongs to.
        required: Columns without which a table of that name is somebody else's.
        is_first_pass: Whether `reencrypt` goes through it for the first time.
        selects: SQL that its rows must meet; all of them where it is empty.
    """

    name: ClassVar[str]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    changed: tuple[str, ...]
    has_checkpoint_id = True
    owner: ClassVar[str] = THREAD
    required: ClassVar[frozenset[str]] = frozenset()
    selects: ClassVar[str] = ""
    is_first_pass = True

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        self.database = database

    def lay_out(self, key: Sequence[str], present: Collection[str], *columns: Column) -> None:
        """Sets the primary key, given what it is in Postgres, and the columns. A hash may replace the namespace in a key.

        Args:
            key: The columns of the key, which are text but for those that ``columns`` say more of.
            present: The columns that the table has.
            columns: All others.
        """
        namespace, known = self.database.namespace, {column.name for column in columns}
        self.key = tuple(namespace if name == "checkpoint_ns" else name for name in key if name in present)
        hidden = () if namespace == "checkpoint_ns" else (Column(namespace, (bytes,)),)
        self.columns = (*hidden, *(Column(name) for name in key if name not in known), *columns)

    @property
    def has_threads(self) -> bool:
        """Whether its rows are those of a checkpointer, which belong to threads."""
        return self.owner == THREAD

    def key_of(self, row: Row) -> dict[str, Any]:
        """Returns the primary key of a row, by column, for reports."""
        shown = [*dict.fromkeys("checkpoint_ns" if name == self.database.namespace else name for name in self.key)]
        return {name: row.cells[name] for name in shown}

    def checked(self, row: Row) -> dict[str, Any]:
        """Returns the cells of a row once their types are what they should be.

        Raises:
            MalformedEnvelope: If one is not.
        """
        types = self._types
        for name, cell in row.cells.items():
            if type(cell) not in types[name]:
                raise MalformedEnvelope(f"column {name} holds {_KINDS.get(type(cell), 'something else')}")
        return row.cells

    @cached_property
    def _types(self) -> dict[str, tuple[type, ...]]:
        return {column.name: column.types for column in self.columns}

    def weight(self, row: Row) -> int:
        """Returns the size of what `recode` gives anew."""
        return row.size

    def mended(self, row: Row, codec: RowCodec) -> tuple[Any, ...] | None:
        """Returns what a row that is sealed as it should be needs changed nevertheless; None if it may stay."""
        return None

    def begin(self, *, is_first: bool) -> None:
        """Begins a pass: forgets what was known of rows."""
        self.is_first_pass = is_first

    def converts(self, row: Row, codec: RowCodec) -> bool:
        """Says whether a row can be written in the form that is asked for. Nothing of it is counted as admitted."""
        counts = codec.admission.counts()
        new = fenced(self, row, lambda: self.recode(row, codec))
        codec.admission.count_back(counts)
        return not isinstance(new, Failure)

    @abstractmethod
    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the values in a row are stored.

        Args:
            row: The row.
            readable_keys: Keys of metadata, or fields of items, that may be readable; None where nobody asks about them.
        """

    @abstractmethod
    def open(self, row: Row, codec: RowCodec) -> Any:
        """Opens everything in a row, in its place.

        Raises:
            EncryptedSerdeError: If something does not open, does not hold, or is not admitted.
        """

    @abstractmethod
    def recode(self, row: Row, codec: RowCodec) -> tuple[Any, ...]:
        """Returns the new values of `changed`. Their size together compares with `weight`.

        Raises:
            EncryptedSerdeError: As `open` does, and if it cannot be written in the form that is asked for.
        """


_KINDS = {type(None): "NULL", str: "text", bytes: "bytes", int: "a number", float: "a number"}


class Paging:
    """Where one is in a table.

    Args:
        table: Which.
        selection: Which of its rows.
        reading: What for.
        size: Rows of a page, at most.
        condition: More SQL that rows must meet, and its parameters.
        lock: Whether rows will be stored, and may be locked for that while their page is open.
    """

    def __init__(self, table: Table, selection: Selection, reading: int, *, size: int = READ_ROWS, lock: bool = False) -> None:
        self.table, self.selection, self.reading = table, selection, reading
        self.condition: tuple[str, tuple[Any, ...]] = ("", ())
        self.lock = lock
        self.size = self._limit = size
        self.after: tuple[Any, ...] = ()
        self.finished = False
        self.columns = [column for column in table.columns if column.reading <= reading]
        self.has_head = reading == LOOK and any(column.is_large for column in self.columns)
        if self.has_head:  # its size is selected behind it
            self.columns.sort(key=lambda column: column.is_large)
        self.names = [column.name for column in self.columns]
        heads = {column.name for column in self.columns if column.is_large and self.has_head}
        self.sized = [name for name in self.names if name in table.changed and name != "type" and name not in heads]

    def turn(self, rows: Sequence[Row], asked: int) -> None:
        """Notes that these rows came when so many were asked for."""
        self.finished = len(rows) < asked
        if rows:
            self.after = rows[-1].place
        large = sum(row.size for row in rows) > PAGE_BYTES
        self.size = max(1, self.size // 2) if large else min(self._limit, self.size * 2)


def fenced(table: Table, row: Row, run: Callable[[], Any]) -> Any:
    """Runs what concerns one row. Whatever that raises becomes one `Failure`, and never the end of a run.

    Returns:
        What it gave, or the failure.

    Raises:
        Exception: What the driver raises.
    """
    try:
        return run()
    except (DatabaseFailed, table.database.errors):
        raise
    except Exception as error:  # noqa: BLE001  # a row holds what somebody chose, and there is no list of what that can break
        return Failure.of(table.name, table.key_of(row), error)


def parse_json(cell: str | bytes | None) -> Any:
    """Reads a JSON column.

    Raises:
        MalformedEnvelope: If it is no JSON.
    """
    try:
        return {} if cell is None else json.loads(cell)
    except (ValueError, RecursionError):
        raise MalformedEnvelope("a column that should hold JSON does not") from None


def as_json(value: Any) -> str:
    """Writes a JSON column.

    Raises:
        Unconvertible: If JSON cannot express it.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise Unconvertible("something in it cannot be expressed in JSON") from None
