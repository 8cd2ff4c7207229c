"""``encrypted-serde scan`` and ``encrypted-serde reencrypt``: thin layers over the functions of the same names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from ..core.keys import Keyring
from ..errors import ConfigurationError
from ..maintenance.coder import SAVER, SERDE
from ..maintenance.model import (
    PLAINTEXT,
    PROBLEMS,
    SEALED,
    UNVOUCHED,
    Line,
    Progress,
    ProgressListener,
    Reencryption,
    ScanReport,
)
from ..maintenance.reencrypt import reencrypt as reencrypt_database
from ..maintenance.scan import scan as scan_database
from .app import app, failures

EXIT_LEFT = 3
"""Exit code where the command did its work, and what it found or left behind is what it was asked to tell of."""

SAMPLES = 3
"""Samples of each kind that ``--show-samples`` shows."""

_LEGACY_VARIABLE = "LANGGRAPH_AES_KEY"
_SHOWN_FAILURES = 20
_STYLES = {PLAINTEXT: "bold red", "legacy": "yellow", "undecodable": "bold magenta", UNVOUCHED: "yellow", SEALED: "green"}

_Database = Annotated[
    str, typer.Argument(metavar="DATABASE", help="A SQLite file, or the URL of a Postgres database (postgresql://...).")
]
_Threads = Annotated[list[str] | None, typer.Option("--thread", metavar="ID", help="Only this thread. May be repeated.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Readable = Annotated[
    list[str] | None,
    typer.Option("--readable-metadata", metavar="KEY", help="A metadata key that is readable on purpose. May be repeated."),
]


@app.command()
def scan(
    database: _Database,
    thread: _Threads = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", metavar="KINDS", help=f"Exit with {EXIT_LEFT} if there is any of: {','.join(PROBLEMS)}.")
    ] = "",
    current_key: Annotated[
        list[str] | None,
        typer.Option(
            "--current-key", metavar="KEY_ID", help="Id of a key that is not old. Default: that of ENCRYPTED_SERDE_KEY."
        ),
    ] = None,
    readable_metadata: _Readable = None,
    show_samples: Annotated[
        bool, typer.Option("--show-samples", help="Show a few values of each kind, shortened: plaintext in plaintext.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Says how every value of a checkpointer's database is stored. Needs no key, decrypts nothing.

    Counts, by table and column, what is sealed (by cipher, key id and context; bound to its place or not), what langgraph's own
    serializer encrypted, what is plaintext (channel values, scalars that Postgres inlines, metadata keys), and what cannot be
    made out. It goes by types and headers, which only opening a value proves.

    For a nightly job:

        encrypted-serde scan app.db --fail-on plaintext,legacy,old-key

    Exit codes: 0 done, 1 the database failed, 2 wrong usage, 3 there is something of what --fail-on names.
    """
    kinds = [kind for kind in fail_on.split(",") if kind]
    if unknown := sorted({*kinds} - {*PROBLEMS}):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(PROBLEMS)}", param_hint="--fail-on")
    current = _current_keys(current_key or [])
    if "old-key" in kinds and not current:
        raise typer.BadParameter("old-key needs --current-key or ENCRYPTED_SERDE_KEY", param_hint="--fail-on")
    with failures(), _bar("scan") as listener:
        report = scan_database(
            database,
            threads=thread or (),
            readable_metadata=readable_metadata or (),
            samples=SAMPLES if show_samples else 0,
            progress=listener,
        )
    problems = report.problems(current)
    if as_json:
        print(json.dumps({**report.as_dict(), "problems": problems}, indent=2))
    else:
        show_scan(report, problems, current)
    if any(problems[kind] for kind in kinds):
        raise typer.Exit(EXIT_LEFT)


@app.command()
def reencrypt(
    database: _Database,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help=f"{SAVER}: as EncryptedSaver writes, bound to its place. {SERDE}: as serde=EncryptedSerializer does.",
        ),
    ] = SAVER,
    decrypt: Annotated[bool, typer.Option("--decrypt", help="Leave: bring everything back to plaintext.")] = False,
    cipher: Annotated[
        str | None, typer.Option(metavar="NAME", help="Seal with this cipher; by default each keeps its own.")
    ] = None,
    compression: Annotated[
        str | None, typer.Option(metavar="NAME", help="zstd or none; by default each value stays as it is.")
    ] = None,
    legacy_key_file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help=f"A raw AES key of langgraph's own serializer. {_LEGACY_VARIABLE} is taken too. May be repeated.",
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="NAME=VALUE", help="Encryption context of values that have none. May be repeated."),
    ] = None,
    readable_metadata: _Readable = None,
    searchable_metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="A metadata key that gets a search token. May be repeated.")
    ] = None,
    thread: _Threads = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")] = False,
    rate: Annotated[float | None, typer.Option(metavar="ROWS", help="Rewrite so many rows a second at most.")] = None,
    as_json: _Json = False,
) -> None:
    """Seals what is plaintext, and seals anew what is not sealed as it should be, while the database is in use.

    Keys come from ENCRYPTED_SERDE_KEY and ENCRYPTED_SERDE_DECRYPT_KEYS, or the files that these variables with _FILE name.
    Everything comes under the first. Sealing plaintext vouches for whatever stands there: let the application run with its
    switches (allow_plaintext, allow_unbound, legacy_keys) on until a scan is clean, and no longer.

    Small transactions, each row only where it still is what was read. It can be interrupted at any moment and run again, and
    several may work at one Postgres database. A value that does not open is reported and left as it is.

    For example:

        encrypted-serde reencrypt app.db --dry-run
        encrypted-serde reencrypt postgresql://db/app --rate 500

    Exit codes: 0 done, 1 the database, a key or an option failed, 2 wrong usage, 3 rows are left that could not be converted.
    """
    if to not in (SAVER, SERDE):
        raise typer.BadParameter(f"choose {SAVER} or {SERDE}", param_hint="--to")
    with failures(), _bar("reencrypt") as listener:
        keys = Keyring.from_env()
        done = reencrypt_database(
            database,
            keys,
            target=PLAINTEXT if decrypt else to,
            cipher=cipher,
            compression=compression,
            legacy_keys=_legacy_keys(legacy_key_file or []),
            context=_context(context or []),
            readable_metadata=readable_metadata or (),
            searchable_metadata=searchable_metadata or (),
            threads=thread or (),
            dry_run=dry_run,
            rate=rate,
            progress=listener,
        )
    if as_json:
        print(json.dumps(done.as_dict(), indent=2))
    else:
        _show_reencryption(done, [] if decrypt else [keys.primary.id.hex()])
    if done.failed or (done.left and not dry_run):
        raise typer.Exit(EXIT_LEFT)


# --- what is given --------------------------------------------------------------------------------------------------


def _current_keys(given: list[str]) -> list[str]:
    if given or not (os.environ.get("ENCRYPTED_SERDE_KEY") or os.environ.get("ENCRYPTED_SERDE_KEY_FILE")):
        return [key_id.lower() for key_id in given]
    with failures():
        return [Keyring.from_env().primary.id.hex()]


def _legacy_keys(files: list[Path]) -> list[bytes]:
    keys = [path.read_bytes().rstrip(b"\r\n") for path in files]
    if text := os.environ.get(_LEGACY_VARIABLE):
        keys.append(text.encode())
    return keys


def _context(given: list[str]) -> Mapping[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError("--context is NAME=VALUE")
        pairs[name] = value
    return pairs


# --- what is shown --------------------------------------------------------------------------------------------------


@contextmanager
def _bar(title: str) -> Iterator[ProgressListener | None]:
    """Shows rows, megabytes and the time left on standard error, if somebody is looking at it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[size]:.1f} MB, left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, size=0.0)

        def listener(progress: Progress) -> None:
            # A later pass, and statistics that are behind, make it more rows than there were said to be.
            total = None if progress.total is None else max(progress.total, progress.rows)
            bar.update(task, description=progress.table, completed=progress.rows, total=total, size=progress.bytes / 1e6)

        yield listener


def show_scan(report: ScanReport, problems: Mapping[str, int], current: list[str]) -> None:
    """Prints a report as a table."""
    console = Console(highlight=False)
    rows = ", ".join(f"{number:,} {table}" for table, number in report.rows.items())
    table = Table(title=escape(report.database), caption=f"rows: {rows}", title_justify="left", caption_justify="left")
    for heading in ("where", "what", "stored as"):
        table.add_column(heading, overflow="fold")
    for heading in ("values", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    column = ""
    for line in report.lines:
        if line.column != column:
            table.add_section()
        stored = f"[{_STYLES[line.kind]}]{escape(_stored_as(line, current))}[/]"
        shown = line.column if line.column != column else ""
        table.add_row(shown, escape(_printable(line.what)), stored, f"{line.values:,}", _size(line.bytes))
        for sample in line.samples:
            table.add_row("", "", f"[dim]{escape(_printable(sample))}[/]", "", "")
        column = line.column
    console.print(table)
    found = [f"{number:,} {kind}" for kind, number in problems.items() if number]
    console.print(f"found: {', '.join(found)}" if found else "found: nothing but sealed, bound values", style="bold")
    if not current and any(line.kind == SEALED for line in report.lines):
        console.print("Keys were not compared: --current-key says which is not old.", style="dim")


def _stored_as(line: Line, current: list[str]) -> str:
    if line.kind != SEALED:
        return line.kind
    parts = [line.cipher, "zstd"] if line.compressed else [line.cipher]
    age = "" if not current else " (current)" if line.key_id in current else " (old)"
    parts += ["bound" if line.bound else "unbound", f"key {line.key_id[:12]}{age}"]
    parts += [f"{name}={value!r}" for name, value in line.context.items()]
    return ", ".join(parts)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"


def _show_reencryption(done: Reencryption, current: list[str]) -> None:
    if done.scan is not None:
        show_scan(done.scan, done.scan.problems(current), current)
    console = Console(highlight=False)
    would = "would be " if done.dry_run else ""
    console.print(
        f"{done.read:,} rows read, {done.rewritten:,} {would}rewritten, {done.overtaken:,} changed by others meanwhile"
    )
    console.print(f"{done.left:,} rows are not in the form that was asked for" if done.left else "all rows are as asked for")
    for failure in done.failures[:_SHOWN_FAILURES]:
        row = ", ".join(f"{name}={value!r}" for name, value in failure.row.items())
        print(f"left as it is: {failure.table}: {row}: {failure.error}", file=sys.stderr)
    if done.failed > _SHOWN_FAILURES:
        print(f"... and {done.failed - _SHOWN_FAILURES:,} more", file=sys.stderr)
