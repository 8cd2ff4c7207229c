"""Processes that tests start in crowds and kill. One process imports everything once, and each worker is a fork of it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection

FORKS = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
if hasattr(os, "fork"):
    FORKS.set_forkserver_preload(["tests.anchor.worker", "tests.maintenance.worker", "tests.tenants.worker"])


class Worker:
    """A process that runs the function ``main`` of a module with arguments, and variables of the environment of its own."""

    def __init__(self, module: str, *arguments: str, **environ: str) -> None:
        out, child_out = FORKS.Pipe(duplex=False)
        err, child_err = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_run, args=(module, arguments, environ, child_out, child_err))
        self._process.start()
        child_out.close()
        child_err.close()
        self.stdout, self._stderr = (os.fdopen(os.dup(pipe.fileno())) for pipe in (out, err))

    @property
    def runs(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()

    def finish(self) -> tuple[int, str, str]:
        """Waits for the end, and gives the exit code and what is left of standard output and standard error."""
        with self.stdout, self._stderr:
            texts = self.stdout.read(), self._stderr.read()
        self._process.join(120)
        return self._process.exitcode, *texts


def _run(module: str, arguments: tuple[str, ...], environ: dict[str, str], out: Connection, err: Connection) -> None:
    os.environ.update(environ)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    sys.exit(importlib.import_module(module).main(*arguments))
