"""``encrypted-serde prove-erased``: a thin layer over `maintenance.erasure.prove_erased`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .exits import failures
from .options import Ending, Keys, KeysAt, ReadableMetadata, Texts, repeated


def prove_erased(
    database: Annotated[
        str, typer.Argument(metavar="DATABASE", help="As for scan: a SQLite file or a URL. It may be a restored backup.")
    ],
    *,
    key_id: Annotated[Texts, repeated("HEX", "Id of a destroyed key, 64 hex digits.")] = None,
    erasure: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The record of an erasure, as JSON: erase(...).as_dict(). May be repeated."),
    ] = None,
    keys: KeysAt = None,
    readable_metadata: ReadableMetadata = None,
    ending: Ending,
) -> None:
    """Shows that keys are destroyed and nothing can be read.

    That is nothing under them, nor beside what is under them. The application's own keys are asked (--keys): its key store is
    looked through for every one of the keys, and for each value its key is asked for. Only KeyErased passes. What stays
    readable is counted, and is an objection: metadata keys, copies of fields, what we did not seal in the same threads,
    vectors. The module of --keys is imported from the current directory.

    For example:

        encrypted-serde prove-erased app.db --erasure erasure.json --keys tenant_keys:keys --report evidence.json

    Exit codes: 0 shown, 1 the database, a key or an option failed, 2 wrong usage, 3 a value can be read, a row could not be
    looked at, or there is nothing at all, 130 interrupted.
    """
    from ..maintenance.erasure import prove_erased as prove
    from .shown import finish, running, show_tally

    with failures():
        ids = [_key_id(text, "--key-id") for text in key_id or []]
        ids += [one for file in erasure or [] for one in _of_record(file)]
        provider = Keys(keys).provider()
    with running("prove-erased") as listener:
        metadata, empty = readable_metadata or (), ending.allow_empty
        proof = prove(database, provider, ids, readable_metadata=metadata, allow_empty=empty, progress=listener)
    if not ending.as_json:
        show_tally(proof)
        print(f"asked: {proof.key_store}; {', '.join(proof.key_services)}")
        for name, number in proof.values.items():
            print(f"{number:,} values under key {name[:12]}")
        for outcome, number in proof.outcomes.items():
            print(f"{number:,} of them: {outcome}")
        for each in proof.not_compared:
            print(f"not compared: {each}")
    finish(proof, ending, passed="OK: these keys are erased, and no value under them can be read")


def _of_record(file: Path) -> list[bytes]:
    """Reads the ids of a record: all that are void, which are those that it destroyed and those of before."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        texts = {*record["tombstones"], *record["key_ids"]}
    except (ValueError, TypeError, KeyError):
        raise ConfigurationError("--erasure: the file is not the record of an erasure") from None
    return [_key_id(text, "--erasure") for text in sorted(texts)]


def _key_id(text: object, option: str) -> bytes:
    try:
        key_id = bytes.fromhex(str(text))
    except ValueError:
        key_id = b""
    if len(key_id) != 32:
        raise ConfigurationError(f"{option}: a key id is 64 hex digits")
    return key_id
