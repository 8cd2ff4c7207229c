"""Starting a server program, waiting until it answers, and stopping it by its process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.coverage.row import Unavailable

_PATIENCE = 60.0


def program(names: Sequence[str], package: str) -> str:
    """Finds a program on PATH or where Debian puts servers.

    Raises:
        Unavailable: If none of the names is there.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise Unavailable(f"apt-get install {package}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def directory() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="es-coverage-"))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def running(command: Sequence[object], base: Path, answers: Callable[[], object]) -> Iterator[None]:
    """Runs a server until the end of the block.

    Args:
        command: The program and its arguments.
        base: Where its output goes.
        answers: Raises an exception while the server does not answer yet.

    Raises:
        Unavailable: If it ends, or never answers.
    """
    log = base / "log"
    with log.open("wb") as output:
        server = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")
    try:
        _wait(server, answers, log)
        yield
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], answers: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            answers()
        except Exception as error:  # noqa: BLE001  # every client has errors of its own
            if server.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(encoding="utf-8", errors="replace")[-800:]
                raise Unavailable(f"{server.args[0]} does not answer: {error!r}: {text}") from None
            time.sleep(0.05)
        else:
            return
