"""Every raw cell of a database that is spoken to in SQL."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

Run = Callable[..., list[dict[str, Any]]]


class SqlPlace:
    """Rows as dicts, addressed by table and primary key.

    Args:
        where: As `tests.coverage.row.Place`.
        server: As `tests.coverage.row.Place`.
        run: Runs a statement with parameters and gives its rows.
        keys: The columns of the primary key, by table; a callable, since savers create their tables when they are opened.
        dialect: The parameter mark, and the quote for names.
        adapt: Makes a value that was read one that can be written.
    """

    def __init__(
        self,
        where: Any,
        server: str,
        run: Run,
        keys: Callable[[], Mapping[str, tuple[str, ...]]],
        dialect: tuple[str, str],
        adapt: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self.where, self.server = where, server
        self._run, self._keys, self._adapt = run, keys, adapt
        self._mark, self._quote = dialect

    def dump(self) -> dict[Hashable, Any]:
        return {
            (table, *((column, row[column]) for column in columns)): row
            for table, columns in self._keys().items()
            if table != "checkpoint_migrations"  # numbers of steps; without them a saver would alter its tables again
            for row in self._run(f"SELECT * FROM {table}")
        }

    def set(self, address: Any, record: dict[str, Any] | None) -> None:
        table, *key = address
        where = " AND ".join(f"{self._name(column)} = {self._mark}" for column, _ in key)
        self._run(f"DELETE FROM {table} WHERE {where}", *(value for _, value in key))
        if record is not None:
            names, marks = ", ".join(map(self._name, record)), ", ".join([self._mark] * len(record))
            self._run(f"INSERT INTO {table} ({names}) VALUES ({marks})", *map(self._adapt, record.values()))

    def _name(self, column: str) -> str:
        return f"{self._quote}{column}{self._quote}"
