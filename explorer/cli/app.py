"""`app`: the app in the browser, started from a terminal."""

import argparse
import os
import runpy
import sys
from pathlib import Path

from explorer import installation
from explorer.cli import CommandResult

NAME = "app"
PORTS = range(65_536)


def app_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, metavar="PORT", help="port of the server (default: a free one from 8501)")
    parser.add_argument("--address", metavar="HOST", help="where to listen (default: 127.0.0.1, this machine only)")
    parser.add_argument("--base-path", metavar="PATH", help="path below which a proxy serves the app")
    parser.add_argument("--headless", action="store_true", help="open no browser")
    parser.add_argument(
        "--data", metavar="FOLDER", help=f"where runs and downloads lie (default: {installation.data_folder()})"
    )
    parser.add_argument(
        "options", nargs="*", metavar="OPTION", help="options of Streamlit, behind --: -- --server.maxUploadSize=64"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) not in PORTS:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {PORTS[-1]}, received {text!r}")
    return int(text)


def streamlit_arguments(arguments: argparse.Namespace) -> list[str]:
    """What `streamlit` gets. Its settings lie in .streamlit/config.toml beside app.py, which it reads from there."""
    settings = {
        "server.port": arguments.port,
        "server.address": arguments.address,
        "server.baseUrlPath": arguments.base_path,
        "server.headless": "true" if arguments.headless else None,
    }
    given = [f"--{name}={value}" for name, value in settings.items() if value is not None]
    return ["run", str(installation.shipped("app.py")), *given, *arguments.options]


def run_app(arguments: argparse.Namespace) -> CommandResult:
    """Start the app and open it in the browser."""
    if arguments.data is not None:
        os.environ["EXPLORER_DATA"] = str(Path(arguments.data).absolute())  # the processes of runs read it too
    sys.argv = ["streamlit", *streamlit_arguments(arguments)]
    runpy.run_module("streamlit", run_name="__main__")  # it exits; as a module, since only the pages import Streamlit
    return {}, []
