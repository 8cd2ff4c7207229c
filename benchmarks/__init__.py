"""How fast it is, measured against what it replaces and against the least it could cost.

* ``python -m benchmarks ratios`` compares two things at a time, in turns, and prints the ratios beside their targets.
* ``pytest benchmarks --benchmark-enable`` measures every payload with every serializer, in groups, by pytest-benchmark.
"""
