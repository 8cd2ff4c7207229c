"""What every database has in common: rows are read page by page, and changed where they still are what was read.

A module (`sqlite`, `postgres`, `mysql`) knows one kind of database, and lists in ``TABLES`` the tables that it can have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.format import SEALED_MAGIC
from ..errors import ConfigurationError
from ..rows.stored import HEAD
from .report import DatabaseFailed
from .selection import DATED, Selection, first_id
from .table import LOOK, OPEN, Paging, Row, Table

if TYPE_CHECKING:
    from ..core.keys import Key

TAIL = 24 << 10
"""So many last bytes hold the longest context, also where it is stored as text."""

SEALED_HEAD = 16
"""Within so many bytes a sealed value begins, in the snapshot of a delta channel or not."""

INTERRUPTED = ". What was committed stays, nothing is half written; run the command again"
"""What a failure amounts to where a database was being written to."""


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
    page_key: ClassVar[tuple[str, ...]] = ()

    def __init__(self, connection: Any, label: str) -> None:
        self.connection = connection
        self.label = label
        columns = {cls.name: {name for (name,) in self.execute(self.columns_of, (cls.name,))} for cls in self.TABLES}
        present = {name: found for name, found in columns.items() if found}
        self.is_shallow = "checkpoint_id" not in present.get("checkpoints", {"checkpoint_id"})
        self.tables: list[Table] = []
        for cls in self.TABLES:
            if cls.name in present and cls.required <= present[cls.name]:
                self.tables.append(cls(self, present[cls.name]))
        if not self.tables:
            [(place,)] = self.execute(self.looked_at)
            names = ", ".join(cls.name for cls in self.TABLES)
            raise DatabaseFailed(f"{label}: no database of a checkpointer or a store: there are no tables {names} in {place}")

    # --- what differs

    @property
    def server(self) -> str:
        """What it says it is."""
        [(name,)] = self.execute(self.version)
        return str(name)

    @abstractmethod
    def check_writable(self, changes: str) -> None:
        """Raises `DatabaseFailed`, saying what is missing, if rows cannot be changed.

        Args:
            changes: ``UPDATE`` or ``DELETE``.
        """

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a statement and gives its rows."""
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(sql, tuple(parameters))
            return [*cursor.fetchall()] if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Opens a small transaction that writes."""
        self.execute(self.begin)
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(self.errors):  # that of a connection which is gone, or of a full disk, has ended already
                self.execute("ROLLBACK")
            raise

    # The SQL in which databases differ, as texts: in braces what it is about.
    version: ClassVar[str]  # what it says it is
    looked_at: ClassVar[str]  # where tables are looked for, in words
    begin: ClassVar[str] = "BEGIN"
    mark: ClassVar[str] = "%s"
    columns_of: ClassVar[str]  # the names of the columns of a table that is a parameter; none where there is no such table
    quote: ClassVar[str] = ""
    length: ClassVar[str] = "octet_length({column})"
    stored_length: ClassVar[str] = length
    both_ends: ClassVar[str]  # so many first and last bytes of {column}: {head} and {tail}
    magic_at: ClassVar[str]  # where {magic} begins in the first {head} bytes of {value}, from 1 on; 0 where it does not
    metadata_key: ClassVar[str]  # whether the metadata of the checkpoint {alias} have a {key}
    in_part: ClassVar[str]  # whether the {owner} of a row belongs to part {number} of {parts}
    json_as_text: ClassVar[str] = "{column}"  # a column of JSON as text: it is parsed behind a fence
    row_lock: ClassVar[str] = ""  # locks the rows of a query, where that keeps others from changing them
    random: ClassVar[str]
    thread_mark: ClassVar[str] = "%s"
    proper_thread: ClassVar[str] = "1 = 1"
    namespace: ClassVar[str] = "checkpoint_ns"
    # Of databases that keep checkpoints as JSON: types of values in rows of their own; the version of channel v there; the id
    # of a shallow checkpoint; the versions of a checkpoint's channels, as text; the version of a shallow one's {channel}.
    types: ClassVar[str] = ""
    channel_version: ClassVar[str] = ""
    shallow_id: ClassVar[str] = ""
    all_versions: ClassVar[str] = ""
    shallow_version: ClassVar[str] = ""

    takes_parts: ClassVar[bool] = False  # whether other parts of a JSON checkpoint than its values can be set
    prunes: ClassVar[bool] = False  # whether its savers may leave a checkpoint without its parent
    data_errors: ClassVar[tuple[type[Exception], ...]] = ()

    def head(self, column: str) -> tuple[str, str]:
        """Returns SQL for the first `HEAD` and last `TAIL` bytes of a column, or all if there are no more, and for its size."""
        length = self.length.format(column=column)
        both = self.both_ends.format(column=column, head=HEAD, tail=TAIL)
        return f"CASE WHEN {length} > {HEAD + TAIL} THEN {both} ELSE {column} END", length

    def quoted(self, name: str) -> str:
        """Quotes the name of a column where it must be."""
        return f"{self.quote}{name}{self.quote}"

    def checkpoint_id(self, alias: str = "t") -> str:
        """Returns SQL for the id of a checkpoint."""
        return self.shallow_id.format(alias=alias) if self.is_shallow else f"{alias}.checkpoint_id"

    def assignment(self, table: Table, column: str) -> str:
        """Returns SQL that sets a column."""
        return f"{self.quoted(column)} = {self.mark}"

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Opens a part of the transaction of a page, which is taken back alone if the database finds its data impossible."""
        self.execute("SAVEPOINT rows_of_a_page")
        try:
            yield
        except self.data_errors:
            self.execute("ROLLBACK TO SAVEPOINT rows_of_a_page")
            raise

    def size(self, column: str) -> str:
        """Returns SQL for the size of a column in bytes."""
        return self.stored_length.format(column=column)

    def is_bound(self, type_tag: str, value: str) -> str:
        """Returns SQL that says whether a value begins like one that `EncryptedSaver` sealed: in a snapshot not at once."""
        position = self.magic_at.format(value=value, head=SEALED_HEAD, magic=SEALED_MAGIC.hex())
        return f"(({type_tag} = 'bytes' AND {position} = 1) OR ({type_tag} = 'msgpack' AND {position} > 1))"

    def has_metadata(self, key: str, alias: str = "t") -> str:
        """Returns SQL that says whether a checkpoint has a metadata key."""
        return self.metadata_key.format(alias=alias, key=key)

    def json_text(self, column: str) -> str:
        """Returns SQL for a JSON column as text."""
        return self.json_as_text.format(column=column)

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

    def find(self, kind: type[Any]) -> Any:
        """Returns its table of a kind; None if it has none."""
        return next((table for table in self.tables if isinstance(table, kind)), None)

    def require(self, kind: type[Any], otherwise: str) -> Any:
        """Returns its table of a kind.

        Raises:
            ConfigurationError: If it has none; the message says so.
        """
        if (found := self.find(kind)) is None:
            raise ConfigurationError(otherwise)
        return found

    def threads(
        self, size: int, also: str = "", where: str = "1 = 1", parameters: Sequence[Any] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Returns the id of each thread that has checkpoints, in order, page by page, and what else is asked for.

        Args:
            size: Threads of a page.
            also: More SQL to select of the checkpoints of a thread, with a comma before it.
            where: SQL that its checkpoints must meet.
            parameters: Of both.
        """
        after: tuple[Any, ...] = ()
        while True:
            behind = f"AND t.thread_id > {self.thread_mark}" if after else ""
            found = self.execute(
                f"SELECT t.thread_id{also} FROM checkpoints AS t WHERE {where} AND {self.proper_thread} {behind} "  # noqa: S608
                f"GROUP BY t.thread_id ORDER BY t.thread_id LIMIT {size}",
                (*parameters, *after),
            )
            yield from found
            if len(found) < size:
                return
            after = (found[-1][0],)

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
            where.append(self.in_part.format(owner=f"t.{table.owner}", number=number - 1, parts=parts))
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
        return f"{sql} {self.row_lock if paging.lock else ''}", parameters

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
        rows = [self.make_row(paging, found) for found in self.execute(*self.query(paging))]
        paging.turn(rows, paging.size)
        return rows

    def read(self, paging: Paging) -> Iterator[Row]:
        """Returns the rows of all pages. Each is a statement of its own: no transaction stays open between them."""
        while not paging.finished:
            yield from self.fetch(paging)

    @contextmanager
    def page(self, paging: Paging) -> Iterator[list[Row]]:
        """Returns the next page. Its rows are locked, if they are, until its context is left."""
        with self.transaction() if paging.lock and self.row_lock else nullcontext():
            yield self.fetch(paging)

    def total(self, selection: Selection) -> int | None:
        """Returns the number of rows of all tables; None if nobody knows."""
        counts = [self.count(table, selection) for table in self.tables]
        return None if None in counts else sum(number or 0 for number in counts)

    def rows(self, table: Table, selection: Selection, reading: int) -> Iterator[Row]:
        """Returns every row."""
        return self.read(Paging(table, selection, reading))

    def at(self, table: Table, cells: Mapping[str, Any], also: str = "", more: Sequence[Any] = ()) -> Iterator[Row]:
        """Returns the rows, whole, in which columns hold these cells.

        Args:
            table: Which table.
            cells: What they hold.
            also: SQL of a condition that they meet too, with its AND.
            more: Its parameters.
        """
        paging = Paging(table, Selection(), OPEN)
        paging.condition = (f"{self.same(cells)} {also}", (*cells.values(), *more))
        return self.read(paging)

    def again(self, table: Table, row: Row, reading: int, *, lock: bool = False) -> Row | None:
        """Reads a row once more, and locks it if that is asked for, inside a transaction. None if it is gone or locked."""
        paging = Paging(table, Selection(), reading, size=1, lock=lock)
        paging.condition = (self.same(self.page_key or table.key), row.place)
        return next(iter(self.fetch(paging)), None)

    def same(self, names: Iterable[str], alias: str = "t.") -> str:
        """Returns SQL that compares columns with parameters."""
        return " AND ".join(f"{alias}{name} = {self.mark}" for name in names)

    # --- writing

    def store(self, table: Table, changes: Sequence[tuple[Row, tuple[Any, ...]]]) -> int:
        """Writes what `Table.recode` gave, inside the context of the page.

        Returns:
            How many rows were written: those that nobody changed meanwhile.
        """
        assigned = ", ".join(self.assignment(table, name) for name in table.changed)
        return self.executemany(
            f"UPDATE {table.name} SET {assigned} WHERE {self.same(table.key, '')}",  # noqa: S608
            [(*new, *(row.cells[name] for name in table.key)) for row, new in changes],
        )

    def delete(self, table: Table, places: Sequence[tuple[Any, ...]]) -> None:
        """Deletes rows, inside a transaction."""
        if places:
            self.executemany(f"DELETE FROM {table.name} WHERE {self.same(self.page_key or table.key, '')}", places)  # noqa: S608

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> int:
        """Runs a statement for each set of parameters, and gives the number of rows that it changed."""
        with closing(self.connection.cursor()) as cursor:
            cursor.executemany(sql, parameters)
            return int(cursor.rowcount)
