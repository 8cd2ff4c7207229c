"""The coverage table: every checkpointer that can be started here, run plain, with ``serde=`` and inside `EncryptedSaver`.

``python -m tests.coverage`` runs it and writes ``docs/coverage.json``; the tables in the documents are rendered from that file.
"""
