"""Operating it: what is stored in a database and how, whether all of it opens, other keys and forms, retention.

* `scan`, `verify`, `reencrypt`, `expire`, `erased`, `erasure`: what can be done; `completeness`: the comparison with an anchor
* `address`, `opening`: what a user types for a database, and which backend opens it
* `database`, and the backends `sqlite`, `postgres`, `mysql`: pages, locks, transactions, and the SQL in which they differ
* `table`, and the tables, one class each: `writes`, `checkpoints` (`packed_checkpoints`, `json_checkpoints`), `items`
* `codec`: one value, opened and written anew
* `selection`: which rows; `asked_keys`: the keys, asked once; `expired_values`: values that go with their checkpoints
* `report`: counts, failures, verdict; the document that is kept as evidence
"""

from .erased import ErasedRows, expire_erased
from .erasure import ErasureProof, prove_erased
from .expire import Expiration, expire
from .reencrypt import Reencryption, reencrypt
from .report import DatabaseFailed, Failure, Line, Report, Unconvertible
from .scan import scan
from .selection import Progress, Selection
from .verify import Verification, verify

__all__ = [
    "scan",
    "verify",
    "Verification",
    "reencrypt",
    "Reencryption",
    "expire",
    "Expiration",
    "expire_erased",
    "ErasedRows",
    "prove_erased",
    "ErasureProof",
    "Selection",
    "Progress",
    "Report",
    "Line",
    "Failure",
    "DatabaseFailed",
    "Unconvertible",
]
