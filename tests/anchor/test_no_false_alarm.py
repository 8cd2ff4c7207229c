"""Whatever a graph does, it does with an anchor too: the tests of the saver itself, each saver in them with an anchor."""

from tests.saver.test_no_false_alarm import *  # noqa: F403
