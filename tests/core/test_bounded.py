"""A dict that starts anew when it is full."""

from __future__ import annotations

from encrypted_serde.core import bounded
from encrypted_serde.core.bounded import Bounded


def test_it_starts_anew_when_it_is_full() -> None:
    small: Bounded[str, int] = Bounded(2)
    small["a"], small["b"] = 1, 2
    assert small == {"a": 1, "b": 2}
    small["c"] = 3
    assert small == {"c": 3}


def test_a_value_in_place_of_another_pushes_out_nothing() -> None:
    small: Bounded[str, int] = Bounded(2)
    small["a"], small["b"] = 1, 2
    small["a"] = 3
    assert small == {"a": 3, "b": 2}


def test_without_a_limit_it_has_the_usual_one() -> None:
    usual: Bounded[int, int] = Bounded()
    for number in range(bounded.LIMIT + 1):
        usual[number] = number
    assert len(usual) == 1
