"""A dry run of `reencrypt` counts what the run counts: rows, failures by reason, and what switches let through."""

from __future__ import annotations

from typing import Any

import pytest

from encrypted_serde.maintenance import Reencryption, reencrypt
from tests.maintenance.forms import BOTH, EVERYTHING, write_every_form


@pytest.mark.parametrize("switches", [{}, EVERYTHING, {"allow_plaintext": True}, {"allow_unbound": True}])
def test_a_dry_run_into_the_savers_form_counts_what_the_run_counts(place: str, switches: dict[str, Any]) -> None:
    write_every_form(place)
    dry = reencrypt(place, BOTH, **switches, dry_run=True)
    done = reencrypt(place, BOTH, **switches)
    assert counts(dry) == counts(done)
    assert dry.rewritten > 0


@pytest.mark.parametrize("target", ["serde", "plaintext"])
def test_a_dry_run_of_leaving_counts_what_the_run_counts(place: str, target: str) -> None:
    write_every_form(place)
    dry = reencrypt(place, BOTH, target=target, dry_run=True)
    done = reencrypt(place, BOTH, target=target)
    assert counts(dry) == counts(done)
    assert dry.rewritten > 0


def counts(report: Reencryption) -> tuple[Any, ...]:
    return report.rewritten, report.failed, report.groups, report.admitted
