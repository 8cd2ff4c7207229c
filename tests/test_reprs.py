"""The text of our objects shows no bytes, keys or contexts: error reporters print the variables of every frame."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import pkgutil
import re
import warnings
from typing import Any

import pytest

import encrypted_serde

_HIDDEN = re.compile(r"\b(bytes|Mapping\[str, (str|Any)\]|dict\[str, (str|Any)\])")
# What every row shows anyway, ids of keys, names of contexts, what a command was told, hashes under a key, functions.
_PUBLIC = {"key_id", "key_ids", "context", "place", "location", "encoded", "row", "options", "tombstones", "tenant", "wanted"}
_PUBLIC |= {
    "thread",
    "namespace",
    "checkpoint",
    "task",
    "earlier",
    "others",
    "batch",
    "slots",
    "tasks",
    "check",
    "matches",
    "starts",
    "bound",
    "unbound",
}
_MARKER = "what nobody may see"


def _modules() -> list[Any]:
    found = []
    for info in pkgutil.walk_packages(encrypted_serde.__path__, "encrypted_serde."):
        if not info.name.endswith("__main__"):
            with contextlib.suppress(ImportError), warnings.catch_warnings():  # an extra that is not installed
                warnings.simplefilter("ignore")
                found.append(importlib.import_module(info.name))
    return found


def _records() -> list[tuple[type, list[str]]]:
    """Every NamedTuple and dataclass with the fields that may hold something secret."""
    found = []
    for module in _modules():
        for cls in vars(module).values():
            if isinstance(cls, type) and cls.__module__ == module.__name__ and _fields(cls):
                hidden = [name for name in _fields(cls) if name not in _PUBLIC and _may_hide(_annotation(cls, name))]
                if hidden:
                    found.append((cls, hidden))
    return found


def _annotation(cls: type, name: str) -> str:
    found = (vars(base).get("__annotations__", {}).get(name) for base in cls.__mro__)
    return str(next(kind for kind in found if kind is not None))


def _may_hide(annotation: str) -> bool:
    return "Callable[" not in annotation and _HIDDEN.search(annotation) is not None


def _fields(cls: type) -> list[str]:
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return [*getattr(cls, "_fields", ())] if issubclass(cls, tuple) else []


def _filled(cls: Any, hidden: list[str]) -> Any:
    """An instance whose secret fields hold a marker, made without the class's own construction."""
    values = {name: _MARKER if name in hidden else None for name in _fields(cls)}
    if issubclass(cls, tuple):
        return tuple.__new__(cls, values.values())
    made = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(("cls", "hidden"), _records(), ids=lambda part: getattr(part, "__qualname__", ""))
def test_the_text_of_a_record_shows_nothing_secret(cls: type, hidden: list[str]) -> None:
    made = _filled(cls, hidden)
    try:
        shown = f"{made!r} {made!s}"
    except (AttributeError, TypeError):  # it has a text of its own, which looks into what is not there
        return
    assert _MARKER not in shown
