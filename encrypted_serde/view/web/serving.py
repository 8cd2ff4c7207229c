"""Serves the pages on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import uvicorn

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
        OSError: If the port cannot be had.
    """

    def __init__(self, make: Callable[[], View], database: str, facts: Mapping[str, Any], host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self.port = int(self._socket.getsockname()[1])
        self._desk = Desk(make)
        pages = Pages(self._desk, summarise(database, tuple(facts["keys"])), facts)
        self._guard = Guard(pages.application(), self.port, frozenset({host.lower(), socket.gethostname().lower()}))
        shown = f"[{host}]" if ":" in host else LOOPBACK if host == "0.0.0.0" else host  # noqa: S104  # compared, not bound
        self.address = f"http://{shown}:{self.port}/?token={self._guard.token}"
        # No access log: it would name every thread. No server header, no headers of a proxy.
        config = uvicorn.Config(
            self._guard, log_level="warning", access_log=False, server_header=False, proxy_headers=False, lifespan="off"
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serves until it is stopped, or Ctrl-C."""
        with closing(self._socket):
            self._server.run([self._socket])
        self._desk.close()

    def stop(self) -> None:
        """Stops it, from another thread."""
        self._server.should_exit = True
