"""Targets for a coverage-guided fuzzer (Atheris), and the command that runs them: ``python -m fuzz --seconds 60``."""
