"""Starting `tests.maintenance.worker`."""

from __future__ import annotations

from tests.maintenance.forms import NEW_KEY, OLD_KEY
from tests.processes import Worker


def start_worker(*arguments: str) -> Worker:
    """Starts a worker that knows both keys, and whose output is read line by line."""
    keys = {"ENCRYPTED_SERDE_KEY": NEW_KEY.to_text(), "ENCRYPTED_SERDE_DECRYPT_KEYS": OLD_KEY.to_text()}
    return Worker("tests.maintenance.worker", *arguments, **keys)


def finish(worker: Worker) -> tuple[int, str]:
    """Waits for the end, and gives exit code and standard error."""
    code, _, errors = worker.finish()
    return code, errors
