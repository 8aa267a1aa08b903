"""`start_command`: a command of this app, in a process of its own that holds the lock of a run, study or surface."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from explorer.installation import data_folder
from explorer.machine import locks
from explorer.machine.locks import Lock


def start_command(
    name: str,
    folder: Path,
    log: Path,
    lock: Lock,
    variable: str,
    environment: Mapping[str, str],
    ends_with: bool = False,
) -> "subprocess.Popen[bytes]":
    """Starts the command of that name on a run, a study or a surface, with this data folder; what it prints goes to
    `log`. The other arguments are those of `locks.start`. Raises OSError."""
    with log.open("ab") as output:
        return locks.start(
            lock,
            [sys.executable, "-m", "explorer", name, str(folder)],
            variable,
            {**environment, "EXPLORER_DATA": str(data_folder())},
            ends_with,
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
