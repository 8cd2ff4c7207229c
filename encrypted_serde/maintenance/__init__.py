"""Operating it: `scan` says what stands in a checkpointer's database and how, `reencrypt` changes it while it is in use.

* `model`: what is found and done
* `recognise`: how a value is stored, without a key
* `packing`: msgpack taken apart without building objects
* `coder`: one value, opened and written anew
* `rows`, `vouching`: what the rows of every database have in common; the metadata and manifest of a checkpoint
* `database`, `sqlite`, `postgres`: what differs
* `scan`, `reencrypt`: the two things to do
* `commands`: both at the command line
"""

from .model import DatabaseFailed, Failure, Line, Progress, Reencryption, ScanReport, Unconvertible
from .reencrypt import reencrypt
from .scan import scan

__all__ = [
    "scan",
    "ScanReport",
    "Line",
    "reencrypt",
    "Reencryption",
    "Failure",
    "Progress",
    "DatabaseFailed",
    "Unconvertible",
]
