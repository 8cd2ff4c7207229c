"""What `--mask` hides, and what it leaves."""

from __future__ import annotations

import pytest

from encrypted_serde import ConfigurationError
from encrypted_serde.view.masking import BUILT_IN, Mask
from encrypted_serde.view.values import as_json, of_plain

HIDDEN = {
    "mail ann.o'x@example.org!": "mail [email]!",
    "DE89 3704 0044 0532 0130 00 is": "[iban] is",
    "IBAN DE89 3704 0044 0532 0130 00 NOW": "IBAN [iban] NOW",
    "GB82WEST12345698765432": "[iban]",
    "card 4111 1111 1111 1111.": "card [card].",
    "call +49 30 1234567 now": "call [phone] now",
    "0171 2345678": "[phone]",
    "(555) 123-4567": "[phone]",
    "sk-abcdefghijklmnopqrstuv": "[token]",
    "Authorization: Bearer abcdefghijklmnopqrstuvw==": "Authorization: [token]",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc": "[token]",
    "AKIAIOSFODNN7EXAMPLE": "[token]",
}
LEFT = [
    "2026-11-27 12:00:00",
    "order 12345678",
    "4111111111111112",
    "DE89 3704 0044 0532 0130 01",
    "1f0b2c3d-1234-6abc-8000-0123456789ab",
    "version 1.0.2.3",
    "@home",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_what_looks_like_personal_data_is_hidden(text: str) -> None:
    mask = Mask.of(BUILT_IN)
    assert mask.text(text) == HIDDEN[text]
    assert mask.hidden == 1


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_stays(text: str) -> None:
    mask = Mask.of(["email", "iban", "card", "token"])
    assert mask.text(text) == text
    assert mask.hidden == 0


def test_keys_numbers_and_bytes_are_hidden_too() -> None:
    mask = Mask.of(["email", "card"])
    value = of_plain({"ann@example.org": [4111111111111111, b"ann@example.org", {"x": "bob@example.org"}], "n": 7})
    assert as_json(mask.value(value)) == {"[email]": ["[card]", "[15 bytes]", {"x": "[email]"}], "n": 7}
    assert mask.hidden == 4


def test_a_regular_expression_masks_what_it_matches() -> None:
    assert Mask.of([r"ORD-\d+"]).text("see ORD-17") == "see [masked]"


@pytest.mark.parametrize("pattern", ["(", "a*"])
def test_an_expression_that_cannot_be_used_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError):
        Mask.of([pattern])
