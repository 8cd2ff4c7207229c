"""Operating it: what is stored in a database and how, whether all of it opens, other keys and forms, retention.

* `address`: what a user types for a database
* `report`: counts, failures, verdict; the document that is kept as evidence
* `recognise`: how a value is stored, without a key
* `codec`: one value, opened and written anew
* `writes`, `checkpoints`, `blobs`, `items`: the tables, one class each
* `database`, and the backends `sqlite`, `postgres`, `mysql`: pages, locks, transactions
* `scan`, `verify`, `reencrypt`, `expire`, `erasure`: the five things to do
"""

from .erased import ErasedRows, expire_erased
from .erasure import ErasureProof, prove_erased
from .expire import Expiration, expire
from .reencrypt import Reencryption, reencrypt
from .report import DatabaseFailed, Failure, Line, Report, Unconvertible
from .scan import ScanReport, scan
from .selection import Progress, Selection
from .verify import Verification, verify

__all__ = [
    "scan",
    "ScanReport",
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
