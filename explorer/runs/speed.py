"""The speed of this machine: measured in a process of its own, as a run would train, and stored in a file."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from explorer.files import write_atomically
from explorer.installation import data_folder
from explorer.machine import core_limit
from explorer.machine.memory import MALLOC_ENV
from explorer.machine.processes import detached
from explorer.training.speed import Speed

FRESH_S = 60.0
"""After so many seconds other programs may run beside the app, so the speed is measured again."""
_TIMEOUT_S = 300.0


def last_measured() -> Speed | None:
    """The stored speed, or None where none was measured with as many cores."""
    try:
        values = json.loads(_file().read_text(encoding="utf-8"))
        return Speed.from_dict(values["speed"]) if values["cores"] == core_limit() else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def is_fresh(speed: Speed) -> bool:
    return time.time() - speed.measured < FRESH_S


def measure() -> Speed:
    """Measures the speed now, with the priority of a run, and stores it. Takes about 5 seconds.

    Raises ValueError, one sentence, where the machine cannot train at all.
    """
    started = time.time()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "explorer", "speed", "--json"],
            cwd=Path(__file__).resolve().parents[2],
            env={**MALLOC_ENV, **os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            **detached(),  # its priority is its own
        )
        answer = json.loads(result.stdout)
        speed = Speed.from_dict({**answer["speed"], "start": max(0.0, time.time() - started - answer["took"])})
    except (OSError, ValueError, TypeError, KeyError, subprocess.SubprocessError):
        raise ValueError(
            "the speed of this machine could not be measured; there may be too little memory: close other programs."
        ) from None
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(), json.dumps({"cores": core_limit(), "speed": speed.to_dict()}).encode())
    except OSError:
        pass  # it is measured again next time
    return speed


def _file() -> Path:
    return data_folder() / "speed.json"
