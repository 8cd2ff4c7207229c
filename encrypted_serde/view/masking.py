"""Hiding what looks like an e-mail address, an account or a secret, on screen. It is no anonymisation, and says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..errors import ConfigurationError
from .values import Binary, Fields, Object, Scalar, Sequence, Value

NOTICE = "Masking hides what matches its patterns. It is no anonymisation: names, places and what is said stay readable."
"""Is shown wherever something may have been masked."""

_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_PATTERNS = {
    "email": re.compile(r"[\w.+%'-]+@[\w-]+(?:\.[\w-]+)+"),
    "iban": _IBAN,
    "card": _CARD,
    "phone": re.compile(
        r"(?<![\w.])(?:\+|00|\(?0)[\d(][\d ()/.-]{5,18}\d(?![\w-])|(?<!\d)\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)"
    ),
    "token": re.compile(
        r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\b(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[abprs]|esk1|lsv2|hf)[-_][\w-]{16,}"
        r"|\bAKIA[0-9A-Z]{16}\b|\b(?i:bearer)\s+[\w.~+/-]{16,}=*"
    ),
}

BUILT_IN = tuple(_PATTERNS)
"""The names that `Mask.of` knows."""


class Mask:
    """Hides texts in values, and counts what it hid.

    Args:
        patterns: What to hide, by the name that is shown in its place.

    Attributes:
        hidden: How often something was hidden.
    """

    def __init__(self, patterns: dict[str, re.Pattern[str]]) -> None:
        self._patterns = patterns
        self.hidden = 0

    @classmethod
    def of(cls, names: Iterable[str]) -> Mask:
        """Makes a mask of names of built-in patterns, and of regular expressions.

        Args:
            names: Of `BUILT_IN`; everything else is a regular expression.

        Raises:
            ConfigurationError: If an expression cannot be read, or matches nothing at all everywhere.
        """
        found = dict(_pattern(name) for name in names)
        return cls({name: found[name] for name in (*_PATTERNS, *found) if name in found})  # an IBAN before it is a phone number

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def text(self, text: str) -> str:
        """Returns a text without what matches."""
        for name, pattern in self._patterns.items():
            text = pattern.sub(self._hides(name), text)
        return text

    def _hides(self, name: str) -> Callable[[re.Match[str]], str]:
        is_one = _CHECKS.get(name, bool)

        def hide(match: re.Match[str]) -> str:
            text = match[0]
            ends = range(len(text), 14, -1) if name == "iban" else (len(text),)  # words that follow may look like a part of it
            end = next((end for end in ends if is_one(text[:end])), None)
            if end is None:
                return text
            self.hidden += 1
            return f"[{name if name in _PATTERNS else 'masked'}]{text[end:]}"

        return hide

    def value(self, value: Value) -> Value:
        """Returns a value without what matches in its texts, its numbers and its keys. Bytes are hidden whole."""
        if not self:
            return value
        if isinstance(value, Scalar):
            return self._scalar(value)
        if isinstance(value, Binary):
            self.hidden += 1
            return Scalar(f"[{len(value.data)} bytes]")
        if isinstance(value, Sequence):
            return Sequence(tuple(map(self.value, value.items)))
        if isinstance(value, Fields):
            return Fields(tuple((self.value(key), self.value(item)) for key, item in value.pairs))
        return replace(value, content=self.value(value.content)) if isinstance(value, Object) else value

    def _scalar(self, value: Scalar) -> Scalar:
        if value.value is None or isinstance(value.value, bool):
            return value
        text = str(value.value)
        masked = self.text(text)
        return value if masked == text else Scalar(masked)


def _pattern(name: str) -> tuple[str, re.Pattern[str]]:
    if name in _PATTERNS:
        return name, _PATTERNS[name]
    try:
        pattern = re.compile(name)
    except re.error as error:
        known = ", ".join(BUILT_IN)
        raise ConfigurationError(f"--mask: {name!r} is none of {known}, and no regular expression: {error}") from None
    if pattern.fullmatch(""):
        raise ConfigurationError(f"--mask: {name!r} matches the empty text")
    return name, pattern


def _is_card(text: str) -> bool:
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    joined = text.replace(" ", "")
    return len(joined) >= 15 and int("".join(str(int(each, 36)) for each in joined[4:] + joined[:4])) % 97 == 1


_CHECKS: dict[str, Callable[[str], bool]] = {"card": _is_card, "iban": _is_iban}
"""Check digits: a number that only looks like one stays."""
