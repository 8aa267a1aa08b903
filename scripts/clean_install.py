"""Installs the app into empty environments and opens it there: `python -m scripts.clean_install`, or `make packages`.

Once as a checkout, with the pins of requirements.txt, and once as a package, outside of the checkout. Both take the
last commit. It downloads 3 GB and takes 17 on the disk meanwhile. `make test` does the same with the packages that are
here already, and so cannot see that one is missing.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Mapping
from pathlib import Path

from driving.protocol_client import Session
from driving.server_process import ROOT, end, started

CHECKOUT, PACKAGE = "a checkout", "a package"
# Every module, since a server imports most of them only when a page needs them.
IMPORT_ALL = """
import importlib, pkgutil, explorer
names = [each.name for each in pkgutil.walk_packages(explorer.__path__, "explorer.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "checkout")], check=True)
        for kind in (CHECKOUT, PACKAGE):
            _try(kind, folder)
    return 0


def _try(kind: str, folder: Path) -> None:
    """Installs, imports, starts and explains, and prints how that went. Raises where something fails."""
    checkout, environment = folder / "checkout", folder / kind.replace(" ", "-")
    here = checkout if kind == CHECKOUT else folder
    begun = time.perf_counter()
    venv.create(environment, with_pip=True)
    scripts = Path(sysconfig.get_path("scripts", "venv", {"base": str(environment), "platbase": str(environment)}))
    python = str(scripts / "python")
    what = ["-r", "requirements.txt"] if kind == CHECKOUT else ["."]
    install = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--cache-dir",
        str(folder / "cache"),
        "install",
        "-q",
    ]
    subprocess.run([*install, *what], cwd=checkout, env=_environment(folder), check=True)
    installed = time.perf_counter() - begun
    done = subprocess.run(
        [python, "-c", IMPORT_ALL], cwd=here, env=_environment(folder), capture_output=True, encoding="utf-8"
    )
    if done.returncode:
        raise RuntimeError(f"As {kind}, a module cannot be imported. {done.stderr[-2000:]}")
    if kind == CHECKOUT:
        command = [python, "-m", "streamlit", "run", "app.py", "--server.headless=true", "--server.port=0"]
    else:
        command = [str(scripts / "cnn-resnet-explorer"), "--port", "0", "--headless"]
    _open(kind, command, here, _environment(folder))
    print(
        f"As {kind}: installed in {installed:.0f} s, imported {int(done.stdout)} modules, explained an image.",
        flush=True,
    )


def _open(kind: str, command: list[str], here: Path, environment: Mapping[str, str]) -> None:
    printed = here / "printed.txt"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=here, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = started(process, printed)
        if url is None:
            raise RuntimeError(f"As {kind}, the app did not start. {printed.read_text(encoding='utf-8')[-2000:]}")
        session = Session(url)
        session.rerun(first="shapes-plain-20", second="shapes-resnet-20")
        session.explain()
        session.close()
    finally:
        end(process)


def _environment(folder: Path) -> dict[str, str]:
    """Of a person who has set nothing for Python, Streamlit or the app."""
    prefixes = ("STREAMLIT_", "EXPLORER_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "EXPLORER_DATA": str(folder / "data"), "NO_COLOR": "1"}


if __name__ == "__main__":
    sys.exit(main())
