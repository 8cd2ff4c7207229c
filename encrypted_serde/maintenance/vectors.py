"""The vectors that a store keeps beside its items, to search them by meaning. They give much of the text away."""

from __future__ import annotations

from .database import Database

TABLE = "store_vectors"


class Vectors:
    """The vectors of a database, if it has any.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._same = f"prefix = {database.mark} AND key = {database.mark}"
        try:
            database.execute(f"SELECT prefix, key FROM {TABLE} WHERE 1 = 0")  # noqa: S608
            self._exist = True
        except database.errors:  # there is no such table
            self._exist = False

    def of(self, prefix: str, key: str) -> int:
        """Returns how many vectors an item has."""
        if not self._exist:
            return 0
        [(number,)] = self._database.execute(f"SELECT count(*) FROM {TABLE} WHERE {self._same}", (prefix, key))  # noqa: S608
        return int(number)

    def delete(self, prefix: str, key: str) -> None:
        """Deletes the vectors of an item: not every database does so by itself."""
        if self._exist:
            self._database.execute(f"DELETE FROM {TABLE} WHERE {self._same}", (prefix, key))  # noqa: S608
