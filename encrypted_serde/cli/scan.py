"""``encrypted-serde scan``: a thin layer over `maintenance.scan.scan`."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from ..core.keys import KeyProvider
from .exits import EXIT_FOUND, failures
from .options import Database, Ending, Keys, Rows, Text, flag, option

ANY = "any"
"""What names every kind for ``--fail-on``."""

PROBLEMS = ("plaintext", "legacy", "old-key", "unbound", "undecodable")
"""What ``--fail-on`` accepts: `maintenance.report.PROBLEMS`, which is not imported here."""

_KEY_VARIABLES = ("ENCRYPTED_SERDE_KEY", "ENCRYPTED_SERDE_KEY_FILE", "ENCRYPTED_SERDE_KEY_COMMAND")


def scan(
    database: Database,
    *,
    rows: Rows,
    fail_on: Annotated[
        Text, option("KINDS", f"Exit with {EXIT_FOUND} if one is found: any, or some of {','.join(PROBLEMS)}.")
    ] = None,
    current_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY_ID",
            help="Id of a key that is not old, 64 hex digits or the first 12. Default: of --keys or ENCRYPTED_SERDE_KEY.",
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
    by_key: Annotated[bool, flag("--by-key", "A line for each key, however many there are.")] = False,
    by_context: Annotated[bool, flag("--by-context", "A line for each encryption context.")] = False,
    keys: Keys,
    ending: Ending,
) -> None:
    """Says how every value is stored, without a key.

    It reads the database of a checkpointer or of a store, and decrypts nothing. It counts, by table and column, what is sealed
    (by cipher and key id; bound to its place or not), what langgraph's own serializer encrypted, what is plaintext (channel
    values, scalars that Postgres inlines, metadata keys), and what cannot be made out. It goes by types and headers: that they
    tell the truth, verify proves.

    For a nightly job:

        encrypted-serde scan app.db --fail-on plaintext,legacy,old-key

    Exit codes: 0 done, 1 the database failed, 2 wrong usage, 3 there is something of what --fail-on names, a row could not be
    read, or there is nothing at all, 130 interrupted.
    """
    kinds = _kinds(fail_on)
    given = _current_keys(current_key or [])
    with failures():
        current = None if given else _current_provider(keys)
    if "old-key" in kinds and fail_on != ANY and not given and current is None:
        raise typer.BadParameter("old-key needs --current-key, --keys or ENCRYPTED_SERDE_KEY", param_hint="--fail-on")
    selection = rows.selection()
    from ..maintenance.scan import scan as scan_database
    from .shown import finish, running, show_problems, show_tally

    with running("scan") as listener:
        found = scan_database(
            database,
            selection=selection,
            readable_metadata=readable_metadata or (),
            current_keys=given,
            keys=current,
            by_context=by_context,
            progress=listener,
        )
    problems = found.problems()
    if not ending.as_json:
        show_tally(found, by_key=by_key)
        show_problems(found, problems)
    finish(found, ending, [f"{problems[kind]:,} values are {kind}" for kind in kinds if problems[kind]])


def _kinds(fail_on: str | None) -> tuple[str, ...]:
    """Returns the kinds that ``--fail-on`` names. A name that is empty, as of an unset variable, is refused."""
    if fail_on in (None, ANY):
        return PROBLEMS if fail_on else ()
    kinds = tuple(kind.strip() for kind in (fail_on or "").split(","))
    if unknown := sorted({*kinds} - {*PROBLEMS}):
        named = ", ".join(unknown) or "a kind is empty"
        raise typer.BadParameter(f"{named}: choose of {', '.join(PROBLEMS)}, or {ANY}", param_hint="--fail-on")
    return kinds


def _current_keys(given: list[str]) -> list[str]:
    for key_id in given:
        if not re.fullmatch("[0-9a-fA-F]{12,64}", key_id):
            raise typer.BadParameter(
                "an id of a key is 64 hex digits, or the first 12 of them; encrypted-serde key-id prints it",
                param_hint="--current-key",
            )
    return [key_id.lower() for key_id in given]


def _current_provider(keys: Keys) -> KeyProvider | None:
    is_set = keys.keys is not None or any(os.environ.get(name) for name in _KEY_VARIABLES)
    return keys.provider() if is_set else None
