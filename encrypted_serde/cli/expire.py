"""``encrypted-serde expire``: a thin layer over `maintenance.expire.expire`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import failures
from .options import (
    AllowEmpty,
    AnchorAt,
    Database,
    DatabaseName,
    Json,
    Keys,
    Partition,
    ReportFile,
    Threads,
    anchor_of,
    keys_of,
    moment_of,
    selection_of,
)

if TYPE_CHECKING:
    from ..maintenance import Selection


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(expire)


def expire(
    database: Database,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="What is older goes: 30d, 12h, 2026-01-31, ...")
    ] = None,
    erased: Annotated[
        bool, typer.Option("--erased", help="In place of a time: rows under keys that were destroyed go. Needs --keys.")
    ] = False,
    keep_latest: Annotated[
        bool,
        typer.Option("--keep-latest", help="Threads stay: only their older checkpoints go, and the newest of each never does."),
    ] = False,
    thread: Threads = None,
    partition: Partition = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and delete nothing.")] = False,
    rate: Annotated[float | None, typer.Option(metavar="ROWS", help="Delete so many checkpoints a second at most.")] = None,
    anchor: AnchorAt = None,
    keys: Keys = None,
    database_name: DatabaseName = None,
    report: ReportFile = None,
    as_json: Json = False,
    allow_empty: AllowEmpty = False,
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
    selection = selection_of(thread, partition)
    if erased == (older_than is not None):
        raise typer.BadParameter("give either --older-than TIME or --erased", param_hint="--older-than")
    if erased:
        if keys is None or anchor or keep_latest or rate is not None:
            problem = "it needs --keys, and goes with neither --anchor nor --keep-latest nor --rate"
            raise typer.BadParameter(problem, param_hint="--erased")
        _expire_erased(database, selection, keys=keys, dry_run=dry_run, ending=(as_json, report, allow_empty))
        return
    moment = moment_of(older_than or "", "--older-than")
    from ..maintenance.expire import expire as expire_database
    from .shown import finish, running

    with failures():
        provider = keys_of(keys, database_name) if anchor else None
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
    if not as_json:
        what = f"{'would get' if dry_run else 'got'} shorter" if keep_latest else f"{'would go' if dry_run else 'went'}"
        rows = ", ".join(f"{number:,} {table}" for table, number in done.deleted.items())
        print(f"{done.threads:,} threads {what} ({rows}; {done.deleted_bytes / 1e6:,.1f} MB)")
        for name in done.delta_threads:
            print(f"left whole, it has delta channels: {name!r}")
        if more := done.delta_thread_count - len(done.delta_threads):
            print(f"... and {more:,} more threads with delta channels")
        if done.undated:
            print(f"{done.undated:,} threads were left: ids of their checkpoints tell no time")
    finish(done, done.reasons(), as_json=as_json, to_file=report, allow_empty=allow_empty)


def _expire_erased(
    database: str, selection: Selection, *, keys: str, dry_run: bool, ending: tuple[bool, Path | None, bool]
) -> None:
    from ..maintenance.erased import expire_erased
    from .shown import finish, running

    with failures():
        provider = keys_of(keys, None)
    with running("expire") as listener:
        done = expire_erased(database, provider, selection=selection, dry_run=dry_run, progress=listener)
    as_json, report, allow_empty = ending
    if not as_json:
        rows = ", ".join(f"{number:,} {table}" for table, number in done.deleted.items())
        print(f"rows under {len(done.keys):,} destroyed keys {'would go' if dry_run else 'went'}: {rows}")
    finish(done, done.reasons(), as_json=as_json, to_file=report, allow_empty=allow_empty)
