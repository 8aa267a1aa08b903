"""The Chromium that looks at the app. As a script: make sure there is one, or say what to install. `--whole` asks for
the browser that people have, else the headless shell will do."""

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

# The shell is Chromium without the window that nobody sees: it draws the same, at a page a second sooner.
SHELL = "chromium-headless-shell"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WHOLE = "chromium"
LIBRARIES = "libatomic1"  # a minimal Debian lacks it, and the Node.js inside Playwright needs it
MISSING = (
    "This needs Chromium and the library libatomic: install them (on Debian `sudo apt install {} "
    f"{LIBRARIES}`, elsewhere `.venv/bin/python -m playwright install --with-deps chromium`) and start again."
)

DEAD_PROXY = "http://127.0.0.1:9"  # a port at which nobody answers, so that what it is the way for fails at once
BROWSER_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--in-process-gpu",  # one process less to start and to talk to
    "--no-first-run",
    "--renderer-process-limit=1",
    # What is not on this machine goes to a proxy that is not there. A route of Playwright would stop it as well, and
    # switch the cache of the browser off.
    f"--proxy-server={DEAD_PROXY}",
    "--proxy-bypass-list=127.0.0.1",
]


def find_chromium(*, whole: bool = False) -> str | None:
    """Path of a Chromium that starts: an installed one, else Playwright's own download. None without, or where
    Playwright itself does not start. `whole`: no shell, but the browser that people have, which measurements are of."""
    if not starts(sys.executable, "-m", "playwright"):
        return None
    names = NAMES if whole else (SHELL, *NAMES)
    installed = (path for name in names if (path := shutil.which(name)) and starts(path))
    return next(installed, None) or (path if starts(path := playwright_chromium()) else None)


def launch_browser(launch: Callable[[], Started]) -> Started:
    """What that launch of Playwright's gives. Once in hundreds of starts Chromium crashes before it has shown anything
    (a segmentation fault): that is tried again, twice at most."""
    for _ in range(2):
        try:
            return launch()
        except Error as error:
            if "has been closed" not in str(error):
                raise
    return launch()


def version(executable: str) -> str:
    """What it calls itself, with the shell named as such."""
    told = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=60).stdout
    found = re.match(r"\D*[\d.]+", told)
    named = found[0] if found else told.strip()
    return f"{named}, headless shell" if SHELL in executable else named


def playwright_chromium() -> str:
    """Where Playwright keeps its own Chromium once `playwright install chromium` has run."""
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def starts(*command: str) -> bool:
    """Whether it runs at all: Ubuntu's `chromium-browser` may be a stub, and a download may lack system libraries."""
    if not Path(command[0]).exists():
        return False
    return subprocess.run([*command, "--version"], capture_output=True, timeout=60).returncode == 0


def install_chromium(*, whole: bool = False) -> None:
    """Install Debian's package when root; where that gave none, let Playwright download its own."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium.", flush=True)
        subprocess.run(["apt-get", "update", "-qq"])
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", WHOLE if whole else SHELL, LIBRARIES],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    if not find_chromium(whole=whole):
        # Where it cannot, it prints a stack trace; MISSING says the same in one sentence.
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
