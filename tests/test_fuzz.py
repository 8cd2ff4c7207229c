"""The fuzz targets hold on their seeds and on what a few random changes make of them. `nox -s fuzz` goes on from there."""

from __future__ import annotations

import random

import pytest

from fuzz.__main__ import NAMES
from fuzz.seeds import seeds
from fuzz.targets import TARGETS


def mutations(seed: bytes, draw: random.Random) -> list[bytes]:
    """The seed, cut, with a bit changed, a byte put in, a part taken twice."""
    at = draw.randrange(len(seed) + 1)
    flipped = bytes([seed[at - 1] ^ 1 << draw.randrange(8)]) if at else b""
    return [
        seed,
        seed[:at],
        seed[: max(at - 1, 0)] + flipped + seed[at:],
        seed[:at] + draw.randbytes(1) + seed[at:],
        seed[:at] + seed,
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_target_holds_on_its_seeds_and_near_them(name: str) -> None:
    draw = random.Random(name)
    for seed in [b"", *seeds(name)]:
        for _ in range(5):
            for data in mutations(seed, draw):
                TARGETS[name](data)


def test_every_target_is_run_and_has_seeds() -> None:
    assert list(TARGETS) == list(NAMES)
    assert [name for name in NAMES if not seeds(name)] == []
