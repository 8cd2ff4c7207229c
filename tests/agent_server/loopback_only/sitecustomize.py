"""Imported by every Python that starts with this directory on its path: refuses, and writes down, all that leaves loopback."""

import os
import socket
from pathlib import Path

_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")
_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def _check(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host and not host.startswith(_LOCAL):
        with Path(os.environ["EGRESS_LOG"]).open("a", encoding="utf-8") as log:
            log.write(f"{host}\n")
        raise OSError(f"{host} is not loopback")


def connect(self, address):
    if isinstance(address, tuple):
        _check(address[0])
    return _connect(self, address)


def getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
