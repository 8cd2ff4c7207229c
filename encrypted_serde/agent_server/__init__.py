"""Encryption for Agent Server (LangGraph Platform), self-hosted or ``langgraph dev``; needs the extra ``agent-server``.

* `handlers`: what `langgraph_sdk.Encryption` asks for; `codec`: how they seal values
* `trust`: which encryption context a request may read and write under; `tokens`: what shows it in rows and calls
* `served`: what the server's own modules say of the request
* `checkpointer`: `EncryptedSaver` as the server's checkpointer; `guard`: which requests may change a thread
* `startup`: whether the server calls the handlers at all, and whether all have the same keys
"""

try:
    import langgraph_sdk  # noqa: F401  # here, so that whatever is imported of this package says what to install
except ImportError as error:
    raise ImportError(f"{__name__} needs langgraph-sdk: pip install 'encrypted-serde[agent-server]'") from error

from .checkpointer import encrypted_saver
from .codec import HandlerError
from .handlers import make_encryption
from .startup import startup_check
from .tokens import UntrustedContext
from .trust import trust_header

__all__ = ["HandlerError", "UntrustedContext", "encrypted_saver", "make_encryption", "startup_check", "trust_header"]
