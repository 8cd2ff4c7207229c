"""Text from a row, made safe to show: no character of it moves a cursor, changes a colour or turns the reading direction."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"  # Persian words and families of emoji need them
_HARMLESS = re.compile(r"[ -~\n]*")
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Returns a text in which every control character, also those of Unicode, is written as its number.

    Line breaks and tabs stay.

    Args:
        text: Anything, lone surrogates included.
    """
    if _HARMLESS.fullmatch(text):
        return text
    return "".join(_shown(character) for character in text)


def one_line(text: str) -> str:
    """Returns a printable text without line breaks and tabs."""
    return printable(text).replace("\n", "\u2424").replace("\t", " ")


def _shown(character: str) -> str:
    if character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in _STEERING:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def size_text(size: int) -> str:
    """Returns a number of bytes as people write it."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:,.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
