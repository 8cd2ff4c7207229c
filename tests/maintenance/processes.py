"""Starting `tests.maintenance.worker`."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.maintenance.forms import NEW_KEY, OLD_KEY


def start_worker(*arguments: str) -> subprocess.Popen[str]:
    """Starts a worker whose output is read line by line."""
    environ = {
        **os.environ,
        "ENCRYPTED_SERDE_KEY": NEW_KEY.to_text(),
        "ENCRYPTED_SERDE_DECRYPT_KEYS": OLD_KEY.to_text(),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.maintenance.worker", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(worker: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for the end, and gives exit code and standard error."""
    _, errors = worker.communicate(timeout=120)
    return worker.returncode, errors
