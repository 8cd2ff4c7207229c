"""What every database has in common: rows are read page by page, and changed where they still are what was read.

A backend (`sqlite`, `postgres`, `mysql`) knows one kind of database. A `Table` knows one kind of row: the types of its columns,
how its values are stored, how it is opened and how it is written anew. To add a table, write a class with `Table.find` and put
it into ``TABLES`` of the backends that can have it.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..errors import ConfigurationError, MalformedEnvelope
from ..rows.stored import Stored, find_typed
from .report import DatabaseFailed, Failure, Seen

if TYPE_CHECKING:
    from ..core.keys import Key
    from ..rows.write import MetadataKeys
    from .codec import RowCodec

TAIL = 24 << 10
"""So many last bytes hold the longest context, also where it stands as text."""

SEALED_HEAD = 16
"""Within so many bytes a sealed value begins, in the snapshot of a delta channel or not."""

PAGE_BYTES = 8 << 20
"""Pages get shorter when their values are larger together."""

READ_ROWS = 200
"""Rows of a page that is only looked at."""

INTERRUPTED = ". What was committed stays, nothing is half written; run the command again"
"""What a failure amounts to where a database was being written to."""

THREAD = "thread_id"

LOOK, OPEN, VERIFY = 0, 1, 2
"""What rows are read for: values cut to `HEAD` and `TAIL`; whole; whole, and with the columns that only `verify` compares."""


class Progress(NamedTuple):
    """How far a command is.

    Attributes:
        table: The table it is in.
        rows: Rows read so far, of all tables.
        total: Rows of all tables, estimated; None where nobody knows.
        bytes: Bytes read so far.
        done: Rows rewritten or deleted so far.
    """

    table: str
    rows: int
    total: int | None
    bytes: int
    done: int = 0


ProgressListener = Callable[[Progress], None]


class Selection(NamedTuple):
    """Which rows are meant.

    Attributes:
        threads: Only of these threads; of all where there are none. Items of stores belong to none.
        since: Only of checkpoints not older than this, as far as their ids tell a time. Ids of items tell none.
        sample: About this part of the rows, drawn anew each time.
        partition: ``(3, 16)``: only threads (and namespaces of items) of the third of sixteen parts, so that as many processes
            share the work.
    """

    threads: Sequence[str] = ()
    since: datetime | None = None
    sample: float = 1.0
    partition: tuple[int, int] | None = None

    def check(self) -> None:
        """Raises ConfigurationError if it cannot be meant."""
        if not 0 < self.sample <= 1:
            raise ConfigurationError("a sample is more than 0 and at most 1 (100%)")
        if self.partition and not 1 <= self.partition[0] <= self.partition[1]:
            raise ConfigurationError("a partition is (number, of how many), such as (3, 16), counted from 1")

    def described(self) -> dict[str, Any]:
        """Returns it for a report."""
        return {
            "threads": [*self.threads],
            "since": self.since and self.since.isoformat(),
            "sample": self.sample,
            "partition": self.partition and "/".join(map(str, self.partition)),
        }


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Its name.
        types: What may stand in it.
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
        stored: Its value, once it was parsed.
    """

    __slots__ = ("cells", "place", "size", "stored")

    def __init__(self, cells: dict[str, Any], place: tuple[Any, ...], size: int) -> None:
        self.cells, self.place, self.size = cells, place, size
        self.stored: Stored | None = None

    def value(self, column: str) -> Stored:
        """Returns the value that is stored in a column beside its type. It is parsed once."""
        if self.stored is None:
            self.stored = find_typed(self.cells["type"], self.cells[column] or b"", self.size)
        return self.stored


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

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        self.database = database

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

    def mended(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...] | None:
        """Returns what a row that is sealed as it should be needs changed nevertheless; None if it may stay."""
        return None

    def converts(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> bool:
        """Says whether a row can be written in the form that is asked for. Nothing of it is counted as admitted."""
        counts = codec.admission.counts()
        new = fenced(self, row, lambda: self.recode(row, codec, metadata_keys))
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
    def recode(self, row: Row, codec: RowCodec, metadata_keys: MetadataKeys) -> tuple[Any, ...]:
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


class Database(ABC):
    """A database that was opened.

    Args:
        connection: A DB-API connection in autocommit mode.
        label: What to call it; without a password.

    Attributes:
        errors: What its driver raises.
        tables: Those of its tables that are known, in the order in which rows become ours.
        is_shallow: Whether it keeps one checkpoint per thread and namespace, whose id is stored in it alone.
    """

    TABLES: ClassVar[tuple[type[Table], ...]]
    errors: ClassVar[type[Exception]]
    mark: ClassVar[str] = "%s"
    page_key: ClassVar[tuple[str, ...]] = ()

    def __init__(self, connection: Any, label: str) -> None:
        self.connection = connection
        self.label = label
        columns = self.catalog()
        present = {name: found for name, found in columns.items() if found}
        self.is_shallow = "checkpoint_id" not in present.get("checkpoints", {"checkpoint_id"})
        self.tables: list[Table] = []
        for cls in self.TABLES:
            if self.has(cls, present):
                self.tables.append(cls(self, present[cls.name]))
        if not self.tables:
            raise DatabaseFailed(f"{label}: no database of a checkpointer or a store: {self.nothing_found()}")

    # --- what differs

    @abstractmethod
    def catalog(self) -> Mapping[str, set[str]]:
        """Returns the columns of each table that may be one of ours."""

    def has(self, cls: type[Table], columns: Mapping[str, set[str]]) -> bool:
        """Says whether a table of this kind is there."""
        return cls.name in columns and cls.required <= columns[cls.name]

    def nothing_found(self) -> str:
        """Says where tables were looked for."""
        return "none of its tables is there"

    @property
    @abstractmethod
    def server(self) -> str:
        """What it says it is."""

    @abstractmethod
    def check_writable(self, deleting: bool = False) -> None:
        """Raises `DatabaseFailed`, saying what is missing, if rows cannot be updated (or deleted)."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a statement and gives its rows."""
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, tuple(parameters))
            return [*cursor.fetchall()] if cursor.description else []
        finally:
            cursor.close()

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Any]:
        """Opens a small transaction that writes."""

    @abstractmethod
    def head(self, column: str) -> tuple[str, str]:
        """Returns SQL for the first `HEAD` and last `TAIL` bytes of a column, or all if there are no more, and for its size."""

    def quoted(self, name: str) -> str:
        """Quotes the name of a column where it must be."""
        return name

    def row_lock(self) -> str:
        """Returns SQL that locks the rows of a query, if that is how this database keeps others from changing them."""
        return ""

    def assignment(self, table: Table, column: str) -> str:
        """Returns SQL that sets a column."""
        return f"{self.quoted(column)} = {self.mark}"

    @abstractmethod
    def partitioned(self, owner: str, number: int, parts: int) -> str:
        """Returns SQL for the rows of a part, given the column that says whose they are."""

    def savepoint(self) -> AbstractContextManager[Any]:
        """Opens a part of the transaction of a page that can be taken back alone."""
        return self.transaction()

    def key(self, names: tuple[str, ...], columns: Collection[str]) -> tuple[str, ...]:
        """Returns the primary key of a table, given what it is in Postgres."""
        return tuple(name for name in names if name in columns)

    def hidden(self, key: tuple[str, ...]) -> tuple[Column, ...]:
        """Returns the columns of a primary key that nobody need see."""
        return ()

    @abstractmethod
    def size(self, column: str) -> str:
        """Returns SQL for the size of a column in bytes."""

    @abstractmethod
    def is_bound(self, type_tag: str, value: str) -> str:
        """Returns SQL that says whether a value begins like one that `EncryptedSaver` sealed."""

    @abstractmethod
    def has_metadata(self, key: str, alias: str = "t") -> str:
        """Returns SQL that says whether a checkpoint has a metadata key."""

    takes_parts: ClassVar[bool] = False  # whether other parts of a JSON checkpoint than its values can be set
    prunes: ClassVar[bool] = False  # whether its savers may leave a checkpoint without its parent
    random: ClassVar[str]
    false: ClassVar[str] = "false"
    thread_mark: ClassVar[str] = "%s"
    proper_thread: ClassVar[str] = "1 = 1"
    namespace: ClassVar[str] = "checkpoint_ns"
    data_errors: ClassVar[tuple[type[Exception], ...]] = ()
    # Of databases that keep checkpoints as JSON: SQL for types of values in rows of their own, for the version of channel v
    # there, and for the id of a shallow checkpoint.
    types: ClassVar[str] = ""
    version: ClassVar[str] = ""
    shallow_id: ClassVar[str] = ""

    def json_text(self, column: str) -> str:
        """Returns SQL for a JSON column as text: it is parsed behind a fence."""
        return column

    def versions(self, alias: str) -> str:
        """Returns SQL for the versions of a checkpoint's channels, as text."""
        raise NotImplementedError

    def version_of(self, channel: str) -> str:
        """Returns SQL for the version of a shallow checkpoint's channel."""
        raise NotImplementedError

    def is_cut(self) -> str:
        """Returns SQL that says whether a checkpoint lacks its parent although older ones are there.

        Where none is older than the parent, the history begins here: older ones expired.
        """
        other = f"""EXISTS (SELECT 1 FROM checkpoints AS o WHERE o.thread_id = t.thread_id
            AND o.{self.namespace} = t.{self.namespace} AND o.checkpoint_id {{0}} t.parent_checkpoint_id)"""  # noqa: S608
        return f"(coalesce(t.parent_checkpoint_id, '') <> '' AND NOT {other.format('=')} AND {other.format('<')})"

    def not_done(self, table: Table, target: str, key: Key) -> tuple[str, tuple[Any, ...]]:
        """Returns a condition that passes over rows which are done under a key, where the database can tell."""
        return "", ()

    # --- reading

    def count(self, table: Table, selection: Selection) -> int | None:
        """Returns the number of rows, perhaps estimated; None if nobody knows."""
        where, parameters = self.selected(table, selection)
        [(number,)] = self.execute(f"SELECT count(*) FROM {table.name} AS t WHERE {where}", parameters)  # noqa: S608
        return int(number)

    def selected(self, table: Table, selection: Selection) -> tuple[str, tuple[Any, ...]]:
        """Returns SQL for the rows that are meant, and its parameters."""
        where: list[str] = [table.selects] if table.selects else []
        parameters: list[Any] = []
        if not table.has_threads and (selection.threads or selection.since is not None):
            return "1 = 0", ()
        if selection.threads:
            where.append(f"t.thread_id IN ({', '.join([self.mark] * len(selection.threads))})")
            parameters += selection.threads
        if selection.partition:
            number, parts = selection.partition
            where.append(self.partitioned(f"t.{table.owner}", number - 1, parts))
        if selection.sample < 1:
            where.append(f"{self.random} < {selection.sample:.9f}")
        if selection.since is not None:
            recent = f"({{0}}checkpoint_id >= {self.mark} OR {{0}}checkpoint_id NOT LIKE {self.mark})"
            if table.has_checkpoint_id:
                where.append(recent.format("t."))
            else:  # values without a time: those of threads that have a checkpoint since then
                threads = f"SELECT thread_id FROM checkpoints WHERE {recent.format('')}"  # noqa: S608
                where.append(f"t.thread_id IN ({threads})")
            parameters += [first_id(selection.since), DATED]
        return " AND ".join(where) or "1 = 1", tuple(parameters)

    def query(self, paging: Paging) -> tuple[str, tuple[Any, ...]]:
        """Returns the SQL of the next page."""
        table = paging.table
        where, parameters = self.selected(table, paging.selection)
        condition, more = paging.condition
        if condition:
            where, parameters = f"{where} AND {condition}", (*parameters, *more)
        key = self.page_key or table.key
        if paging.after:
            behind, more = self.behind(key, paging.after)
            where, parameters = f"{where} AND {behind}", (*parameters, *more)
        names = ", ".join(f"t.{name}" for name in key)
        sql = f"SELECT {self.wanted(paging)} FROM {table.name} AS t WHERE {where} ORDER BY {names} LIMIT {paging.size}"  # noqa: S608
        return f"{sql} {self.row_lock() if paging.lock else ''}", parameters

    def behind(self, key: Sequence[str], after: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        """Returns SQL for the rows that come after one."""
        names = ", ".join(f"t.{name}" for name in key)
        return f"({names}) > ({', '.join([self.mark] * len(after))})", after

    def wanted(self, paging: Paging) -> str:
        """Returns the list that is selected: the page key where it is no column of the table, the columns, sizes of heads."""
        parts = [f"t.{name}" for name in self.page_key]
        for column in paging.columns:
            whole = column.sql or f"t.{self.quoted(column.name)}"
            parts += self.head(whole) if column.is_large and paging.reading == LOOK else (whole,)
        return ", ".join(parts)

    def make_row(self, paging: Paging, found: Sequence[Any]) -> Row:
        """Makes a row of what was selected: page key, columns, and the size of a value that was cut."""
        start = len(self.page_key)
        cells = dict(zip(paging.names, found[start:], strict=False))
        size = (found[-1] or 0) if paging.has_head else 0
        for name in paging.sized:
            if isinstance(cell := cells[name], (bytes, str)):
                size += len(cell)
        return Row(cells, tuple(found[:start]) or tuple([cells[name] for name in paging.table.key]), size)

    def fetch(self, paging: Paging) -> list[Row]:
        """Returns the rows of the next page."""
        asked = paging.size
        rows = [self.make_row(paging, found) for found in self.execute(*self.query(paging))]
        paging.turn(rows, asked)
        return rows

    @contextmanager
    def page(self, paging: Paging) -> Iterator[list[Row]]:
        """Returns the next page. Its rows are locked, if they are, until its context is left."""
        if paging.lock and self.row_lock():
            with self.transaction():
                yield self.fetch(paging)
        else:
            yield self.fetch(paging)

    def total(self, selection: Selection) -> int | None:
        """Returns the number of rows of all tables; None if nobody knows."""
        counts = [self.count(table, selection) for table in self.tables]
        return None if None in counts else sum(number or 0 for number in counts)

    def rows(self, table: Table, selection: Selection, reading: int) -> Iterator[Row]:
        """Returns every row. Each page is a statement of its own: no transaction stays open between them."""
        paging = Paging(table, selection, reading)
        while not paging.finished:
            with self.page(paging) as rows:
                yield from rows

    def again(self, table: Table, row: Row, reading: int) -> Row | None:
        """Reads a row once more; None if it is gone."""
        paging = Paging(table, Selection(), reading, size=1)
        key = self.page_key or table.key
        same = " AND ".join(f"t.{name} = {self.mark}" for name in key)
        paging.condition = (same, row.place)
        with self.page(paging) as rows:
            return rows[0] if rows else None

    # --- writing

    def store(self, table: Table, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Writes what `Table.recode` gave, inside the context of the page.

        Returns:
            How many rows were written: those that nobody changed meanwhile.
        """
        same = " AND ".join(f"{name} = {self.mark}" for name in table.key)
        assigned = ", ".join(self.assignment(table, name) for name in table.changed)
        return self.executemany(
            f"UPDATE {table.name} SET {assigned} WHERE {same}",  # noqa: S608
            [(*new, *(row.cells[name] for name in table.key)) for row, new in changes],
        )

    def delete(self, table: Table, places: Sequence[tuple[Any, ...]]) -> None:
        """Deletes rows, inside a transaction."""
        if places:
            same = " AND ".join(f"{name} = {self.mark}" for name in self.page_key or table.key)
            self.executemany(f"DELETE FROM {table.name} WHERE {same}", places)  # noqa: S608

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> int:
        """Runs a statement for each set of parameters, and gives the number of rows that it changed."""
        cursor = self.connection.cursor()
        try:
            cursor.executemany(sql, parameters)
            return int(cursor.rowcount)
        finally:
            cursor.close()


# --- ids that tell a time ---------------------------------------------------------------------------------------------

DATED = "________-____-6___-____-____________"
"""SQL pattern of the ids that LangGraph gives checkpoints: UUIDs of version 6, which sort by time."""

_UUID_EPOCH = datetime(1582, 10, 15, tzinfo=timezone.utc)


def first_id(moment: datetime) -> str:
    """Returns the smallest id of a checkpoint of a time."""
    delta = moment - _UUID_EPOCH
    ticks = (delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10
    return f"{ticks >> 28:08x}-{ticks >> 12 & 0xFFFF:04x}-6{ticks & 0xFFF:03x}-0000-000000000000"


def part_of(owner: object, parts: int) -> int:
    """Returns the part that a thread or a namespace belongs to, for databases that have no function for that."""
    return zlib.crc32(str(owner).encode("utf-8", "surrogatepass")) % parts


# --- fences -----------------------------------------------------------------------------------------------------------


def begins_sealed(type_tag: str, position: str) -> str:
    """Returns SQL that says whether a value begins like a sealed one, given where its magic is: in a snapshot not first."""
    return f"(({type_tag} = 'bytes' AND {position} = 1) OR ({type_tag} = 'msgpack' AND {position} > 1))"


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
