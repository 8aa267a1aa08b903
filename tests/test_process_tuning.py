"""The server's process is tuned once, when it starts: to import the app changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

from explorer.machine import cores
from explorer.ui.services import process_tuning

STARTED = """
import asyncio, gc, torch
torch.set_num_threads(7)
import app
print(torch.get_num_threads(), gc.get_freeze_count())

async def start():
    async with app.server.lifespan(app.app):
        print(torch.get_num_threads(), gc.get_freeze_count() > 10_000)

asyncio.run(start())
"""


def test_the_start_of_the_server_tunes_the_process_and_an_import_does_not(data_folder: Path) -> None:
    env = {**os.environ, "STREAMLIT_SERVER_HEADLESS": "true", "PYTHONPATH": "."}
    ran = subprocess.run(
        [sys.executable, "-c", STARTED], cwd=Path(__file__).parents[1], env=env, capture_output=True, text=True
    )
    assert ran.stdout.splitlines() == ["7 0", f"{process_tuning.threads()} True"], ran.stderr
    assert process_tuning.threads() == max(1, cores() // 2)
