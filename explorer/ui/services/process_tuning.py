"""How the server's process uses the machine: threads for a pass, and when garbage is collected."""

import ctypes
import gc
import sys
import time

import torch

from explorer.machine import cores

COLLECT_EVERY = 5.0  # seconds between two collections of garbage
_collected = time.monotonic()
# glibc keeps what is freed: messages of a megabyte leave holes, which it hands back only when asked.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def threads() -> int:
    """Threads of one pass: half of the cores, since two passes may run at once."""
    return max(1, cores() // 2)


def tune() -> None:
    """Called once, when the server starts and everything is imported."""
    torch.set_num_threads(threads())
    gc.collect()
    gc.freeze()  # what is imported never becomes garbage: to look through it takes a tenth of a second


def collect_garbage() -> None:
    """Called after every run of a page or of a part of it, collects every few seconds. Streamlit's own way, after every
    run of every session (`runner.postScriptGC`), took two thirds of the time of a server with 20 visitors, during
    which all of them wait."""
    global _collected
    if time.monotonic() - _collected > COLLECT_EVERY:
        _collected = time.monotonic()
        gc.collect()
        if _trim:
            _trim(0)
