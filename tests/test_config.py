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


WITHOUT = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = None  # as on Windows
from pathlib import Path
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=120).run()
assert not app.exception and not app.error
from tests.messages import message
assert all("Predicts" in network["verdict"] for network in message(app)[0]["predictions"]["networks"])

from explorer import weights_import, runs
for attempt in (
    lambda: weights_import.read(Path(sys.argv[1])),
    lambda: runs.submit(runs.Request(({},), {}, {"kind": "shapes"}), "0" * 32),
):
    try:
        attempt()
    except ValueError as error:
        print(error)
"""


def test_without_the_locks_and_limits_of_linux_the_app_explains_and_says_what_is_missing() -> None:
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT, str(ROOT / "app.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    sentences = said.stdout.splitlines()
    assert len(sentences) == 2, sentences
    assert all("Linux and macOS" in each or "Linux or macOS" in each for each in sentences), sentences
