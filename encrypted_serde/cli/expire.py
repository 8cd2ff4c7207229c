"""``encrypted-serde expire``: a thin layer over `maintenance.expire.expire`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import failures
from .options import AnchorAt, Database, Ending, Keys, Rows, Text, anchor_of, flag, moment_of, option

if TYPE_CHECKING:
    from ..maintenance import Selection


def expire(
    database: Database,
    *,
    older_than: Annotated[Text, option("TIME", "What is older goes: 30d, 12h, 2026-01-31, ...")] = None,
    erased: Annotated[
        bool, flag("--erased", "In place of a time: rows under keys that were destroyed go. Needs --keys.")
    ] = False,
    keep_latest: Annotated[
        bool, flag("--keep-latest", "Threads stay: only their older checkpoints go, and the newest of each never does.")
    ] = False,
    rows: Rows,
    dry_run: Annotated[bool, flag("--dry-run", "Count, and delete nothing.")] = False,
    rate: Annotated[float | None, option("ROWS", "Delete so many checkpoints a second at most.")] = None,
    anchor: AnchorAt = None,
    keys: Keys,
    ending: Ending,
) -> None:
    """Deletes threads that nobody has written to since TIME.

    The database may be in use meanwhile. It needs no key, unless --anchor names an anchor: it says which checkpoint is the
    newest, and is told what goes. A thread that is not as the anchor knows it, or has a row that does not open, is left whole,
    and shown.

    Pending writes and values that no checkpoint refers to go too. Small transactions, oldest checkpoints first: it can be
    interrupted at any moment and run again. Threads with delta channels, whose values need all of their history, are left whole
    and named.

    For example:

        encrypted-serde expire app.db --older-than 30d --dry-run

        encrypted-serde expire postgresql://db/app --older-than 30d --keep-latest

        encrypted-serde expire app.db --erased --keys tenant_keys:keys

    Exit codes: 0 done, 1 the database or an option failed, 2 wrong usage, 3 a row could not be read, or there is nothing at
    all, 130 interrupted.
    """
    selection = rows.selection()
    if erased == (older_than is not None):
        raise typer.BadParameter("give either --older-than TIME or --erased", param_hint="--older-than")
    if erased:
        if keys.keys is None or anchor or keep_latest or rate is not None:
            problem = "it needs --keys, and goes with neither --anchor nor --keep-latest nor --rate"
            raise typer.BadParameter(problem, param_hint="--erased")
        _expire_erased(database, selection, keys=keys, dry_run=dry_run, ending=ending)
        return
    moment = moment_of(older_than or "", "--older-than")
    from ..maintenance.expire import expire as expire_database
    from .shown import finish, running

    with failures():
        provider = keys.provider() if anchor else None
    with running("expire") as listener, anchor_of(anchor, provider, writes=True) as client:
        done = expire_database(
            database,
            moment,
            keep_latest=keep_latest,
            selection=selection,
            dry_run=dry_run,
            rate=rate,
            anchor=client,
            keys=provider,
            progress=listener,
        )
    if not ending.as_json:
        what = f"{'would get' if dry_run else 'got'} shorter" if keep_latest else f"{'would go' if dry_run else 'went'}"
        print(f"{done.threads:,} threads {what} ({_counts(done.deleted)}; {done.deleted_bytes / 1e6:,.1f} MB)")
        for name in done.delta_threads:
            print(f"left whole, it has delta channels: {name!r}")
        if more := done.delta_thread_count - len(done.delta_threads):
            print(f"... and {more:,} more threads with delta channels")
        if done.undated:
            print(f"{done.undated:,} threads were left: ids of their checkpoints tell no time")
    finish(done, ending)


def _expire_erased(database: str, selection: Selection, *, keys: Keys, dry_run: bool, ending: Ending) -> None:
    from ..maintenance.erased import expire_erased
    from .shown import finish, running

    with failures():
        provider = keys._replace(database_name=None).provider()
    with running("expire") as listener:
        done = expire_erased(database, provider, selection=selection, dry_run=dry_run, progress=listener)
    if not ending.as_json:
        print(f"rows under {len(done.keys):,} destroyed keys {'would go' if dry_run else 'went'}: {_counts(done.deleted)}")
    finish(done, ending)


def _counts(deleted: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {table}" for table, number in deleted.items())
