"""What lives beside the plain saver is never refused, and never reads anything else. A long run: ``python -m tests.lives``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests import mariadb
from tests.lives.life import Life, draw, live, shrunk
from tests.lives.share import SHARE
from tests.lives.steps import Step
from tests.lives.worlds import SAVERS, Home, MemoryHome, OurWorld, homes

FAST = ("memory", "sqlite", "async-sqlite")


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Home]]:
    if "mariadb" in request.param and not mariadb.is_there():
        pytest.skip("needs a MariaDB server")
    with homes(request.param, tmp_path_factory.mktemp("lives")) as found:
        yield found


@pytest.mark.parametrize(
    "places", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SAVERS], indirect=True
)
def test_random_lives_are_those_of_the_plain_saver(places: tuple[Home, Home], request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["places"]
    number = SHARE if kind in ("memory", "sqlite") else max(1, SHARE // 10)
    for seed in range(number):
        found = live(draw(seed), places)
        assert found is None, shrunk(found, places)


@pytest.mark.parametrize("places", ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
def test_an_anchor_never_refuses_an_honest_life(places: tuple[Home, Home]) -> None:
    for seed in range(SHARE // 4):
        found = live(draw(seed), places, anchored=True)
        assert found is None, shrunk(found, places, anchored=True)


def test_lives_begin_in_every_form_there_is() -> None:
    home = MemoryHome()
    assert {OurWorld(home, Random(seed)).mode for seed in range(50)} == {"ours", "plain", "serde", "upstream", "moving"}


@pytest.mark.parametrize("places", ["memory"], indirect=True)
def test_two_plain_savers_never_differ(places: tuple[Home, Home]) -> None:
    for seed in range(max(1, SHARE // 4)):
        found = live(draw(seed), places, oracle=True)
        assert found is None, shrunk(found, places, oracle=True)


def test_a_difference_is_found_and_shrunk(places_of_memory: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch) -> None:
    from encrypted_serde import EncryptedSaver

    real = EncryptedSaver.get_tuple
    monkeypatch.setattr(
        EncryptedSaver, "get_tuple", lambda self, config: real(self, config)._replace(pending_writes=[("t", "x", 1)])
    )
    found = live(Life(1, tuple(Step("run", number) for number in range(5))), places_of_memory)
    assert found is not None
    assert len(shrunk(found, places_of_memory).life.steps) == 1


@pytest.fixture
def places_of_memory(tmp_path: Path) -> Iterator[tuple[Home, Home]]:
    with homes("memory", tmp_path) as found:
        yield found


# --- lives that differed once

MENDED: dict[str, tuple[str, Life]] = {
    "a run forks what an anchored saver read by its id": (
        "memory anchored",
        Life(91, (Step("run", 693034512), Step("update", 1046567168))),
    ),
    "a shallow saver has a delta channel": ("shallow-postgres", Life(1017, (Step("run", 2728164664),))),
    "a task fails while a shallow saver stores": (
        "shallow-postgres",
        Life(
            3018,
            tuple(Step("run", seed) for seed in (1835239914, 638562852, 236622572, 1665958800, 2526817740)),
        ),
    ),
    "a thread with a stub is pruned": ("postgres", Life(1057, (Step("run", 691635923), Step("prune", 1393355353)))),
    "a state key is removed": (
        "memory",
        Life(39, (Step("run", 901304238), Step("release", 3431351414), Step("release", 3051111893), Step("run", 316602120))),
    ),
    "another graph on the thread": ("memory", Life(2, (Step("run", 242886303), Step("other graph", 2742213519)))),
    "a thread is copied that was never encrypted, with a context": (
        "memory",
        Life(166, (Step("run", 2590924755), Step("operate", 686552882), Step("copy", 3543728314))),
    ),
    "an entrypoint becomes a graph": ("memory", Life(23, (Step("run", 4074230799), Step("other graph", 1537941228)))),
    "a key becomes ephemeral": ("memory", Life(121, (Step("other graph", 3459877369), Step("run", 2287315420)))),
    "a graph is updated after its release": (
        "memory",
        Life(6, (Step("run", 1171229348), Step("release", 4253032544), Step("update", 1250623880))),
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "postgres" in kind else ()) for name, (kind, _) in MENDED.items()]
)
def test_a_life_that_differed_once(name: str, tmp_path: Path) -> None:
    kind, life = MENDED[name]
    kind, _, anchored = kind.partition(" ")
    with homes(kind, tmp_path) as found:
        difference = live(life, found, anchored=bool(anchored))
    assert difference is None, difference
