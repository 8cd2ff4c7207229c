"""``encrypted-serde anchor init``, ``status``, ``accept`` and ``rekey``: a database beside the anchor of its checkpointer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import ConfigurationError
from .exits import EXIT_FOUND, failures
from .expanded import expanded
from .options import AsJson, Database, Keys, Text, Texts, flag, option, repeated

if TYPE_CHECKING:
    from ..maintenance.completeness import AnchoredDatabase, Compared, Finding
    from ..maintenance.report import Failure

_SHOWN = 50


class Anchored(NamedTuple):
    """Which anchor, and which keys open it and the rows of the database."""

    anchor: Annotated[str, option("ANCHOR", "A SQLite file, or postgresql://...")]
    table: Annotated[str, option("NAME", "The anchor's table, in Postgres.")] = "anchor_entries"
    keys: Keys = Keys()

    def opened(self) -> closing[Any]:
        """Opens the anchor."""
        return closing(open_anchor(self.anchor, self.table))

    @contextmanager
    def beside(self, database: str, *, writes: bool = False) -> Iterator[AnchoredDatabase]:
        """Opens the anchor, and the database for reading."""
        from ..anchor.client import AnchorClient
        from ..maintenance.codec import RowCodec, Switches
        from ..maintenance.completeness import AnchoredDatabase
        from ..maintenance.opening import open_database

        keys = self.keys.provider()
        with self.opened() as opened, open_database(database, write=False) as found:
            yield AnchoredDatabase(found, RowCodec(keys, Switches()), AnchorClient(opened, keys, writes=writes))


def anchor() -> typer.Typer:
    """Returns the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Compares a database with its anchor.")
    for command in (init, status, accept, rekey):
        group.command()(expanded(command))
    return group


def init(
    database: Database,
    *,
    at: Anchored,
    grant: Annotated[Text, option("ROLE", "Let this role of Postgres insert into the table and read it.")] = None,
) -> None:
    """Makes the anchor, and enters the rows of the database.

    Its secret is drawn where there is none yet. Every row is entered that the anchor does not know. Rows are verified first.
    One that does not open is shown and not entered. The command may be run again, and while the application runs.

    For example:

        encrypted-serde anchor init app.db --anchor /mnt/elsewhere/anchor.db

        encrypted-serde anchor init postgresql://db/app --anchor postgresql://owner@elsewhere/anchor --grant app

    Exit codes: 0 done, 1 something failed, 2 wrong usage, 3 a row does not open.
    """
    with failures():
        if Path(at.anchor).resolve() == Path(database).resolve():
            raise ConfigurationError("the anchor would be in the database that it guards: name another file")
        if grant is not None and "://" not in at.anchor:
            raise ConfigurationError("--grant is for an anchor in Postgres; a file's owner and mode say who writes it")
        with at.opened() as opened:
            opened.setup(**({} if grant is None else {"grant_to": grant}))
        with at.beside(database, writes=True) as both:
            broken: list[Failure] = []
            entered = threads = 0
            for thread_id in both.threads():
                compared = both.compare(thread_id)
                entered, threads = entered + both.enter(compared), threads + 1
                broken += compared.failures
        _show_failures(broken)
        print(f"entered {entered:,} checkpoints and writes of {threads:,} threads")
    if broken:
        raise typer.Exit(EXIT_FOUND)


def status(database: Database, *, at: Anchored, as_json: AsJson = False) -> None:
    """Compares the database with the anchor, and changes neither.

    Exit codes: 0 they agree, 1 something failed, 2 wrong usage, 3 something is missing, was put back, does not open, or a
    deletion did not end.
    """
    with failures(), at.beside(database) as both:
        found = _Found(both.everything())
    if as_json:
        print(json.dumps(found.document(), indent=2))
    else:
        found.show()
    if found.findings or found.broken:
        raise typer.Exit(EXIT_FOUND)


def accept(
    database: Database,
    *,
    at: Anchored,
    thread: Annotated[Texts, repeated("ID", "Only this thread, or token.")] = None,
    yes: Annotated[bool, flag("--yes", "Do not ask.")] = False,
) -> None:
    """Accepts what status finds, after showing it.

    That is what is missing, what is older, and deletions that did not end. Other means than the application deleted it, or a
    backup was restored. What is stored meanwhile is not touched. Find out first why something is missing: this is what somebody
    who deleted it wants you to do.

    Exit codes: 0 accepted, or nothing to accept, 1 something failed, 2 wrong usage, 3 the answer was no.
    """
    with failures(), at.beside(database, writes=True) as both:
        found = _Found(each for each in both.everything() if not thread or each.thread in thread)
        found.show()
        if found.to_accept and not yes and not typer.confirm("Accept all of this as done on purpose?"):
            raise typer.Exit(EXIT_FOUND)
        accepted = sum(map(both.accept, found.to_accept))
    print(f"accepted {accepted:,} findings in {len(found.to_accept):,} threads")


def rekey(*, at: Anchored) -> None:
    """Adds a copy of the anchor's secret for the primary key.

    Nothing is added if there is one. An application does the same when it starts.

    Exit codes: 0 there is one, 1 something failed, 2 wrong usage.
    """
    from ..anchor.names import reseal

    with failures(), at.opened() as opened:
        added = reseal(opened, at.keys.provider())
    print(f"{'added a copy of the secret' if added else 'the secret already has a copy'} under the primary key")


class _Found:
    """What was compared, as `AnchoredDatabase.everything` returns it."""

    def __init__(self, compared: Iterable[Compared]) -> None:
        self.threads = self.required = self.unknown = 0
        self.findings: list[Finding] = []
        self.broken: list[Failure] = []
        self.to_accept: list[Compared] = []
        for each in compared:
            self.findings += each.findings
            self.broken += each.failures
            self.to_accept += [each._replace(rows=())] if each.acceptable else []
            if not each.is_token:
                self.threads += 1
                self.required += len(each.ledger.required())
                self.unknown += sum(judged.to_enter for judged in each.rows)

    def show(self) -> None:
        for thread, namespace, checkpoint_id, what in self.findings[:_SHOWN]:
            where = "" if checkpoint_id is None else f", checkpoint {checkpoint_id!r}"
            print(f"{what}: thread {thread!r}{f', namespace {namespace!r}' if namespace else ''}{where}")
        if len(self.findings) > _SHOWN:
            print(f"... and {len(self.findings) - _SHOWN:,} more findings")
        _show_failures(self.broken)
        print(
            f"{self.threads:,} threads, {self.required:,} checkpoints required, {len(self.findings):,} findings, "
            f"{self.unknown:,} checkpoints and writes not entered yet, {len(self.broken):,} rows do not open"
        )

    def document(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "checkpoints": self.required,
            "unknown": self.unknown,
            "findings": [finding._asdict() for finding in self.findings],
            "failures": [failure._asdict() for failure in self.broken],
        }


def _show_failures(broken: list[Failure]) -> None:
    for failure in broken[:_SHOWN]:
        print(f"does not open: {failure.error}: {failure.reason}: {failure.row}")


def open_anchor(place: str, table: str = "anchor_entries") -> Any:
    """Opens an anchor: a file, or a table of a Postgres database."""
    from ..anchor import PostgresAnchor, SqliteAnchor

    return PostgresAnchor(place, table=table) if "://" in place else SqliteAnchor(place)
