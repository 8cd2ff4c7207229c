"""`EncryptedSaver` and its modules.

* `saver`: the face, sync and async; `optional`: the methods that exist only where the inner saver has them, copies among them
* `base`, `wiring`: what the modules share; `traits`: how each known saver behaves
* `seal`, `open`, `found`: adapters between LangGraph's tuples and `encrypted_serde.rows`, which has every rule about a row
* `listing`, `filters`: filters over metadata that cannot be read in the database
* `steps`: what an inner saver is asked, described once and done in two ways
* `anchoring`, `completeness`, `whole_history`: storing, reading and listing with an anchor
"""

from .saver import EncryptedSaver
from .traits import Traits

__all__ = ["EncryptedSaver", "Traits"]
