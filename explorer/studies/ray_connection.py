"""The connection of this process to a Ray: its version, its address and its token, each checked with a sentence."""

import importlib.metadata
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from explorer import installation
from explorer.machine import cores
from explorer.studies.engine import EngineError

VERSION = "2.60"
_PACKAGES = "-r requirements-ray.txt" if installation.is_checkout() else f"ray~={VERSION}.0"
INSTALL = f"install it with `pip install {_PACKAGES}`, or train on this machine"
LOCAL_STORE = 100_000_000  # bytes of shared memory; what goes through it is small
_ADDRESS = re.compile(r"(?P<host>[\w.\-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")

DOWN = "Ray no longer answers; start it again and resume the study: what has finished is kept."


def is_installed() -> bool:
    """Whether a Ray of any version is there. Imports nothing."""
    try:
        importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def is_elsewhere(engine: str) -> bool:
    """Whether the runs of a new study on that engine go to another Ray than one of this machine's own."""
    return engine == "ray" and (os.environ.get("RAY_ADDRESS") or "local") != "local"


def check_version() -> None:
    """Raises EngineError where Ray is missing or has another version than requirements-ray.txt. Imports nothing."""
    try:
        found = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        raise EngineError(f"Ray is not installed; {INSTALL}.") from None
    if found.split(".")[:2] != VERSION.split("."):
        raise EngineError(f"Ray {VERSION} is needed and {found} is installed; {INSTALL}.")


def check_address(address: str) -> None:
    """Raises EngineError for anything but "local", "auto" or the host:port of a Ray that answers."""
    if address in ("local", "auto"):
        return
    if not _ADDRESS.fullmatch(address):
        raise EngineError(
            f"`RAY_ADDRESS` must be host:port, as `ray start --head` prints it, received {address[:100]!r}; start the "
            "study on a machine of that cluster."
        )
    if not answers(address):
        raise EngineError(f"No Ray answers at {address}; start it there or correct `RAY_ADDRESS`.")


def check_wished(address: str | None = None) -> str:
    """The address of the Ray that is asked for: this one, that of `RAY_ADDRESS`, or "local". Starts nothing.

    Raises EngineError where Ray is missing, has another version, or does not answer there.
    """
    check_version()
    wished = address or os.environ.get("RAY_ADDRESS") or "local"
    check_address(wished)
    return wished


def answers(address: str) -> bool:
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        return False
    try:
        socket.create_connection((parts["host"].strip("[]"), int(parts["port"])), timeout=5).close()
    except (OSError, OverflowError):
        return False
    return True


def connect(address: str, places: int | None) -> tuple[str, str]:
    """Connects this process to Ray, or starts one. Returns the address of its head, and the folder of the logs of one
    that was started here, else "". Raises EngineError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address == "local" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
    import ray

    # A Ray of another's cannot be given its size.
    ours: dict[str, Any] = {"num_cpus": max(cores(), places or 0), "object_store_memory": LOCAL_STORE}
    ours = ours | {"include_dashboard": False} if address == "local" else {}
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **ours)
    except ray.exceptions.AuthenticationError:
        raise EngineError(
            f"The Ray at {address} needs its token: set `RAY_AUTH_TOKEN`, or `RAY_AUTH_MODE=disabled` for one without."
        ) from None
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(f"Ray at {address} cannot be used ({lines[0][:200].rstrip('.:')}); {INSTALL}.") from None
    # Else it prints long logs of lost nodes among the output of the command. No setting does that in this version.
    ray._private.worker._worker_logs_enabled = False
    # Ray declares a parent of the class that it returns.
    about: dict[str, str] = context.address_info  # type: ignore[attr-defined]
    return about["gcs_address"], about["session_dir"] if address == "local" else ""


@contextmanager
def answering() -> Iterator[None]:
    """Raises EngineError where Ray fails."""
    import ray

    try:
        yield
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise EngineError(DOWN) from error
