"""Where the files lie that come with the app, and where its data go: in a checkout or in an installed package."""

import os
from pathlib import Path

import platformdirs

NAME = "cnn-resnet-explorer"
"""Of the package and of its command."""

_PACKAGE = Path(__file__).resolve().parent
# pyproject.toml puts what lies beside `explorer/` in a checkout there in a wheel. It is no package: `streamlit run`
# puts the folder of app.py on the path of imports, where explorer/numbers.py would hide Python's own `numbers`.
_SHIPPED = _PACKAGE / "shipped"


def is_checkout() -> bool:
    """Whether this code lies in its repository, also where it was installed from there by `pip install -e`."""
    return not _SHIPPED.is_dir()


def shipped(name: str) -> Path:
    """The file or folder of that name that comes with the app: `app.py`, `pretrained` or `.streamlit`."""
    return (_PACKAGE.parent if is_checkout() else _SHIPPED) / name


def data_folder() -> Path:
    """Where runs, uploaded data and downloads lie, absolute: `EXPLORER_DATA`; else `data/` beside app.py in a checkout,
    and the user's own folder for data of programs where the package is installed."""
    if named := os.environ.get("EXPLORER_DATA"):
        return Path(named).absolute()  # the process of a run starts elsewhere
    if is_checkout():
        return _PACKAGE.parent / "data"
    return platformdirs.user_data_path(NAME, appauthor=False).absolute()
