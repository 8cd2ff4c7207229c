"""Serves the pages on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import uvicorn

from ...errors import ConfigurationError
from ..view import View
from .desk import Desk, summarise
from .guard import Guard
from .pages import Pages

LOOPBACK = "127.0.0.1"


class Server:
    """Serves the pages of one database.

    Args:
        make: Opens the database to look at.
        database: The database, for the summary.
        facts: What every page says: `label`, `server`, `actor`, `reason`, and `keys`, the ids of current keys.
        host: The address to listen at.
        port: The port; 0 for one that is free.

    Raises:
        ConfigurationError: If the address or the port cannot be had.
    """

    def __init__(self, make: Callable[[], View], database: str, facts: Mapping[str, Any], host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise ConfigurationError(f"cannot listen at {host}, port {port}: {error.strerror}") from None
        self.port = int(self._socket.getsockname()[1])
        self._desk = Desk(make)
        pages = Pages(self._desk, summarise(database, tuple(facts["keys"])), facts)
        self._guard = Guard(pages.application(), self.port, frozenset({host.lower(), socket.gethostname().lower()}))
        shown = f"[{host}]" if ":" in host else LOOPBACK if host == "0.0.0.0" else host  # noqa: S104  # compared, not bound
        self.address = f"http://{shown}:{self.port}/?token={self._guard.token}"
        # No access log: it would name every thread. No server header, no headers of a proxy.
        quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False, "proxy_headers": False}
        self._server = uvicorn.Server(uvicorn.Config(self._guard, lifespan="off", ws="none", **quiet))

    def run(self) -> None:
        """Serves until it is stopped, or Ctrl-C."""
        with closing(self._socket), closing(self._desk):  # also after Ctrl-C, which uvicorn raises again
            self._server.run([self._socket])

    def stop(self) -> None:
        """Stops it, from another thread."""
        self._server.should_exit = True
