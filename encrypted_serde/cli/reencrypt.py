"""``encrypted-serde reencrypt``: a thin layer over `maintenance.reencrypt.reencrypt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .exits import failures
from .options import Allowed, Database, Ending, Keys, ReadableMetadata, Rows, Text, Texts, context_of, flag, option, repeated

if TYPE_CHECKING:
    from ..maintenance import Reencryption


def reencrypt(
    database: Database,
    *,
    to: Annotated[
        Text,
        typer.Option(
            metavar="FORM",
            help="saver (the default): as EncryptedSaver writes, bound to its place. serde: as serde=EncryptedSerializer does.",
        ),
    ] = None,
    decrypt: Annotated[bool, flag("--decrypt", "Leave: bring everything back to plaintext.")] = False,
    allowed: Allowed,
    cipher: Annotated[Text, option("NAME", "Seal with this cipher; by default each keeps its own.")] = None,
    compression: Annotated[Text, option("NAME", "zstd or none; by default each value stays as it is.")] = None,
    context: Annotated[Texts, repeated("NAME=VALUE", "Encryption context of values that have none.")] = None,
    readable_metadata: ReadableMetadata = None,
    searchable_metadata: Annotated[Texts, repeated("KEY", "A metadata key that gets a search token.")] = None,
    readable_field: Annotated[Texts, repeated("FIELD", "A field of a store's items that gets a readable copy.")] = None,
    searchable_field: Annotated[Texts, repeated("FIELD", "A field of a store's items that gets a search token.")] = None,
    rows: Rows,
    dry_run: Annotated[bool, flag("--dry-run", "Do everything but write.")] = False,
    rate: Annotated[float | None, option("ROWS", "Rewrite so many rows a second at most.")] = None,
    keys: Keys,
    ending: Ending,
) -> None:
    """Seals anew what is not sealed as it should be.

    The database may be in use meanwhile. Keys are those of --keys, or of
    ENCRYPTED_SERDE_KEY and ENCRYPTED_SERDE_DECRYPT_KEYS (with _FILE: a file, with _COMMAND: a command that prints them).
    Everything comes under the first. By itself it admits nothing: plaintext, unbound values and those of langgraph's own
    serializer are failures unless --allow-plaintext, --allow-unbound, --legacy-key-file say so. With such a switch forged rows
    become authentic.

    Small transactions, each row only where it still is what was read. It can be interrupted at any moment and run again (to
    --decrypt on Postgres and MySQL with --allow-plaintext), and several may work at one server. A value that does not open is
    reported and left as it is.

    For example:

        encrypted-serde reencrypt app.db --dry-run

        encrypted-serde reencrypt postgresql://db/app --rate 500

    Exit codes: 0 done, 1 the database, a key or an option failed, 2 wrong usage, 3 rows are left that could not be converted,
    or there is nothing at all, 130 interrupted.
    """
    if to not in (None, "saver", "serde"):
        raise typer.BadParameter("choose saver or serde", param_hint="--to")
    if decrypt and to:
        raise typer.BadParameter("it goes to plaintext, and to no other form", param_hint="--decrypt")
    target = "plaintext" if decrypt else to or "saver"
    selection = rows.selection()
    from ..maintenance.reencrypt import reencrypt as reencrypt_database
    from .shown import finish, running, show_admitted, show_rate, show_tally

    with failures():
        provider = keys.provider()
    with running("reencrypt") as listener:
        done = reencrypt_database(
            database,
            provider,
            target=target,
            cipher=cipher,
            compression=compression,
            **allowed.options(),
            context=context_of(context or []),
            readable_metadata=readable_metadata or (),
            searchable_metadata=searchable_metadata or (),
            readable_fields=readable_field or (),
            searchable_fields=searchable_field or (),
            selection=selection,
            dry_run=dry_run,
            rate=rate,
            progress=listener,
        )
    if not ending.as_json:
        show_tally(done)
        show_admitted(done.admitted)
        would = "would be " if dry_run else ""
        show_rate(done, f"{done.rewritten:,} rows {would}rewritten, {done.overtaken:,} changed by others meanwhile, all read")
        if not done.left and not done.failed and not done.is_empty:
            print(f"done: {_result(done, target)}")
    finish(done, ending)


def _result(done: Reencryption, target: str) -> str:
    rows = "every row that was selected" if done.options["threads"] or done.options["partition"] else "every row"
    if target == "plaintext":
        return f"{rows} is in plaintext"
    key = f"key {done.current_keys[0][:12]}" if done.current_keys else "the current key of its context"
    return f"{rows} is encrypted under {key}" + ("" if target == "saver" else ", as serde=EncryptedSerializer does it")
