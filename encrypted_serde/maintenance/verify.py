"""`verify`: opens everything in its place, with keys, and builds nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..anchor.client import AnchorClient
from ..core.keys import Key, KeyProvider
from ..rows.stored import NONE
from .checkpoints import OpenedCheckpoint
from .codec import RowCodec, Switches
from .completeness import AnchoredDatabase
from .items import StoreItems
from .opening import Work, at_work
from .report import Failure, Report
from .selection import ProgressListener, Selection
from .table import OPEN, VERIFY, Row, Table, fenced


@dataclass
class Verification(Report):
    """What opened, and what did not.

    Attributes:
        opened: Rows that opened, all of them.
        admitted: Values that we did not seal and a switch let through, by kind.
        incomplete: In how many places database and anchor differ.
        manifests: How many checkpoints were compared with a manifest.
        without_manifest: How many checkpoints have none, which a switch admitted.
    """

    opened: int = 0
    admitted: dict[str, int] | None = None
    incomplete: int = 0
    manifests: int = 0
    without_manifest: int = 0

    def describe(self, selection: Selection, *, has_items: bool, has_anchor: bool) -> None:
        """Says in words what was compared and what was not: of what a switch admitted, nothing tells where it belongs."""
        admitted = sum((self.admitted or {}).values())
        known = f"of {self.manifests} checkpoints that have a manifest, " if self.without_manifest else ""
        bound = " and is sealed for its place" if admitted else ""
        self.compared = [
            f"every value, manifest and pending write that was read{bound} opens in its place",
            f"{known}what is readable of a checkpoint is what its manifest says",
            f"{known}every channel that a manifest lists has its value",
            "all rows that the anchor requires are there" if has_anchor else "no parent is missing from the middle of a thread",
        ]
        if has_items:
            self.compared.append("readable copies and search tokens are those of the item that they belong to")
        not_compared = [
            (True, "whether pending writes were deleted: an incomplete set of them counts as absent on reading"),
            (admitted, f"{admitted} values that a switch admitted: nothing tells who wrote them, and where they belong"),
            (self.without_manifest, f"{self.without_manifest} checkpoints that have no manifest, which a switch admitted"),
            (has_items, "readable copies of what JSON cannot hold, or a serializer of the application's own wrote"),
            (has_items, "whether items were deleted, or older ones put back"),
            (not has_anchor, "whether checkpoints were deleted, or an older database was put back: that takes an anchor"),
            (selection != Selection(), "rows that were not selected"),
        ]
        self.not_compared = [text for applies, text in not_compared if applies]


def verify(
    database: str | Path,
    keys: Key | KeyProvider,
    *,
    selection: Selection = Selection(),  # noqa: B008  # immutable
    context: Mapping[str, str] | None = None,
    allow_plaintext: bool = False,
    allow_unbound: bool = False,
    legacy_keys: Iterable[bytes] = (),
    anchor: AnchorClient | None = None,
    progress: ProgressListener | None = None,
) -> Verification:
    """Opens every value, manifest and pending write of a checkpointer's database, and every item of a store's, in its place.

    It also compares what is readable with the manifests, that every channel that a manifest lists has its value, and that no
    parent is missing from the middle of a thread; and what is stored beside an item with that item. No object is built of any
    value, so none of the application's classes are needed and no code of a stored value runs. A row that fails is read once
    more, since the application may have been at it.

    Args:
        database: As for `scan`.
        keys: What to open with.
        selection: Which rows; all by default.
        context: The encryption context that every value must have; each may have its own when None.
        allow_plaintext: As for `reencrypt`: what a switch admits is counted, and is no failure.
        allow_unbound: See there.
        legacy_keys: See there.
        anchor: Knows what must be there.
        progress: Is told now and then how far it is.

    Raises:
        DatabaseFailed: If the database cannot be read, or is none of a checkpointer or a store.
        ConfigurationError: If an argument cannot be used, or the driver is not installed.
    """
    switches = Switches(allow_plaintext, allow_unbound, tuple(legacy_keys))
    codec = RowCodec(keys, switches, expected=context)
    options = {**switches.described(), "context": None if context is None else sorted(context)}
    report = Verification("verify", options=options)
    with at_work(report, database, selection, progress) as work:
        # An anchor knows which parents were deleted on purpose.
        reading = VERIFY if anchor is None else OPEN
        for table, row in work.rows(reading):
            _verify(work, table, row, codec, reading)
        for compared in AnchoredDatabase(work.database, codec, anchor).everything() if anchor else ():
            for finding in compared.findings:
                report.incomplete += 1
                report.fail(finding.failure())
        has_items = work.database.find(StoreItems) is not None
    report.admitted = dict(codec.admission.admitted)
    report.describe(selection, has_items=has_items, has_anchor=anchor is not None)
    return report


def _verify(work: Work[Verification], table: Table, row: Row, codec: RowCodec, reading: int) -> None:
    report, found = work.report, row
    opened = fenced(table, row, lambda: table.open(row, codec))
    if isinstance(opened, Failure):  # once more: the application may have been at it
        if (fresh := work.database.again(table, row, reading)) is None:
            return
        found, opened = fresh, fenced(table, fresh, lambda: table.open(fresh, codec))
    if isinstance(opened, Failure):
        report.fail(opened)
        return
    report.opened += 1
    if isinstance(opened, OpenedCheckpoint):
        report.manifests += opened.manifest is not None
        report.without_manifest += opened.manifest is None
    for seen in table.look(found, None):
        if seen.form.kind != NONE:
            report.tally.add(seen)
