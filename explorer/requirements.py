"""The oldest versions of packages that the app works with."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version

TORCH_FLOOR = (2, 10)  # `weights_only=True` had a remote-code bug before 2.6 and a memory bug before 2.10


class RequirementError(RuntimeError):
    """A package that is missing or too old; the message is one sentence for the user."""


@cache  # of what is in order: every run of a page asks, and each look into a package's files takes milliseconds
def check_torch() -> None:
    """Raises RequirementError where torch is missing, or too old to open files of others. Imports nothing."""
    floor = ".".join(map(str, TORCH_FLOOR))
    try:
        found = version("torch")
    except PackageNotFoundError:
        raise RequirementError("torch is missing: install the versions of requirements.txt.") from None
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < TORCH_FLOOR:
        raise RequirementError(
            f"torch {floor} or newer is needed, for files of weights can make older ones run code; this is {found}: "
            "install the versions of requirements.txt."
        )
