"""``encrypted-serde scan``, ``verify``, ``reencrypt`` and ``expire``: thin layers over the functions of the same names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.keys import Keyring
from .exits import EXIT_FOUND, failures, writable

if TYPE_CHECKING:
    from ..maintenance import Selection

SAMPLES = 3
"""Samples of each kind that ``--show-samples`` shows."""

PROBLEMS = ("plaintext", "legacy", "old-key", "unbound", "undecodable")
"""What ``--fail-on`` accepts: `maintenance.report.PROBLEMS`, which is not imported here."""

_KEY_VARIABLES = ("ENCRYPTED_SERDE_KEY", "ENCRYPTED_SERDE_KEY_FILE")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_Database = Annotated[
    str,
    typer.Argument(
        metavar="DATABASE",
        help="A SQLite file, or a URL: postgresql://, mysql://, mariadb://, sqlite:///. A conninfo string of Postgres is "
        "understood too. Passwords belong into PGPASSWORD or a password file.",
    ),
]
_Threads = Annotated[list[str] | None, typer.Option("--thread", metavar="ID", help="Only this thread. May be repeated.")]
_Partition = Annotated[
    str | None,
    typer.Option(
        metavar="N/M",
        help="Only threads (of items: namespaces) of part N of M, so that M processes, on as many machines, share the work.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
_Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", callback=writable, help="Write the report to a file, as evidence (JSON)."),
]
_AnchorAt = Annotated[
    str | None,
    typer.Option("--anchor", metavar="ANCHOR", help="The anchor of the database: a file, or the URL of a Postgres database."),
]
_Empty = Annotated[bool, typer.Option("--allow-empty", help=f"Finding no row at all is fine, not exit code {EXIT_FOUND}.")]
_Readable = Annotated[
    list[str] | None,
    typer.Option("--readable-metadata", metavar="KEY", help="A metadata key that is readable on purpose. May be repeated."),
]
_Plaintext = Annotated[
    bool, typer.Option("--allow-plaintext", help="Take values that were never encrypted for what they seem, but never pickle.")
]
_Unbound = Annotated[
    bool, typer.Option("--allow-unbound", help="Take values of serde=EncryptedSerializer for where they stand.")
]
_Legacy = Annotated[
    list[Path] | None,
    typer.Option(
        "--legacy-key-file",
        metavar="FILE",
        help="Take values of langgraph's own serializer, under the raw AES key in this file. May be repeated.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (scan, verify, reencrypt, expire):
        app.command()(command)


def scan(
    database: _Database,
    thread: _Threads = None,
    partition: _Partition = None,
    fail_on: Annotated[
        str,
        typer.Option("--fail-on", metavar="KINDS", help=f"Exit with {EXIT_FOUND} if there is any of: {','.join(PROBLEMS)}."),
    ] = "",
    current_key: Annotated[
        list[str] | None,
        typer.Option(
            "--current-key",
            metavar="KEY_ID",
            help="Id of a key that is not old, 64 hex digits or the first 12. Default: that of ENCRYPTED_SERDE_KEY.",
        ),
    ] = None,
    readable_metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--readable-metadata",
            "--readable-field",
            metavar="KEY",
            help="A metadata key, or a field of items, that is readable on purpose. May be repeated.",
        ),
    ] = None,
    by_context: Annotated[bool, typer.Option("--by-context", help="A line for each encryption context.")] = False,
    show_samples: Annotated[
        bool, typer.Option("--show-samples", help="Show a few values of each kind, shortened: plaintext in plaintext.")
    ] = False,
    report: _Report = None,
    as_json: _Json = False,
    allow_empty: _Empty = False,
) -> None:
    """Says how every value of a checkpointer's database, or a store's, is stored. Needs no key, decrypts nothing.

    Counts, by table and column, what is sealed (by cipher and key id; bound to its place or not), what langgraph's own
    serializer encrypted, what is plaintext (channel values, scalars that Postgres inlines, metadata keys), and what cannot be
    made out. It goes by types and headers: that they tell the truth, verify proves.

    For a nightly job:

        encrypted-serde scan app.db --fail-on plaintext,legacy,old-key

    Exit codes: 0 done, 1 the database failed, 2 wrong usage, 3 there is something of what --fail-on names, a row could not be
    read, or there is nothing at all, 130 interrupted.
    """
    kinds = [kind for kind in fail_on.split(",") if kind]
    if unknown := sorted({*kinds} - {*PROBLEMS}):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(PROBLEMS)}", param_hint="--fail-on")
    current = _current_keys(current_key or [])
    if "old-key" in kinds and not current:
        raise typer.BadParameter("old-key needs --current-key or ENCRYPTED_SERDE_KEY", param_hint="--fail-on")
    selection = _selection(thread, partition)
    from ..maintenance.scan import scan as scan_database
    from .shown import finish, running, show_problems, show_tally

    with running("scan") as listener:
        found = scan_database(
            database,
            selection=selection,
            readable_metadata=readable_metadata or (),
            current_keys=current,
            samples=SAMPLES if show_samples else 0,
            by_context=by_context,
            progress=listener,
        )
    problems = found.problems()
    if not as_json:
        show_tally(found)
        show_problems(problems, has_values=not found.is_empty)
    reasons = found.reasons() + [f"{problems[kind]:,} values are {kind}" for kind in kinds if problems[kind]]
    finish(found, reasons, as_json=as_json, to_file=report, allow_empty=allow_empty)


def verify(
    database: _Database,
    thread: _Threads = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only checkpoints since then: 2026-01-31, 2026-01-31T06:00+00:00, or 7d ago."),
    ] = None,
    sample: Annotated[str | None, typer.Option(metavar="PERCENT", help="About this part of the rows, such as 1%.")] = None,
    partition: _Partition = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="NAME=VALUE", help="The context that every value must have. May be repeated."),
    ] = None,
    allow_plaintext: _Plaintext = False,
    allow_unbound: _Unbound = False,
    legacy_key_file: _Legacy = None,
    anchor: _AnchorAt = None,
    show_contexts: Annotated[
        bool, typer.Option("--show-contexts", help="Show contexts that differ with their values, not their names alone.")
    ] = False,
    report: _Report = None,
    as_json: _Json = False,
    allow_empty: _Empty = False,
) -> None:
    """Opens every value, manifest, pending write and item where it stands, and builds no object of it.

    Keys come from ENCRYPTED_SERDE_KEY and ENCRYPTED_SERDE_DECRYPT_KEYS, or the files that these variables with _FILE name.
    Compared are also what is readable with the manifests, that listed channels have their values, and that no parent is missing
    from the middle of a thread; with --anchor, that everything is there. Every failure is reported with its primary key and the
    class of the error.

    For example:

        encrypted-serde verify app.db --report evidence.json

        encrypted-serde verify postgresql://db/app --partition 3/16

    Exit codes: 0 everything opened, 1 the database, a key or an option failed, 2 wrong usage, 3 something failed, or there is
    nothing at all, 130 interrupted.
    """
    selection = _selection(thread, partition, since, sample)
    if anchor and (thread or partition or since or sample):
        raise typer.BadParameter("what is missing can be told of the whole database alone", param_hint="--anchor")
    from ..maintenance.verify import verify as verify_database
    from .shown import finish, running, show_rate, show_tally

    with running("verify") as listener, _keeper(anchor) as keeper:
        found = verify_database(
            database,
            Keyring.from_env(),
            witness=None if keeper is None else _witness(keeper, _context(context or [])),
            selection=selection,
            context=_context(context) if context else None,
            allow_plaintext=allow_plaintext,
            allow_unbound=allow_unbound,
            legacy_keys=_legacy_keys(legacy_key_file),
            show_contexts=show_contexts,
            progress=listener,
        )
    if not as_json:
        show_tally(found)
        _show_admitted(found.admitted)
        show_rate(found, f"{found.opened:,} rows opened, {found.failed:,} failed,")
        if anchor:
            print(f"anchor: {found.incomplete or 'nothing'} missing of what it knows")
    finish(found, found.reasons(), as_json=as_json, to_file=report, allow_empty=allow_empty)


def reencrypt(
    database: _Database,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help="saver: as EncryptedSaver writes, bound to its place. serde: as serde=EncryptedSerializer does.",
        ),
    ] = "saver",
    decrypt: Annotated[bool, typer.Option("--decrypt", help="Leave: bring everything back to plaintext.")] = False,
    allow_plaintext: _Plaintext = False,
    allow_unbound: _Unbound = False,
    legacy_key_file: _Legacy = None,
    cipher: Annotated[
        str | None, typer.Option(metavar="NAME", help="Seal with this cipher; by default each keeps its own.")
    ] = None,
    compression: Annotated[
        str | None, typer.Option(metavar="NAME", help="zstd or none; by default each value stays as it is.")
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="NAME=VALUE", help="Encryption context of values that have none. May be repeated."),
    ] = None,
    readable_metadata: _Readable = None,
    searchable_metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="A metadata key that gets a search token. May be repeated.")
    ] = None,
    readable_field: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field of a store's items that gets a readable copy. May be repeated."),
    ] = None,
    searchable_field: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field of a store's items that gets a search token. May be repeated."),
    ] = None,
    thread: _Threads = None,
    partition: _Partition = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")] = False,
    rate: Annotated[float | None, typer.Option(metavar="ROWS", help="Rewrite so many rows a second at most.")] = None,
    report: _Report = None,
    as_json: _Json = False,
    allow_empty: _Empty = False,
) -> None:
    """Seals anew what is not sealed as it should be, and what switches admit, while the database is in use.

    Keys come from ENCRYPTED_SERDE_KEY and ENCRYPTED_SERDE_DECRYPT_KEYS, or the files that these variables with _FILE name.
    Everything comes under the first. By itself it admits nothing: plaintext, unbound values and those of langgraph's own
    serializer are failures unless --allow-plaintext, --allow-unbound, --legacy-key-file say so. A switch vouches for whatever
    stands there.

    Small transactions, each row only where it still is what was read. It can be interrupted at any moment and run again, and
    several may work at one server. A value that does not open is reported and left as it is.

    For example:

        encrypted-serde reencrypt app.db --dry-run

        encrypted-serde reencrypt postgresql://db/app --rate 500

    Exit codes: 0 done, 1 the database, a key or an option failed, 2 wrong usage, 3 rows are left that could not be converted,
    or there is nothing at all, 130 interrupted.
    """
    if to not in ("saver", "serde"):
        raise typer.BadParameter("choose saver or serde", param_hint="--to")
    selection = _selection(thread, partition)
    from ..maintenance.reencrypt import reencrypt as reencrypt_database
    from .shown import finish, running, show_rate, show_tally

    with running("reencrypt") as listener:
        done = reencrypt_database(
            database,
            Keyring.from_env(),
            target="plaintext" if decrypt else to,
            cipher=cipher,
            compression=compression,
            allow_plaintext=allow_plaintext,
            allow_unbound=allow_unbound,
            legacy_keys=_legacy_keys(legacy_key_file),
            context=_context(context or []),
            readable_metadata=readable_metadata or (),
            searchable_metadata=searchable_metadata or (),
            readable_fields=readable_field or (),
            searchable_fields=searchable_field or (),
            selection=selection,
            dry_run=dry_run,
            rate=rate,
            progress=listener,
        )
    if not as_json:
        show_tally(done)
        _show_admitted(done.admitted)
        would = "would be " if dry_run else ""
        show_rate(done, f"{done.rewritten:,} rows {would}rewritten, {done.overtaken:,} changed by others meanwhile, all read")
        if not done.left and not done.is_empty:
            print("all rows are as asked for")
    finish(done, done.reasons(), as_json=as_json, to_file=report, allow_empty=allow_empty)


def expire(
    database: _Database,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="What is older goes: 30d, 12h, 2026-01-31, ...")
    ],
    keep_latest: Annotated[
        bool,
        typer.Option("--keep-latest", help="Threads stay: only their older checkpoints go, and the newest of each never does."),
    ] = False,
    thread: _Threads = None,
    partition: _Partition = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and delete nothing.")] = False,
    rate: Annotated[float | None, typer.Option(metavar="ROWS", help="Delete so many checkpoints a second at most.")] = None,
    anchor: _AnchorAt = None,
    report: _Report = None,
    as_json: _Json = False,
    allow_empty: _Empty = False,
) -> None:
    """Deletes threads that nobody has written to since TIME, while the database is in use.

    Needs no key, unless --anchor names an anchor that has to be told: then that of ENCRYPTED_SERDE_KEY.

    Pending writes and values that no checkpoint refers to go too. Small transactions, oldest checkpoints first: it can be
    interrupted at any moment and run again. Threads with delta channels, whose values need all of their history, are left whole
    and named.

    For example:

        encrypted-serde expire app.db --older-than 30d --dry-run

        encrypted-serde expire postgresql://db/app --older-than 30d --keep-latest

    Exit codes: 0 done, 1 the database or an option failed, 2 wrong usage, 3 a row could not be read, or there is nothing at
    all, 130 interrupted.
    """
    selection = _selection(thread, partition)
    moment = _moment(older_than, "--older-than")
    from ..maintenance.expire import expire as expire_database
    from .shown import finish, running

    with running("expire") as listener, _keeper(anchor) as keeper:
        done = expire_database(
            database,
            moment,
            keep_latest=keep_latest,
            selection=selection,
            dry_run=dry_run,
            rate=rate,
            announce=None if keeper is None else _announce(keeper),
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


# --- what is given --------------------------------------------------------------------------------------------------


def _selection(
    threads: list[str] | None, partition: str | None, since: str | None = None, sample: str | None = None
) -> Selection:
    from ..maintenance.database import Selection

    parts = None
    if partition is not None:
        if not (match := re.fullmatch(r"(\d{1,6})/(\d{1,6})", partition)) or not 1 <= int(match[1]) <= int(match[2]):
            raise typer.BadParameter("N/M, counted from 1, such as 3/16", param_hint="--partition")
        parts = (int(match[1]), int(match[2]))
    share = 1.0
    if sample is not None:
        if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)%", sample)) or not 0 < float(match[1]) <= 100:
            raise typer.BadParameter("a percentage above 0, such as 1% or 0.5%", param_hint="--sample")
        share = float(match[1]) / 100
    return Selection(tuple(threads or ()), None if since is None else _moment(since, "--since"), share, parts)


def _moment(text: str, option: str) -> datetime:
    """Reads a time: so long ago, or a date, in UTC where it says nothing else."""
    try:
        if match := re.fullmatch(r"(\d{1,6})([mhdw])(?: ago)?", text):
            return datetime.now(timezone.utc) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter("so long ago (30d, 12h, 90m, 4w) or a date (2026-01-31)", param_hint=option) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _current_keys(given: list[str]) -> list[str]:
    for key_id in given:
        if not re.fullmatch("[0-9a-fA-F]{12,64}", key_id):
            raise typer.BadParameter(
                "an id of a key is 64 hex digits, or the first 12 of them; encrypted-serde key-id prints it",
                param_hint="--current-key",
            )
    if given or not any(os.environ.get(name) for name in _KEY_VARIABLES):
        return [key_id.lower() for key_id in given]
    with failures():
        return [Keyring.from_env().primary.id.hex()]


def _legacy_keys(files: list[Path] | None) -> list[bytes]:
    return [file.read_bytes().rstrip(b"\r\n") for file in files or ()]


def _context(given: list[str]) -> Mapping[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter("NAME=VALUE, such as tenant_id=acme", param_hint="--context")
        pairs[name] = value
    return pairs


# --- the anchor -----------------------------------------------------------------------------------------------------


@contextmanager
def _keeper(anchor: str | None) -> Iterator[Any]:
    if anchor is None:
        yield None
        return
    from ..anchor.keeper import Keeper
    from .anchor import open_anchor

    with closing(open_anchor(anchor)) as opened:
        yield Keeper(opened, Keyring.from_env())


def _witness(keeper: Any, context: Mapping[str, str]) -> Any:
    from ..anchor.witness import AnchorWitness
    from ..maintenance.report import Failure

    class Reporting(AnchorWitness):
        def missing(self) -> Iterator[Any]:
            for thread, namespace, checkpoint_id, what in super().missing():
                row = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}
                yield Failure("checkpoints", row, "Incomplete", f"{what} is missing, says the anchor")

    return Reporting(keeper, context)


def _announce(keeper: Any) -> Any:
    from ..anchor.keeper import Where
    from ..anchor.witness import announce_deletion

    return lambda thread, namespace, ids: announce_deletion(keeper, Where(thread, namespace, {}), ids)


def _show_admitted(admitted: Mapping[str, Any] | None) -> None:
    for kind, number in (admitted or {}).items():
        print(f"admitted by a switch, vouched for by nobody: {number:,} {kind}")
