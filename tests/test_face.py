"""`import encrypted_serde`: names that are loaded when they are asked for, and nothing before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import encrypted_serde

PACKAGE = Path(encrypted_serde.__file__).parent


def modules_after(code: str) -> set[str]:
    """Runs code in a new interpreter and gives the names of everything that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", encrypted_serde.__all__)
def test_every_public_name_is_there_and_is_listed(name: str) -> None:
    assert getattr(encrypted_serde, name).__module__.startswith("encrypted_serde.")
    assert name in dir(encrypted_serde)


def test_every_public_name_has_one_home() -> None:
    errors = {name for name in encrypted_serde.__all__ if hasattr(encrypted_serde.errors, name)}
    assert set(encrypted_serde._HOMES) == set(encrypted_serde.__all__) - errors


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'encrypted_serde' has no attribute 'Kye'"):
        _ = encrypted_serde.Kye


def test_the_face_imports_nothing() -> None:
    ours = {name for name in modules_after("import encrypted_serde") if name.startswith("encrypted_serde")}
    assert ours == {"encrypted_serde"}


@pytest.mark.parametrize("name", ["Key", "Keyring", "Sealer", "encryption_context", "EncryptedSerdeError"])
def test_keys_and_sealer_import_no_langgraph(name: str) -> None:
    imported = modules_after(f"from encrypted_serde import {name}")
    assert {one.partition(".")[0] for one in imported} & {"langgraph", "langchain_core", "ormsgpack", "pydantic"} == set()


@pytest.mark.parametrize("arguments", ["'keygen'", "'--help'"])
def test_a_command_that_needs_no_database_imports_no_langgraph(arguments: str) -> None:
    run = f"import sys, contextlib\nsys.argv = ['encrypted-serde', {arguments}]\nfrom encrypted_serde.__main__ import main"
    imported = modules_after(f"{run}\nwith contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):\n    main()")
    assert {one.partition(".")[0] for one in imported} & {"langgraph", "langchain_core", "psycopg"} == set()


def test_serializer_and_saver_import_no_extra() -> None:
    imported = modules_after("from encrypted_serde import EncryptedSaver, EncryptedSerializer, TenantKeyring")
    extras = {"typer", "rich", "boto3", "google.cloud.kms", "hvac", "opentelemetry", "psycopg", "langgraph_sdk"}
    assert imported & (extras - {"langgraph_sdk"}) == set()  # langgraph imports its own SDK where it is installed


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").read_text() == ""
