"""Reading what is sealed, for people and programs: `open_view`, and what it returns.

* `source`, `stored`: rows, verified and opened, from `maintenance`; `anchoring`: what an anchor says of them
* `values`, `messages`, `deltas`: what a stored value holds, without the application's classes
* `view`, `thread`, `model`: threads, checkpoints, items as typed data; `document`: the same as JSON
* `changes`, `execution`: what differs between two checkpoints, and what happens next; `finding`: where a text occurs
* `lanes`, `text`, `printable`: how it is drawn and written
* `looking`, `masking`: who looks and why, and what stays hidden from them
"""

from .changes import Change
from .document import to_document
from .finding import Findings
from .looking import AuditFile
from .messages import Block, Message, ToolCall
from .model import (
    Channel,
    Checkpoint,
    HistoryLine,
    HistoryPage,
    Item,
    Missing,
    Namespace,
    Occurrence,
    Refused,
    Spot,
    ThreadLine,
    ThreadPage,
    Write,
)
from .thread import NotFound, Thread
from .values import Binary, Fields, Object, Opaque, Scalar, Sequence, Value, as_json
from .view import Search, View, open_view

__all__ = [
    "open_view",
    "View",
    "Thread",
    "Search",
    "ThreadPage",
    "ThreadLine",
    "HistoryPage",
    "HistoryLine",
    "Missing",
    "Spot",
    "Checkpoint",
    "Channel",
    "Write",
    "Namespace",
    "Item",
    "Refused",
    "Change",
    "Message",
    "Block",
    "ToolCall",
    "Value",
    "Scalar",
    "Binary",
    "Sequence",
    "Fields",
    "Object",
    "Opaque",
    "as_json",
    "to_document",
    "Findings",
    "Occurrence",
    "AuditFile",
    "NotFound",
]
