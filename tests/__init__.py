"""The tests, as a package: `from tests.postgres import ...` works from every module and however pytest is started."""
