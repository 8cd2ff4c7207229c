"""``encrypted-serde anchor init``, ``status`` and ``accept``: a database beside the anchor of its checkpointer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..core.context import NO_CONTEXT
from ..core.keys import Keyring
from ..errors import ConfigurationError
from .exits import EXIT_FOUND, failures

if TYPE_CHECKING:
    from ..anchor.compare import Missing
    from ..anchor.keeper import Keeper, Where

_SHOWN = 50

_Database = Annotated[
    str, typer.Argument(metavar="DATABASE", help="The checkpointer's: a SQLite file, or postgresql://. Passwords: PGPASSWORD.")
]
_Anchor = Annotated[str, typer.Option("--anchor", metavar="ANCHOR", help="A SQLite file, or postgresql://...")]
_Table = Annotated[str, typer.Option(metavar="NAME", help="The anchor's table, in Postgres.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="What a database cannot take back: begin, compare, accept what is missing.")
    for command in (init, status, accept):
        group.command()(command)
    app.add_typer(group, name="anchor")


def init(
    database: _Database,
    anchor: _Anchor,
    table: _Table = "anchor_entries",
    grant: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Let this role of Postgres insert into the table and read it.")
    ] = None,
) -> None:
    """Makes the anchor if it is not there, and enters every checkpoint and write of the database that it does not know.

    Every row is verified first: one that does not open ends the command. Keys come from ENCRYPTED_SERDE_KEY and
    ENCRYPTED_SERDE_DECRYPT_KEYS. It may be run again, and while the application runs.

    For example:

        encrypted-serde anchor init app.db --anchor /mnt/elsewhere/anchor.db
        encrypted-serde anchor init postgresql://db/app --anchor postgresql://owner@elsewhere/anchor --grant app
    """
    from ..anchor.compare import enter_unknown

    with failures(), _opened(database, anchor, table, grant=grant, makes=True) as opened:
        entered = sum(enter_unknown(opened.keeper, where, opened.rows(where)) for where in opened.threads())
        print(f"entered {entered:,} checkpoints and writes of {len(opened.threads()):,} threads")


def status(database: _Database, anchor: _Anchor, table: _Table = "anchor_entries", as_json: _Json = False) -> None:
    """Compares the database with the anchor, and changes neither.

    Exit codes: 0 nothing is missing, 1 something failed, 2 wrong usage, 3 something is missing or was put back.
    """
    with failures(), _opened(database, anchor, table) as opened:
        found = _compare(opened)
    if as_json:
        print(json.dumps({**found._asdict(), "missing": [each._asdict() for each in found.missing]}, indent=2))
    else:
        _show(found)
    if found.missing:
        raise typer.Exit(EXIT_FOUND)


def accept(
    database: _Database,
    anchor: _Anchor,
    table: _Table = "anchor_entries",
    thread: Annotated[
        list[str] | None, typer.Option("--thread", metavar="ID", help="Only this thread, or token. May be repeated.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Takes for deleted on purpose what is missing, after showing it: what retention or a restored backup took away.

    From then on what stands in the database is what counts. Find out first why something is missing: this is what somebody
    who deleted it would like to be done.
    """
    from ..anchor.compare import accept as accept_thread
    from ..anchor.compare import accept_loss

    with failures(), _opened(database, anchor, table) as opened:
        found = _compare(opened)
        chosen = [each for each in found.missing if not thread or each.thread in thread]
        _show(found._replace(missing=chosen))
        if not chosen or not (yes or typer.confirm("Accept all of this as deleted on purpose?")):
            return
        names = {each.thread for each in chosen}
        for where in opened.threads():
            if where.thread_id in names:
                accept_thread(opened.keeper, where, opened.rows(where))
        for token in opened.keeper.anchor.threads():
            if token.hex() in names:
                accept_loss(opened.keeper, token)
    print(f"accepted in {len(names):,} threads")


class _Found(NamedTuple):
    """What was compared.

    Attributes:
        threads: How many threads the database has.
        checkpoints: How many of their checkpoints the anchor requires.
        unknown: How many checkpoints and writes the anchor does not know.
        missing: What is missing.
    """

    threads: int
    checkpoints: int
    unknown: int
    missing: list[Missing]


class _Opened(NamedTuple):
    """A database and its anchor."""

    saver: Any
    keeper: Keeper

    def threads(self) -> list[Where]:
        """Gives the threads of the database."""
        from ..anchor.keeper import Where

        with self.saver.inner._cursor() if hasattr(self.saver.inner, "_cursor") else self.saver.inner.cursor() as cursor:
            cursor.execute("SELECT DISTINCT thread_id FROM checkpoints ORDER BY thread_id")
            found = [row["thread_id"] if isinstance(row, dict) else row[0] for row in cursor.fetchall()]
        return [Where(str(thread_id), "", NO_CONTEXT.pairs) for thread_id in found]

    def rows(self, where: Where) -> Any:
        """Gives the rows of a thread, verified."""
        from ..saver.completeness import rows_of_thread

        return rows_of_thread(self.saver, where.thread_id)


def _compare(opened: _Opened) -> _Found:
    from ..anchor.compare import compare, threads_without_rows

    wheres = opened.threads()
    gone = threads_without_rows(opened.keeper, wheres)
    # A thread that was made since the database was asked for its threads has rows.
    later = {token for where in opened.threads() for token in (names.thread for names in opened.keeper.tokens(where))}
    compared = [compare(opened.keeper, where, partial(opened.rows, where)) for where in wheres]
    missing = [each for one in compared for each in one.missing]
    missing += [each for token, lost in gone if token not in later for each in lost]
    return _Found(len(wheres), sum(one.known for one in compared), sum(one.unknown for one in compared), missing)


def _show(found: _Found) -> None:
    for each in found.missing[:_SHOWN]:
        namespace = "" if not each.checkpoint_ns else f", namespace {each.checkpoint_ns!r}"
        print(f"missing: {each.what}: thread {each.thread!r}{namespace}, checkpoint {each.checkpoint_id!r}")
    if len(found.missing) > _SHOWN:
        print(f"missing: {len(found.missing) - _SHOWN:,} more")
    print(
        f"{found.threads:,} threads, {found.checkpoints:,} checkpoints required, {len(found.missing):,} findings, "
        f"{found.unknown:,} checkpoints and writes not entered yet"
    )


@contextmanager
def _opened(database: str, anchor: str, table: str, *, grant: str | None = None, makes: bool = False) -> Iterator[_Opened]:
    from ..anchor.keeper import Keeper
    from ..saver import EncryptedSaver

    keys = Keyring.from_env()
    with closing(open_anchor(anchor, table, grant, makes)) as opened, _inner(database) as inner:
        yield _Opened(EncryptedSaver(inner, keys), Keeper(opened, keys))


def open_anchor(place: str, table: str = "anchor_entries", grant: str | None = None, makes: bool = False) -> Any:
    """Opens an anchor: a file, or a table of a Postgres database."""
    from ..anchor import PostgresAnchor, SqliteAnchor

    if "://" in place:
        anchor = PostgresAnchor(place, table=table)
        if makes:
            anchor.setup(grant_to=grant)
        return anchor
    if grant is not None:
        raise ConfigurationError("--grant is for an anchor in Postgres; a file's owner and mode say who writes it")
    if not makes and not Path(place).is_file():
        raise ConfigurationError("--anchor: there is no such file; begin one with: encrypted-serde anchor init")
    return SqliteAnchor(place)


@contextmanager
def _inner(database: str) -> Iterator[Any]:
    from ..maintenance.address import POSTGRES, SQLITE, parse_address

    address = parse_address(database)
    try:
        if address.kind == POSTGRES:
            from langgraph.checkpoint.postgres import PostgresSaver

            with PostgresSaver.from_conn_string(address.target) as saver:
                yield saver
            return
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ImportError as error:
        raise ConfigurationError(f"{error.name} is missing: install the checkpointer that the application uses") from None
    if address.kind != SQLITE or not Path(address.target).is_file():
        raise ConfigurationError("DATABASE: a SQLite file that is there, or a Postgres database")
    with SqliteSaver.from_conn_string(address.target) as saver:
        yield saver
