"""Values in rows of their own, which go once no checkpoint of their thread refers to them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.binding import version_text
from ..errors import EncryptedSerdeError
from ..rows.parts import check_document
from .database import Database
from .json_checkpoints import Blobs
from .report import Failure
from .selection import Selection
from .table import parse_json

if TYPE_CHECKING:
    from .expire import Expiration

PAGE_THREADS = 100
"""Threads that are looked for at once."""

_ORPHANED = "NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = t.thread_id)"


class _Value(NamedTuple):
    namespace: Any
    channel: str
    version: str
    size: int
    place: tuple[Any, ...]


class ExpiredValues:
    """Deletes values, or counts them in a dry run.

    Args:
        database: The database.
        blobs: Its table of values.
        report: Counts what is deleted.
    """

    def __init__(self, database: Database, blobs: Blobs, report: Expiration) -> None:
        self._database, self._blobs, self._report = database, blobs, report
        self._thread = f"t.thread_id = {database.thread_mark}"

    def delete_unreferenced(self, thread: Any, gone: Collection[tuple[Any, ...]]) -> None:
        """Deletes values of a thread that none of its checkpoints refers to, but for those that are gone or would be.

        Values are read before checkpoints: one that is written meanwhile is not among them, or its checkpoint is.
        """
        found, database = self._of(thread), self._database
        columns = f"t.checkpoint_ns, {database.checkpoint_id()}, {database.all_versions}"
        versions = database.execute(f"SELECT {columns} FROM checkpoints AS t WHERE {self._thread}", (thread,))  # noqa: S608
        referenced: set[tuple[Any, ...]] = set()
        for namespace, checkpoint_id, text in versions:
            if (namespace, checkpoint_id) in gone:
                continue
            try:
                named = check_document({"channel_values": {}, "channel_versions": parse_json(text)})["channel_versions"]
            except EncryptedSerdeError as error:  # what it refers to cannot be told: all stays
                self._report.fail(Failure.of("checkpoints", {"thread_id": thread, "checkpoint_ns": namespace}, error))
                return
            referenced |= {(namespace, channel, version_text(version)) for channel, version in named.items()}
        self._delete([value for value in found if value[:3] not in referenced])

    def delete_orphans(self, selection: Selection) -> None:
        """Deletes values of threads without checkpoints: of this run, or of one that was interrupted."""
        where, parameters = self._database.selected(self._blobs, selection)
        while True:
            found = self._database.execute(
                f"SELECT DISTINCT t.thread_id FROM {self._blobs.name} AS t "  # noqa: S608
                f"WHERE {where} AND {_ORPHANED} LIMIT {PAGE_THREADS}",
                parameters,
            )
            for (thread,) in found:
                with self._database.transaction():
                    self._delete(self._of(thread, f"AND {_ORPHANED}"))
            if len(found) < PAGE_THREADS:
                return

    def _of(self, thread: Any, condition: str = "") -> list[_Value]:
        database = self._database
        size = database.size("t." + database.quoted("blob"))
        version = "''" if database.is_shallow else "t.version"
        place = ", ".join(f"t.{name}" for name in self._blobs.key)
        found = database.execute(
            f"SELECT t.checkpoint_ns, t.channel, {version}, coalesce({size}, 0), {place} "  # noqa: S608
            f"FROM {self._blobs.name} AS t WHERE {self._thread} {condition}",
            (thread,),
        )
        return [_Value(ns, channel, version, size, tuple(place)) for ns, channel, version, size, *place in found]

    def _delete(self, values: list[_Value]) -> None:
        if not self._report.dry_run:
            self._database.delete(self._blobs, [value.place for value in values])
        self._report.deleted[self._blobs.name] += len(values)
        self._report.deleted_bytes += sum(int(value.size) for value in values)
