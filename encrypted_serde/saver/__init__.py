"""`EncryptedSaver` and its rooms.

* `saver`: the face, sync and async; `optional`: the methods that exist only where the inner saver has them
* `wiring`: what the rooms share; `inner`: what is known of the savers that are wrapped
* `seal`, `open`, `writes`: what is written and how it is verified
* `manifest`: what vouches for the readable part of a checkpoint
* `listing`, `filters`: filters over metadata that cannot be read in the database
* `copying`, `steps`: work with several rows, described once and driven in two ways
"""

from .saver import EncryptedSaver
from .traits import Traits

__all__ = ["EncryptedSaver", "Traits"]
