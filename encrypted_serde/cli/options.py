"""The options that several commands have, each written once, in groups that belong together, and what is read from them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..core.keys import Key, KeyProvider, Keyring, as_key_provider
from ..errors import ConfigurationError
from .exits import EXIT_FOUND, writable

if TYPE_CHECKING:
    from ..maintenance import Selection

_KEYS_FORM = "--keys: expected MODULE:NAME of a key or a key provider, such as tenant_keys:keys"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Text = str | None
Texts = list[str] | None
Paths = list[Path] | None


def option(metavar: str, text: str) -> Any:
    """Returns an option that takes a value."""
    return typer.Option(metavar=metavar, help=text)


def repeated(metavar: str, text: str) -> Any:
    """Returns an option that may be given several times."""
    return option(metavar, f"{text} May be repeated.")


def flag(name: str, text: str) -> Any:
    """Returns an option that takes no value."""
    return typer.Option(name, help=text)


Database = Annotated[
    str,
    typer.Argument(
        metavar="DATABASE",
        help="A SQLite file, or a URL: postgresql://, mysql://, mariadb://, sqlite:///. A conninfo string of Postgres is "
        "understood too. Passwords belong into PGPASSWORD or a password file.",
    ),
]
AnchorAt = Annotated[Text, option("ANCHOR", "The anchor of the database: a file, or the URL of a Postgres database.")]
AsJson = Annotated[bool, flag("--json", "Print the report as JSON.")]
Contexts = Annotated[Texts, repeated("NAME=VALUE", "The encryption context, a pair at a time.")]
DatabaseName = Annotated[
    Text, option("NAME", "What Key.for_database was given for this database. Default: ENCRYPTED_SERDE_DATABASE.")
]
KeysAt = Annotated[
    Text,
    option(
        "MODULE:NAME",
        "The key provider of the application, such as tenant_keys:keys, imported from the current directory. Default: "
        "the keys of the environment.",
    ),
]
Plaintext = Annotated[
    bool, flag("--allow-plaintext", "Take values that were never encrypted for what they seem, but never pickle.")
]
ReadableMetadata = Annotated[Texts, repeated("KEY", "A metadata key that is readable on purpose.")]
Unbound = Annotated[bool, flag("--allow-unbound", "Take values of serde=EncryptedSerializer, whatever row they are in.")]


class Keys(NamedTuple):
    """Which keys a command works with: those of the application, or of the environment."""

    keys: KeysAt = None
    database_name: DatabaseName = None

    def provider(self) -> KeyProvider:
        """Returns the keys.

        Raises:
            ConfigurationError: If there are none, or the application's cannot be imported.
        """
        if self.keys is None:
            return Keyring.from_env(database=self.database_name)
        if self.database_name is not None:  # deriving twice would seal rows under keys that the application does not have
            raise ConfigurationError("--database-name is for keys of the environment: the keys of --keys are used as they are")
        return as_key_provider(_imported(self.keys))


class Rows(NamedTuple):
    """Which rows are meant."""

    thread: Annotated[Texts, repeated("ID", "Only this thread.")] = None
    partition: Annotated[
        Text, option("N/M", "Only part N of M of the threads (of items: namespaces), so that M processes share the work.")
    ] = None

    def selection(self, since: str | None = None, sample: str | None = None) -> Selection:
        """Reads which rows are meant, and of these perhaps only new ones, or a share."""
        from ..maintenance.selection import Selection

        parts = None
        if self.partition is not None:
            match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.partition)
            if not match or not 1 <= int(match[1]) <= int(match[2]):
                raise typer.BadParameter("N/M, counted from 1, such as 3/16", param_hint="--partition")
            parts = (int(match[1]), int(match[2]))
        moment = None if since is None else moment_of(since, "--since")
        return Selection(tuple(self.thread or ()), moment, _share_of(sample), parts)


class Allowed(NamedTuple):
    """What is taken although nothing proves it."""

    allow_plaintext: Plaintext = False
    allow_unbound: Unbound = False
    legacy_key_file: Annotated[
        Paths, repeated("FILE", "Take values of langgraph's own serializer, under the raw AES key in this file.")
    ] = None

    def options(self) -> dict[str, Any]:
        """Returns these options as `verify` and `reencrypt` take them. Reads the files of raw keys."""
        legacy_keys = [file.read_bytes().rstrip(b"\r\n") for file in self.legacy_key_file or ()]
        return {"allow_plaintext": self.allow_plaintext, "allow_unbound": self.allow_unbound, "legacy_keys": legacy_keys}


class Ending(NamedTuple):
    """What becomes of the report, and whether finding nothing is fine."""

    report: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=writable, help="Write the report to a file, as evidence (JSON).")
    ] = None
    as_json: AsJson = False
    allow_empty: Annotated[bool, flag("--allow-empty", f"Finding no row at all is fine, not exit code {EXIT_FOUND}.")] = False


def _imported(name: str) -> Key | KeyProvider:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError(_KEYS_FORM)
    sys.path.insert(0, "")  # the application's own modules, as `python -m` finds them
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001  # whatever the module raises; its text may hold the password of a database
        reason = f"no module {error.name}" if isinstance(error, ModuleNotFoundError) else type(error).__name__
        raise ConfigurationError(f"--keys: cannot import {name!r} ({reason})") from None
    if isinstance(found, type) or not isinstance(found, (Key, KeyProvider)):
        raise ConfigurationError(_KEYS_FORM)
    return found


def _share_of(sample: str | None) -> float:
    if sample is None:
        return 1.0
    if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)%", sample)) or not 0 < float(match[1]) <= 100:
        raise typer.BadParameter("a percentage above 0, such as 1% or 0.5%", param_hint="--sample")
    return float(match[1]) / 100


def moment_of(text: str, option: str) -> datetime:
    """Reads a time: so long ago, or a date, in UTC where it says nothing else."""
    try:
        if match := re.fullmatch(r"(\d{1,6})([mhdw])(?: ago)?", text):
            return datetime.now(timezone.utc) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter("so long ago (30d, 12h, 90m, 4w) or a date (2026-01-31)", param_hint=option) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def context_of(given: list[str]) -> Mapping[str, str]:
    """Reads ``NAME=VALUE`` texts."""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter("NAME=VALUE, such as tenant_id=acme", param_hint="--context")
        pairs[name] = value
    return pairs


@contextmanager
def anchor_of(anchor: str | None, keys: KeyProvider | None, *, writes: bool = False) -> Iterator[Any]:
    """Opens an anchor, if there is one, and returns what it is asked through."""
    if anchor is None or keys is None:
        yield None
        return
    from ..anchor.client import AnchorClient
    from .anchor import open_anchor

    with closing(open_anchor(anchor)) as opened:
        yield AnchorClient(opened, keys, writes=writes)
