"""Honest lives: graphs that change while their threads live on, beside the plain saver as the oracle.

A life is a list of steps drawn from a seed: runs, answers to interrupts, updates as every node, forks, copies, prunes, other
graphs on the same threads, moving in, rotation, going back to plaintext. A plain saver lives the same life. After each step
everything that LangGraph can read is equal, and `verify` finds nothing.

* `shapes`: graphs, and how they change between runs
* `values`: what is written to channels and metadata
* `worlds`: a saver with its database, and what an operator does to it
* `seen`: what can be read, without ids and times
* `steps`: what happens in a step
* `life`: one life, and the smallest one that still fails

A long run: ``python -m tests.lives --lives 1000 --seed 0 --saver sqlite``.
"""
