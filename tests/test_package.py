"""The package: its metadata beside the pins, and its wheel in an empty environment, outside of the checkout.

The environment sees the pinned packages through a `.pth` file, so that an installation takes a second and not 3 GB. It
sees those of development too: `make packages` installs into environments that do not.
"""

import ast
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

import explorer
from driving.protocol_client import Session
from driving.server_process import end, started
from explorer import installation
from explorer.cli.main import COMMANDS, SHELLS, main
from explorer.ui import viewer

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, str]:
    """Version by package of a file of exact requirements."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    split = [line.partition("==") for line in lines if line and not line.startswith(("-r", "#"))]
    return {canonicalize_name(package): version for package, _, version in split}


def bounds(lines: list[str]) -> dict[str, Requirement]:
    found = map(Requirement, lines)
    return {canonicalize_name(each.name): each for each in found}


def third_party(folder: Path) -> set[str]:
    """Top-level names that any module there imports, those of `TYPE_CHECKING` and of functions included."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - {*sys.stdlib_module_names, "explorer", "__main__"}


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-ray.txt", PROJECT["optional-dependencies"]["ray"]),
    ],
)
def test_each_package_is_pinned_within_its_bound(file: str, lines: list[str]) -> None:
    pinned, bound = pins(file), bounds(lines)
    assert pinned.keys() == bound.keys(), "pyproject.toml and the file of pins name different packages"
    for name, requirement in bound.items():
        assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is not {requirement.specifier}"
        assert any(each.operator in (">=", "==") for each in requirement.specifier), f"{name} has no lower bound"


def test_each_package_that_the_code_imports_is_named_or_comes_with_one() -> None:
    """What a named package brings counts too: protobuf with onnx, matplotlib with captum."""
    named = {*pins("requirements.txt"), *pins("requirements-ray.txt")}
    brought = {
        canonicalize_name(Requirement(line).name)
        for name in named
        for line in importlib.metadata.requires(name) or []
        if "extra ==" not in line
    }
    modules = importlib.metadata.packages_distributions()
    imported = third_party(ROOT / "explorer") | {"streamlit"}
    optional = {"onnxruntime"}  # test_layering.OPTIONAL: checks an export where it is installed
    missing = {
        name
        for name in imported - optional
        if not {canonicalize_name(each) for each in modules.get(name, [name])} & (named | brought)
    }
    assert not missing


def test_the_version_stands_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == explorer.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changelog.splitlines() if line.startswith("## [") and "Unreleased" not in line)
    assert newest.startswith(f"## [{explorer.__version__}] - 20")


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gets_a_script_with_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name, *_ in COMMANDS) and "\\x" not in script
    if shell == "bash":
        asked = (
            'COMP_WORDS=(cnn-resnet-explorer app --p); COMP_CWORD=2; COMP_LINE="cnn-resnet-explorer app --p"; '
            'COMP_TYPE=9; "$(complete -p cnn-resnet-explorer | grep -o "_shtab[a-z_]*")" x --p app; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["--port"], done


# --- the wheel --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.iterdir()
    return built


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment of its own with the wheel alone, which sees the pinned packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    pip("--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "pinned.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


def test_the_wheel_has_all_that_the_app_needs_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"cnn_resnet_explorer-{explorer.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "explorer", "pretrained", "app.py", ".streamlit"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    expected = {name if name.startswith("explorer/") else f"explorer/shipped/{name}" for name in tracked if name}
    assert inside == expected


def test_the_installed_command_opens_the_app_with_its_own_settings_and_data(environment: Path, tmp_path: Path) -> None:
    """From another folder whose settings for Streamlit say otherwise, and without a home that anything was set in."""
    here, home = tmp_path / "elsewhere", tmp_path / "home"
    (here / ".streamlit").mkdir(parents=True)
    (here / ".streamlit" / "config.toml").write_text(
        '[server]\naddress = "0.0.0.0"\n[browser]\ngatherUsageStats = true\n[client]\nshowErrorDetails = "full"\n'
    )
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMLIT_", "EXPLORER_"))}
    kept = {name: value for name, value in kept.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    kept |= {"HOME": str(home), "XDG_DATA_HOME": str(home / "share"), "NO_COLOR": "1"}
    printed = tmp_path / "printed.txt"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [environment / "bin" / installation.NAME, "--port", "0", "--headless"],
            cwd=here, env=kept, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        url = started(process, printed)
        assert url is not None and "127.0.0.1" in url, printed.read_text()
        session = Session(url)
        session.rerun()
        messages = [ForwardMsg.FromString(message) for message in session.answer]
        (beginning,) = (each.new_session for each in messages if each.WhichOneof("type") == "new_session")
        assert not beginning.config.gather_usage_stats
        assert beginning.main_script_path.startswith(str(environment.resolve()))
        assert session.viewer, "the pretrained twins are explained at once"
        session.close()
        module = requests.get(f"{url}/{viewer.ROUTE}/{viewer.HASH}/main.js", timeout=20)
        assert module.headers["Content-Type"].startswith("text/javascript")
    finally:
        end(process)
    asked = [str(environment / "bin" / "python"), "-c", "from explorer import runs; print(runs.data_folder())"]
    folder = subprocess.run(asked, cwd=here, env=kept, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(folder) == home / "share" / installation.NAME
