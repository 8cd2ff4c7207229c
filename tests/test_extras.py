"""Where an extra is not installed, what needs it says which one to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in {absent!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
{code}
"""

AWS = "from encrypted_serde.kms.aws import AwsKeyWrapper; AwsKeyWrapper('alias/key')"
GCP = "from encrypted_serde.kms.gcp import GoogleKeyWrapper; GoogleKeyWrapper('projects/p/locations/l/keyRings/r/cryptoKeys/k')"
AZURE = "from encrypted_serde.kms.azure import AzureKeyWrapper; AzureKeyWrapper('https://v/keys/k/1')"
VAULT = "from encrypted_serde.kms.vault import VaultKeyWrapper; VaultKeyWrapper('key')"
OTEL = "from encrypted_serde.audit import OpenTelemetryListener; OpenTelemetryListener()"
ZSTD = "from encrypted_serde import Key, EncryptedSerializer; EncryptedSerializer(Key.generate(), compression='zstd')"
POSTGRES = "from encrypted_serde.maintenance import scan; scan('postgresql://localhost/nothing')"
SERVER = "from encrypted_serde.agent_server import make_encryption"
CLI = "from encrypted_serde.__main__ import main; main()"

EXTRAS = [
    ("cli", ("typer", "rich"), CLI),
    ("cli", ("rich",), CLI),
    ("aws", ("boto3", "botocore"), AWS),
    ("gcp", ("google.cloud",), GCP),
    ("azure", ("azure.keyvault",), AZURE),
    ("azure", ("azure.identity",), AZURE),
    ("vault", ("hvac",), VAULT),
    ("otel", ("opentelemetry",), OTEL),
    ("zstd", ("backports.zstd", "compression"), ZSTD),
    ("postgres", ("psycopg",), POSTGRES),
    ("agent-server", ("langgraph_sdk",), SERVER),
]


def last_words(absent: tuple[str, ...], code: str) -> str:
    """Runs code in an interpreter where some modules are absent, and gives the last line of what it complains about."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=absent, code=code)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(("extra", "absent", "code"), EXTRAS, ids=[f"{extra}: {absent[0]}" for extra, absent, _ in EXTRAS])
def test_a_missing_extra_names_itself(extra: str, absent: tuple[str, ...], code: str) -> None:
    said = last_words(absent, code)
    assert f"encrypted-serde[{extra}]" in said, said


@pytest.mark.parametrize("name", ["EncryptedSaver", "EncryptedSerializer", "TenantKeyring", "LocalKeyWrapper"])
def test_what_needs_no_extra_works_without_any(name: str) -> None:
    everything = tuple(one for _, absent, _ in EXTRAS for one in absent if one != "langgraph_sdk")
    code = WITHOUT.format(absent=everything, code=f"from encrypted_serde import {name}")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
