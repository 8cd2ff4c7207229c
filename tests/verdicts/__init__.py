"""One row, one verdict: whatever somebody writes into the database, all readers say the same of it.

* `rows`: the rows of a checkpointer as plain data, whatever saver keeps them
* `stores`: loads them from a database or a saver, and stores them again
* `attacked`: what is edited: threads with everything that a row can have
* `edits`: a table of what somebody may do, by name
* `random_edits`: the same drawn from a seed, one to three at a time
* `readers`: every way to read a row, and what each says of it
* `judge`: that they all say the same, and that re-encryption makes nothing good

A long run: ``python -m tests.verdicts --edits 1000 --seed 0 --saver sqlite``.
"""
