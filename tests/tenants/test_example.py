"""The example with two tenants does what it says, without a network."""

from __future__ import annotations

from pathlib import Path

from tests.test_examples import run


def test_each_tenant_sees_its_own_and_the_erased_one_nothing(tmp_path: Path) -> None:
    shown = run("multi_tenant.py", tmp_path)
    assert "globex sees: noted: a secret of globex" in shown
    assert "acme sees: refused: WrongContext" in shown
    assert "the encryption context lacks tenant_id" in shown
    assert shown.count("audit: key_rewrapped") == 3
    _, _, erased = shown.partition("6. ")
    assert "globex sees: refused: KeyErased" in erased
    assert "acme sees: noted: a secret of acme" in erased
    assert list((tmp_path / "temporary").iterdir()) == []
