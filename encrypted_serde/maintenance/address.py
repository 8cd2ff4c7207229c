"""What a user types for a database: taken apart, so that nothing of it that may be a password is ever printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigurationError

SQLITE, POSTGRES, MYSQL = "sqlite", "postgresql", "mysql"

KNOWN = "the path of a SQLite file, postgresql://, mysql:// or mariadb://"
"""What can be given, for messages."""

_KINDS = {"sqlite": SQLITE, "postgresql": POSTGRES, "postgres": POSTGRES, "mysql": MYSQL, "mariadb": MYSQL}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9]*)(?:\+[A-Za-z0-9_]*)?:(?=//)")
_CONNINFO = re.compile(
    r"(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode|connect_timeout|options|application_name)\s*="
)
_NAMED = re.compile(r"\b(host|dbname)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))")


class Address(NamedTuple):
    """Which database is meant.

    Attributes:
        kind: `SQLITE`, `POSTGRES` or `MYSQL`.
        target: For its driver: a path, a URL or a conninfo string. May hold a password.
        label: What to call it. Holds none.
    """

    kind: str
    target: str
    label: str

    def __repr__(self) -> str:
        return f"<Address {self.label}>"


def parse_address(database: str | Path) -> Address:
    """Understands a path, a URL (also as SQLAlchemy spells it, with a driver) or a libpq conninfo string.

    Raises:
        ConfigurationError: If it is none of them. The message shows none of it but the kind.
    """
    text = str(database).strip()
    if not text:
        raise ConfigurationError(f"no database is named, the text is empty: is the variable set? Give {KNOWN}")
    if isinstance(database, Path) or _exists(text):
        return Address(SQLITE, text, text)
    if match := _URL.match(text):
        kind = _KINDS.get(match[1].lower())
        if kind is None:
            raise ConfigurationError(f"no databases of the kind {match[1]!r} are known; give {KNOWN}")
        rest = text[match.end() :]
        return _of_sqlite_url(rest) if kind == SQLITE else _of_server_url(kind, rest)
    if _CONNINFO.match(text):
        names = {name: quoted or plain for name, quoted, plain in _NAMED.findall(text)}
        return Address(POSTGRES, text, f"postgresql://{names.get('host', '')}/{names.get('dbname', '')}")
    if re.search("[:=@]|passw|pwd", text, re.IGNORECASE):
        raise ConfigurationError(f"no such file, nor a known URL (it is not shown: it may hold a password); give {KNOWN}")
    return Address(SQLITE, text, text)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a file name may be; U+0000
        return False


def _of_sqlite_url(rest: str) -> Address:
    path, _, options = rest[3:].partition("?") if rest.startswith("///") else ("", "", "")
    if options:
        raise ConfigurationError("options of a sqlite:/// URL are not understood: leave out what begins with '?'")
    if not path or path == ":memory:":
        raise ConfigurationError("sqlite:/// is followed by the path of a file: sqlite:///app.db, sqlite:////srv/app.db")
    return Address(SQLITE, path, path)


def _of_server_url(kind: str, rest: str) -> Address:
    try:
        parts = urlsplit(f"{kind}:{rest}")
        port = parts.port
    except ValueError:  # its text holds the port, which may be a part of the password
        raise _unreadable() from None
    if parts.netloc.count("@") > 1 or "@" in parts.path + parts.query + parts.fragment:
        raise _unreadable()
    return Address(kind, f"{kind}:{rest}", f"{kind}://{_host(parts, port)}{parts.path or '/'}")


def _host(parts: SplitResult, port: int | None) -> str:
    host = parts.netloc.rpartition("@")[2]
    return host if port is None or host else f":{port}"


def _unreadable() -> ConfigurationError:
    return ConfigurationError("the URL cannot be read; write characters like @ : / ? # of a password as %40 %3A %2F %3F %23")
