"""Whole processes: what an import, or a command, costs from the start of the interpreter to its end."""

from __future__ import annotations

import subprocess
import sys

from .pairs import Sample, run_sample

PROCESSES: dict[str, list[str]] = {
    "EncryptedSerializer": ["-c", "from encrypted_serde import EncryptedSerializer"],
    "EncryptedSaver": ["-c", "from encrypted_serde import EncryptedSaver"],
    "Key": ["-c", "from encrypted_serde import Key"],
    "langgraph's serializer": ["-c", "import langgraph.checkpoint.serde.jsonplus"],
    "langgraph's base": ["-c", "import langgraph.checkpoint.base"],
    "cryptography's HKDF": ["-c", "import cryptography.hazmat.primitives.kdf.hkdf"],
    "keygen": ["-m", "encrypted_serde", "keygen"],
    "--help": ["-m", "encrypted_serde", "--help"],
    "typer": ["-c", "import typer"],
}
"""Arguments of the interpreter, by name."""


def process_sample(name: str) -> Sample:
    """Measures one process of `PROCESSES`."""
    command = [sys.executable, *PROCESSES[name]]
    return run_sample(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True), lambda done: None)
