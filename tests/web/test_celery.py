"""Celery: a prefork worker runs every task under the context that was passed with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from encrypted_serde import EncryptedSerializer, WrongContext, encryption_context
from encrypted_serde.core.keys import Key

TASKS = '''
"""Tasks that seal something for a tenant."""

import os
from pathlib import Path

from celery import Celery

from encrypted_serde import EncryptedSerializer, Key, encryption_context

here = Path(os.environ["PLACE"])
folder = {"data_folder_in": here / "queue", "data_folder_out": here / "queue", "control_folder": here / "control"}
app = Celery("tasks", broker="filesystem://")
app.conf.update(broker_transport_options=folder, task_ignore_result=True)
serde = EncryptedSerializer(Key.from_text(os.environ["ENCRYPTED_SERDE_KEY"]), required_context=("tenant_id",))


@app.task
def remember(text, name, encryption):
    with encryption_context(encryption):
        type_tag, blob = serde.dumps_typed(text)
    part = here / f"{name}.part"
    part.write_text(f"{type_tag} {blob.hex()}")
    part.rename(here / f"{name}.sealed")


@app.task
def forgetful(text, name):
    try:
        serde.dumps_typed(text)
    except ValueError as error:
        (here / f"{name}.refused").write_text(type(error).__name__)
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "queue").mkdir()
    (tmp_path / "control").mkdir()
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def environment(place: Path, key: Key) -> dict[str, str]:
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PLACE": str(place), "PYTHONPATH": path, "ENCRYPTED_SERDE_KEY": key.to_text()}


@pytest.fixture
def worker(place: Path, environment: dict[str, str]) -> Iterator[None]:
    arguments = ["-A", "tasks", "worker", "-P", "prefork", "-c", "2", "--without-gossip", "--without-mingle", "-l", "WARNING"]
    with (place / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *arguments], cwd=place, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def wait_for(files: list[Path], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.usefixtures("worker")
def test_each_task_seals_under_the_context_that_was_passed_with_it(place: Path, environment: dict[str, str], key: Key) -> None:
    names = [f"t{number}" for number in range(10)]
    calls = [f"tasks.remember.delay('of {name}', '{name}', {{'tenant_id': '{name}'}})" for name in names]
    program = "; ".join(["import tasks", *calls, "tasks.forgetful.delay('of nobody', 'nobody')"])
    subprocess.run([sys.executable, "-c", program], cwd=place, env=environment, check=True, timeout=60)
    wait_for([place / f"{name}.sealed" for name in names] + [place / "nobody.refused"], place / "worker.log")
    assert (place / "nobody.refused").read_text() == "ConfigurationError"
    serde = EncryptedSerializer(key)
    for name in names:
        type_tag, blob = (place / f"{name}.sealed").read_text().split()
        with encryption_context(tenant_id=name):
            assert serde.loads_typed((type_tag, bytes.fromhex(blob))) == f"of {name}"
        with encryption_context(tenant_id="another"), pytest.raises(WrongContext):
            serde.loads_typed((type_tag, bytes.fromhex(blob)))
