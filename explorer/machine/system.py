"""Which path of this room is taken: the portable one, or that of the system."""

import os
import sys

PORTABLE_ENV = "EXPLORER_PORTABLE"


def is_portable() -> bool:
    """Whether only what every system has may be used: on Windows, and where the environment asks for it."""
    return sys.platform == "win32" or os.environ.get(PORTABLE_ENV) == "1"
