"""`.streamlit/config.toml` value by value, and the app on a system that lacks what Linux has."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from streamlit import config

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, dict[str, Any]] = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
# What SECURITY.md promises hangs on these. A change here is a change there. What they do is asked of running servers in
# test_promises.py.
PROMISED = {
    "server.address": "127.0.0.1",
    "server.allowedHosts": ["localhost", "127.0.0.1"],
    "server.enableXsrfProtection": True,
    "server.enableCORS": True,
    "server.corsAllowedOrigins": [],
    "server.enableAgentApi": False,
    "server.maxUploadSize": 256,
    "server.showEmailPrompt": False,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.allowedOrigins": [],
    "client.toolbarMode": "viewer",
    "runner.postScriptGC": False,
    "runner.magicEnabled": False,
}


@pytest.mark.parametrize("option", PROMISED)
def test_a_promised_setting_has_its_value(option: str) -> None:
    section, name = option.split(".")
    assert SETTINGS[section][name] == PROMISED[option]


def test_every_setting_is_one_that_is_promised_or_looks() -> None:
    set_here = {f"{section}.{name}" for section, values in SETTINGS.items() if section != "theme" for name in values}
    assert set_here == set(PROMISED)


def test_streamlit_knows_every_setting() -> None:
    """A misspelt or removed option would be ignored with a line in the log that nobody reads."""
    known = set(config.get_config_options())
    assert set(PROMISED) <= known
    for name, value in SETTINGS["theme"].items():
        for option in [f"{name}.{each}" for each in value] if isinstance(value, dict) else [name]:
            assert f"theme.{option}" in known, option


def test_what_a_running_server_uses_is_what_the_file_says() -> None:
    """In a fresh process in this folder, as `streamlit run` reads it."""
    code = (
        "import json, sys; from streamlit import config; "
        "print(json.dumps({name: config.get_option(name) for name in json.loads(sys.argv[1])}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(PROMISED))], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout) == PROMISED


ELSEWHERE = """
import builtins, os

real = builtins.__import__

def limited(name, values=None, *rest, **more):
    if name in ("fcntl", "resource", "pwd", "termios") and str((values or {}).get("__name__")).startswith("explorer"):
        raise ImportError(name)
    return real(name, values, *rest, **more)

builtins.__import__ = limited
for name in ("nice", "killpg", "getsid", "pwrite", "pread", "sched_getaffinity", "mkfifo"):
    delattr(os, name)
"""
"""Of a system that has none of this; every Python that the app starts reads it too."""

APP = """
import sys, time
from pathlib import Path
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=120).run()
assert not app.exception and not app.error
from tests.messages import message
assert all("Predicts" in network["verdict"] for network in message(app)[0]["predictions"]["networks"])

import torch
from explorer import weights_import, runs
from explorer.presets import cifar
from explorer.training import TrainingConfig
torch.save({"conv.weight": torch.ones(4, 3, 3, 3)}, sys.argv[2])
try:
    weights_import.read(Path(sys.argv[2]))
except weights_import.WeightsError as error:
    print(error)
asked = runs.Request((cifar(8).to_dict(),), TrainingConfig(epochs=1).to_dict(), {"kind": "stored", "number": "0" * 64})
run = runs.submit(asked, "0" * 32)
while runs.is_alive(run):
    time.sleep(0.05)
print(runs.status(run).log.end["message"])
"""


def test_without_the_locks_and_limits_of_linux_the_app_explains_reads_weights_and_trains(
    tmp_path: Path, portable_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ELSEWHERE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", APP, str(ROOT / "app.py"), str(tmp_path / "their.pt")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    weights, run = said.stdout.splitlines()
    assert weights.startswith("`their.pt`") and "cannot be opened within" not in weights
    assert "there is no dataset" in run
