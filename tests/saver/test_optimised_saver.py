"""``python -O`` removes assert statements. What the saver refuses, it refuses there too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MODULES = ["refused_values", "refused_writes", "refused_checkpoints", "hostile_rows"]


def test_rows_that_were_edited_are_refused_just_as_well_under_python_o():
    command = [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestConfigWarning"]
    done = subprocess.run(
        [*command, "-k", "Sqlite or not Postgres", *[f"tests/saver/test_{name}.py" for name in MODULES]],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(passed[1]) > 150
    assert "failed" not in done.stdout
