"""Encryption for Agent Server (LangGraph Platform), self-hosted or ``langgraph dev``; needs the extra ``agent-server``.

* `handlers`: what `langgraph_sdk.Encryption` asks for
* `trust`: which encryption context a handler may write under
* `checkpointer`: `EncryptedSaver` as the server's checkpointer
* `startup`: whether the server calls the handlers at all
"""

try:
    import langgraph_sdk  # noqa: F401  # here, so that whatever is imported of this package says what to install
except ImportError as error:
    raise ImportError(f"{__name__} needs langgraph-sdk: pip install 'encrypted-serde[agent-server]'") from error

from .checkpointer import encrypted_saver
from .handlers import HandlerError, make_encryption
from .startup import startup_check
from .trust import UntrustedContext, trust_header

__all__ = ["HandlerError", "UntrustedContext", "encrypted_saver", "make_encryption", "startup_check", "trust_header"]
