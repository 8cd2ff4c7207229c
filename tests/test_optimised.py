"""``python -O`` removes assert statements. It must not remove a check."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import encrypted_serde

TESTS = Path(__file__).parent
MODULES = ["bad_input", "keys", "context", "encoding", "compression", "legacy", "serializer", "sealer"]


# rule T-16
def test_bad_input_is_refused_just_as_well_under_python_o():
    command = [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestConfigWarning"]
    done = subprocess.run(
        [*command, *[f"tests/test_{name}.py" for name in MODULES]],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(passed[1]) > 500
    assert "failed" not in done.stdout


def test_the_package_has_no_assert_statement():
    sources = list(Path(encrypted_serde.__file__).parent.rglob("*.py"))
    assert len(sources) > 10
    assert [path.name for path in sources if re.search(r"^\s*assert\b", path.read_text(encoding="utf-8"), re.MULTILINE)] == []
