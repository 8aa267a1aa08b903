"""The Chromium that the browser tests use. As a script: make sure there is one, or say what to install."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# The shell is Chromium without the window that nobody sees: it draws the same, at a page a second sooner.
SHELL = "chromium-headless-shell"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A minimal Debian also lacks libatomic, which the Node.js inside Playwright needs.
DEBIAN_PACKAGES = (SHELL, "libatomic1")
MISSING = (
    "The browser tests need Chromium and the library libatomic: install them "
    f"(on Debian `sudo apt install {' '.join(DEBIAN_PACKAGES)}`, elsewhere `.venv/bin/python -m playwright install "
    "--with-deps chromium`) and run `make test` again."
)

NOBODY = "http://127.0.0.1:9"  # a port at which nobody answers, so that what it is the way for fails at once
QUIET = [
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
    f"--proxy-server={NOBODY}",
    "--proxy-bypass-list=127.0.0.1",
]


def find_chromium(*, whole: bool = False) -> str | None:
    """Path of a Chromium that starts: an installed one, else Playwright's own download. None without, or where
    Playwright itself does not start. `whole` prefers the browser that people have, which measurements are about."""
    if not starts(sys.executable, "-m", "playwright"):
        return None
    installed = (
        path
        for name in ((*NAMES, SHELL) if whole else (SHELL, *NAMES))
        if (path := shutil.which(name)) and starts(path)
    )
    return next(installed, None) or (path if starts(path := playwright_chromium()) else None)


def playwright_chromium() -> str:
    """Where Playwright keeps its own Chromium once `playwright install chromium` has run."""
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def starts(*command: str) -> bool:
    """Whether it runs at all: Ubuntu's `chromium-browser` may be a stub, and a download may lack system libraries."""
    if not Path(command[0]).exists():
        return False
    return subprocess.run([*command, "--version"], capture_output=True, timeout=60).returncode == 0


def install_chromium() -> None:
    """Install Debian's package when root; where that gave none, let Playwright download its own."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium for the browser tests.", flush=True)
        subprocess.run(["apt-get", "update", "-qq"])
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *DEBIAN_PACKAGES],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    if not find_chromium():
        # Where it cannot, it prints a stack trace; MISSING says the same in one sentence.
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], stderr=subprocess.DEVNULL)


def main() -> int:
    if not find_chromium():
        install_chromium()
    if not find_chromium():
        print(MISSING, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
