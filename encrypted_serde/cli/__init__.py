"""The ``encrypted-serde`` command. Needs the extra ``cli``."""
