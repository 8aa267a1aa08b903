"""How the server's process uses the machine: threads for a pass, and when garbage is collected."""

import gc
import time

import torch

from explorer.machine import cores
from explorer.machine.memory import hand_back

COLLECT_EVERY = 5.0  # seconds between two collections of garbage
_collected = time.monotonic()


def threads() -> int:
    """Threads of one pass: half of the cores, since two passes may run at once."""
    return max(1, cores() // 2)


def tune() -> None:
    """For the start of the server, after all imports."""
    torch.set_num_threads(threads())
    gc.collect()
    gc.freeze()  # imported objects never become garbage, and a search through them takes a tenth of a second


def collect_garbage() -> None:
    """For the end of every run of a page or fragment; collects every few seconds. Streamlit's own collection after
    every run of every session (`runner.postScriptGC`) took two thirds of the time of a server with 20 users."""
    global _collected
    if time.monotonic() - _collected > COLLECT_EVERY:
        _collected = time.monotonic()
        gc.collect()
        hand_back()
