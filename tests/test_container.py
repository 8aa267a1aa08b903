"""The Dockerfile, compose.yaml and what they name, read and not built: `make container` builds and starts the app."""

import re
import shlex
import subprocess
import sys
import threading
import tomllib
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from scripts.container import Instruction, has_network, instructions

ROOT = Path(__file__).parents[1]
STEPS = instructions((ROOT / "Dockerfile").read_text())
COMPOSE = {name: yaml.safe_load((ROOT / name).read_text()) for name in
           ("compose.yaml", "deploy/compose.gpu.yaml", "deploy/compose.ray.yaml")}  # fmt: skip
SERVICES = {name: parts["services"] for name, parts in COMPOSE.items()}


def values(keyword: str) -> list[str]:
    return [step.value for step in STEPS if step.keyword == keyword]


def arguments() -> dict[str, str]:
    """The build arguments, with their defaults."""
    return dict(value.split("=", 1) for value in values("ARG"))


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for value in values("ENV") for word in shlex.split(value))


def copied() -> list[str]:
    """What is copied from the repository."""
    return [path for value in values("COPY") if "--from" not in value for path in value.split()[:-1]]


def test_instructions_are_read_with_their_continued_lines() -> None:
    text = "# a\nARG A=b\nFROM x\nRUN one \\\n # c\n  && two\nENV A=b \\\n  C=d\n"
    assert instructions(text) == [
        Instruction("ARG", "A=b"),
        Instruction("FROM", "x"),
        Instruction("RUN", "one   && two"),
        Instruction("ENV", "A=b   C=d"),
    ]


def test_what_is_copied_is_in_the_repository_and_nothing_else_gets_into_the_build() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted({*copied()}) == sorted(kept)
    followed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for path in copied():
        assert any(file == path or file.startswith(f"{path}/") for file in followed), f"{path} is nobody's to copy"
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines.index("*") < min(lines.index(f"!{path}") for path in kept), "the later line counts"
    assert not any(fnmatch(path, "data*") for path in kept)


def test_the_container_starts_as_the_readme_does_without_the_rights_of_root() -> None:
    assert values("CMD") == ['["streamlit", "run", "app.py"]']
    assert "\nstreamlit run app.py\n" in (ROOT / "README.md").read_text()
    last = max(index for index, step in enumerate(STEPS) if step.keyword == "FROM")
    users = [step.value for step in STEPS[last:] if step.keyword == "USER"]
    assert users == ["1000:1000"]
    assert values("VOLUME") == [environment()["EXPLORER_DATA"]] == ["/data"]


def test_versions_are_those_of_the_requirements() -> None:
    """No package is installed by its name, and Python is one that torch has packages for."""
    (install,) = (value for value in values("RUN") if "pip install" in value)
    assert arguments()["REQUIREMENTS"] == "requirements.txt"
    version = re.match(r"3\.(\d+)-slim-\w+$", arguments()["PYTHON"])
    bounds = re.search(r"^oldest=3\.(\d+) newest=3\.(\d+)$", (ROOT / "scripts/make_venv.sh").read_text(), re.MULTILINE)
    assert version and bounds and int(bounds[1]) <= int(version[1]) <= int(bounds[2])
    said = install.replace("/opt/explorer/bin/pip", "echo").replace("python -m venv", ": ")

    def words(**arguments: str) -> list[str]:
        return subprocess.run(
            ["sh", "-ec", said], env=arguments, capture_output=True, text=True, check=True
        ).stdout.split()

    options = ["install", "--no-cache-dir", "--disable-pip-version-check"]
    assert words(REQUIREMENTS="a.txt b.txt", TORCH_INDEX="") == [*options, "-r", "a.txt", "-r", "b.txt"]
    assert words(REQUIREMENTS="a.txt", TORCH_INDEX="https://x/cpu")[3:] == [
        "--extra-index-url",
        "https://x/cpu",
        "-r",
        "a.txt",
    ]


def test_files_of_a_checkout_that_is_its_owners_alone_can_be_read_by_the_app(tmp_path: Path) -> None:
    """Made under umask 077. What can be read already is not touched, or the image would have it twice."""
    (command,) = (value.partition("&& ")[2] for value in values("RUN") if "compileall" in value)
    for name in ("explorer/ui", ".streamlit"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("explorer/ui/page.py", ".streamlit/config.toml", "app.py"):
        (tmp_path / name).touch()
    for path in tmp_path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (tmp_path / "app.py").chmod(0o444)
    subprocess.run(["sh", "-ec", command.replace("/app", str(tmp_path))], check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "explorer": 0o755, "ui": 0o755, ".streamlit": 0o755,
        "page.py": 0o644, "config.toml": 0o644, "app.py": 0o444,
    }  # fmt: skip


def test_a_network_of_a_run_is_looked_for_inside_of_the_container(tmp_path: Path) -> None:
    """Outside, the folder of a run is another account's. The engine here runs the command with another /data."""
    inside = f'test "$1 $2 $3 $4" = "exec x sh -c" && eval "$(echo "$5" | sed "s#/data#{tmp_path}#")"'
    engine = ["sh", "-c", inside, "engine"]
    assert not has_network(engine, "x")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    assert not has_network(engine, "x")
    (tmp_path / "runs" / "a" / "resnet-8.safetensors").touch()
    assert has_network(engine, "x")
    assert not has_network(["false"], "x"), "it has ended"


@pytest.mark.parametrize(("said", "status"), [(b"ok", 0), (b"<html>", 1)])
def test_the_health_check_hears_an_ok_and_nothing_else(said: bytes, status: int) -> None:
    """Streamlit answers any unknown address with its page."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/_stcore/health" else 404)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    (check,) = values("HEALTHCHECK")
    port = environment()["STREAMLIT_SERVER_PORT"]
    assert f"http://127.0.0.1:{port}/" in check and values("EXPOSE") == [port]
    program = yaml.safe_load(check.partition(" CMD ")[2])
    assert program[:2] == ["python", "-c"]
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code = program[2].replace(f":{port}/", f":{server.server_port}/")
        done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, timeout=60)
    assert done.returncode == status, done.stderr.decode()


def test_settings_of_the_container_are_options_of_streamlit() -> None:
    """A misspelt one would be ignored."""
    from streamlit import config

    named = {*environment(), *SERVICES["compose.yaml"]["app"]["environment"]}
    named = {name for name in named if name.startswith("STREAMLIT_")}
    assert len(named) == 4 and named <= {option.env_var for option in config._config_options_template.values()}


def test_compose_shuts_the_app_in_and_opens_the_proxy_alone() -> None:
    app, proxy = SERVICES["compose.yaml"]["app"], SERVICES["compose.yaml"]["proxy"]
    assert app["read_only"] and app["init"] and app["cap_drop"] == ["ALL"] and "ports" not in app
    assert app["tmpfs"] == environment()["HOME"] == "/tmp"
    assert "data:/data" in app["volumes"] and "data" in COMPOSE["compose.yaml"]["volumes"]
    assert proxy["environment"]["EXPLORER_APPS"] == f"app:{values('EXPOSE')[0]}"
    assert all(port.startswith("${EXPLORER_LISTEN:-127.0.0.1}:") for port in proxy["ports"])
    settings = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert "127.0.0.1" in settings["server"]["allowedHosts"], "the health check comes under this name"
    read = {*re.findall(r"\{\$(EXPLORER_\w+)", (ROOT / "deploy/Caddyfile").read_text())}
    assert {*proxy["environment"]} == read - {"EXPLORER_HTTP_PORT", "EXPLORER_HTTPS_PORT"}
    assert ":?" in proxy["environment"]["EXPLORER_PASSWORD_HASH"], "without a login it does not start"


@pytest.mark.parametrize("name", COMPOSE)
def test_files_and_build_arguments_that_compose_names_are_there(name: str) -> None:
    for service in SERVICES[name].values():
        for volume in service.get("volumes", []):
            place = volume.split(":")[0]
            assert (ROOT / place).is_file() if place.startswith(".") else place in COMPOSE["compose.yaml"]["volumes"]
        build: Any = service.get("build", {})
        given = build.get("args", {}) if isinstance(build, dict) else {}
        assert {*given} <= {*arguments()}
        assert all((ROOT / file).is_file() for file in given.get("REQUIREMENTS", "").split())
        assert "privileged" not in service and "network_mode" not in service
    assert f"-f compose.yaml -f {name}" in (ROOT / "compose.yaml").read_text() or name == "compose.yaml"


def test_the_variants_change_what_they_say() -> None:
    gpu = SERVICES["deploy/compose.gpu.yaml"]["app"]
    assert gpu["build"]["args"] == {"TORCH_INDEX": ""} and "TORCH_INDEX:+" in " ".join(values("RUN"))
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    ray = SERVICES["deploy/compose.ray.yaml"]
    assert {service["image"] for service in ray.values()} == {"cnn-resnet-explorer-ray"}
    for service in ray.values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token" and "data:/data" in service["volumes"]
        assert "ports" not in service, "Ray runs whatever somebody asks who has its token"
    head, worker = ray["ray-head"], ray["ray-worker"]
    address = head["environment"]["RAY_ADDRESS"]
    assert f"--port={address.split(':')[1]} " in head["command"] and f"--address={address} " in worker["command"]
    assert worker["deploy"]["replicas"] == 2
