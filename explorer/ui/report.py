"""The report of every page: one HTML file that opens offline, with the address of its view and the versions.

It is made at a click, when no script is running, so it uses no Streamlit. A part of a page gives it `Chapter`s.
"""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from time import gmtime, strftime
from urllib.parse import parse_qsl, urlsplit

from explorer import __version__, figures
from explorer.figures import Chapter, Part, Table
from explorer.machine import cores

PACKAGES = ("torch", "numpy", "plotly", "streamlit")


def html(title: str, chapters: Sequence[Chapter], address: str) -> bytes:
    """The file. `address` is that of the view, below the app's own: `compare?networks=...`; "" where there is none."""
    view = [_view(address)] if address else []
    return figures.report_html(title, [*chapters, *view, _versions()]).encode(errors="replace")


def _view(address: str) -> Chapter:
    found = urlsplit(address)
    fields = [*parse_qsl(found.query), *parse_qsl(found.fragment)]
    parts: list[Part] = [f"The address of this view, below that of the app: {address}"]
    parts += [Table(["field of the address", "value"], [[*field] for field in fields], texts=2)] if fields else []
    return Chapter("This view", parts)


def _versions() -> Chapter:
    rows = [["CNN & ResNet Explorer", __version__], ["Python", platform.python_version()]]
    rows += [[package, version(package)] for package in PACKAGES]
    rows += [["machine", f"{platform.machine()}, {cores()} cores, {platform.system()}"]]
    rows += [["made", strftime("%Y-%m-%d %H:%M UTC", gmtime())]]
    return Chapter("Made with", [Table(["", ""], rows, texts=2)])
