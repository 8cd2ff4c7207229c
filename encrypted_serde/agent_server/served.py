"""What the server's own modules say, where they are loaded: whose request is served, for which user, which keys it hides.

Nothing here imports the server. Outside of one every answer is empty.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..audit import AuditEvent, AuditListener

_KEYS = (
    ("langgraph_api.schema", "NEVER_ENCRYPT_FIELDS_GLOBAL"),  # up to 0.17
    ("langgraph_runtime_inmem.encryption", "NEVER_ENCRYPT_FIELDS"),  # from 0.18 on
)
_PLACES = (("langgraph_api.schema", "NEVER_ENCRYPT_PATHS"), ("langgraph_runtime_inmem.encryption", "NEVER_ENCRYPT_PATHS"))
_LONGEST_ACTOR = 1024


def hidden_keys() -> frozenset[str]:
    """Returns the keys that the release that runs never shows to an encrypt handler and always to a decrypt handler."""
    return frozenset().union(*(_loaded(module, name) or () for module, name in _KEYS))


def hidden_places() -> frozenset[tuple[str, str, str]]:
    """Returns the same for keys that are hidden in one place only: model, field, key."""
    return frozenset().union(*(_split(_loaded(module, name) or frozenset()) for module, name in _PLACES))


def served_metadata() -> Mapping[str, Any] | None:
    """Returns the context that the server carries for the request or run that it serves at this moment, not checked.

    Returns:
        None outside of a server, and for what the server does by itself: sweeping old threads, starting crons.
    """
    carried = _loaded("langgraph_api.encryption.context", "encryption_context")
    return carried.get() if carried else None


def is_in_memory() -> bool:
    """Says whether this is the server that keeps its rows in memory, ``langgraph dev``."""
    return "langgraph_runtime_inmem.ops" in sys.modules


def served_user() -> str | None:
    """Returns the identity of the user whose request or run is served; None where there is none."""
    authenticated = _loaded("langgraph_api.utils", "AuthContext")
    context = authenticated.get() if authenticated else None
    try:
        identity = context.user.identity if context else None
    except NotImplementedError:  # Starlette's own users have none
        return None
    return identity[:_LONGEST_ACTOR] if isinstance(identity, str) and identity else None


def named(listener: AuditListener | None) -> AuditListener | None:
    """Makes a listener that tells another one who is at work: the user whose request or run is served."""
    if listener is None or not callable(listener):
        return listener
    told = listener

    def tell(event: AuditEvent, /) -> None:
        told(event._replace(actor=served_user()) if event.actor is None else event)

    return tell


@lru_cache(maxsize=8)
def _split(paths: frozenset[str]) -> frozenset[tuple[str, str, str]]:
    return frozenset((parts[0], parts[-2], parts[-1]) for parts in (path.split(".") for path in paths))


def _loaded(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)
