"""The pytest plugin: `assert_sealed` in the tests of somebody else's project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGIN = ("-p", "encrypted_serde.testing", "-p", "no:cacheprovider")
pytest_plugins = ["pytester"]

[PAGE_TEST] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
SEALED = "EncryptedSaver(inner, Key.generate())"
HELPERS = """
import sqlite3

from encrypted_serde import EncryptedSerializer


def empty(path):
    connection = sqlite3.connect(path)
    for table in ("checkpoints", "writes"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()
    return path


def with_serde(inner):
    return SqliteSaver(inner.conn, serde=EncryptedSerializer(Key.generate()))
"""


def test_it_passes_or_fails_and_says_why(pytester: pytest.Pytester) -> None:
    serde_alone = PAGE_TEST.replace(SEALED, "with_serde(inner)") + HELPERS
    pytester.makepyfile(
        test_as_on_the_page=PAGE_TEST,
        test_no_encryption=PAGE_TEST.replace(SEALED, "inner"),
        test_nothing_stored=PAGE_TEST.replace("assert_sealed(path)", "assert_sealed(empty(path))") + HELPERS,
        test_serde_alone=serde_alone,
        test_serde_accepted=PAGE_TEST.replace(SEALED, "with_serde(inner)").replace("(path)\n", "(path, unbound=True)\n")
        + HELPERS,
    )
    result = pytester.runpytest_subprocess(*PLUGIN, "-rfp", "--tb=line")
    shown = result.stdout.str()
    assert set(re.findall(r"^PASSED (\w+)\.py", shown, re.MULTILINE)) == {"test_as_on_the_page", "test_serde_accepted"}
    assert len(re.findall(r"^FAILED (\w+)\.py", shown, re.MULTILINE)) == 3
    for said in ("values are not encrypted", "there is no row", "but not tied to their row"):
        assert said in shown
    assert "DE89" not in shown


def test_loading_it_imports_nothing_of_langgraph(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_it():
            assert not {"langgraph", "langchain_core"} & {name.partition(".")[0] for name in sys.modules}
    """)
    result = pytester.runpytest_subprocess(*PLUGIN, "-p", "no:anyio", "-p", "no:langsmith_plugin")
    assert result.parseoutcomes() == {"passed": 1}
