"""``encrypted-serde verify``: a thin layer over `maintenance.verify.verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import failures
from .options import Allowed, AnchorAt, Contexts, Database, Ending, Keys, Rows, Text, anchor_of, context_of, option


def verify(
    database: Database,
    *,
    rows: Rows,
    since: Annotated[
        Text, option("TIME", "Only checkpoints since then: 2026-01-31, 2026-01-31T06:00+00:00, or 7d ago.")
    ] = None,
    sample: Annotated[Text, option("PERCENT", "About this part of the rows, such as 1%.")] = None,
    context: Contexts = None,
    allowed: Allowed,
    anchor: AnchorAt = None,
    keys: Keys,
    ending: Ending,
) -> None:
    """Opens every value where it is stored.

    That is every value, manifest, pending write and item. No object is built of them. Keys are those of --keys, or of
    ENCRYPTED_SERDE_KEY and ENCRYPTED_SERDE_DECRYPT_KEYS (with _FILE: a file, with _COMMAND: a command that prints them).
    Compared are also what is readable with the manifests, that listed channels have their values, and that no parent is missing
    from the middle of a thread; with --anchor, that everything is there. Every failure is reported with its primary key and the
    class of the error.

    For example:

        encrypted-serde verify app.db --report evidence.json

        encrypted-serde verify postgresql://db/app --partition 3/16

    Exit codes: 0 everything opened, 1 the database, a key or an option failed, 2 wrong usage, 3 something failed, or there is
    nothing at all, 130 interrupted.
    """
    selection = rows.selection(since, sample)
    if anchor and (any(rows) or since or sample):
        raise typer.BadParameter("what is missing can be told of the whole database alone", param_hint="--anchor")
    from ..maintenance.verify import verify as verify_database
    from .shown import finish, running, show_admitted, show_rate, show_tally

    with failures():
        provider = keys.provider()
    with running("verify") as listener, anchor_of(anchor, provider) as client:
        found = verify_database(
            database,
            provider,
            anchor=client,
            selection=selection,
            context=context_of(context) if context else None,
            **allowed.options(),
            progress=listener,
        )
    if not ending.as_json:
        show_tally(found)
        show_admitted(found.admitted)
        show_rate(found, f"{found.opened:,} rows opened, {found.failed:,} failed,")
        if anchor:
            print(f"anchor: {found.incomplete or 'no'} findings")
    finish(found, ending, passed="" if found.admitted else "OK: every value that was read opens where it is stored")
