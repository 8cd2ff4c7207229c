"""`EncryptedSaver` and its modules.

* `saver`: the face, sync and async; `optional`: the methods that exist only where the inner saver has them
* `base`, `wiring`: what the modules share; `traits`: how each known saver behaves
* `seal`, `open`, `found`: adapters between LangGraph's tuples and `encrypted_serde.rows`, which has every rule about a row
* `listing`, `filters`, `pages`: filters over metadata that cannot be read in the database
* `copying`, `steps`: work with several rows, described once and driven in two ways
* `anchoring`, `completeness`, `whole_history`: storing, reading and listing with an anchor
"""

from .saver import EncryptedSaver
from .traits import Traits

__all__ = ["EncryptedSaver", "Traits"]
