"""`EncryptedSaver` and its rooms.

* `gate`: the serializer of the inner saver, so that no object is ever built inside it
* `sealing`, `opening`, `writes`: what is written and how it is verified
* `manifest`: what vouches for the readable part of a checkpoint
* `listing`, `filters`, `search`: filters over metadata that cannot be read in the database
* `inner`: what is known of the savers that are wrapped
* `offload`: what is too large for the event loop
* `optional`: the methods that exist only where the inner saver has them
* `saver`: the face, sync and async
"""

from .saver import EncryptedSaver

__all__ = ["EncryptedSaver"]
