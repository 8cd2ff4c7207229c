"""``encrypted-serde view``: what is sealed, in the browser."""

from __future__ import annotations

import sys
import webbrowser
from contextlib import suppress
from typing import Annotated, Any

import typer

from ..core.keys import Keyring
from ..errors import ConfigurationError
from .exits import failures
from .looking import Looking, require_right_keys
from .options import Database, flag, option


def view(
    database: Database,
    *,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Default: a free one.")] = 0,
    host: Annotated[str, option("H", "Address to listen at. Others than loopback show plaintext to a network.")] = "127.0.0.1",
    no_browser: Annotated[bool, flag("--no-browser", "Print the address, and open no browser.")] = False,
    looking: Looking,
) -> None:
    """Shows threads, states and items in the browser.

    It changes nothing, runs until Ctrl-C and needs the extra view. It serves this machine alone, at an address that opens once.
    Nothing is loaded from anywhere else, and the browser keeps nothing. What is shown, verified and audited is what show does.

    For example:

        encrypted-serde view app.db --reason "ticket 4711" --audit looks.jsonl

        encrypted-serde view postgresql://db/app --port 8765 --no-browser --mask email,iban

    Exit codes: 0 stopped, 1 the database, a key, the port or an option failed, 2 wrong usage.
    """
    with failures():
        with looking.open(database) as opened:
            require_right_keys([line.refused for line in opened.threads(limit=5).lines])
            namespaces = [] if opened.has_threads else opened.namespaces(limit=1)
            require_right_keys([item.refused for each in namespaces for item in opened.items(each.place, limit=5)])
            facts = {
                "label": opened.label,
                "server": opened.server,
                "actor": opened.looker.actor,
                "reason": opened.looker.reason or "",
                "is_audited": looking.audit is not None,
                "keys": [provider.primary.id.hex()] if isinstance(provider := looking.keys.provider(), Keyring) else [],
            }
        server = _server()(lambda: looking.open(database), database, facts, host, port)
    print(f"{server.address}\nOpens once. Ctrl-C stops it.", flush=True)
    if host not in ("127.0.0.1", "::1", "localhost"):
        print("encrypted-serde: others on the network can see these pages go by: they are not encrypted", file=sys.stderr)
    if not no_browser:
        webbrowser.open(server.address)
    with suppress(KeyboardInterrupt):  # how it is stopped
        server.run()


def _server() -> Any:
    try:
        from ..view.web.serving import Server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "jinja2", "markupsafe"):
            raise
        raise ConfigurationError("the pages need an extra; install it with: pip install 'encrypted-serde[cli,view]'") from None
    return Server
