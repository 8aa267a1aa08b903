"""The Chromium for tests and measurements. As a script: installs one, or says how. `--whole` asks for the full browser
instead of its headless shell."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from playwright.sync_api import Error, sync_playwright

Started = TypeVar("Started")

# Chromium without a window: it draws the same, and is ready a second sooner.
SHELL = "chromium-headless-shell"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WHOLE = "chromium"
LIBRARIES = "libatomic1"  # a minimal Debian lacks it, and the Node.js inside Playwright needs it
MISSING = (
    "This needs Chromium and the library libatomic: install them (on Debian `sudo apt install {} "
    f"{LIBRARIES}`, elsewhere `.venv/bin/python -m playwright install --with-deps chromium`) and start again."
)

DEAD_PROXY = "http://127.0.0.1:9"  # a port without a server: all that it should forward fails at once
BROWSER_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--in-process-gpu",  # one process less
    "--no-first-run",
    "--renderer-process-limit=1",
    # Requests to other machines fail at a proxy that does not exist. A route of Playwright would switch the browser's
    # cache off.
    f"--proxy-server={DEAD_PROXY}",
    "--proxy-bypass-list=127.0.0.1",
]


def find_chromium(*, whole: bool = False) -> str | None:
    """Path of a Chromium that starts: an installed one, else Playwright's own download. None without one, or where
    Playwright does not start. `whole`: the full browser, which measurements need."""
    if not starts(sys.executable, "-m", "playwright"):
        return None
    names = NAMES if whole else (SHELL, *NAMES)
    installed = (path for name in names if (path := shutil.which(name)) and starts(path))
    return next(installed, None) or (path if starts(path := playwright_chromium()) else None)


def launch_browser(launch: Callable[[], Started]) -> Started:
    """The result of `launch`. Chromium crashes in one of hundreds of starts (a segmentation fault), so there are three
    attempts."""
    for _ in range(2):
        try:
            return launch()
        except Error as error:
            if "has been closed" not in str(error):
                raise
    return launch()


def version(executable: str) -> str:
    """Its name and version, with the shell named as such."""
    output = subprocess.run([executable, "--version"], capture_output=True, encoding="utf-8", timeout=60).stdout
    found = re.match(r"\D*[\d.]+", output)
    name = found[0] if found else output.strip()
    return f"{name}, headless shell" if SHELL in executable else name


def playwright_chromium() -> str:
    """The path of Playwright's own Chromium, installed or not."""
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def starts(*command: str) -> bool:
    """Whether the program runs: Ubuntu's `chromium-browser` may be a stub, and a download may lack system libraries."""
    if not Path(command[0]).exists():
        return False
    return subprocess.run([*command, "--version"], capture_output=True, timeout=60).returncode == 0


def install_chromium(*, whole: bool = False) -> None:
    """Installs Debian's package when root, else or if that fails Playwright's download."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing Chromium.", flush=True)
        subprocess.run(["apt-get", "update", "-qq"])
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", WHOLE if whole else SHELL, LIBRARIES],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    if not find_chromium(whole=whole):
        # If it fails, it prints a stack trace; MISSING says the same in one sentence.
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], stderr=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    whole = "--whole" in arguments
    if not find_chromium(whole=whole):
        install_chromium(whole=whole)
    if not find_chromium(whole=whole):
        print(MISSING.format(WHOLE if whole else SHELL), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
