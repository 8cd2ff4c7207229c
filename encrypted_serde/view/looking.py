"""Who looks at what, and why: every look is an audit event before anything of it is shown."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..audit import AuditEvent, AuditListener
from ..errors import ConfigurationError
from .model import Refused

REQUIRE_REASON = "ENCRYPTED_SERDE_REQUIRE_REASON"
"""The variable that, set to 1, makes a reason required."""

_MAX_WORDS = 1024


class Looker:
    """Somebody who looks.

    Args:
        actor: Who; the name of the account by default.
        reason: Why.
        listener: Is told of every look.

    Raises:
        ConfigurationError: If the deployment requires a reason and there is none, or one of the texts is too long.
        TypeError: If one is not text.
    """

    def __init__(self, actor: str | None = None, reason: str | None = None, listener: AuditListener | None = None) -> None:
        for name, text in (("actor", actor), ("reason", reason)):
            if not isinstance(text, (str, type(None))):
                raise TypeError(f"{name} is a str, not {type(text).__name__}")
            if text is not None and len(text) > _MAX_WORDS:
                raise ConfigurationError(f"{name} is at most {_MAX_WORDS} characters long")
        if os.environ.get(REQUIRE_REASON, "") not in ("", "0") and not (reason or "").strip():
            raise ConfigurationError(f"a reason is required here ({REQUIRE_REASON}): say why you look with --reason")
        self.actor = actor or _account()
        self.reason = reason
        self._listener = listener

    def look(self, place: Mapping[str, str], refused: Refused | None = None, context: Mapping[str, str] | None = None) -> None:
        """Tells the listener what is looked at. Whatever it raises keeps the look from being shown.

        Args:
            place: ``thread`` and ``checkpoint``, or ``namespace`` and ``key``, or the ``list`` that is shown.
            refused: Why it stays hidden, if it does.
            context: The encryption context of what is shown.
        """
        if self._listener is not None:
            outcome = "ok" if refused is None else refused.error
            event = AuditEvent("look", context=context, outcome=outcome, actor=self.actor, place=place, reason=self.reason)
            self._listener(event)


class AuditFile:
    """Appends every event to a file, one JSON object a line. A new file is readable by its owner alone.

    Args:
        path: The file.
        database: Which database is looked at, without a password.
    """

    def __init__(self, path: str | Path, database: str = "") -> None:
        self._path, self._database = Path(path), database

    def __call__(self, event: AuditEvent, /) -> None:
        """Writes one line.

        Raises:
            OSError: If it cannot be written.
        """
        fields: dict[str, Any] = {name: value for name, value in event._asdict().items() if value is not None}
        for name in fields.keys() & {"place", "context"}:
            fields[name] = dict(fields[name])
        if event.key_id is not None:
            fields["key_id"] = event.key_id.hex()
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "database": self._database, **fields})
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(line + "\n")


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many containers
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
