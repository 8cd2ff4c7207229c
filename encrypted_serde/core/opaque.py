"""The text of objects that hold something secret: error reporters show the variables of every frame."""

from __future__ import annotations


def opaque(holder: object) -> str:
    """Returns the name of an object's class, and nothing of what the object holds."""
    return f"<{type(holder).__name__}>"
